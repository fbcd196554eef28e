"""What a task reported as numbers and figures: scalars, plots."""

from __future__ import annotations

from starlette.responses import Response

from clearml_localserver.web.request_guard import page_policy
from clearml_localserver.web.shapes import MAX_JSON, line, list_of, read_json, record
from clearml_localserver.web.site import Visit
from clearml_localserver.web.views.tasks import is_live, load, render_tab

SAMPLES = 1000
"""Points of a curve: a screen shows hardly more, and the envelope keeps what lies between them."""

PLOTS_PER_PAGE = 20
MAX_FIGURES = 16 * 2**20
"""Characters of all figures that a page holds."""

FIGURE = record(data=list_of(record(type=line)))
COMPILED = frozenset({"scattergl", "scatterpolargl", "splom", "parcoords"})
MAX_ITERATIONS = 50


def scalars(visit: Visit) -> Response:
    """Show scalars; the page's script fetches and draws them."""
    task = load(visit)
    return drawing(visit, render_tab(visit, task, "scalars", axis=_axis(visit)))


def scalars_data(visit: Visit) -> Response:
    """Return the curves of a task and its single values."""
    task = load(visit)
    singles = visit.call("events.get_task_single_value_metrics", {"tasks": [visit.argument("task")]})
    query = {"task": task["id"], "key": _axis(visit), "samples": SAMPLES, "envelope": True}
    curves = visit.call("events.scalar_metrics_iter_histogram", query)
    for curve in (curve for variants in curves.values() for curve in variants.values()):
        for name in ("y", "low", "high"):
            curve[name] = [value if value is None else float(f"{value:.7g}") for value in curve[name]]
    return visit.json(
        {
            # Machine monitoring comes last: people look for their own curves.
            "metrics": dict(sorted(curves.items(), key=lambda item: (item[0].startswith(":monitor"), item[0]))),
            "singles": next((item["values"] for item in singles["tasks"]), []),
            "live": is_live(visit, task),
        }
    )


def plots(visit: Visit) -> Response:
    """Show plots as they were reported, those of the last iteration of each at first."""
    if visit.wants_part():
        # A page that looks for news must not have all figures read for that.
        task = load(visit)
        known = _plot_metrics(visit)
        return render_tab(visit, task, "plots", metrics=known)
    iterations = visit.asked.whole("iters", 1, MAX_ITERATIONS, least=1)
    task = load(visit)
    found = visit.call(
        "events.get_task_plots", {"task": visit.argument("task"), "iters": iterations, "no_scroll": True}
    )
    events = sorted(found["plots"], key=lambda event: (event.get("metric") or "", event.get("variant") or "",
                                                       -(event.get("iter") or 0)))  # fmt: skip
    metrics = sorted({event.get("metric") or "" for event in events})
    chosen = visit.query.get("metric")
    variant = visit.query.get("variant")
    if chosen is not None:
        events = [
            event for event in events if event["metric"] == chosen and (variant is None or event["variant"] == variant)
        ]
    number = visit.asked.page()
    start = (number - 1) * PLOTS_PER_PAGE
    files = visit.site.settings.files_url + "/"
    shown, room = events[start : start + PLOTS_PER_PAGE], MAX_FIGURES
    for event in shown:
        figure = event["plot_str"]
        event["size"] = len(figure)
        # Images inside a figure are fetched as any other file: through this page's own address.
        event["plot_str"] = figure.replace(files, "/files/") if len(figure) <= room else None
        room -= len(figure) if len(figure) <= room else 0
    response = render_tab(
        visit,
        task,
        "plots",
        plots=shown,
        metrics=metrics,
        chosen=chosen,
        whole=MAX_FIGURES,
        iterations=iterations,
        number=number,
        has_next=len(events) > start + PLOTS_PER_PAGE,
    )
    return drawing(visit, response, compiling=any(compiles(event["plot_str"] or "") for event in shown))


def _plot_metrics(visit: Visit) -> list[str]:
    query = {"tasks": [visit.argument("task")], "event_type": "plot"}
    found = visit.call("events.get_task_metrics", query)["metrics"]
    return sorted({name for item in found for name in item["metrics"]})


def compiles(figure: str) -> bool:
    """Return whether plotly.js compiles code to draw a figure (its WebGL traces do): that needs a wider policy.

    Of a figure that is too long to be read here, one that only names such a trace counts.
    """
    if not any(name in figure for name in COMPILED):
        return False
    return len(figure) > MAX_JSON or any(trace["type"] in COMPILED for trace in FIGURE(read_json(figure))["data"])


def drawing(visit: Visit, response: Response, *, compiling: bool = False) -> Response:
    """Return a page on which plotly.js may draw; `compiling` where it draws WebGL traces."""
    response.headers["Content-Security-Policy"] = page_policy(visit.site.settings, drawing=True, compiling=compiling)
    return response


def _axis(visit: Visit) -> str:
    return visit.asked.choice("axis", "iter", ("iter", "iso_time"), "iter or iso_time")
