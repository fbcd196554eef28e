"""Where models are served: the endpoints that containers report, each with its model, task and use over time."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import quote

from starlette.responses import Response

from clearml_localserver.errors import ApiError
from clearml_localserver.web import charts, comparison
from clearml_localserver.web.charts import Chart, Line
from clearml_localserver.web.site import Json, Visit
from clearml_localserver.web.text import moment
from clearml_localserver.web.views.lists import find_tasks

MOST_ENDPOINTS = 50
"""Endpoints whose containers are looked at for one page."""

MOST_MODELS = 500
DAY_S, STEP_S = 86_400, 600
CHARTS = {"requests_min": ("Requests per minute", ""), "latency_ms": ("Latency", " ms")}
"""What is drawn of an endpoint: metric of the API → title and unit."""


@dataclass
class Endpoint:
    """An address at which containers serve a model."""

    details: Json
    models: list[Json] = field(default_factory=list)
    """The models of this server that its containers name by id or by the address of their file."""

    @property
    def url(self) -> str:
        """Its address, by which the API knows it."""
        return str(self.details["url"])

    @property
    def href(self) -> str:
        """The address of its page."""
        return f"/endpoints/{quote(self.url, safe='', errors='replace')}"

    @property
    def since(self) -> float | None:
        """When its oldest container began to serve, in seconds since 1970."""
        reported = [(moment(item["last_update"]), item["uptime_sec"]) for item in self.details["instances"]]
        return min((at.timestamp() - (uptime or 0) for at, uptime in reported if at), default=None)

    def named(self, *kinds: str) -> list[str]:
        """Return what its containers refer to."""
        references = [item for container in self.details["instances"] for item in container["reference"]]
        return [*dict.fromkeys(item["value"] for item in references if item["type"] in kinds and item["value"])]


def find_endpoints(visit: Visit) -> list[Endpoint]:
    """Return the endpoints with their models, in the order of their addresses."""
    return _looked_at(visit, visit.call("serving.get_endpoints", {})["endpoints"])


def _looked_at(visit: Visit, rows: list[Json]) -> list[Endpoint]:
    found = [endpoint for row in rows[:MOST_ENDPOINTS] if (endpoint := _endpoint(visit, row["url"])) is not None]
    return _with_models(visit, found)


def _endpoint(visit: Visit, url: str) -> Endpoint | None:
    """Return an endpoint; None if nothing serves at the address any more."""
    try:
        return Endpoint(visit.call("serving.get_endpoint_details", {"endpoint_url": url}))
    except ApiError as error:
        if error.code == 400:
            return None
        raise


def _with_models(visit: Visit, endpoints: list[Endpoint]) -> list[Endpoint]:
    ids = sorted({id_ for endpoint in endpoints for id_ in endpoint.named("model")})
    files = sorted({file for endpoint in endpoints for file in _files(endpoint)})
    found: dict[str, Json] = {}
    for query in ({"id": ids}, {"uri": files}):
        if any(query.values()):
            shown = {"page": 0, "page_size": MOST_MODELS, "only_fields": ["name", "uri"], "search_hidden": True}
            found |= {model["id"]: model for model in visit.call("models.get_all_ex", query | shown)["models"]}
    for endpoint in endpoints:
        wanted, own = set(endpoint.named("model")), set(_files(endpoint))
        endpoint.models = [model for id_, model in found.items() if id_ in wanted or model["uri"] in own]
    return endpoints


def _files(endpoint: Endpoint) -> list[str]:
    """Return addresses of model files that an endpoint names."""
    source = endpoint.details["model_source"]
    return [*endpoint.named("url"), *([source] if source else [])]


def serving(visit: Visit, model: str) -> list[Endpoint]:
    """Return the endpoints that serve a model."""
    return [endpoint for endpoint in find_endpoints(visit) if any(item["id"] == model for item in endpoint.models)]


def endpoints(visit: Visit) -> Response:
    """List the endpoints, and the containers that still load their model."""
    rows = visit.call("serving.get_endpoints", {})["endpoints"]
    found = {endpoint.url: endpoint for endpoint in _looked_at(visit, rows)}
    loading = visit.call("serving.get_loading_instances", {})["instances"]
    return visit.render("endpoints.html", section="/endpoints", live=True, rows=rows, found=found, loading=loading)


def endpoint(visit: Visit) -> Response:
    """Show one endpoint: what it serves, its containers, and their use over the last day."""
    url = visit.argument("url")
    found = _endpoint(visit, url)
    if found is None:
        raise ApiError(404, 0, f"No container serves a model at {url[:200]}")
    _with_models(visit, [found])
    ids = found.named("task")
    return visit.render(
        "endpoint.html",
        section="/endpoints",
        live=True,
        endpoint=found,
        tasks=find_tasks(visit, {"id": ids}, size=len(ids), fields=["name", "status"]) if ids else [],
        drawings=_drawings(visit, url),
    )


def _drawings(visit: Visit, url: str) -> list[tuple[str, str, Chart]]:
    now = int(visit.now.timestamp())

    def history(metric: str) -> list[tuple[float, float | None]]:
        asked = {"endpoint_url": url, "from_date": now - DAY_S, "to_date": now + 1, "interval": STEP_S}
        curve = visit.call("serving.get_endpoint_metrics_history", asked | {"metric_type": metric})["total"]
        return [((date or 0) / 1000, value) for date, value in zip(curve["dates"], curve["values"], strict=False)]

    # An interval without a report, which the API tells as 0 but for the number of requests, is a hole.
    reported = {at for at, _ in history("requests")}
    drawings = []
    for metric, (title, unit) in CHARTS.items():
        pairs = history(metric)
        values = [value if at in reported else None for at, value in pairs]
        line = Line(title, comparison.colours(1)[0], [at for at, _ in pairs], values)
        drawing = charts.draw([line], "clock", least=0, span=(now - DAY_S, now), unit=unit)
        if drawing is not None:
            drawings.append((title, unit, drawing))
    return drawings
