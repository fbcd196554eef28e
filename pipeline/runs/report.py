"""The report of a run: one HTML file that a person opens, without a server and without a network.

Figures are drawn here as SVG from what the server holds (a plotly.js in the file would weigh 5 MB). Pure but for
`write_report`, which asks the server through its adapter and writes the file.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
import jinja2.bccache

from clearml_access import run_records
from clearml_access.caches import cache_folder
from clearml_access.causes import cause
from clearml_access.errors import UserFacingError
from clearml_access.own_lines import READ_LINES, last_own
from clearml_access.run_records import RunState, StepState
from pipeline import provenance
from pipeline.amazon_reviews.model.trained import TrainedModel
from pipeline.clearml_server import ClearmlServer
from pipeline.files import whole_or_not
from pipeline.graph.definitions import Definition
from pipeline.runs.figures import Bars, Curves, Grid, Matrix, read_distributions, read_figures

CONSOLE_LINES = 40

UNDIVIDED = "from start to end"
"""The time of a step that notes no moments of its own: from its worker to its end."""


@dataclass(frozen=True)
class Version:
    """A dataset version with its page."""

    number: str
    id: str
    page: str
    role: str


def write_report(
    server: ClearmlServer,
    state: RunState,
    datasets: Mapping[str, str],
    file: Path,
    *,
    definition: Definition | None,
    models: Sequence[TrainedModel] = (),
) -> Path:
    """Write the report of a run and return its file.

    Args:
        server: The server.
        state: The run.
        datasets: The dataset versions that it read and made: number → id.
        file: Where the report goes.
        definition: The pipeline, if it is one of this project: it says what its parameters mean.
        models: The models that it has made.

    Raises:
        OSError: The file cannot be written.
    """
    consoles = {}
    for step in state.failed_steps:
        if step.task_id:
            consoles[step.name] = _ask(lambda task=step.task_id: _console(server, task), [])
    if state.outcome not in (run_records.COMPLETED, run_records.RUNNING) and not consoles:
        consoles["controller"] = _ask(lambda: _console(server, state.run_id), [])
    steps = flatten(state.steps)
    split = next((step for step in steps if step.task_id and not step.parents), None)
    plots = _ask(lambda: server.plots(str(split.task_id)), []) if split else []
    figures = [
        figure
        for task in dict.fromkeys(model.task_id for model in models)
        for figure in read_figures(_ask(lambda task=task: server.plots(task), []))
    ]
    known = _ask(lambda: _tasks_of(server, datasets.values()), {})
    html = render(
        state,
        versions=[
            Version(
                number,
                task,
                server.task_page(str(known.get(task, {}).get("project") or "*"), task),
                _role(state, task, known.get(task, {})),
            )
            for number, task in datasets.items()
        ],
        distributions=sorted(read_distributions(plots), key=lambda bars: bars.title, reverse=True),  # train, test
        consoles=consoles,
        run_page=server.task_page(state.project, state.run_id),
        pages={step.name: server.task_page("*", step.task_id) for step in steps if step.task_id},
        server=server.web_url,
        definition=definition,
        models=models,
        figures=figures,
    )
    with whole_or_not(file) as temporary:
        temporary.write_text(html, encoding="utf-8")
    return file


class CompiledTemplates(jinja2.FileSystemBytecodeCache):
    """Keeps the compiled template: compiling it takes longer than filling it. Without a folder nothing is kept."""

    def __init__(self, folder: Path) -> None:
        """Keep them in `folder`, which is made when it is needed."""
        super().__init__(str(folder))

    def load_bytecode(self, bucket: jinja2.bccache.Bucket) -> None:
        """Take a compiled template, if one is kept."""
        with contextlib.suppress(OSError):
            super().load_bytecode(bucket)

    def dump_bytecode(self, bucket: jinja2.bccache.Bucket) -> None:
        """Keep a compiled template, if there is room for it and the right to."""
        with contextlib.suppress(OSError):
            Path(self.directory).mkdir(mode=0o700, parents=True, exist_ok=True)
            super().dump_bytecode(bucket)


def _ask(question: Any, otherwise: Any) -> Any:
    """Return the server's answer; a report must come out even when the server has gone since."""
    try:
        return question()
    except UserFacingError:
        return otherwise


def _console(server: ClearmlServer, task_id: str) -> list[str]:
    return last_own(server.console(task_id, READ_LINES), CONSOLE_LINES)


def _tasks_of(server: ClearmlServer, ids: Iterable[str]) -> dict[str, Mapping[str, Any]]:
    ids = list(ids)
    return {task["id"]: task for task in server.tasks(["project", "parent"], id=ids)} if ids else {}


def _role(state: RunState, dataset: str, task: Mapping[str, Any]) -> str:
    for step in flatten(state.steps):
        if dataset in step.results.values() or (step.task_id and step.task_id == task.get("parent")):
            return f"made by {step.name}" + (" (in an earlier run)" if step.cached else "")
    return "input"


def render(
    state: RunState,
    *,
    versions: Sequence[Version],
    distributions: Sequence[Bars],
    consoles: Mapping[str, Sequence[str]],
    run_page: str,
    pages: Mapping[str, str],
    server: str,
    definition: Definition | None,
    models: Sequence[TrainedModel] = (),
    figures: Sequence[Matrix | Curves | Grid] = (),
) -> str:
    """Return the report as HTML."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline.runs", "templates"),
        bytecode_cache=CompiledTemplates(cache_folder(os.environ) / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["seconds"] = lambda value: "–" if value is None else f"{value:.1f} s"
    environment.filters["count"] = lambda value: f"{value:,.0f}"
    steps = flatten(state.steps)
    return environment.get_template("run_report.html").render(
        run=state,
        outcome=state.outcome,
        began=_clock(state.created),
        duration=_between(state.created, _end(state)),
        parameters=_parameters(state, definition),
        described=definition is not None,
        dag=lay_out(steps),
        phases=[(step, _shares(step, _longest(steps))) for step in steps],
        phase_names=[
            *StepState("").phases(),
            *([UNDIVIDED] if any(_phases(step)[UNDIVIDED] is not None for step in steps) else []),
        ],
        phases_of=_phases,
        versions=versions,
        distributions=distributions,
        causes={name: cause(lines) for name, lines in consoles.items()},
        peak=max((value for bars in distributions for _, group in bars.groups for _, value in group), default=1.0)
        or 1.0,
        consoles=consoles,
        run_page=run_page,
        pages=pages,
        server=server,
        models=models,
        **{kind.__name__.lower(): [one for one in figures if isinstance(one, kind)] for kind in (Matrix, Curves, Grid)},
        package=provenance.PACKAGE_VERSION,
        commit=provenance.commit(),
        written=_clock(datetime.now(UTC).timestamp()),
    )


def _parameters(state: RunState, definition: Definition | None) -> list[tuple[str, str, str, str]]:
    """Return name, value, default and description of each parameter."""
    if definition is None:
        return [(name, value, "", "") for name, value in state.parameters.items()]
    return [
        (parameter.name, state.parameters.get(parameter.name, "–"), str(parameter.default), parameter.description)
        for parameter in definition.parameters
    ]


def flatten(steps: Sequence[StepState]) -> tuple[StepState, ...]:
    """Return the steps that work: in place of a pipeline its own, with what waits for it behind the last of those."""
    last: dict[str, tuple[str, ...]] = {}
    flat = []
    for step in steps:
        parents = tuple(name for parent in step.parents for name in last.get(parent, (parent,)))
        if not step.inner:
            flat.append(replace(step, parents=parents))
            continue
        inner = flatten(step.inner)
        waited_for = {parent for member in inner for parent in member.parents}
        last[step.name] = tuple(f"{step.name}.{member.name}" for member in inner if member.name not in waited_for)
        for member in inner:
            own = tuple(f"{step.name}.{parent}" for parent in member.parents)
            flat.append(replace(member, name=f"{step.name}.{member.name}", parents=own or parents))
    return tuple(flat)


@dataclass(frozen=True)
class Box:
    """A step's place in the drawing of the graph."""

    step: StepState
    x: int
    y: int

    @property
    def title(self) -> str:
        """The step's name inside its pipeline."""
        return self.step.name.rpartition(".")[2]

    @property
    def group(self) -> str:
        """The pipeline that it is inside of, if any."""
        return self.step.name.rpartition(".")[0]


@dataclass(frozen=True)
class Frame:
    """A frame around the steps of a pipeline inside the pipeline."""

    title: str
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Drawing:
    """The graph, laid out in columns by depth."""

    boxes: tuple[Box, ...]
    lines: tuple[tuple[int, int, int, int], ...]
    width: int
    height: int
    frames: tuple[Frame, ...] = ()
    margin: int = 2


BOX_WIDTH, BOX_HEIGHT, GAP_X, GAP_Y = 230, 84, 90, 28
FRAME_GAP = 18


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
    frames = _frames(tuple(boxes.values()))
    return Drawing(tuple(boxes.values()), lines, width, height, frames, margin=2 * FRAME_GAP if frames else 2)


def _frames(boxes: Sequence[Box]) -> tuple[Frame, ...]:
    groups: dict[str, list[Box]] = {}
    for box in boxes:
        if box.group:
            groups.setdefault(box.group, []).append(box)
    frames = []
    for title, members in groups.items():
        left, top = min(box.x for box in members) - FRAME_GAP, min(box.y for box in members) - FRAME_GAP
        right, bottom = max(box.x for box in members) + BOX_WIDTH, max(box.y for box in members) + BOX_HEIGHT
        frames.append(Frame(title, left, top, right - left + FRAME_GAP, bottom - top + FRAME_GAP))
    return tuple(frames)


def _phases(step: StepState) -> dict[str, float | None]:
    """Return the seconds of each phase, in order; a step from the cache has none."""
    if step.cached:
        return dict.fromkeys([*step.phases(), UNDIVIDED])
    notes_none = step.process is None and step.work is None
    return step.phases() | {UNDIVIDED: step.run_s if notes_none else None}


def _longest(steps: Sequence[StepState]) -> float:
    return max((sum(value or 0.0 for value in _phases(step).values()) for step in steps), default=0.0) or 1.0


def _shares(step: StepState, longest: float) -> list[tuple[str, float, float]]:
    """Return phase, seconds and width in percent for a step's bar; a step from the cache has none."""
    return [(name, value, 100 * value / longest) for name, value in _phases(step).items() if value]


def _end(state: RunState) -> float | None:
    return state.completed or max((step.completed for step in state.steps if step.completed), default=None)


def _between(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else end - start


def _clock(at: float | None) -> str:
    return "–" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
