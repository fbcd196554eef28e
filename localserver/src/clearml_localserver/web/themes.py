"""Whether pages are light or dark: chosen by the person, kept by the API, and remembered by the browser in a cookie."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

THEME_COOKIE = "localserver_theme"
THEMES = ("light", "dark")
THEME_S = 365 * 86_400


def theme_of(request: Request) -> str:
    """Return `light` or `dark` where the person has chosen one; empty where the system decides."""
    chosen = request.cookies.get(THEME_COOKIE, "")
    return chosen if chosen in THEMES else ""


def with_theme(response: Response, theme: str) -> Response:
    """Let the browser remember the theme, so that no page has to ask for it."""
    value = theme if theme in THEMES else "system"
    response.set_cookie(THEME_COOKIE, value, max_age=THEME_S, httponly=True, samesite="lax")
    return response
