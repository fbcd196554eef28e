"""The page is what the kept results give, and nothing else."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest
import yaml

from bench import chart, harness, machine, page
from bench.result import Column, Result, Row, Table, Target

RESULTS = harness.kept()
TABLE = Table("pace", "Pace <of> things", (Column("seconds", "time", "s"),), baseline="theirs", chart="seconds")


def made(*rows: Row, table: Table = TABLE, targets: tuple[Target, ...] = ()) -> Result:
    return Result("pace", "Pace", (table,), targets, rows)


def test_the_page_is_what_the_kept_results_give():
    text, charts = page.made(RESULTS)
    assert page.PAGE.read_text(encoding="utf-8") == text, "run: ./task bench -- --page-only"
    assert {path.name: path.read_text(encoding="utf-8") for path in harness.KEPT.glob("*.svg")} == charts


@pytest.mark.parametrize("result", RESULTS, ids=lambda result: result.name)
def test_a_kept_result_says_where_it_is_from(result):
    assert result.facts["date"]
    assert result.facts["commit"]
    assert result.facts["command"].startswith("./task bench-")
    assert {"cpu_model_name", "cpu_count", "load_avg_1min", "python_version", "memory_gib"} <= set(
        result.facts["machine"]
    )
    assert "hostname" not in result.facts["machine"]


@pytest.mark.parametrize("result", RESULTS, ids=lambda result: result.name)
def test_a_kept_result_repeats_the_tables_and_targets_that_its_benchmark_has(result):
    text = (harness.KEPT / f"{result.name}.json").read_text(encoding="utf-8")
    assert text == harness.as_text(result), "run: ./task bench -- --page-only"


@pytest.mark.parametrize("result", RESULTS, ids=lambda result: result.name)
def test_a_kept_result_has_every_figure_of_its_tables(result):
    for table in result.tables:
        cells = {key for row in result.rows_of(table) for key in row.cells}
        measured = {column.key for column in table.columns if not column.ratio_of}
        assert measured <= cells
        assert cells <= measured


@pytest.mark.parametrize("name", harness.BENCHMARKS)
def test_a_benchmark_keeps_its_contract(name):
    benchmark = harness.BENCHMARKS[name].load()
    tables = {table.key: table for table in benchmark.tables}
    for target in benchmark.targets:
        tables[target.table].column(target.column)
    for table in benchmark.tables:
        for key in (table.chart, *(column.ratio_of for column in table.columns)):
            assert not key or table.column(key)
    options, normal = benchmark.options([], quick=True)
    assert not normal, "a quick run is at other sizes"
    assert set(benchmark.quick) <= set(vars(options))


@pytest.mark.parametrize("name", harness.BENCHMARKS)
def test_a_benchmark_has_a_task_of_its_own(name):
    taskfile = yaml.safe_load((machine.ROOT / "Taskfile.yml").read_text())
    assert taskfile["vars"]["BENCH"].endswith("-m bench")
    assert taskfile["tasks"][f"bench-{name}"]["cmd"] == f"{{{{.BENCH}}}} --only {name} {{{{.CLI_ARGS}}}}"


def test_no_other_result_is_kept():
    assert {path.stem for path in harness.KEPT.glob("*.json")} <= set(harness.BENCHMARKS)


def test_a_chart_draws_medians_spread_targets_and_the_baseline():
    rows = Row("pace", "theirs", {"seconds": (10.0,)}), Row("pace", "ours & best", {"seconds": (1.0, 2.0, 6.0)})
    root = ElementTree.fromstring(chart.svg(made(*rows, targets=(Target("pace", "seconds", 5.0),)), TABLE))
    tag = "{http://www.w3.org/2000/svg}"
    bars = [(bar.get("class"), float(bar.get("width", 0))) for bar in root.iter(f"{tag}rect")]
    assert [kind for kind, _ in bars] == ["base", "bar"]
    assert bars[0][1] == pytest.approx(5 * bars[1][1])
    lines = {line.get("class"): line for line in root.iter(f"{tag}line")}
    assert set(lines) == {"spread", "target"}
    texts = [text.text for text in root.iter(f"{tag}text")]
    assert {"ours & best", "2.00 s", "10.0 s"} <= set(texts)
    assert "line: lowest to highest; dashed: target" in texts[1]


def test_a_logarithmic_chart_gives_each_bar_a_length():
    table = Table("pace", "Pace", TABLE.columns, chart="seconds", log=True)
    rows = (Row("pace", f"row {value}", {"seconds": (value,)}) for value in (0.01, 1.0, 100.0))
    root = ElementTree.fromstring(chart.svg(made(*rows, table=table), table))
    lengths = [float(bar.get("width", 0)) for bar in root.iter("{http://www.w3.org/2000/svg}rect")]
    assert 0 < lengths[0] < lengths[1] < lengths[2]


@pytest.mark.parametrize(
    ("table", "rows"),
    [
        (Table("pace", "", TABLE.columns), 3),
        (TABLE, 1),
        (TABLE, 0),
    ],
)
def test_there_is_no_chart_of_nothing_to_compare(table, rows):
    made_rows = (Row("pace", f"row {number}", {"seconds": (1.0,)}) for number in range(rows))
    assert chart.svg(made(*made_rows, table=table), table) == ""
