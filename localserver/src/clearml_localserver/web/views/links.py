"""URLs of the genuine web application, which the SDK prints: each is redirected to our page for the same thing."""

from __future__ import annotations

from urllib.parse import quote

from starlette.responses import RedirectResponse, Response

from clearml_localserver.web.site import View, Visit

TABS = {
    "output/log": "console",
    "info-output/log": "console",
    "output/metrics/scalar": "scalars",
    "info-output/metrics/scalar": "scalars",
    "output/metrics/plots": "plots",
    "info-output/metrics/plots": "plots",
    "output/debugImages": "samples",
    "info-output/debugImages": "samples",
    "hyper-params/hyper-param": "parameters",
    "hyper-params/configuration": "parameters",
    "artifacts": "artifacts",
    "execution": "overview",
    "general": "overview",
}
"""The rest of a task's address there → our tab. Longer rests start with one of these."""


def task_link(visit: Visit) -> Response:
    """Lead `/projects/<id>/(experiments|tasks)/<id>/…` to our task page, with the tab that was meant."""
    rest = str(visit.request.path_params.get("rest") or "").strip("/")
    task = visit.argument("task")
    tab = next((tab for start, tab in TABS.items() if rest == start or rest.startswith(f"{start}/")), None)
    return RedirectResponse(f"/tasks/{task}/{tab}" if tab else f"/tasks/{task}", status_code=302)


def model_link(visit: Visit) -> Response:
    """Lead `/projects/<id>/models/<id>/…` to our model page."""
    return RedirectResponse(f"/models/{visit.argument('model')}", status_code=302)


def project_link(visit: Visit) -> Response:
    """Lead `/projects/<id>/…` to our project page."""
    return RedirectResponse(f"/projects/{visit.argument('project')}", status_code=302)


def comparison_link(visit: Visit) -> Response:
    """Lead `/projects/<id>/compare-experiments;ids=a,b/…` and its like for models to our page that compares."""
    kind, ids = visit.argument("kind"), visit.argument("ids").partition("/")[0]
    page = "/compare/models" if kind == "models" else "/compare"
    return RedirectResponse(f"{page}?ids={quote(ids, safe=',')}", status_code=302)


def leads_to(page: str) -> View:
    """Return the view that leads to another page, with the query that was given."""

    def lead(visit: Visit) -> Response:
        query = visit.request.url.query
        return RedirectResponse(f"{page}?{query}" if query else page, status_code=302)

    return lead


def workers_link(visit: Visit) -> Response:
    """Lead `/workers-and-queues/<tab>` to queues or workers."""
    tab = visit.argument("rest").partition("/")[0]
    return RedirectResponse("/queues" if tab == "queues" else "/workers", status_code=302)
