"""The text of reports, and the charts inside them and elsewhere. Pure functions, no server."""

from __future__ import annotations

import re

import pytest
from clearml_localserver.web import charts
from clearml_localserver.web.charts import Line
from clearml_localserver.web.report_text import MAX_EMBEDS, MAX_TEXT, Embed, pieces, with_images


def embeds(text: str) -> list[Embed]:
    return [piece for piece in pieces(text) if isinstance(piece, Embed)]


def markup(text: str) -> str:
    return "".join(piece for piece in pieces(text) if isinstance(piece, str))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("objectType=task&xaxis=iter&type=scalar&objects=a&objects=b&metrics=m&variants=v%201",
         ("scalars", {"metric": "m", "tasks": "a,b", "variant": "v 1", "axis": "iter"})),
        ("type=scalar&metrics=m&project=p&page_size=1&page=0&order_by[]=-last_update&xaxis=iso_time",
         ("scalars", {"metric": "m", "tasks": "", "axis": "clock", "project": "p", "limit": "1"})),
        ("type=scalar&metrics=m&tags[]=__$or,best&status[]=completed,failed",
         ("scalars", {"metric": "m", "tasks": "", "axis": "iter", "tag": "best", "status": "completed,failed"})),
        ("type=sample&objects=a&metrics=m", ("link", {"address": "/tasks/a/samples", "title": "m"})),
        ("type=single&objects=a&objects=b", ("link", {"address": "/compare?ids=a%2Cb&tab=values", "title": "values"})),
    ],
)  # fmt: skip
def test_the_frames_of_clearmls_own_reports_are_understood(query: str, expected: tuple[str, dict[str, str]]) -> None:
    (found,) = embeds(f'before\n<iframe width="100%"\n  src="https://app.clear.ml/widgets/?{query}"\n></iframe>\nafter')
    assert (found.kind, found.options, found.problem) == (*expected, "")


@pytest.mark.parametrize(
    "address", ["javascript:alert(1)", "", "data:text/html,x", "http://[bad", "//x", "/widgets/?a=b"]
)
def test_a_frame_without_an_address_of_the_web_is_no_link(address: str) -> None:
    (found,) = embeds(f'<iframe src="{address}"></iframe>')
    assert found.problem and not found.options


def test_headings_begin_below_the_pages_own_and_tables_have_no_styles() -> None:
    assert markup("### a\n##### b") == "<h2>a</h2>\n<h4>b</h4>\n"
    table = markup("|a|b|\n|-:|:-:|\n|1|2|")
    assert '<td class="num">1</td>' in table and '<td class="centre">2</td>' in table and "style" not in table


def test_html_is_text_and_images_are_changed() -> None:
    assert "<b" not in markup("<b onclick=x>&amp;</b>")
    shown = with_images(markup('![a "b"](http://x/a&b "t") ![](/y)'), lambda source: source if source == "/y" else None)
    assert '<a href="http://x/a&amp;b">a &quot;b&quot;</a>' in shown
    assert re.search(r'<img loading="lazy" src="/y" alt="">', shown)


def test_what_is_too_much_is_cut() -> None:
    many = embeds("```tasks\ntag: a\n```\n" * (MAX_EMBEDS + 1))
    assert [embed.problem != "" for embed in many] == [False] * MAX_EMBEDS + [True]
    assert len(markup("word " * MAX_TEXT)) < 2 * MAX_TEXT


@pytest.mark.parametrize(
    ("values", "levels"),
    [
        ([0, 97.3], ["100", "75", "50", "25", "0"]),
        ([-3, 5], ["6", "4", "2", "0", "-2", "-4"]),
        ([0, 0], ["0.5", "0.25", "0", "-0.25", "-0.5"]),
        ([1e-30, 2e-30], ["2e-30", "1.75e-30", "1.5e-30", "1.25e-30", "1e-30"]),
    ],
)
def test_levels_are_round_numbers_around_the_values(values: list[float], levels: list[str]) -> None:
    chart = charts.draw([Line("a", "#000", [0, 1], values)])
    assert chart is not None and list(chart.levels) == levels


@pytest.mark.parametrize("values", [[-1e308, 1e308], [5e-324, 0], [1e308, 1e308], [5, 5.0000000000001]])
def test_extreme_values_are_drawn(values: list[float]) -> None:
    chart = charts.draw([Line("a", "#000", [0, 1], values)])
    assert chart is not None and re.fullmatch(r"M0\.0 [0-9.]+L1000\.0 [0-9.]+", chart.lines[0].path)


def test_holes_part_a_curve_and_lone_points_are_dots() -> None:
    line = Line("a", "#000", [0, 1, 2, 3], [0, 4, None, 2], [0, 2, None, 2], [0, 4, None, 2])
    chart = charts.draw([line], "time")
    assert chart is not None and list(chart.ends) == ["0.0 s", "1.5 s", "3.0 s"]
    assert line.path.count("M") == 1 and len(line.dots) == 1 and line.band.endswith("Z")
    assert charts.draw([Line("a", "#000", [0], [None])]) is None
    assert charts.draw([Line("a", "#000", [0], [None], [1.0], [2.0])]) is None
