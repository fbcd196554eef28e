"""Log-in, log-out and the static files: what is reachable without a session."""

from __future__ import annotations

import base64
import mimetypes
from urllib.parse import urlsplit

from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response

from clearml_localserver.auth import Presented
from clearml_localserver.errors import ApiError
from clearml_localserver.web.compression import takes_gzip
from clearml_localserver.web.kept_forms import KeptForm, carried_form
from clearml_localserver.web.receipts import with_receipt
from clearml_localserver.web.site import SESSION_COOKIE, Visit
from clearml_localserver.web.themes import THEME_COOKIE, with_theme
from clearml_localserver.web.views.home import home
from clearml_localserver.web.views.personal import preferences

FOR_EVER = "public, max-age=31536000, immutable"
SESSION_S = 7 * 86_400


def front(visit: Visit) -> Response:
    """Show the first page, or the log-in form."""
    if visit.identity is None:
        return _form(visit, "/")
    if THEME_COOKIE in visit.request.cookies or visit.wants_part():
        return home(visit)
    theme = preferences(visit)["theme"]  # a browser that does not know it yet
    visit.request.cookies[THEME_COOKIE] = theme
    return with_theme(home(visit), theme)


def form(visit: Visit) -> Response:
    """Show the log-in form."""
    after = own_path(visit.query.get("next", "/"))
    return _form(visit, after) if visit.identity is None else RedirectResponse(after, status_code=303)


def login(visit: Visit) -> Response:
    """Check an access key and begin a session."""
    items, request = visit.form_items(), visit.request
    sent, kept = dict(items), carried_form(items)
    access_key, secret_key = (str(sent.get(name) or "").strip() for name in ("access_key", "secret_key"))
    after = own_path(str(sent.get("next") or "/"))
    basic = base64.b64encode(f"{access_key}:{secret_key}".encode()).decode()
    auth = visit.site.api.context.auth
    address = request.client.host if request.client else ""
    try:
        visit.identity = auth.authenticate(Presented(f"Basic {basic}", address=address))
        token = auth.issue(visit.identity, SESSION_S)
    except ApiError as error:
        wrong = "This access key and secret key do not match."
        problem = error.msg if error.code == 429 else wrong
        refusal = _form(visit, after, problem=problem, code=error.code, kept=kept)
        refusal.headers.update(error.headers)
        return refusal
    response: Response = RedirectResponse(after, status_code=303)
    if kept is not None and own_path(kept.path) == kept.path:
        # Sent only by the person's own click: whoever has logged in may be another one than who wrote it.
        response = visit.render("kept_form.html", kept=kept)
    secure = request.url.scheme == "https" or request.headers.get("X-Forwarded-Proto") == "https"
    with_receipt(response, auth, visit.identity.user, secure=secure)
    response.set_cookie(SESSION_COOKIE, token, max_age=SESSION_S, httponly=True, samesite="lax", secure=secure)
    return with_theme(response, preferences(visit)["theme"])


def logout(visit: Visit) -> Response:
    """End the session: its token is refused from now on."""
    if visit.identity is not None and visit.identity.session:
        visit.call("auth.logout", {})
    response = RedirectResponse("/", status_code=303)
    response.delete_cookie(SESSION_COOKIE)
    response.delete_cookie(THEME_COOKIE)
    return response


def settings(visit: Visit) -> Response:
    """Say how a client is configured for this server: where the SDK's tools send people for credentials."""
    own = visit.site.settings
    urls = {"api_server": own.api_url, "web_server": own.web_url, "files_server": own.files_url}
    return visit.render("settings.html", urls=urls, data=own.data)


def static(visit: Visit) -> Response:
    """Return a static file, compressed where the browser takes it; an address with its mark may be cached forever."""
    path = visit.site.files.get(visit.argument("name"))
    if path is None:
        return PlainTextResponse("Not found\n", status_code=404)
    address = visit.site.static(path.name)
    zipped = takes_gzip(visit.request.headers)
    tag = f'"{address.rpartition("=")[2]}{"-gzip" if zipped else ""}"'
    headers = {
        "Cache-Control": FOR_EVER if visit.here == address else "no-cache",
        "ETag": tag,
        "Vary": "Accept-Encoding",
    }
    if tag in visit.request.headers.get("If-None-Match", ""):
        return Response(status_code=304, headers=headers)
    if zipped:
        kind = mimetypes.guess_type(path.name)[0]
        packed = visit.site.packed.get(address, path.read_bytes)
        return Response(packed, media_type=kind, headers=headers | {"Content-Encoding": "gzip"})
    return FileResponse(path, headers=headers)


def missing(visit: Visit, code: int, text: str) -> Response:
    """Show the page for an unknown address."""
    error = ApiError(code, 0, f"There is nothing at {visit.request.url.path}" if code == 404 else text)
    if visit.identity is None:
        return RedirectResponse("/login", status_code=303) if code == 404 else PlainTextResponse(error.msg, code)
    return visit.error(error)


def _form(visit: Visit, after: str, problem: str = "", code: int = 200, kept: KeptForm | None = None) -> Response:
    return visit.render("login.html", code=code, after=after, problem=problem, kept=kept, unkept=False)


def own_path(address: str) -> str:
    """Return an address of this site, or the first page where it is anything else (no open redirect)."""
    parts = urlsplit(address)
    fine = address.startswith("/") and not address.startswith("//") and "\\" not in address and address.isprintable()
    return address if fine and not parts.scheme and not parts.netloc else "/"
