"""Admission of requests to the web pages, and the security headers of every response.

On a loopback address the pages act without log-in, so any web page that the person has open elsewhere could try to use
them. Two checks keep those out: the `Host` must be one of our own names (a foreign name that was pointed at this
machine, "DNS rebinding", is not), and a request that changes something must come from our own pages (`Origin`,
`Sec-Fetch-Site`). This module answers refusals itself, knows no page and never reads a body.
"""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clearml_localserver.cross_origin import is_origin_of
from clearml_localserver.settings import Settings

SAFE_METHODS = frozenset({"GET", "HEAD"})
MAX_FORM_BYTES = 4 * 2**20
LOG_IN = "/login"
MAX_LOG_IN_BYTES = MAX_FORM_BYTES + 2**18
"""The log-in page carries a form that its sender had no session for, under longer names of the fields."""

PAGE_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'{compiling}",
        "style-src 'self'{drawing}",
        "img-src 'self' data: blob: https: {files}",
        "media-src 'self' https: {files}",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)

HEADERS = {
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    # Not `no-referrer`: with that, browsers send `Origin: null` with our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def page_policy(settings: Settings, *, drawing: bool = False, compiling: bool = False) -> str:
    """Return what a page may load. No page runs a script that does not come from this server.

    Args:
        settings: Tells the file server's address.
        drawing: Whether plotly.js draws on it, which writes styles into its figures.
        compiling: Whether plotly.js draws WebGL traces on it, for which it compiles code.
    """
    return PAGE_POLICY.format(
        files=settings.files_url,
        drawing=" 'unsafe-inline'" if drawing else "",
        compiling=" 'unsafe-eval'" if compiling else "",
    )


class Gate:
    """ASGI middleware around all pages."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request, or hand it on and add the headers."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Content-Security-Policy", page_policy(self.settings))
            await send(message)

        headers = Headers(scope=scope)
        refusal = refuse(scope["method"], headers, self.settings, scope["path"])
        app = self.app
        if refusal is not None:
            app = PlainTextResponse(refusal[1] + "\n", status_code=refusal[0])
        elif is_probe(scope, headers):
            app = PlainTextResponse("OK\n")
        await app(scope, receive, send_with_headers)


def refuse(method: str, headers: Headers, settings: Settings, path: str = "/") -> tuple[int, str] | None:
    """Return status and text of the refusal, or None for a request that may come in."""
    host = headers.get("Host", "")
    if not is_own_host(host, settings):
        return 421, (
            f"This server does not answer to the name {host!r}.\n"
            f"Open {settings.web_url}, or start the server with --public-host NAME."
        )
    if method in SAFE_METHODS:
        return None
    if method != "POST":
        return 405, f"{method} is not supported."
    if not is_from_own_page(headers, host):
        return 403, "This request does not come from a page of this server. Nothing was changed."
    length = headers.get("Content-Length", "")
    most = MAX_LOG_IN_BYTES if path == LOG_IN else MAX_FORM_BYTES
    if not length.isdigit() or int(length) > most:
        return 413, f"Forms must have a Content-Length of at most {most} bytes."
    return None


def is_probe(scope: Scope, headers: Headers) -> bool:
    """Return whether this is a liveness check: a request for `/`, but not for a page.

    Such a request is answered at the door, however busy the pages are.
    """
    return scope["path"] == "/" and not scope["query_string"] and "text/html" not in headers.get("Accept", "")


def is_own_host(host: str, settings: Settings) -> bool:
    """Return whether a `Host` header names this server.

    Where log-in is asked for, every name is fine: a session's cookie belongs to one name, so a foreign name that points
    here brings none. The port is not looked at: it differs behind a forwarded one.
    """
    name = _host_name(host)
    if name is None:
        return False
    if not settings.is_loopback or name in {"localhost", settings.host.lower(), settings.advertised_host.lower()}:
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def is_from_own_page(headers: Headers, host: str) -> bool:
    """Return whether a browser sent this from a page of the same origin. A browser always sends one of the two."""
    site, origin = headers.get("Sec-Fetch-Site"), headers.get("Origin")
    if site is None and origin is None:
        return False
    if site is not None and site != "same-origin":
        return False
    return origin is None or is_origin_of(origin, host)


def _host_name(host: str) -> str | None:
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return None
    return name.rstrip(".").lower() if name and "@" not in host and "/" not in host else None
