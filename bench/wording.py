"""How figures and tables read: the same words on the console and on the page. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from bench.result import Figure, Result, Table

Mark = Callable[[str], str]
"""Makes words stand out."""

WHOLE_NUMBERS = {"MiB", "rows/s", "calls/s", "rows"}


def plain(text: str) -> str:
    """Return the words as they are."""
    return text


def shown(value: float, unit: str) -> str:
    """Return a figure with the digits that mean something."""
    size = abs(value)
    digits = 0 if size >= 100 or unit in WHOLE_NUMBERS else 1 if size >= 10 else 2 if size >= 0.1 or not size else 3
    number = f"{value:,.{digits}f}"
    return f"{number} ×" if unit == "x" else f"{number} {unit}".rstrip()


def limit_of(figure: Figure) -> str:
    """Return a figure's target in words."""
    assert figure.limit is not None
    return f"{'≤' if figure.column.better == 'lower' else '≥'} {shown(figure.limit, figure.column.unit)}"


def cell(figure: Figure, missed: Mark = plain) -> str:
    """Return a cell in words: the median, the lowest and highest in brackets, and the target."""
    if not figure.values:
        return figure.text
    unit = figure.column.unit
    text = shown(figure.median, unit)
    if len(figure.values) > 1:
        text += f" ({shown(min(figure.values), unit).split()[0]}–{shown(max(figure.values), unit).split()[0]})"
    if figure.limit is None:
        return text
    limit = limit_of(figure)
    return f"{text}; target {limit} met" if figure.met else f"{text}; " + missed(f"misses its target of {limit}")


def lines(result: Result, table: Table, missed: Mark = plain) -> Iterator[list[str]]:
    """Yield a table's header, then its rows; columns that no row fills are left out."""
    rows = result.rows_of(table)
    grouped = any(row.group for row in rows)
    cells = {
        column.title: [cell(result.figure(table, row, column), missed) for row in rows] for column in table.columns
    }
    filled = {title: texts for title, texts in cells.items() if any(texts)}
    yield [*([""] if grouped else []), "", *filled]
    before = None
    for number, row in enumerate(rows):
        group = [] if not grouped else [row.group if row.group != before else ""]
        before = row.group
        yield [*group, f"{row.name} (noted)" if row.noted else row.name, *(texts[number] for texts in filled.values())]


def bullets(meanings: Mapping[str, str]) -> str:
    """Return names and their meanings as a Markdown list."""
    return "\n".join(f"- *{name}*: {meaning}" for name, meaning in meanings.items())


def samples(result: Result) -> int:
    """Return the most samples that a figure has."""
    cells = (cell for row in result.rows for cell in row.cells.values())
    return max((len(cell) for cell in cells if not isinstance(cell, str)), default=0)
