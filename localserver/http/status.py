"""What the server says of itself to whoever watches it, on the API port: `/healthz`."""

from __future__ import annotations

import math

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from localserver.http.loop import LoopMonitor

WINDOW_S = 60.0


def status_routes(monitor: LoopMonitor) -> list[Route]:
    """Return the routes that stand before the API's own."""

    async def healthz(request: Request) -> Response:
        """Tell that the process answers, and how long its event loop stood still at most (`?window_s=` seconds)."""
        window_s = _seconds(request.query_params.get("window_s"), WINDOW_S)
        loop = {
            "longest_stall_ms": _ms(monitor.longest_s),
            "recent_stall_ms": _ms(monitor.recent_s(window_s)),
            "window_s": window_s,
        }
        return JSONResponse({"status": "ok", "loop": loop}, headers={"Cache-Control": "no-store"})

    return [Route("/healthz", healthz, methods=["GET"])]


def _seconds(text: str | None, otherwise: float) -> float:
    try:
        found = float(text) if text else otherwise
    except ValueError:
        return otherwise
    return found if math.isfinite(found) and 0 <= found <= WINDOW_S else otherwise


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
