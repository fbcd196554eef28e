"""One process, three services: binds the ports, wires the parts together, runs until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import logging
import math
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

import clearml_localserver.endpoints  # noqa: F401  registers every endpoint
from clearml_localserver import bootstrap
from clearml_localserver.auth import Auth, Presented
from clearml_localserver.database import FILE_NAME
from clearml_localserver.errors import ApiError, StartError
from clearml_localserver.events.store import LOST, sweep
from clearml_localserver.files import create_files_app
from clearml_localserver.http.connection_manager import ConnectionManager, allow_many_files
from clearml_localserver.http.loop import LoopMonitor
from clearml_localserver.http.protocol import GuardedConnection
from clearml_localserver.http.request_metrics import AccessLog, RequestCounters, RequestMetrics
from clearml_localserver.http.status import Observed, Status
from clearml_localserver.lifecycle import Watch, look_after_tasks
from clearml_localserver.registry import Context
from clearml_localserver.request_schemas import RequestSchemas
from clearml_localserver.rules import roles
from clearml_localserver.server_faults import LogFaults
from clearml_localserver.settings import Settings
from clearml_localserver.store import TURN_S, Store
from clearml_localserver.times import utcnow
from clearml_localserver.topics import Topics
from clearml_localserver.web import address_too_long, create_web_app
from clearml_localserver.wire import Api

log = logging.getLogger(__name__)

WATCHDOG_PERIOD_S = 15.0
BACKLOG = 512
LAST_PORT = 65_535


@dataclass(frozen=True)
class Sockets:
    """The three listening sockets."""

    api: socket.socket
    web: socket.socket
    files: socket.socket


def bind(settings: Settings) -> tuple[Settings, Sockets]:
    """Bind the ports before anything is written; port 0 means a free one, which the returned settings name.

    Raises:
        StartError: A port is taken or the address is not this machine's.
    """
    with contextlib.ExitStack() as opened:
        sockets = {}
        for service in ("api", "web", "files"):
            port = getattr(settings, f"{service}_port")
            sockets[service] = opened.enter_context(_listen(settings.host, port, service))
        opened.pop_all()
    ports = {f"{service}_port": sock.getsockname()[1] for service, sock in sockets.items()}
    return replace(settings, **ports), Sockets(**sockets)


def _listen(host: str, port: int, service: str) -> socket.socket:
    if not 0 <= port <= LAST_PORT:
        raise StartError(
            f"{service} port {port} is not a port\nHint: choose one of 1 to {LAST_PORT}, or 0 for a free one"
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        hint = f"end what listens there (ss -ltnp 'sport = :{port}') or move all three ports, e.g. --port-base 9000"
        if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            hint = "--host takes an address of this machine: 127.0.0.1 for it alone, 0.0.0.0 for all of its addresses"
        raise StartError(f"{service} port {port} on {host} cannot be used: {error.strerror}\nHint: {hint}") from error
    return sock


@contextlib.asynccontextmanager
async def open_api(
    settings: Settings, observed: Observed
) -> AsyncIterator[tuple[Api, Auth, ASGIApp, ASGIApp, ASGIApp]]:
    """Open the database and yield the API with the three ASGI applications over it."""
    bootstrap.refuse_lost_database(settings.data)
    store = Store(settings.data / FILE_NAME)
    try:
        credentials = bootstrap.load_credentials(settings.data)
        try:
            auth = await bootstrap.load_auth(store, credentials)
        except ApiError as error:  # the database cannot be read or written
            raise StartError(error.msg) from error
        bootstrap.write_client_configuration(settings, credentials)
        topics = Topics()
        store.on_commit(topics.fire_from_thread)
        api = Api(store, RequestSchemas.load(), Context(settings, auth), topics)

        def authenticate(request: Request) -> None:
            address = request.client.host if request.client else ""
            caller = auth.authenticate(Presented.of(request.headers, request.cookies, address))
            request.state.user = caller.user
            roles.require(caller.role, roles.GUEST if request.method in ("GET", "HEAD") else roles.USER)

        files = settings.data / "files"
        files_app = create_files_app(files, authenticate, settings.max_upload_bytes)
        # The pages show files under their own address and let in whom they show pages to.
        shown_files = create_files_app(files, lambda request: None, settings.max_upload_bytes)
        yield api, auth, _api_app(api, Status(api, observed)), files_app, create_web_app(api, auth.own, shown_files)
    finally:
        store.close()


def _api_app(api: Api, status: Status) -> ASGIApp:
    """Return the API with the operators' pages before it; any path and any method is the API's to answer."""
    routes = status.routes()
    paths = {route.path for route in routes}
    pages = Starlette(routes=routes)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in paths:
            await pages(scope, receive, send)
        else:
            response = await api.handle(Request(scope, receive, send))
            await response(scope, receive, send)

    return app


async def serve(
    settings: Settings, sockets: Sockets, ready: Callable[[Settings], None], *, until_stdin_closes: bool = False
) -> None:
    """Run the server until SIGTERM or SIGINT; call `ready` once all three services answer.

    Args:
        settings: As `bind` returned them.
        sockets: The listening sockets.
        ready: Told the settings when requests are answered.
        until_stdin_closes: End also when standard input does, i.e. when the process that started this one is gone.
    """
    observed = Observed(
        ConnectionManager(settings, allow_many_files()),
        LoopMonitor(),
        RequestCounters(),
        _access_log(settings.access_log) if settings.access_log else None,
    )
    async with contextlib.AsyncExitStack() as opened:
        if observed.access_log is not None:
            opened.enter_context(observed.access_log.open())
        api, _, api_app, files_app, web_app = await opened.enter_async_context(open_api(settings, observed))
        services = {
            "api": (api_app, sockets.api),
            "files": (files_app, sockets.files),
            "web": (web_app, sockets.web),
        }
        servers = [_Server(name, app, observed) for name, (app, _) in services.items()]
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, stopping.set)
        if until_stdin_closes:
            try:
                loop.add_reader(sys.stdin.fileno(), stopping.set)
            except PermissionError as error:  # a file or /dev/null: it never tells that anybody has gone
                raise StartError("--until-stdin-closes needs a pipe as standard input, not a file") from error
        running = [
            asyncio.create_task(server.serve(sockets=[sock]))
            for server, (_, sock) in zip(servers, services.values(), strict=True)
        ]
        background = [
            asyncio.create_task(_watch(api)),
            asyncio.create_task(_sweep(api)),
            asyncio.create_task(observed.connection_manager.keep_sweeping()),
        ]
        while not all(server.started for server in servers):
            await asyncio.sleep(0.01)
        observed.monitor.start()
        # What the start has made stays. To look through it in every full garbage collection stops all threads for 20
        # ms, after every few hundred answers.
        gc.freeze()
        ready(settings)
        await stopping.wait()
        observed.monitor.stop()
        for task in background:
            task.cancel()
        await api.topics.close()
        for server in servers:
            server.should_exit = True
        await asyncio.gather(*running)


def _access_log(target: str) -> AccessLog:
    try:
        return AccessLog(target)
    except OSError as error:
        raise StartError(
            f"access log {target} cannot be written: {error.strerror}\nHint: name a file in a folder that exists"
        ) from error


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: three of them share this process, which stops them together."""

    def __init__(self, service: str, app: ASGIApp, observed: Observed) -> None:
        limits = observed.connection_manager.settings
        pages = {414: address_too_long(limits.max_header_bytes)} if service == "web" else {}
        super().__init__(
            uvicorn.Config(
                RequestMetrics(LogFaults(app), service, observed.counters, observed.access_log),
                http=partial(GuardedConnection, observed.connection_manager, pages),  # type: ignore[arg-type]
                ws="none",
                lifespan="off",
                access_log=False,
                log_config=None,
                timeout_graceful_shutdown=5,
                timeout_keep_alive=math.ceil(limits.idle_timeout_s),
                server_header=False,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _sweep(api: Api) -> None:
    """Delete events without an owner, a turn of the writer at a time."""
    while True:
        mark = api.topics.sequence
        try:
            more = await api.store.write(sweep)
        except Exception:  # a full disk, say: it must go on when that is over
            log.exception("deleting events failed; trying again in %s s", WATCHDOG_PERIOD_S)
            more = False
        if more:
            await asyncio.sleep(TURN_S)  # as long as the turn: the writer is half free
        else:
            await api.topics.wait({LOST}, mark, WATCHDOG_PERIOD_S)


async def _watch(api: Api) -> None:
    """End or requeue tasks whose worker is gone, since nothing else reports them."""
    settings = api.context.settings
    watch = Watch(WATCHDOG_PERIOD_S, utcnow())
    while True:
        await asyncio.sleep(WATCHDOG_PERIOD_S)
        now = utcnow()
        listening_since = watch.look(now, time.monotonic())
        look = partial(look_after_tasks, now=now, settings=settings, listening_since=listening_since)
        try:
            await api.store.write(look)
        except Exception:
            log.exception("the check of tasks whose worker is gone failed; trying again in %s s", WATCHDOG_PERIOD_S)
