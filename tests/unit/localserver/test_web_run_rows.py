"""Steps that are drawn without a template: escaped, cut, isolated, as a template would have them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from html import unescape

from clearml_localserver.web import dag, run_rows
from clearml_localserver.web.console_lines import drawn
from clearml_localserver.web.isolation import isolate
from clearml_localserver.web.phases import Phase, Segment
from clearml_localserver.web.runs import Step

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=timezone.utc)
HOSTILE = '"><script>alert(1)</script>&'
HEBREW = "\u05e9\u05dc\u05d5\u05dd"


def step(name: str, **fields: object) -> Step:
    return Step(name, **{"status": "completed", "parents": [], "task_id": "t1"} | fields)  # type: ignore[arg-type]


def test_what_people_have_named_cannot_leave_its_place() -> None:
    odd = step(
        HOSTILE, status="failed", parents=[HOSTILE], worker=HOSTILE, queue=HOSTILE, message=HOSTILE, task_id="<'\""
    )
    row = run_rows.table_rows([odd], {}, {}, {HOSTILE: HOSTILE}, NOW)
    assert "<script" not in row
    assert row.count("&lt;script&gt;") == 5  # name, parent, queue, worker, reason
    layout = dag.layout({HOSTILE: []})
    assert layout
    picture = run_rows.boxes(layout, {HOSTILE: odd}, {}, None, "/tasks/t", NOW)
    assert "<script" not in picture
    assert unescape(picture).count(HOSTILE) == 3  # label, and name and reason in the title
    assert "?step=%22%3E%3Cscript%3E" in picture


def test_a_direction_stays_with_its_name() -> None:
    assert f"<bdi>{HEBREW}</bdi>" in isolate(run_rows.table_rows([step(HEBREW)], {}, {}, {}, NOW))


def test_long_texts_are_cut_and_whole_in_their_titles() -> None:
    name, reason = "n" * 41, "r" * 301
    row = run_rows.table_rows([step(name, status="aborted", message=reason)], {}, {}, {}, NOW)
    assert f'title="{name}"' in row
    assert f"{'r' * 299}…<" in row
    layout = dag.layout({name: []})
    assert layout
    picture = run_rows.boxes(layout, {name: step(name)}, {}, name, "/tasks/t?a=b", NOW)
    assert ">nnnnnnnnnn…nnnnnnnn</text>" in picture
    assert f'href="/tasks/t?a=b&amp;step={name}#step"' in picture
    assert 'class="box s-completed current"' in picture


def test_a_row_tells_its_times_and_phases() -> None:
    begun = NOW - timedelta(seconds=70)
    running = step("a", status="running", created=begun - timedelta(seconds=5), started=begun)
    phase = Phase("wait", begun.timestamp() - 5, begun.timestamp())
    row = run_rows.table_rows([running], {"a": [Segment(phase, 0.0, 12.345)]}, {}, {}, NOW)
    assert '<td class="num">5.0 s</td>' in row
    assert re.search(r'<time datetime="2026-11-29T11:58:50\+00:00" [^>]* data-since>1 min 10 s</time>', row)
    assert 'aria-label="queue wait 5.0 s"' in row
    assert 'width="12.35"' in row or 'width="12.34"' in row


def test_console_lines_lead_to_themselves() -> None:
    lines = [
        {"key": "5-ab-0", "at": 5, "level": "", "html": "plain"},
        {"key": "6-cd-0", "at": 6, "level": "error", "html": "<b>x</b>"},
    ]
    page = drawn(lines, '/tasks/"<', linked=False)
    assert '<div class="ln" id="L5-ab-0" data-at="5">' in page
    assert 'href="/tasks/&#34;&lt;?at=5#L5-ab-0"' in page
    assert page.count('tabindex="-1"') == 2
    assert '<div class="ln l-error" id="L6-cd-0" data-at="6">' in page
    assert "tabindex" not in drawn(lines, "/tasks/t", linked=True)
