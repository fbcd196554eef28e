"""What all pages share: threads, templates, calls to the API, who is signed in, error pages, live parts.

A view is a plain function that runs on a thread of its own, never on the event loop: whatever it reads, computes and
renders grows with what users store, and agents and SDKs must go on being answered meanwhile. `Site` moves every view
there, and `Visit.call` moves the view's calls back to the loop, so no view has to think of it (on the loop, a call
is refused).

A page that changes by itself is asked for again with `?_part=name,…`; the answer is then JSON with just those blocks of
its template (`static/app.js` puts them in place). So a page and its live parts are one view and one template.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl, quote, urlencode

from anyio import CapacityLimiter, from_thread, to_thread
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp

from clearml_localserver.auth import Identity
from clearml_localserver.errors import ApiError, unauthorized
from clearml_localserver.rules import roles
from clearml_localserver.times import utcnow
from clearml_localserver.web import text
from clearml_localserver.web.api_words import UNKNOWN_OBJECT, readable, with_plain_ids
from clearml_localserver.web.asked import Asked
from clearml_localserver.web.compression import PackedFiles, pack
from clearml_localserver.web.environment import make_environment
from clearml_localserver.web.isolation import isolate
from clearml_localserver.web.kept_forms import MAX_FORM_FIELDS, NOT_KEPT, SESSION_ENDED, KeptForm
from clearml_localserver.web.notices import NOTICES
from clearml_localserver.web.own_files import delete_file, read_file
from clearml_localserver.web.plotly_file import PLOTLY, plotly_script
from clearml_localserver.web.receipts import room_of
from clearml_localserver.web.replies import REPLIES
from clearml_localserver.web.shown_once import ShownOnce
from clearml_localserver.web.themes import theme_of
from clearml_localserver.wire import Api

log = logging.getLogger(__name__)

HERE = Path(__file__).parent
STATIC = HERE / "static"
SESSION_COOKIE = "localserver_session"
"""Not the API's own cookie: the API takes that one from a plain link too, which a foreign page can make one follow."""

MACROS = {
    "m": "macros.html",
    "d": "drawing.html",
    "t": "table_macros.html",
    "f": "form_macros.html",
    "c": "chart_macros.html",
    "p": "step_panel.html",
}
"""Given to every template, not imported by them: a live part is rendered without its page's top level."""

TASK_LAYOUT = "task.html"
"""What all `task_*.html` extend."""

Json = dict[str, Any]
View = Callable[["Visit"], Response]
Endpoint = Callable[[Request], Awaitable[Response]]

PASSING = frozenset({"_part", "notice", "undo", "changed", "made"})
"""Names of a query that mean one visit only: no link of a page repeats them."""

PAGES_AT_ONCE = 4
"""Threads for views. They take turns at the interpreter, so more would only take more memory."""


ORIGINS = {"task": "/tasks", "model": "/models", "report": "/reports", "project": "/projects"}
"""Names in the paths of pages, and where the page of such a document is."""


class Site:
    """The pages' common ground."""

    def __init__(self, api: Api, own: Identity, files: ASGIApp) -> None:
        self.api = api
        self.own = own
        self.stored_files = files
        self.settings = api.context.settings
        self.files = {path.name: path for path in sorted(STATIC.iterdir()) if path.is_file()}
        if PLOTLY not in self.files and (script := plotly_script()):  # a checkout: only the wheel brings its own
            self.files[PLOTLY] = script
        self.packed = PackedFiles()
        self.made_keys = ShownOnce()
        self._versions: dict[str, str] = {}
        self._threads = CapacityLimiter(PAGES_AT_ONCE)
        self.templates = make_environment(self.static)

    def static(self, name: str) -> str:
        """Return the address of a static file; it changes with the content, so that browsers may cache it forever."""
        if name not in self._versions:
            path = self.files[name]
            mark = path.read_bytes() if path.parent == STATIC else f"{path.stat().st_size} {path.stat().st_mtime_ns}"
            digest = hashlib.sha256(mark if isinstance(mark, bytes) else mark.encode()).hexdigest()
            self._versions[name] = digest[:12]
        return f"/static/{name}?v={self._versions[name]}"

    def identity(self, request: Request) -> Identity | None:
        """Return for whom a request acts; None where log-in is needed first."""
        found = self.own
        if not self.settings.is_loopback:
            try:
                found = self.api.context.auth.identity_of(request.cookies.get(SESSION_COOKIE, ""))
            except ApiError:
                return None
        request.state.user = found.user
        return found

    def view(self, function: View) -> Endpoint:
        """Return a view as an ASGI endpoint: on a thread, for signed-in people, with API errors shown as pages."""

        def signed_in(visit: Visit) -> Response:
            if visit.identity is None and visit.request.method == "POST":
                return visit.ask_to_log_in(visit.kept_form(), SESSION_ENDED)
            if visit.identity is None:
                return RedirectResponse(f"/login?{urlencode({'next': visit.here})}", status_code=303)
            return function(visit)

        return self.open_view(signed_in)

    def change(self, function: View) -> Endpoint:
        """Return the same for a view that changes what others see: people who only read are refused."""

        def allowed(visit: Visit) -> Response:
            visit.require_change()
            return function(visit)

        return self.view(allowed)

    def open_view(self, function: View) -> Endpoint:
        """Return the same for a view that needs no session."""

        async def endpoint(request: Request) -> Response:
            return await self.answer(request, function)

        return endpoint

    async def answer(self, request: Request, function: View) -> Response:
        """Run a view on a thread and return its answer."""
        identity, body = self.identity(request), b""
        if request.method == "POST":  # the gate asks for a length, and bounds it
            length = int(request.headers["Content-Length"])
            if identity is None and length > room_of(self.api.context.auth, request).bytes:
                function = too_large
            else:
                try:
                    body = await request.body()
                except ClientDisconnect:
                    return Response(status_code=499)
        return await to_thread.run_sync(self._answer, request, identity, body, function, limiter=self._threads)

    def _answer(self, request: Request, identity: Identity | None, body: bytes, function: View) -> Response:
        return pack(self._made(Visit(self, request, body, identity), function), request.headers)

    def _made(self, visit: Visit, function: View) -> Response:
        try:
            return function(visit)
        except ApiError as error:
            return visit.error(error, visit.kept_form())
        except Exception:  # the last guard: a person gets a page, the log the cause
            log.exception("page %s failed", visit.request.url.path)
            return visit.error(ApiError(500, 100, "The page could not be made; see the server's log."))


def shown(page: str) -> str:
    """Return the text of a page or of a part of it as it is sent."""
    return isolate(text.visible(page))


def too_large(visit: Visit) -> Response:
    """Answer a form that is larger than what is read from people without a session."""
    return visit.ask_to_log_in(None, NOT_KEPT, code=413)


class Visit:
    """One request to a page, on behalf of the signed-in person, if the page needs a session."""

    def __init__(self, site: Site, request: Request, body: bytes, identity: Identity | None) -> None:
        self.site = site
        self.request = request
        self.body = body
        self.identity = identity
        self.now = utcnow()

    @property
    def may_change(self) -> bool:
        """Whether the signed-in person may do more than read; others are offered no actions."""
        return self.identity is not None and roles.reaches(self.identity.role, roles.USER)

    def require_change(self) -> None:
        """Refuse a person who only reads.

        Raises:
            ApiError: 403.
        """
        if not self.may_change:
            raise ApiError(403, 20, "Your role only reads")

    @property
    def here(self) -> str:
        """The address that was asked for."""
        return self.request.url.path + (f"?{self.request.url.query}" if self.request.url.query else "")

    @property
    def query(self) -> dict[str, str]:
        """The address's query, last value per name."""
        return dict(self.request.query_params)

    @property
    def asked(self) -> Asked:
        """The address's query, read by kinds of values; what cannot be understood is refused."""
        return Asked(self.request.query_params)

    def argument(self, name: str) -> str:
        """Return a part of the path, e.g. the task id."""
        return str(self.request.path_params[name])

    def call(self, name: str, data: Json) -> Json:
        """Call the API for the signed-in person and return what the pages read of its reply; the thread waits.

        Raises:
            ApiError: As the endpoint does; 401 without a session.
        """
        if self.identity is None:
            raise unauthorized(20, "log in first")
        shape = REPLIES[name]
        try:
            reply = from_thread.run(self.site.api.call, name, with_plain_ids(data), self.identity)
        except ApiError as error:
            raise readable(error) from error
        return cast(Json, shape(reply))

    def delete_file(self, path: str) -> bool:
        """Delete a file of this server for a person who may change things; return whether there was one.

        Raises:
            ApiError: 403 for a person who may not.
        """
        self.require_change()
        return from_thread.run(delete_file, self.site.stored_files, path)

    def read_file(self, path: str, most: int) -> tuple[str, bytes] | None:
        """Return the media type and the bytes of a file of this server; None if there is none, or it is too long."""
        return from_thread.run(read_file, self.site.stored_files, path, most)

    def form(self) -> dict[str, str]:
        """Return the sent form, last value per name.

        Raises:
            ApiError: It has too many fields.
        """
        return dict(self.form_items())

    def form_items(self) -> list[tuple[str, str]]:
        """Return the fields of the sent form with their values.

        Raises:
            ApiError: It has too many fields.
        """
        text = self.body.decode(errors="replace")
        try:
            return parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FORM_FIELDS)
        except ValueError as error:
            raise ApiError(413, 0, f"A form has at most {MAX_FORM_FIELDS} fields; nothing was changed") from error

    def kept_form(self) -> KeptForm | None:
        """Return what a signed-in person, or one whose session has ended, has sent; None where it is too much."""
        if self.request.method != "POST":
            return None
        try:
            kept = KeptForm(self.request.url.path, tuple(self.form_items()))
        except ApiError:
            return None
        if self.identity is not None:  # no log-in page has to carry it
            return kept
        return kept if kept.fits(len(self.body), room_of(self.site.api.context.auth, self.request)) else None

    def ask_to_log_in(self, kept: KeptForm | None, problem: str, *, code: int = 401) -> Response:
        """Return the log-in page, which carries the form that was sent; nothing has been changed."""
        code, problem = (code, problem) if kept or code == 413 else (413, NOT_KEPT)
        return self.render("login.html", code=code, after="/", problem=problem, kept=kept, unkept=kept is None)

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
            "theme": theme_of(self.request),
            "kept": False,
            "wrong": (),
            "conflict": code == 409,
            "signed_in": not self.site.settings.is_loopback,
            "notice": NOTICES.get(self.query.get("notice", ""), "").format(count=self.asked.count("changed")),
            **values,
        }
        for name, file in MACROS.items():
            context[name] = self.site.templates.get_template(file).make_module(context)
        headers = {"Cache-Control": "no-store"}
        parts = self.request.query_params.get("_part")
        if parts is None:
            return HTMLResponse(shown(page.render(context)), status_code=code, headers=headers)
        # A template knows its own blocks only, not those that it inherits.
        sources = [page, self.site.templates.get_template(TASK_LAYOUT)] if template.startswith("task_") else [page]
        blocks = {
            name: shown("".join(source.blocks[name](source.new_context(context))))
            for source in reversed(sources)
            for name in parts.split(",")
            if name in source.blocks
        }
        return JSONResponse({"parts": blocks, "live": live}, status_code=code, headers=headers)

    def json(self, value: Any) -> Response:
        """Return data for a page's script."""
        return Response(text.encoded(value), media_type="application/json", headers={"Cache-Control": "no-store"})

    def redirect(self, path: str, notice: str = "") -> Response:
        """Return to a page after a change, with a line that says what was done."""
        joint = "&" if "?" in path else "?"
        return RedirectResponse(path + (f"{joint}notice={notice}" if notice else ""), status_code=303)

    def error(self, error: ApiError, kept: KeptForm | None = None) -> Response:
        """Return the error page; with the form that was refused, so that it can be corrected."""
        missing = error.code == 404 or (error.code == 400 and error.subcode in UNKNOWN_OBJECT)
        code = 404 if missing else max(400, error.code)
        kept = kept if self.may_change else None
        return self.render("error.html", code=code, error=error, missing=missing, kept=kept, origin=self._origin(error))

    def _origin(self, error: ApiError) -> tuple[str, str] | None:
        """Return the address and the kind of what the page is about; nothing if the error says that it is missing."""
        for kind, start in ORIGINS.items():
            id_ = self.request.path_params.get(kind)
            if id_ and id_ not in error.msg:
                return f"{start}/{quote(id_, safe='', errors='replace')}", kind
        return None

    def address(self, **changes: Any) -> str:
        """Return this page's address with some query values changed.

        Args:
            changes: By name: a value, a list of values, or None to take the name away.
        """
        return self.address_of(self.request.url.path, **changes)

    def address_of(self, path: str, **changes: Any) -> str:
        """Return the address of another page with this page's query, some of its values changed as in `address`."""
        kept = [
            (name, value)
            for name, value in self.request.query_params.multi_items()
            if name not in PASSING and name not in changes and value != ""
        ]
        for name, change in changes.items():
            values = change if isinstance(change, list) else [change]
            kept += [(name, str(value)) for value in values if value is not None and value != ""]
        return f"{path}?{urlencode(kept, errors='replace')}" if kept else path

    def file_link(self, uri: str | None) -> str | None:
        """Return where the browser finds a stored file: our own files through this page's own address."""
        if not uri:
            return None
        address = text.address(uri)
        if address is None:
            return None
        settings = self.site.settings
        own_names = {settings.advertised_host, settings.host, "localhost", "127.0.0.1", "::1"}
        if address.port == settings.files_port and address.hostname in own_names:
            return "/files" + address.path + (f"?{address.query}" if address.query else "")
        return address.geturl()
