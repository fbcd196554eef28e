"""docs/benchmarks.md and its charts, made of the kept results: the same results give the same bytes.

Numbers come from `docs/benchmarks/*.json`, prose from the benchmarks' modules; nothing on the page is written by hand.
Outside system: the files.
"""

from __future__ import annotations

import datetime
import textwrap
from pathlib import Path
from typing import Any

from jinja2 import Environment

from bench import chart, harness, machine, wording
from bench.result import Result, Table

PAGE = machine.ROOT / "docs/benchmarks.md"
PAGE_WIDTH = 120

TEMPLATE = Environment(autoescape=False, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True).from_string(
    """\
# Benchmarks

<!-- Written by `./task bench` from docs/benchmarks/*.json and bench/*.py (the page: `./task bench -- --page-only`). -->

This page compares this project with its baselines. Each figure and its baseline were measured in the same run on the
same machine. `./task bench` measures all of it again; each section has the command for its part.

A cell is the median, with the minimum and the maximum if there are several samples. The machines were shared with other
work (see the load of each section), so compare the ratios within one table rather than the seconds. *Noted* figures
were measured earlier, and could not be measured again in this run.

## Targets

{% for line in targets %}
{{ line }}
{% endfor %}
{% for section in sections %}

## {{ section.title }}

{{ section.when }}

{{ section.intro }}
{% for table in section.tables %}

### {{ table.title }}

{% for line in table.lines %}
{{ line }}
{% endfor %}
{% if table.note %}

{{ table.note }}
{% endif %}
{% if table.chart %}

![{{ table.title }}](benchmarks/{{ table.chart }})
{% endif %}
{% endfor %}
{% if section.notes %}

{{ section.notes }}
{% endif %}
{% endfor %}
"""
)


def write(folder: Path = harness.KEPT, page: Path = PAGE) -> Path:
    """Write the page and its charts of the kept results; charts of no result are removed.

    The results' files are written again too: they repeat titles and targets, which may have changed since.
    """
    results = harness.kept(folder)
    for result in results:
        harness.keep(result, folder)
    text, charts = made(results)
    for old in folder.glob("*.svg"):
        if old.name not in charts:
            old.unlink()
    for name, drawing in charts.items():
        (folder / name).write_text(drawing, encoding="utf-8")
    page.write_text(text, encoding="utf-8")
    return page


def made(results: list[Result]) -> tuple[str, dict[str, str]]:
    """Return the page of some results, and its charts by their names."""
    charts = {
        f"{result.name}-{table.key}.svg": drawing
        for result in results
        for table in result.tables
        if (drawing := chart.svg(result, table))
    }
    sections = [_section(result, charts) for result in results]
    return TEMPLATE.render(targets=_targets(results), sections=sections), charts


def _section(result: Result, charts: dict[str, str]) -> dict[str, Any]:
    benchmark = harness.BENCHMARKS[result.name].load()
    tables = []
    for table in result.tables:
        if not result.rows_of(table):
            continue
        name = f"{result.name}-{table.key}.svg"
        lines = _table(result, table)
        tables.append({"title": table.title, "lines": lines, "note": table.note, "chart": name * (name in charts)})
    return {
        "title": result.title,
        "when": _when(result),
        "intro": benchmark.intro.strip(),
        "tables": tables,
        "notes": benchmark.notes.strip(),
    }


def _when(result: Result) -> str:
    """Return a run's command, date and machine."""
    facts, found = result.facts, result.facts["machine"]
    date = datetime.datetime.fromisoformat(facts["date"]).strftime("%Y-%m-%d %H:%M UTC")
    python = str(found["python_version"]).split()[0]
    packages = ", ".join(f"{name} {version}" for name, version in found["packages"].items())
    niceness = f", niceness {found['niceness']}" if found.get("niceness") else ""
    part = "" if result.whole else " The sizes are not those of the targets."
    text = (
        f"`{facts['command']}`, {date}, commit {facts['commit'] or 'unknown'}, took {facts['seconds']:,.0f} s. "
        f"{found['cpu_model_name']}, {found['cpu_count']} cores, {found['memory_gib']:.0f} GiB, "
        f"load {found['load_avg_1min']:.1f} at the start{niceness}; Python {python}, {packages}.{part}"
    )
    return textwrap.fill(text, PAGE_WIDTH, break_long_words=False, break_on_hyphens=False)


def _table(result: Result, table: Table) -> list[str]:
    header, *rows = wording.lines(result, table, missed=lambda text: f"**{text}**")
    names = sum(not title for title in header)
    return [
        _line(header),
        _line(["---"] * names + ["---:"] * (len(header) - names)),
        *(_line(row) for row in rows),
    ]


def _targets(results: list[Result]) -> list[str]:
    """Return the table of all targets."""
    lines = [_line(["", "what", "target", "measured", ""]), _line(["---", "---", "---:", "---:", "---"])]
    for result in results:
        title = result.title
        for figure, count in result.worst():
            verdict = "met" if figure.met else "**misses its target**"
            measured = wording.shown(figure.median, figure.column.unit)
            name = figure.name + (f" (the worst of {count})" if count > 1 else "")
            lines.append(_line([title, name, wording.limit_of(figure), measured, verdict]))
            title = ""
    return lines


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
