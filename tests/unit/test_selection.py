"""What `./task test` runs, and what it says it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import chromium as browser
from tests.__main__ import LONGEST, SUITES, in_parallel, selection, thorough_files

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("arguments", "chromium", "expected", "left_out"),
    [
        ([], True, ["-m", "not e2e and not thorough"], ["end-to-end", "test-thorough"]),
        (
            [],
            False,
            ["-m", "not e2e and not thorough and not browser"],
            ["end-to-end", "test-thorough", "apt-get install chromium"],
        ),
        (
            ["-x", "tests/unit"],
            True,
            ["-m", "not e2e and not thorough", "-x", "tests/unit"],
            ["end-to-end", "test-thorough"],
        ),
        (["-m", "browser"], False, ["-m", "browser"], []),
    ],
)
def test_what_is_left_out_is_said(arguments, chromium, expected, left_out):
    chosen, lines = selection(arguments, chromium=chromium)
    assert chosen == expected
    assert len(lines) == len(left_out)
    assert all(word in line for word, line in zip(left_out, lines, strict=True))


@pytest.mark.parametrize(("cores", "processes"), [(1, "2"), (2, "4"), (4, "8"), (64, "8")])
def test_the_whole_suite_runs_in_several_processes(cores, processes):
    arguments = in_parallel(cores, SUITES)
    assert arguments[:2] == ["-n", processes]
    assert arguments[-len(SUITES) :] == list(SUITES)


def test_thorough_tests_are_found_by_the_text_of_their_files():
    """Whoever marks tests in another file adds the name by which test files take the mark from there."""
    marking = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "tests").rglob("*.py")
        if "mark.thorough" in path.read_text(encoding="utf-8")
    }
    found = thorough_files(ROOT)
    assert len(found) == len(set(found))
    assert marking - set(found) == {"tests/__main__.py", "tests/integration/pipeline_cli.py"}


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
