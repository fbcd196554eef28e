"""A browser shows that it has had a session, also after that has ended: so a large form of its person is kept.

Forms of strangers are small. A person with a form of 2,000 parameters is not a stranger when the session has ended:
the browser keeps a signed receipt of the log-in for longer than the session. A receipt gives no right.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from clearml_localserver.auth import Auth
from clearml_localserver.web.kept_forms import KNOWN, STRANGERS, Room

RECEIPT_COOKIE = "localserver_receipt"
RECEIPT_S = 90 * 86_400


def with_receipt(response: Response, auth: Auth, user: str, *, secure: bool) -> None:
    """Let the browser keep a receipt of a log-in."""
    value = auth.receipt(user, RECEIPT_S)
    response.set_cookie(
        RECEIPT_COOKIE, value, max_age=RECEIPT_S, path="/", httponly=True, samesite="strict", secure=secure
    )


def room_of(auth: Auth, request: Request) -> Room:
    """Return how large a form is read from somebody without a session."""
    return KNOWN if auth.is_receipt(request.cookies.get(RECEIPT_COOKIE, "")) else STRANGERS
