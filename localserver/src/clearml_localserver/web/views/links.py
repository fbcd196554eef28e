"""URLs of the genuine web application, which the SDK prints: each is redirected to our page for the same thing."""

from __future__ import annotations

from starlette.responses import RedirectResponse, Response

from clearml_localserver.web.site import Visit

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
