"""Log-in, log-out and the static files: what is reachable without a session."""

from __future__ import annotations

import base64
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, RedirectResponse, Response

from localserver.errors import ApiError
from localserver.web.site import SESSION_COOKIE, Site, Visit
from localserver.web.views.home import home

FOR_EVER = "public, max-age=31536000, immutable"
SESSION_S = 7 * 86_400


class Session:
    """The pages that need no session, or make and end one."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._home = site.view(home)

    async def home(self, request: Request) -> Response:
        """Show the first page, or the log-in form: `/` answers 200 to everybody, which liveness probes rely on."""
        if self.site.identity(request) is None:
            return self._form(request, "/")
        return await self._home(request)

    async def form(self, request: Request) -> Response:
        """Show the log-in form."""
        after = own_path(request.query_params.get("next", "/"))
        if self.site.identity(request) is not None:
            return RedirectResponse(after, status_code=303)
        return self._form(request, after)

    async def login(self, request: Request) -> Response:
        """Check an access key and begin a session."""
        form = await request.form(max_files=0, max_fields=10)
        access_key, secret_key = (str(form.get(name) or "").strip() for name in ("access_key", "secret_key"))
        after = own_path(str(form.get("next") or "/"))
        basic = base64.b64encode(f"{access_key}:{secret_key}".encode()).decode()
        try:
            token = self.site.api.context.auth.login(f"Basic {basic}", None, SESSION_S)
        except ApiError:
            return self._form(
                request, after, problem="This access key and secret key do not belong together.", code=401
            )
        response = RedirectResponse(after, status_code=303)
        secure = request.url.scheme == "https" or request.headers.get("X-Forwarded-Proto") == "https"
        response.set_cookie(SESSION_COOKIE, token, max_age=SESSION_S, httponly=True, samesite="lax", secure=secure)
        return response

    async def logout(self, request: Request) -> Response:
        """End the session: its token is refused from now on."""
        identity = self.site.identity(request)
        if identity is not None and identity.session:
            await self.site.api.call("auth.logout", {}, identity)
        response = RedirectResponse("/", status_code=303)
        response.delete_cookie(SESSION_COOKIE)
        return response

    async def static(self, request: Request) -> Response:
        """Return a static file; an address with the file's mark may be kept for ever."""
        path = self.site.files.get(request.path_params["name"])
        if path is None:
            return PlainTextResponse("Not found\n", status_code=404)
        lasting = request.url.query and str(request.url).endswith(self.site.static(path.name))
        return FileResponse(path, headers={"Cache-Control": FOR_EVER if lasting else "no-cache"})

    async def missing(self, request: Request, problem: Exception) -> Response:
        """Show the page for an address that nothing is at."""
        code = getattr(problem, "status_code", 404)
        error = ApiError(code, 0, f"There is nothing at {request.url.path}" if code == 404 else str(problem))
        identity = self.site.identity(request)
        if identity is None:
            return RedirectResponse("/login", status_code=303) if code == 404 else PlainTextResponse(error.msg, code)
        return Visit(self.site, request, identity).error(error)

    def _form(self, request: Request, after: str, problem: str = "", code: int = 200) -> Response:
        page = self.site.templates.get_template("login.html")
        return HTMLResponse(
            page.render(after=after, problem=problem, data=self.site.settings.data.name),
            status_code=code,
            headers={"Cache-Control": "no-store"},
        )


def own_path(address: str) -> str:
    """Return an address of this site, or the first page where it is anything else (no open redirect)."""
    parts = urlsplit(address)
    fine = address.startswith("/") and not address.startswith("//") and "\\" not in address and address.isprintable()
    return address if fine and not parts.scheme and not parts.netloc else "/"
