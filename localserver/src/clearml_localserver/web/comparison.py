"""What differs between tasks, models and dataset versions. Pure; calls no API."""

from __future__ import annotations

import colorsys
import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clearml_localserver.web.columns import ENDS
from clearml_localserver.web.text import pretty

Json = dict[str, Any]

FIRST_COLOURS = ("#3f6ad8", "#e0762b", "#2c9c69", "#c9405b", "#8a5cd1", "#1f9db0", "#b58a1b", "#6b7a90")
GOLDEN = 0.618034
MAX_LINES = 2_000
"""Lines of a text that is compared line by line: the time grows with their square."""

MAX_DIFFERENCE = 100_000
"""Characters of one difference that a page shows."""

SCRIPT = {
    "Repository": "repository",
    "Branch": "branch",
    "Commit": "version_num",
    "Tag": "tag",
    "Entry point": "entry_point",
    "Working directory": "working_dir",
}


@dataclass(frozen=True)
class Row:
    """One line of a table that has a column for each of the things compared."""

    group: str
    name: str
    values: list[Any]
    """None for what lacks it."""

    @property
    def differs(self) -> bool:
        """Whether the values are not all the same."""
        return any(value != self.values[0] for value in self.values[1:])


@dataclass(frozen=True)
class Difference:
    """A text of two things, line by line."""

    lines: list[tuple[str, str]]
    """A kind (`added`, `removed`, `same`, `place`) and the line's text."""

    too_long: bool = False
    """Whether they differ, but are too long to be compared line by line."""


@dataclass(frozen=True)
class FileChanges:
    """The files of one dataset version beside those of another one."""

    added: list[Any]
    changed: list[tuple[Any, Any]]
    removed: list[Any]
    same: int


def colours(count: int) -> list[str]:
    """Return a colour for each of so many things, as different as so many can be."""
    chosen = list(FIRST_COLOURS[:count])
    for number in range(len(chosen), count):
        parts = colorsys.hls_to_rgb((number * GOLDEN) % 1, (0.45, 0.55, 0.38)[number % 3], 0.6)
        chosen.append("#" + "".join(f"{round(part * 255):02x}" for part in parts))
    return chosen


def values_of(tasks: Sequence[Json]) -> list[Row]:
    """Return the metrics of tasks: of each the last, least and greatest value of every task."""
    found: dict[tuple[str, str], list[Json | None]] = {}
    for number, task in enumerate(tasks):
        for variants in task["last_metrics"].values():
            for item in variants.values():
                values = found.setdefault((item["metric"], item["variant"]), [None] * len(tasks))
                values[number] = {end: item[key] for end, key in ENDS.items()}
    # Machine monitoring comes last: people look for their own metrics.
    names = sorted(found, key=lambda name: (name[0].startswith(":monitor"), name))
    return [Row(metric, variant, found[metric, variant]) for metric, variant in names]


def parameters_of(tasks: Sequence[Json]) -> list[Row]:
    """Return the parameters of tasks, and what code and image they ran."""

    def of_script(field: str) -> Callable[[Json], Any]:
        return lambda task: task["script"][field] or None

    rows = [_row("Code", title, tasks, of_script(field)) for title, field in SCRIPT.items()]
    rows.append(_row("Code", "Image", tasks, lambda task: task["container"]["image"] or None))
    for section, name in parameter_names(tasks):

        def of_parameter(task: Json, section: str = section, name: str = name) -> Any:
            item = task["hyperparams"].get(section, {}).get(name)
            return None if item is None else item["value"]

        rows.append(_row(section, name, tasks, of_parameter))
    return [row for row in rows if any(value is not None for value in row.values)]


def parameter_names(tasks: Iterable[Json]) -> list[tuple[str, str]]:
    """Return section and name of every parameter that a task has; those of `Args` come first."""
    names = {(section, name) for task in tasks for section, items in task["hyperparams"].items() for name in items}
    return sorted(names, key=lambda item: (item[0] != "Args", item))


def texts_of(tasks: Sequence[Json]) -> dict[str, list[str | None]]:
    """Return the longer texts of tasks by title: configuration objects, packages and uncommitted changes."""
    texts: dict[str, list[str | None]] = {}

    def put(title: str, number: int, value: str) -> None:
        if value:
            texts.setdefault(title, [None] * len(tasks))[number] = value

    for number, task in enumerate(tasks):
        for name, item in sorted(task["configuration"].items()):
            put(name, number, item["value"])
        for name, value in sorted(task["script"]["requirements"].items()):
            put(f"Packages ({name})", number, value)
        put("Uncommitted changes", number, task["script"]["diff"])
    return texts


def models_rows(models: Sequence[Json]) -> list[Row]:
    """Return what models are, and what their metadata and labels say."""
    rows = [
        _row("Model", "Framework", models, lambda model: model["framework"] or None),
        _row("Model", "Project", models, lambda model: model["project"]["name"] or None),
        _row("Model", "Made by", models, lambda model: model["task"]["name"] or model["task"]["id"] or None),
        _row("Model", "State", models, lambda model: "published" if model["ready"] else "draft"),
        _row("Model", "Tags", models, lambda model: ", ".join(model["tags"]) or None),
        _row("Model", "File", models, lambda model: model["uri"] or None),
        _row("Model", "Comment", models, lambda model: model["comment"] or None),
    ]
    metadata = [{item["key"]: item["value"] for item in model["metadata"]} for model in models]
    for group, maps in (("Metadata", metadata), ("Labels", [model["labels"] for model in models])):
        for name in sorted({name for values in maps for name in values}):
            rows.append(Row(group, name, [values.get(name) for values in maps]))
    return [row for row in rows if any(value is not None for value in row.values)]


def _row(group: str, name: str, things: Sequence[Json], value: Callable[[Json], Any]) -> Row:
    return Row(group, name, [value(thing) for thing in things])


def line_difference(first: str | None, second: str | None) -> Difference | None:
    """Return how one text differs from another; None where it does not. JSON is compared with an item per line."""
    if first == second:
        return None
    before, after = (pretty(text or "").splitlines() for text in (first, second))
    if before == after:
        return None
    if max(len(before), len(after)) > MAX_LINES:
        return Difference([], too_long=True)
    lines, room = [], MAX_DIFFERENCE
    for line in list(difflib.unified_diff(before, after, lineterm="", n=2))[2:]:
        kind = {"+": "added", "-": "removed", "@": "place"}.get(line[:1], "same")
        room -= len(line)
        if room < 0:
            lines.append(("place", "… the rest of the difference is left out"))
            break
        lines.append((kind, "…" if kind == "place" else line[1:]))
    return Difference(lines[1:] if lines and lines[0][0] == "place" else lines)


def file_changes(base: Mapping[str, Any], other: Mapping[str, Any]) -> FileChanges:
    """Return which files of a dataset version were added, changed and removed against the base.

    Args:
        base: By name: something with `size` and `hash`.
        other: Of the other version, as well.
    """
    both = [name for name in base if name in other]
    changed = [(base[name], other[name]) for name in both if _content(base[name]) != _content(other[name])]
    return FileChanges(
        [file for name, file in other.items() if name not in base],
        changed,
        [file for name, file in base.items() if name not in other],
        len(both) - len(changed),
    )


def _content(file: Any) -> tuple[Any, ...]:
    # A link to a file elsewhere has no hash.
    return (file.hash,) if file.hash else (file.size,)
