from __future__ import annotations

import argparse
import json
import sys
import types
from collections.abc import Callable, Iterator

import pytest

from bench import __main__ as command
from bench import harness, page
from bench.declaration import Benchmark, BenchmarkError
from bench.harness import BENCHMARKS, Entry, InterruptedBenchmarkError
from bench.result import Column, Result, Row, Table, Target

TABLE = Table("times", "Times", (Column("seconds", "time", "s"),))
FACTS = {"date": "2026-01-02T03:04:05+00:00", "commit": "abc", "machine": {"cpu_model_name": "a cpu"}}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=100)


def counting(options: argparse.Namespace, say: Callable[[str], None]) -> Iterator[Row]:
    yield Row("times", "ours", {"seconds": (options.rows / 10,)})


@pytest.fixture(autouse=True)
def facts(monkeypatch):
    """No pyperf, no git: they take a second."""
    monkeypatch.setattr(harness.machine, "facts", lambda: dict(FACTS))


@pytest.fixture
def given(monkeypatch, tmp_path) -> Callable[..., None]:
    """Makes functions the only benchmarks; the page goes to a temporary folder."""
    written: list[str] = []
    monkeypatch.setattr(page, "write", lambda: written.append("page") or page.PAGE)
    keep = harness.keep
    monkeypatch.setattr(harness, "keep", lambda result: keep(result, tmp_path))

    def give(**measures: Callable[..., Iterator[Row]]) -> None:
        entries = {}
        for name, measure in measures.items():
            module = types.ModuleType(f"made_{name}")
            module.BENCHMARK = Benchmark(  # type: ignore[attr-defined]
                title=name.title(),
                tables=(TABLE,),
                targets=(Target("times", "seconds", 9.0),),
                add_arguments=add_arguments,
                measure=measure,
                quick={"rows": 1},
                unavailable=lambda options: "no room" if options.rows == 666 else "",
            )
            monkeypatch.setitem(sys.modules, module.__name__, module)
            entries[name] = Entry(module.__name__)
        monkeypatch.setattr(harness, "BENCHMARKS", entries)
        monkeypatch.setattr(command, "BENCHMARKS", entries)

    return give


@pytest.mark.parametrize(
    ("words", "quick", "seconds", "whole", "typed"),
    [
        ([], False, 10.0, True, "bench-it"),
        (["--rows", "100"], False, 10.0, True, "bench-it -- --rows 100"),
        (["--rows", "30"], False, 3.0, False, "bench-it -- --rows 30"),
        ([], True, 0.1, False, "bench-it -- --quick"),
        (["--rows", "5"], True, 0.5, False, "bench-it -- --quick --rows 5"),
    ],
)
def test_only_a_run_at_the_sizes_of_the_targets_is_compared_with_them(given, words, quick, seconds, whole, typed):
    given(it=counting)
    result = harness.run("it", words, lambda _: None, quick=quick)
    assert result.rows[0].cells == {"seconds": (seconds,)}
    assert (result.whole, result.facts["command"]) == (whole, f"./task {typed}")
    assert [figure.met for figure in result.aimed()] == ([False] if whole else [])


def test_ctrl_c_gives_what_was_measured_and_lets_the_benchmark_clean_up(given):
    removed = []

    def stopped(options, say):
        try:
            yield Row("times", "first", {"seconds": (1.0,)})
            raise KeyboardInterrupt
        finally:
            removed.append("folder")

    given(it=stopped)
    with pytest.raises(InterruptedBenchmarkError) as interrupted:
        harness.run("it", [], lambda _: None)
    assert [row.name for row in interrupted.value.result.rows] == ["first"]
    assert not interrupted.value.result.whole
    assert removed == ["folder"]


def test_ctrl_c_while_it_is_told_what_goes_on_closes_the_benchmark_too(given):
    removed = []

    def patient(options, say):
        try:
            yield Row("times", "first", {"seconds": (1.0,)})
        finally:
            removed.append("folder")

    def say(text):
        raise KeyboardInterrupt

    given(it=patient)
    with pytest.raises(InterruptedBenchmarkError):
        harness.run("it", [], say)
    assert removed == ["folder"]


@pytest.mark.parametrize(
    ("words", "code", "kept"),
    [
        ([], 0, True),
        (["--strict"], 1, True),
        (["--no-keep"], 0, False),
        (["--quick"], 0, False),
        (["--quick", "--keep"], 0, False),
        (["--rows", "20"], 0, False),
        (["--rows", "20", "--keep"], 0, True),
        (["--rows", "666"], 1, False),
        (["--rows", "many"], 2, False),
    ],
)
def test_what_is_kept_and_what_the_exit_code_says(given, tmp_path, capsys, words, code, kept):
    given(it=counting)
    assert command.main(["--only", "it", *words]) == code
    assert (tmp_path / "it.json").exists() is kept


def test_what_is_kept_is_the_result(given, tmp_path, capsys):
    given(it=counting)
    command.main(["--only", "it", "--json"])
    printed = json.loads(capsys.readouterr().out)
    assert json.loads((tmp_path / "it.json").read_text()) == printed
    assert printed["targets"][0]["met"] is False
    assert Result.from_json(printed).rows == (Row("times", "ours", {"seconds": (10.0,)}),)


def test_a_benchmark_that_fails_says_so_and_keeps_nothing(given, tmp_path, capsys):
    def failing(options, say):
        yield Row("times", "ours", {"seconds": (1.0,)})
        raise BenchmarkError("the ways disagree")

    given(it=failing)
    assert command.main(["--only", "it"]) == 1
    assert "it: failed: the ways disagree" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_an_interrupted_one_is_shown_and_not_kept(given, tmp_path, capsys):
    def stopped(options, say):
        yield Row("times", "the first of them", {"seconds": (1.0,)})
        raise KeyboardInterrupt

    given(it=stopped)
    assert command.main(["--only", "it"]) == 130
    assert "the first of them" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--only", "nothing"], "there is no benchmark nothing; there are: one, two"),
        (["--only", "one,two", "--rows", "5"], "--rows 5: the options of a benchmark need --only with its name"),
        (["--rows", "5"], "--rows 5: the options of a benchmark need --only with its name"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(given, capsys, words, says):
    given(one=counting, two=counting)
    assert command.main(words) == 2
    assert says in capsys.readouterr().err


def test_help_names_the_benchmarks_and_an_only_ones_options(given, capsys):
    assert command.main(["--help"]) == 0
    assert ", ".join(list(BENCHMARKS)[:3]) in capsys.readouterr().out
    given(one=counting, two=counting)
    assert command.main(["--only", "two", "--help"]) == 0
    assert "--rows ROWS" in capsys.readouterr().out


def test_a_benchmark_is_one_file(tmp_path):
    (tmp_path / "queue_speed.py").write_text(
        "from bench.declaration import Benchmark\n"
        "BENCHMARK = Benchmark(title='Speed of a queue', tables=(), targets=(), by_default=False, page_order=15)\n"
    )
    (tmp_path / "not_one.py").write_text("LIMIT = 3\n")
    found = harness.benchmarks_in(tmp_path, "bench")
    assert found == {"queue-speed": Entry("bench.queue_speed", by_default=False, page_order=15)}


def test_the_benchmarks_are_found_in_the_order_of_the_page():
    assert list(BENCHMARKS) == [
        *("text", "split", "train", "formats", "shards", "shards-configured"),
        *("full-size", "overhead", "overhead-all-reviews", "startup", "cached-run", "server", "pod-start", "pod-rate"),
        *("web", "serve"),
    ]
    by_default = {name for name, entry in BENCHMARKS.items() if entry.by_default}
    assert set(BENCHMARKS) - by_default == {
        *("shards", "shards-configured", "full-size", "overhead", "overhead-all-reviews", "web", "serve")
    }
    for name, entry in BENCHMARKS.items():
        benchmark = entry.load()
        assert (benchmark.by_default, benchmark.page_order) == (entry.by_default, entry.page_order), name
