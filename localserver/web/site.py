"""What all pages share: templates, calls to the API, who is signed in, error pages, live parts.

A page that changes by itself is asked for again with `?_part=name,…`; the answer is then JSON with just those blocks of
its template (`static/app.js` puts them in place). So a page and its live parts are one view and one template.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import orjson
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from localserver.auth import Identity
from localserver.errors import ApiError
from localserver.times import utcnow
from localserver.web import text
from localserver.wire import Api

log = logging.getLogger(__name__)

HERE = Path(__file__).parent
STATIC = HERE / "static"
SESSION_COOKIE = "localserver_session"
"""Not the API's own cookie: the API takes that one from a plain link too, which a foreign page can make one follow."""

MACROS = {"m": "macros.html", "d": "drawing.html"}
"""Given to every template, not imported by them: a live part is rendered without its page's top level."""

TASK_LAYOUT = "task.html"
"""What all `task_*.html` extend."""

Json = dict[str, Any]
View = Callable[["Visit"], Awaitable[Response]]
MAX_FORM_FIELDS = 2000


def plotly_script() -> Path | None:
    """Return plotly.js as the plotly wheel carries it (found without importing plotly, which is slow)."""
    spec = find_spec("plotly")
    path = Path(spec.origin).parent / "package_data" / "plotly.min.js" if spec and spec.origin else None
    return path if path and path.exists() else None


class Site:
    """The pages' common ground."""

    def __init__(self, api: Api, own: Identity) -> None:
        self.api = api
        self.own = own
        self.settings = api.context.settings
        self.files = {path.name: path for path in sorted(STATIC.iterdir()) if path.is_file()}
        script = plotly_script()
        if script is not None:
            self.files["plotly.min.js"] = script
        self._versions: dict[str, str] = {}
        self.templates = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.templates.filters.update(
            duration=text.duration,
            size=text.size,
            number=text.number,
            status=text.status,
            pretty=text.pretty,
            moment=text.moment,
            absolute=text.absolute,
            json_script=json_script,
            q=lambda value: quote(str(value), safe=""),
        )
        self.templates.globals.update(static=self.static, statuses=text.STATUSES, ago=text.ago, run_time=text.run_time)

    def static(self, name: str) -> str:
        """Return the address of a static file; it changes with the content, so that browsers may keep it for ever."""
        if name not in self._versions:
            path = self.files[name]
            mark = path.read_bytes() if path.parent == STATIC else f"{path.stat().st_size} {path.stat().st_mtime_ns}"
            digest = hashlib.sha256(mark if isinstance(mark, bytes) else mark.encode()).hexdigest()
            self._versions[name] = digest[:12]
        return f"/static/{name}?v={self._versions[name]}"

    def identity(self, request: Request) -> Identity | None:
        """Return for whom a request acts; None where log-in is needed first."""
        if self.settings.is_loopback:
            return self.own
        try:
            return self.api.context.auth.identity_of(request.cookies.get(SESSION_COOKIE, ""))
        except ApiError:
            return None

    def view(self, function: View) -> Callable[[Request], Awaitable[Response]]:
        """Return a view as an ASGI endpoint: signed in, with API errors shown as pages."""

        async def endpoint(request: Request) -> Response:
            identity = self.identity(request)
            if identity is None:
                here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
                return RedirectResponse(f"/login?{urlencode({'next': here})}", status_code=303)
            visit = Visit(self, request, identity)
            try:
                return await function(visit)
            except ApiError as error:
                return visit.error(error)
            except Exception:
                log.exception("page %s failed", request.url.path)
                return visit.error(ApiError(500, 100, "The page could not be made; the server's log tells why."))

        return endpoint


class Visit:
    """One request to a page, on behalf of a signed-in person."""

    def __init__(self, site: Site, request: Request, identity: Identity) -> None:
        self.site = site
        self.request = request
        self.identity = identity
        self.now = utcnow()

    @property
    def query(self) -> dict[str, str]:
        """The address's query, last value per name."""
        return dict(self.request.query_params)

    def argument(self, name: str) -> str:
        """Return a part of the path, e.g. the task id."""
        return str(self.request.path_params[name])

    async def call(self, name: str, data: Json) -> Json:
        """Call the API for the signed-in person.

        Raises:
            ApiError: As the endpoint does.
        """
        return await self.site.api.call(name, data, self.identity)

    async def form(self) -> FormData:
        """Return the sent form."""
        return await self.request.form(max_files=0, max_fields=MAX_FORM_FIELDS)

    def wants_part(self) -> bool:
        """Return whether only live parts of the page are asked for."""
        return "_part" in self.request.query_params

    def render(self, template: str, *, code: int = 200, live: bool = False, **values: Any) -> Response:
        """Return a page, or its parts that were asked for.

        Args:
            template: File below `templates/`.
            code: HTTP status.
            live: Whether the page will change by itself from here on.
            values: What the template shows.
        """
        page = self.site.templates.get_template(template)
        context = {
            "visit": self,
            "now": self.now,
            "path": self.request.url.path,
            "live": live,
            "section": None,
            "signed_in": not self.site.settings.is_loopback,
            "notice": NOTICES.get(self.request.query_params.get("notice", "")),
            **values,
        }
        for name, file in MACROS.items():
            context[name] = self.site.templates.get_template(file).make_module(context)
        headers = {"Cache-Control": "no-store"}
        parts = self.request.query_params.get("_part")
        if parts is None:
            return HTMLResponse(page.render(context), status_code=code, headers=headers)
        # A template knows its own blocks only, not those that it inherits.
        sources = [page, self.site.templates.get_template(TASK_LAYOUT)] if template.startswith("task_") else [page]
        blocks = {
            name: "".join(source.blocks[name](source.new_context(context)))
            for source in reversed(sources)
            for name in parts.split(",")
            if name in source.blocks
        }
        return JSONResponse({"parts": blocks, "live": live}, status_code=code, headers=headers)

    def json(self, value: Any) -> Response:
        """Return data for a page's script."""
        body = orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)
        return Response(body, media_type="application/json", headers={"Cache-Control": "no-store"})

    def redirect(self, path: str, notice: str = "") -> Response:
        """Return to a page after a change, with a line that says what was done."""
        joint = "&" if "?" in path else "?"
        return RedirectResponse(path + (f"{joint}notice={notice}" if notice else ""), status_code=303)

    def error(self, error: ApiError) -> Response:
        """Return the page that tells what went wrong."""
        missing = error.code == 404 or (error.code == 400 and error.subcode in UNKNOWN_OBJECT)
        code = 404 if missing else max(400, error.code)
        return self.render("error.html", code=code, error=error, missing=missing)

    def address(self, **changes: Any) -> str:
        """Return this page's address with some query values changed (None takes one away)."""
        kept = {name: value for name, value in self.query.items() if name not in ("_part", "notice")}
        merged = {name: str(value) for name, value in (kept | changes).items() if value is not None and value != ""}
        return f"{self.request.url.path}?{urlencode(merged)}" if merged else self.request.url.path

    def file_link(self, uri: str | None) -> str | None:
        """Return where the browser finds a stored file: our own files through this page's own address."""
        if not uri:
            return None
        address = urlsplit(uri)
        if address.scheme not in ("http", "https"):
            return None
        settings = self.site.settings
        own_names = {settings.advertised_host, settings.host, "localhost", "127.0.0.1", "::1"}
        if address.port == settings.files_port and address.hostname in own_names:
            return "/files" + address.path + (f"?{address.query}" if address.query else "")
        return uri


UNKNOWN_OBJECT = frozenset({101, 201, 401, 701, 301})
"""Subcodes for an id that nothing has: task, model, project, queue, user."""

NOTICES = {
    "abort": "Abort requested. A worker stops the task within a few seconds.",
    "aborted": "Aborted.",
    "enqueue": "Enqueued.",
    "dequeue": "Taken out of the queue.",
    "reset": "Reset to a draft.",
    "clone": "Cloned. This is the copy.",
    "run": "New run enqueued. This is it.",
    "archive": "Archived.",
    "unarchive": "Taken out of the archive.",
    "moved": "Queue order changed.",
    "removed": "Taken out of the queue.",
    "created": "Created.",
    "publish": "Published.",
    "delete": "Deleted.",
}
"""What a page says after a change, by the address's `notice`: fixed texts only, so that no link can put words here."""


def json_script(value: Any) -> Markup:
    """Return JSON that may stand inside `<script type="application/json">`: nothing in it can end the element."""
    body = value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()
    for character, code in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026")):
        body = body.replace(character, code)
    return Markup(body)  # noqa: S704  the three characters that HTML knows are gone
