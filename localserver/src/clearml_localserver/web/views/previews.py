"""What a dataset version shows of its content: the tables and samples that were reported with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from clearml_localserver.web.shapes import line, list_of, read_json, record
from clearml_localserver.web.site import Json, Visit
from clearml_localserver.web.views.samples import reported_samples

MAX_TABLES, MAX_ROWS, MAX_COLUMNS, MAX_SAMPLES = 10, 10, 30, 12
MAX_READ = 100
"""Figures that are looked at."""

OF_THE_SDK = "__Dataset "
"""Begins the metrics of the figures in which the SDK shows a version's parents, which the page has itself."""

COLUMN = list_of(line, MAX_ROWS)
FIGURE = record(
    data=list_of(
        record(
            type=line,
            header=record(values=list_of(line, MAX_COLUMNS)),
            cells=record(values=list_of(COLUMN, MAX_COLUMNS)),
        ),
        1,
    )
)


@dataclass(frozen=True)
class Table:
    """The first rows of a table."""

    metric: str
    variant: str
    columns: list[str]
    rows: list[list[str]]
    rows_left: int
    columns_left: int


@dataclass(frozen=True)
class Previews:
    """What a version shows of its content; `more` is how many tables and samples there are besides."""

    tables: list[Table]
    samples: list[Json]
    more: int


def read_previews(visit: Visit, task: str) -> Previews:
    """Return the tables and samples that were reported with a dataset version, those of the last iteration."""
    figures = visit.call("events.get_task_plots", {"task": task, "iters": 1, "no_scroll": True})["plots"]
    figures = [figure for figure in figures if not figure["metric"].startswith(OF_THE_SDK)]
    figures.sort(key=lambda figure: (figure["metric"], figure["variant"]))
    tables = list(islice(_tables(figures[:MAX_READ]), MAX_TABLES))
    samples = [event for group in reported_samples(visit, task, 1) for event in group["events"]]
    shown = samples[:MAX_SAMPLES]
    return Previews(tables, shown, len(figures) - len(tables) + len(samples) - len(shown))


def _tables(figures: list[Json]) -> Iterator[Table]:
    for figure in figures:
        if '"table"' not in figure["plot_str"]:  # quicker than to read it
            continue
        found: Any = next(iter(FIGURE(read_json(figure["plot_str"]))["data"]), None)
        if found is None or found["type"] != "table":
            continue
        columns, values = found["header"]["values"], found["cells"]["values"]
        count = max((len(column) for column in values), default=0)
        rows = [[column[at] if at < len(column) else "" for column in values] for at in range(count)]
        names = [*columns, *[""] * (len(values) - len(columns))]
        left = max((column.left_out for column in values), default=0)
        yield Table(figure["metric"], figure["variant"], names[: len(values)], rows, left, values.left_out)
