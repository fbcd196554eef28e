"""Tasks beside each other: curves, values, parameters, figures, samples, relations, and files of dataset versions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from clearml_localserver.errors import ApiError
from clearml_localserver.web import columns as known
from clearml_localserver.web import comparison
from clearml_localserver.web.site import Json, Visit
from clearml_localserver.web.views.bulk import selected
from clearml_localserver.web.views.lists import TASK_ROW, find_tasks
from clearml_localserver.web.views.metrics import MAX_FIGURES, compiles, drawing
from clearml_localserver.web.views.samples import media
from clearml_localserver.web.views.tasks import file_lines, is_dataset, read_file

LEAST, MOST = 2, 50
COMPARED = "compared"
TABS = {
    "scalars": "Scalars",
    "values": "Values",
    "parameters": "Parameters",
    "relations": "Relations",
    "plots": "Plots",
    "samples": "Debug samples",
    "files": "Files",
}
AXES = {"iter": "iteration", "time": "time since the start", "clock": "wall clock"}
CURVE_POINTS = 20_000
"""Points of all curves of one chart, which plotly.js still moves without a pause."""

MOST_POINTS = 2_000
"""Points of one curve: a chart is not that wide."""

MAX_CARDS = 300
FIGURES_AT_ONCE = 12
"""Tasks whose figures are drawn beside each other; plotly.js needs a moment for each."""

TEXTS_COMPARED = 10
LISTED_FILES = 500
SMOOTHEST = 99
MODEL = ["name", "framework", "ready", "created", "task.name", "uri", "tags", "project.name", "comment", "labels",
         "metadata", "design"]  # fmt: skip


@dataclass(frozen=True)
class Compared:
    """The tasks that an address names."""

    tasks: list[Json]
    """In the order of the address."""

    left_out: list[str]
    """Why each of the other ids is not shown."""

    colours: list[str]


def compare(visit: Visit) -> Response:
    """Show the tasks that the address names beside each other."""
    ids = selected(visit.request.query_params.getlist("ids"), MOST, COMPARED)
    if (given := visit.request.query_params.getlist("ids")) != [",".join(ids)]:
        rest = dict.fromkeys(("back",))
        return visit.redirect(visit.address(ids=",".join(ids), **rest)) if given else visit.redirect("/projects/*")
    tab = visit.query.get("tab", "scalars")
    if tab not in SHOWN:
        raise ApiError(404, 0, f"There is no comparison called {tab[:100]!r}")
    fields, show = SHOWN[tab]
    found = load(visit, ids, fields)
    if len(found.tasks) < LEAST:
        return _page(visit, found, "few", [], code=400)
    if "tab" not in visit.query and _first_tab(found) != tab:
        fields, show = SHOWN[_first_tab(found)]
        found = load(visit, ids, fields)
    return show(visit, found)


def _first_tab(found: Compared) -> str:
    """Return what is compared unless the address says it: versions of a dataset differ in their files."""
    return "files" if found.tasks and all(is_dataset(task) for task in found.tasks) else "scalars"


def scalars_data(visit: Visit) -> Response:
    """Return the curves of one metric of the tasks that the address names, for the page's script."""
    ids = selected(visit.request.query_params.getlist("ids"), MOST, COMPARED)
    known_ids = [task["id"] for task in load(visit, ids, []).tasks]
    if not known_ids:
        raise ApiError(404, 0, "None of these tasks exists")
    wanted = {
        "tasks": known_ids,
        "metrics": [{"metric": visit.query.get("metric", ""), "variants": [visit.query.get("variant", "")]}],
        "key": "iter" if _axis(visit) == "iter" else "timestamp",
        "envelope": True,
        "samples": min(MOST_POINTS, CURVE_POINTS // len(known_ids)),
    }
    metrics = visit.call("events.multi_task_scalar_metrics_iter_histogram", wanted)["metrics"]
    curves = {
        id_: curve for variants in metrics.values() for tasks in variants.values() for id_, curve in tasks.items()
    }
    return visit.json(curves)


def _axis(visit: Visit) -> str:
    return visit.asked.choice("axis", "iter", AXES, f"one of {', '.join(AXES)}")


def load(visit: Visit, ids: list[str], fields: list[str]) -> Compared:
    """Return the tasks with these ids, in this order."""
    wanted = list(dict.fromkeys([*TASK_ROW, *fields, "runtime"]))
    tasks = {task["id"]: task for task in find_tasks(visit, {"id": ids}, size=MOST, fields=wanted)}
    for task in tasks.values():
        version = str(task["runtime"].get("version") or "")
        if is_dataset(task) and version:  # versions of a dataset have one name
            task["name"] = f"{task['name'][:80]} {version[:40]}"
    ordered = [tasks[id_] for id_ in ids if id_ in tasks]
    models = _models(visit, [id_ for id_ in ids if id_ not in tasks])
    return Compared(ordered, _left_out("task", ids, tasks, models), comparison.colours(len(ordered)))


def _models(visit: Visit, ids: list[str]) -> dict[str, Json]:
    """Return the models among these ids."""
    query = {"id": ids, "page": 0, "page_size": MOST, "only_fields": MODEL, "search_hidden": True}
    return {model["id"]: model for model in visit.call("models.get_all_ex", query)["models"]} if ids else {}


def _left_out(noun: str, ids: list[str], found: dict[str, Json], others: dict[str, Json]) -> list[str]:
    """Return why ids are left out: `others` are those that belong to something of another kind."""
    other = "model" if noun == "task" else "task"
    return [
        f"“{others[id_]['name'][:80]}” is a {other}, which is compared with {other}s only. It is left out."
        if id_ in others
        else f"There is no {noun} with the id {id_[:80]}; it may have been deleted. It is left out."
        for id_ in ids
        if id_ not in found
    ]


def _page(visit: Visit, found: Compared, tab: str, rows: Any, *, code: int = 200, **values: Any) -> Response:
    first = _first_tab(found)
    tabs = {first: TABS[first]} | {name: title for name, title in TABS.items() if name != "files"}
    if tab == "few":
        tabs = {}
    return visit.render(
        f"compare_{tab}.html",
        code=code,
        section="/datasets" if first == "files" else "/projects",
        found=found,
        noun="dataset version" if first == "files" else "task",
        first=first,
        tab=tab,
        tabs=tabs,
        rows=rows,
        everything=visit.asked.switch("all"),
        base="/compare",
        least=LEAST,
        most=MOST,
        **values,
    )


def _scalars(visit: Visit, found: Compared) -> Response:
    wanted = {"tasks": [task["id"] for task in found.tasks], "event_type": "training_stats_scalar"}
    metrics = visit.call("events.get_multi_task_metrics", wanted)["metrics"]
    text = visit.asked.text("metric")
    charts = [
        (item["metric"], variant)
        for item in sorted(metrics, key=lambda item: (item["metric"].startswith(":monitor"), item["metric"]))
        for variant in item["variants"]
        if text.lower() in f"{item['metric']} {variant}".lower()
    ]
    return drawing(
        visit,
        _page(
            visit,
            found,
            "scalars",
            charts[:MAX_CARDS],
            left_out=max(0, len(charts) - MAX_CARDS),
            axes=AXES,
            axis=_axis(visit),
            smooth=visit.asked.whole("smooth", 0, SMOOTHEST),
            logarithmic=visit.asked.switch("log"),
            metric=text,
            source=f"/compare/scalars?{urlencode({'ids': ','.join(task['id'] for task in found.tasks)})}",
        ),
    )


def _values(visit: Visit, found: Compared) -> Response:
    return _page(visit, found, "values", comparison.values_of(found.tasks))


def _parameters(visit: Visit, found: Compared) -> Response:
    rows = comparison.parameters_of(found.tasks)
    texts = []
    for title, values in comparison.texts_of(found.tasks).items():
        others = [
            (task, difference)
            for task, value in list(zip(found.tasks, values, strict=True))[1 : TEXTS_COMPARED + 1]
            if (difference := comparison.line_difference(values[0], value)) is not None
        ]
        texts.append((title, others))
    return _page(visit, found, "parameters", rows, texts=texts, compared=TEXTS_COMPARED)


def _relations(visit: Visit, found: Compared) -> Response:
    """Show a scatter of two columns, and all that differs as parallel coordinates."""
    parameters = [known.parameter_key(section, name) for section, name in comparison.parameter_names(found.tasks)]
    measured = [
        known.metric_key(end, row.group, row.name)
        for row in comparison.values_of(found.tasks)
        if row.group and not row.group.startswith(":monitor")
        for end in known.ENDS
    ]
    columns = {key: column for key in [*parameters, *measured] if (column := known.read_column(key)) is not None}
    differing = known.differing(found.tasks)
    first = next((key for key in differing if key in parameters), next(iter(columns), ""))
    last = next((key for key in reversed(differing) if key in measured), next(iter(measured), first))
    x, y = visit.query.get("x", first), visit.query.get("y", last)
    problems = [f"There is no column {key[:200]!r} to draw" for key in (x, y) if key and key not in columns]
    shown = list(dict.fromkeys([*differing, *(key for key in (x, y) if key in columns)]))

    def cells(task: Json) -> Json:
        return {key: columns[key].value(task, visit.now) for key in shown}

    data = {
        "x": x if x in columns else "",
        "y": y if y in columns else "",
        "titles": {key: columns[key].title for key in shown},
        "tasks": [
            {
                "name": task["name"],
                "colour": colour,
                "values": {key: columns[key].value(task, visit.now) for key in shown},
            }
            for task, colour in zip(found.tasks, found.colours, strict=True)
        ],
    }
    response = _page(
        visit, found, "relations", list(columns.values()), code=400 if problems else 200, x=x, y=y, data=data,
        problems=problems,
    )  # fmt: skip
    return drawing(visit, response, compiling=True)


def _plots(visit: Visit, found: Compared) -> Response:
    ids = [task["id"] for task in found.tasks]
    known_metrics = visit.call("events.get_multi_task_metrics", {"tasks": ids, "event_type": "plot"})["metrics"]
    metrics = [item["metric"] for item in known_metrics]
    chosen = visit.query.get("metric", metrics[0] if metrics else "")
    query = {"tasks": ids[:FIGURES_AT_ONCE], "iters": 1, "no_scroll": True, "metrics": [{"metric": chosen}]}
    plots = visit.call("events.get_multi_task_plots", query)["plots"] if metrics else {}
    files = visit.site.settings.files_url + "/"
    groups, room = [], MAX_FIGURES
    for variant, by_task in sorted((plots.get(chosen) or {}).items()):
        figures = []
        for task, colour in zip(found.tasks, found.colours, strict=True):
            for events in by_task.get(task["id"], {}).values():
                for event in events["plots"]:
                    figure = event["plot_str"].replace(files, "/files/")
                    room -= len(figure)
                    figures.append((task, colour, figure if room >= 0 else None))
        groups.append((variant, figures))
    shown = [figure or "" for _, figures in groups for _, _, figure in figures]
    response = _page(
        visit, found, "plots", groups, metrics=metrics, chosen=chosen, left_out=max(0, len(ids) - FIGURES_AT_ONCE)
    )
    return drawing(visit, response, compiling=any(map(compiles, shown)))


def _samples(visit: Visit, found: Compared) -> Response:
    wanted = {"metrics": [{"task": task["id"]} for task in found.tasks], "iters": 1}
    groups: dict[tuple[str, str], dict[str, Json]] = {}
    for item in visit.call("events.debug_images", wanted)["metrics"]:
        for iteration in item["iterations"]:
            for event in iteration["events"]:
                shown = event | {"link": visit.file_link(event["url"]), "media": media(event["url"])}
                groups.setdefault((event["metric"], event["variant"]), {}).setdefault(item["task"], shown)
    return _page(visit, found, "samples", sorted(groups.items()))


def _files(visit: Visit, found: Compared) -> Response:
    others = [
        f"“{task['name'][:80]}” is not a dataset version, so it has no files to compare. It is left out."
        for task in found.tasks
        if not is_dataset(task)
    ]
    versions = [task for task in found.tasks if is_dataset(task)]
    found = Compared(versions, found.left_out + others, comparison.colours(len(versions)))
    if len(versions) < LEAST:
        return _page(visit, found, "few", [], code=400)
    listed = [
        {file.name: file for line in file_lines(_content(task)) if (file := read_file(line)).name}
        for task in found.tasks
    ]
    changes = [
        (task, comparison.file_changes(listed[0], other))
        for task, other in zip(found.tasks[1:], listed[1:], strict=True)
    ]
    return _page(visit, found, "files", changes, counts=[len(files) for files in listed], listed_files=LISTED_FILES)


def _content(task: Json) -> str:
    content: str = task["configuration"].get("Dataset Content", {}).get("value", "")
    return content


Show = Callable[[Visit, Compared], Response]
SHOWN: dict[str, tuple[list[str], Show]] = {
    "scalars": ([], _scalars),
    "values": (["last_metrics"], _values),
    "parameters": (["hyperparams", "configuration", "script", "container"], _parameters),
    "relations": (["hyperparams", "last_metrics"], _relations),
    "plots": ([], _plots),
    "samples": ([], _samples),
    "files": (["configuration.Dataset Content"], _files),
}
"""By tab: the fields of the tasks that it reads, and its view."""


def models(visit: Visit) -> Response:
    """Show the models that the address names beside each other."""
    given = visit.request.query_params.getlist("ids")
    ids = selected(given, MOST, COMPARED)
    if given != [",".join(ids)]:
        return visit.redirect(visit.address(ids=",".join(ids), back=None))
    by_id = _models(visit, ids)
    shown = [by_id[id_] for id_ in ids if id_ in by_id]
    rest = [id_ for id_ in ids if id_ not in by_id]
    tasks = {task["id"]: task for task in (find_tasks(visit, {"id": rest}, size=MOST, fields=["name"]) if rest else [])}
    designs = ["\n".join(model["design"].values()) for model in shown]
    others = [
        (model, difference)
        for model, design in list(zip(shown, designs, strict=True))[1 : TEXTS_COMPARED + 1]
        if (difference := comparison.line_difference(designs[0], design)) is not None
    ]
    return visit.render(
        "compare_models.html",
        code=200 if len(shown) >= LEAST else 400,
        section="/models",
        found=Compared(shown, _left_out("model", ids, by_id, tasks), comparison.colours(len(shown))),
        rows=comparison.models_rows(shown),
        texts=[("Configuration", others)] if any(designs) else [],
        everything=visit.asked.switch("all"),
        compared=TEXTS_COMPARED,
        noun="model",
        base="/compare/models",
        tabs={},
        tab="parameters",
        least=LEAST,
    )
