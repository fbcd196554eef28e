"""A table's figures as bars: one SVG, drawn by a template, the same bytes for the same figures.

By hand since the ready-made ways cost more than this: plotly needs a browser to write an SVG, matplotlib 25 MB in each
environment. Colours follow the reader's light or dark page. Pure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from jinja2 import Environment

from bench import wording
from bench.result import Column, Figure, Result, Row, Table

WIDTH, LABELS, FIGURES = 900, 310, 150
"""Pixels: of the whole, of the names on the left, of the numbers on the right."""
ROW, GAP, HEAD = 22, 12, 44
CHARACTER = 6.6

TEMPLATE = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string("""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {{ width }} {{ height }}" width="{{ width }}" role="img" \
aria-label="{{ title }}">
<style>
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.head { font-weight: 600 } .dim { fill: #656d76 } .bar { fill: #2f81f7 } .base { fill: #afb8c1 }
.spread { stroke: #1f2328; stroke-width: 1.5 } .target { stroke: #cf222e; stroke-width: 1.5; stroke-dasharray: 4 3 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .dim { fill: #8d96a0 } .base { fill: #6e7681 } .spread { stroke: #e6edf3 }
.target { stroke: #ff7b72 } }
</style>
<text class="head" x="4" y="16">{{ title }}</text>
<text class="dim" x="4" y="32">{{ legend }}</text>
{% for group in groups %}
<text class="dim" x="4" y="{{ group.y }}">{{ group.name }}</text>
{% endfor %}
{% for bar in bars %}
<text x="{{ start - 8 }}" y="{{ bar.y + 13 }}" text-anchor="end">{{ bar.name }}</text>
<rect class="{{ bar.kind }}" x="{{ start }}" y="{{ bar.y + 3 }}" width="{{ bar.length }}" height="13" rx="2"/>
{% if bar.spread %}
<line class="spread" x1="{{ bar.spread[0] }}" x2="{{ bar.spread[1] }}" y1="{{ bar.y + 9.5 }}" y2="{{ bar.y + 9.5 }}"/>
{% endif %}
{% if bar.target is not none %}
<line class="target" x1="{{ bar.target }}" x2="{{ bar.target }}" y1="{{ bar.y }}" y2="{{ bar.y + 19 }}"/>
{% endif %}
<text class="dim" x="{{ bar.text_x }}" y="{{ bar.y + 13 }}">{{ bar.text }}</text>
{% endfor %}
</svg>
""")


@dataclass(frozen=True)
class Scale:
    """Figures to pixels."""

    low: float
    high: float
    log: bool

    def __call__(self, value: float) -> float:
        """Return the length of a bar."""
        room = WIDTH - LABELS - FIGURES
        if self.log:
            return round(room * math.log10(value / self.low) / math.log10(self.high / self.low), 1)
        return round(room * value / self.high, 1)


def svg(result: Result, table: Table) -> str:
    """Return the chart of a table's chosen column; nothing where fewer than two rows have that figure."""
    if not table.chart:
        return ""
    column = table.column(table.chart)
    drawn = [(row, figure) for row in result.rows_of(table) if (figure := result.figure(table, row, column)).values]
    if len(drawn) < 2:
        return ""
    scale = _scale([figure for _, figure in drawn], log=table.log)
    y, before = float(HEAD), ""
    bars, groups = [], []
    for row, figure in drawn:
        if row.group and row.group != before:
            y += GAP if before else 0
            groups.append({"name": row.group, "y": y + 12})
            y += ROW - 4
        before = row.group
        bars.append(_bar(table, row, figure, scale, y))
        y += ROW
    return TEMPLATE.render(
        title=f"{table.title}: {column.title}",
        legend=_legend(column, table, [figure for _, figure in drawn]),
        groups=groups,
        bars=bars,
        start=LABELS,
        width=WIDTH,
        height=y + 8,
    )


def _bar(table: Table, row: Row, figure: Figure, scale: Scale, y: float) -> dict[str, object]:
    low, high = (LABELS + scale(value) for value in (min(figure.values), max(figure.values)))
    end = max(high, LABELS + scale(figure.median))
    name = f"{row.name} (noted)" if row.noted else row.name
    most = int((LABELS - 12) / CHARACTER)
    text = wording.shown(figure.median, figure.column.unit)
    target = None if figure.limit is None else LABELS + scale(figure.limit)
    if target and end <= target < end + 12 + len(text) * CHARACTER:
        end = target  # the number behind the line, not under it
    return {
        "y": y,
        "name": name if len(name) <= most else name[: most - 1] + "…",
        "kind": "base" if row.noted or row.name == table.baseline else "bar",
        "length": scale(figure.median),
        "spread": (low, high) if high - low > 1 else None,
        "target": target,
        "text": text,
        "text_x": round(end + 6, 1),
    }


def _scale(figures: list[Figure], *, log: bool) -> Scale:
    values = [value for figure in figures for value in (*figure.values, figure.limit or 0) if value > 0]
    # The shortest bar of a logarithmic scale still has a length.
    return Scale(min(values) / 2, max(values), log) if log else Scale(0, max(values), log=False)


def _legend(column: Column, table: Table, figures: list[Figure]) -> str:
    words = [f"median, {column.unit}; {column.better} is better"]
    if any(len(figure.values) > 1 for figure in figures):
        words.append("line: lowest to highest")
    if any(figure.limit is not None for figure in figures):
        words.append("dashed: target")
    if table.log:
        words.append("logarithmic scale")
    return "; ".join(words)
