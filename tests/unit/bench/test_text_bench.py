from __future__ import annotations

from bench import text

FIGURES = {
    "rows": 1000,
    "rows_per_s": 50_000.0,
    "rows_per_cpu_s": 40_000.0,
    "times_original": 1000.0,
    "times_original_cpu": 900.0,
    "peak_mib": 512,
}


def test_memory_must_be_less_and_all_else_more() -> None:
    assert text.missed(FIGURES, {"rows_per_s": 50_000, "peak_mib": 512}) == []
    assert text.missed(FIGURES, {"rows_per_s": 50_001, "peak_mib": 511, "times_original": 1}) == [
        "rows_per_s",
        "peak_mib",
    ]


def test_the_table_says_where_a_figure_misses_its_target() -> None:
    parts = {name: FIGURES | {"missed": text.missed(FIGURES, text.TARGETS.get(name, {}))} for name in text.PARTS}

    lines = text.table({"parts": parts, "machine": text.machine() | {"load_before": 0.1}, "equal": True}).splitlines()

    line = next(line for line in lines if line.startswith("in memory"))
    assert "at least 60,000 rows/s: MISSED, at most 2,560 MiB: met" in line
    assert sum("MISSED" in line for line in lines) == 1
