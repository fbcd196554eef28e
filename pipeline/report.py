"""The report of a run: one HTML file that a person opens, without a server and without a network.

Figures are drawn here as SVG from what the server holds (a plotly.js in the file would weigh 5 MB). Pure but for
`write_report`, which asks the server through its adapter and writes the file.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2

from pipeline import provenance, runs
from pipeline.clearml_server import ClearmlServer
from pipeline.definitions import DATA_PREPARE
from pipeline.errors import PipelineError
from pipeline.runs import RunState, StepState

CONSOLE_LINES = 40
CLASS_PLOT = "Class distribution"


@dataclass(frozen=True)
class Bars:
    """One class distribution, read from a plotly figure: label → class → count."""

    title: str
    groups: tuple[tuple[str, tuple[tuple[str, float], ...]], ...]


@dataclass(frozen=True)
class Version:
    """A dataset version with its page."""

    number: str
    id: str
    page: str
    role: str


def write_report(server: ClearmlServer, state: RunState, datasets: Mapping[str, str], file: Path) -> Path:
    """Write the report of a run and return its file.

    Raises:
        OSError: The file cannot be written.
    """
    consoles = {}
    for step in state.failed_steps:
        if step.task_id:
            consoles[step.name] = _ask(lambda task=step.task_id: server.console(task, CONSOLE_LINES), [])
    if state.outcome != runs.COMPLETED and not consoles:
        consoles["controller"] = _ask(lambda: server.console(state.run_id, CONSOLE_LINES), [])
    split = next((step for step in state.steps if step.task_id and not step.parents), None)
    plots = _ask(lambda: server.plots(str(split.task_id)), []) if split else []
    projects = _ask(lambda: _projects(server, datasets.values()), {})
    html = render(
        state,
        versions=[
            Version(number, task, server.task_page(projects.get(task, "*"), task), _role(state, task))
            for number, task in datasets.items()
        ],
        distributions=sorted(read_distributions(plots), key=lambda bars: bars.title, reverse=True),  # train, test
        consoles=consoles,
        run_page=server.task_page(state.project, state.run_id),
        pages={step.name: server.task_page(state.project, step.task_id) for step in state.steps if step.task_id},
        server=server.web_url,
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, whole = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(html)
        os.chmod(whole, 0o644)
        os.replace(whole, file)
    except OSError:
        Path(whole).unlink(missing_ok=True)
        raise
    return file


def _ask(question: Any, otherwise: Any) -> Any:
    """Return the server's answer; a report must come out even when the server has gone since."""
    try:
        return question()
    except PipelineError:
        return otherwise


def _projects(server: ClearmlServer, ids: Iterable[str]) -> dict[str, str]:
    ids = list(ids)
    return {task["id"]: str(task.get("project") or "*") for task in server.tasks(["project"], id=ids)} if ids else {}


def _role(state: RunState, dataset: str) -> str:
    for step in state.steps:
        if dataset in step.results.values():
            return f"made by {step.name}" + (" (in an earlier run)" if step.cached else "")
    return "input"


def read_distributions(plots: Iterable[Mapping[str, Any]]) -> Iterable[Bars]:
    """Yield the class distributions among a task's plots."""
    for plot in plots:
        if plot.get("metric") != CLASS_PLOT:
            continue
        try:
            figure = json.loads(plot.get("plot_str") or "{}")
            classes = [(str(trace.get("name")), _numbers(trace["y"])) for trace in figure["data"]]
            labels = [str(label) for label in figure["data"][0]["x"]]
        except (ValueError, KeyError, IndexError, TypeError):
            continue
        groups = tuple(
            (label, tuple((name, values[place]) for name, values in classes if place < len(values)))
            for place, label in enumerate(labels)
        )
        yield Bars(str(plot.get("variant") or ""), groups)


def _numbers(values: Any) -> list[float]:
    """Return a trace's numbers: a list, or plotly's `{"dtype", "bdata"}`."""
    if isinstance(values, dict):
        import base64

        import numpy as np

        return [float(value) for value in np.frombuffer(base64.b64decode(values["bdata"]), dtype=values["dtype"])]
    return [float(value) for value in values]


def render(
    state: RunState,
    *,
    versions: Sequence[Version],
    distributions: Sequence[Bars],
    consoles: Mapping[str, Sequence[str]],
    run_page: str,
    pages: Mapping[str, str],
    server: str,
) -> str:
    """Return the report as HTML."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline", "templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["seconds"] = lambda value: "–" if value is None else f"{value:.1f} s"
    environment.filters["count"] = lambda value: f"{value:,.0f}"
    return environment.get_template("run_report.html").render(
        run=state,
        outcome=state.outcome,
        began=_clock(state.created),
        duration=_between(state.created, _end(state)),
        parameters=[
            (parameter.name, state.parameters.get(parameter.name, "–"), str(parameter.default), parameter.description)
            for parameter in DATA_PREPARE.parameters
        ],
        dag=lay_out(state.steps),
        phases=[(step, _shares(step, _longest(state))) for step in state.steps],
        phase_names=list(StepState("").phases()),
        versions=versions,
        distributions=distributions,
        causes={name: runs.cause(lines) for name, lines in consoles.items()},
        peak=max((value for bars in distributions for _, group in bars.groups for _, value in group), default=1.0)
        or 1.0,
        consoles=consoles,
        run_page=run_page,
        pages=pages,
        server=server,
        package=provenance.PACKAGE_VERSION,
        commit=provenance.commit(),
        written=_clock(datetime.now(UTC).timestamp()),
    )


@dataclass(frozen=True)
class Box:
    """A step's place in the drawing of the graph."""

    step: StepState
    x: int
    y: int


@dataclass(frozen=True)
class Drawing:
    """The graph, laid out in columns by depth."""

    boxes: tuple[Box, ...]
    lines: tuple[tuple[int, int, int, int], ...]
    width: int
    height: int


BOX_WIDTH, BOX_HEIGHT, GAP_X, GAP_Y = 230, 84, 90, 28


def lay_out(steps: Sequence[StepState]) -> Drawing:
    """Place every step one column behind the last of its parents."""
    depth: dict[str, int] = {}

    def depth_of(step: StepState) -> int:
        if step.name not in depth:
            depth[step.name] = 0  # ends a cycle, which a server's document might claim
            parents = [parent for parent in steps if parent.name in step.parents]
            depth[step.name] = 1 + max((depth_of(parent) for parent in parents), default=-1)
        return depth[step.name]

    columns: dict[int, list[StepState]] = {}
    for step in steps:
        columns.setdefault(depth_of(step), []).append(step)
    rows = max((len(column) for column in columns.values()), default=1)
    height = rows * BOX_HEIGHT + (rows - 1) * GAP_Y
    boxes = {}
    for place, column in sorted(columns.items()):
        used = len(column) * BOX_HEIGHT + (len(column) - 1) * GAP_Y
        for row, step in enumerate(column):
            boxes[step.name] = Box(step, place * (BOX_WIDTH + GAP_X), (height - used) // 2 + row * (BOX_HEIGHT + GAP_Y))
    lines = tuple(
        (boxes[parent].x + BOX_WIDTH, boxes[parent].y + BOX_HEIGHT // 2, box.x, box.y + BOX_HEIGHT // 2)
        for box in boxes.values()
        for parent in box.step.parents
        if parent in boxes
    )
    width = len(columns) * BOX_WIDTH + max(len(columns) - 1, 0) * GAP_X
    return Drawing(tuple(boxes.values()), lines, width, height)


def _longest(state: RunState) -> float:
    return max((sum(value or 0.0 for value in step.phases().values()) for step in state.steps), default=0.0) or 1.0


def _shares(step: StepState, longest: float) -> list[tuple[str, float, float]]:
    """Return phase, seconds and width in percent for a step's bar; a step from the cache has none."""
    if step.cached:
        return []
    return [(name, value, 100 * value / longest) for name, value in step.phases().items() if value]


def _end(state: RunState) -> float | None:
    return state.completed or max((step.completed for step in state.steps if step.completed), default=None)


def _between(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else end - start


def _clock(at: float | None) -> str:
    return "–" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
