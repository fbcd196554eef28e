"""Endpoints for monitoring, on the API port: `/healthz`, `/readyz`, `/metrics`.

The first two answer yes or no and need no access key, since probes have none. Metrics contain names of queues, so they
need a key wherever the API can be reached from other machines or under another name than this machine's.
"""

from __future__ import annotations

import asyncio
import logging
import math
import shutil
import time
from dataclasses import dataclass
from importlib import import_module

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from clearml_localserver.auth import Presented
from clearml_localserver.errors import ApiError
from clearml_localserver.http.connection_manager import ConnectionManager
from clearml_localserver.http.loop import LoopMonitor
from clearml_localserver.http.request_metrics import AccessLog, RequestCounters
from clearml_localserver.http.server_state import FolderSize, database_bytes, read_state
from clearml_localserver.store import Tx
from clearml_localserver.tables.settings import write_setting
from clearml_localserver.times import utcnow
from clearml_localserver.web.request_guard import is_own_host
from clearml_localserver.wire import Api

log = logging.getLogger(__name__)

WINDOW_S = 60.0
WRITE_WITHIN_S = 5.0
READY_FOR_S = 1.0
"""For how long an answer to "ready?" holds: so that requests without a key cannot keep the disk busy."""

NO_STORE = {"Cache-Control": "no-store"}


@dataclass(frozen=True)
class Observed:
    """What is watched while the server runs."""

    connection_manager: ConnectionManager
    monitor: LoopMonitor
    counters: RequestCounters
    access_log: AccessLog | None


class Status:
    """The endpoints for operators.

    Args:
        api: The API, whose database is asked.
        observed: The figures of connections, event loop and requests.
    """

    def __init__(self, api: Api, observed: Observed) -> None:
        self.api = api
        self.observed = observed
        self.settings = api.context.settings
        self._files = FolderSize(api.context.files_root)
        self._asking = asyncio.Lock()
        self._checked: dict[str, str] = {}
        self._checked_at = -math.inf

    def routes(self) -> list[Route]:
        """Return the routes, which stand before the API's own."""
        pages = {"/healthz": self.healthz, "/readyz": self.readyz, "/metrics": self.metrics}
        return [Route(path, page, methods=["GET"]) for path, page in pages.items()]

    async def healthz(self, request: Request) -> Response:
        """Tell that the process answers, and how long its event loop stalled at most (`?window_s=` seconds)."""
        window_s = _seconds(request.query_params.get("window_s"), WINDOW_S)
        loop = {
            "longest_stall_ms": _ms(self.observed.monitor.longest_s),
            "recent_stall_ms": _ms(self.observed.monitor.recent_s(window_s)),
            "window_s": window_s,
        }
        return JSONResponse({"status": "ok", "loop": loop}, headers=NO_STORE)

    async def readyz(self, request: Request) -> Response:
        """Return whether requests can be served: the database takes a write, and the disk has room."""
        async with self._asking:
            if time.monotonic() >= self._checked_at + READY_FOR_S:
                self._checked = {"database": await self._database(), "disk": self._disk()}
                self._checked_at = time.monotonic()
        ready = set(self._checked.values()) == {"ok"}
        content = {"status": "ready" if ready else "not ready", "checks": self._checked}
        return JSONResponse(content, status_code=200 if ready else 503, headers=NO_STORE)

    async def metrics(self, request: Request) -> Response:
        """Answer the figures in Prometheus' text format."""
        # On a loopback address every client is trusted, but not a page whose name was pointed here.
        if not self.settings.is_loopback or not is_own_host(request.headers.get("Host", ""), self.settings):
            address = request.client.host if request.client else ""
            try:
                self.api.context.auth.authenticate(Presented.of(request.headers, request.cookies, address))
            except ApiError as error:
                headers = {"WWW-Authenticate": "Basic"} if error.code == 401 else {}
                return PlainTextResponse(error.msg + "\n", status_code=error.code, headers=headers)
        server_state = await self.api.store.read(lambda tx: read_state(tx, utcnow()))
        await self._files.look()
        prometheus = await asyncio.to_thread(import_module, "clearml_localserver.http.prometheus")
        access_log = self.observed.access_log
        found = [
            *prometheus.requests(self.observed.counters),
            *prometheus.connections(self.observed.connection_manager, access_log.lost if access_log else 0),
            *prometheus.event_loop(self.observed.monitor),
            *prometheus.state(server_state),
            *prometheus.storage(
                database_bytes(self.settings.data), self._files.bytes, self._files.files, self._free_bytes()
            ),
        ]
        body = await asyncio.to_thread(prometheus.text, found)
        return Response(body, headers=NO_STORE | {"Content-Type": prometheus.CONTENT_TYPE})

    async def _database(self) -> str:
        try:
            await asyncio.wait_for(self.api.store.write(_touch), WRITE_WITHIN_S)
        except asyncio.TimeoutError:
            return f"a write takes more than {WRITE_WITHIN_S:.0f} s"
        except Exception:  # whatever it is that keeps the database from being written, the answer is "not ready"
            log.exception("the database cannot be written")
            return "cannot be written; see the server's log"
        return "ok"

    def _disk(self) -> str:
        least = self.settings.min_free_bytes
        return "ok" if self._free_bytes() >= least else f"less than {least} bytes are free"

    def _free_bytes(self) -> int:
        return shutil.disk_usage(self.settings.data).free


def _touch(tx: Tx) -> None:
    write_setting(tx, "ready_at", utcnow().isoformat())


def _seconds(text: str | None, otherwise: float) -> float:
    try:
        found = float(text) if text else otherwise
    except ValueError:
        return otherwise
    return found if math.isfinite(found) and 0 <= found <= WINDOW_S else otherwise


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
