"""What `./task test` runs, and what it says it does not."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from _pytest.mark.expression import Expression

from tests import chromium as browser
from tests.__main__ import LONGEST, SUITES, WORDS, in_parallel, keep_compiled, marked_files, selection

ROOT = Path(__file__).resolve().parents[2]


END_TO_END, THOROUGH, SLOW, CHROMIUM = "end-to-end", "test-thorough", "test-slow", "apt-get install chromium"


@pytest.mark.parametrize(
    ("arguments", "group", "chromium", "expected", "left_out"),
    [
        ([], "usual", True, ["not e2e and not thorough and not slow"], [END_TO_END, THOROUGH, SLOW]),
        (
            [],
            "usual",
            False,
            ["not e2e and not thorough and not slow and not browser"],
            [END_TO_END, THOROUGH, SLOW, CHROMIUM],
        ),
        (
            ["-x", "tests/unit"],
            "named",
            True,
            ["not e2e and not thorough", "-x", "tests/unit"],
            [END_TO_END, THOROUGH],
        ),
        (["-m", "browser"], "named", False, ["browser"], []),
        (["tests/unit"], "slow", True, ["slow and not thorough", "tests/unit"], []),
        (["tests/unit"], "slow", False, ["slow and not thorough and not browser", "tests/unit"], [CHROMIUM]),
        (["tests/unit"], "thorough", True, ["thorough", "tests/unit"], []),
    ],
)
def test_what_is_left_out_is_said(arguments, group, chromium, expected, left_out):
    chosen, lines = selection(arguments, chromium=chromium, group=group)
    assert chosen == ["-m", *expected]
    assert len(lines) == len(left_out)
    assert all(word in line for word, line in zip(left_out, lines, strict=True))


def test_each_test_is_in_one_group():
    """Those without a marker are the usual ones; a slow one that is thorough too runs with the thorough ones."""
    of_markers = {
        markers: [
            expression
            for group, files in (("usual", []), ("slow", ["x"]), ("thorough", ["x"]))
            for expression in [selection(files, chromium=True, group=group)[0][1]]
            if Expression.compile(expression).evaluate(lambda name, markers=markers, **_: name in markers)
        ]
        for markers in [(), ("slow",), ("thorough",), ("slow", "thorough")]
    }
    assert [len(expressions) for expressions in of_markers.values()] == [1, 1, 1, 1]


def test_what_is_compiled_is_kept(monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    keep_compiled()
    assert not sys.dont_write_bytecode
    assert "PYTHONDONTWRITEBYTECODE" not in os.environ


@pytest.mark.parametrize(("cores", "processes"), [(1, "2"), (2, "4"), (4, "8"), (64, "8")])
def test_the_whole_suite_runs_in_several_processes(cores, processes):
    arguments = in_parallel(cores, SUITES)
    assert arguments[:2] == ["-n", processes]
    assert arguments[-len(SUITES) :] == list(SUITES)


@pytest.mark.parametrize("marker", WORDS)
def test_marked_tests_are_found_by_the_text_of_their_files(marker):
    """Whoever marks tests in another file adds the name by which test files take the mark from there."""
    marking = {
        str(path.relative_to(ROOT))
        for path in set((ROOT / "tests").rglob("*.py")).difference((ROOT / "tests/e2e").rglob("*.py"))
        if f"mark.{marker}" in path.read_text(encoding="utf-8")
    }
    found = marked_files(ROOT, marker)
    assert len(found) == len(set(found)) > 0
    elsewhere = {"thorough": {"tests/integration/pipeline_cli.py"}}
    assert marking - set(found) == {"tests/__main__.py"} | elsewhere.get(marker, set())


def test_the_files_that_start_first_exist():
    assert [name for name in LONGEST if not (ROOT / name).exists()] == []


def test_the_browser_is_the_one_named_or_the_cheapest_that_is_there(monkeypatch, tmp_path):
    places = tmp_path / "headless-shell", tmp_path / "chromium"
    monkeypatch.setattr(browser, "PLACES", places)
    monkeypatch.delenv("CHROMIUM", raising=False)
    assert browser.program() == places[1]  # missing, and named in what is said of it
    for place in reversed(places):
        place.touch()
        assert browser.program() == place
    monkeypatch.setenv("CHROMIUM", "/opt/mine")
    assert browser.program() == Path("/opt/mine")
