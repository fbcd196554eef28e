"""How the reports of several containers are summed up."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from clearml_localserver.rules import serving
from clearml_localserver.rules.serving import METRICS, container, curves, details, endpoint_row, figures, loading_row

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)


def entry(id: str, previous: dict[str, Any] | None = None, now: datetime = NOW, **data: Any) -> dict[str, Any]:
    named = {"container_id": id, "endpoint_name": "ep", "model_name": "m", "endpoint_url": "http://m/1"}
    return container(named | data, previous, now)


def test_an_address_sums_up_its_containers() -> None:
    row = endpoint_row([
        entry("a", uptime_sec=100, requests_num=10, requests_min=5.5, latency_ms=20),
        entry("b", now=NOW + timedelta(seconds=1), uptime_sec=50, requests_num=4, requests_min=1, latency_ms=40),
        entry("c"),
    ])  # fmt: skip
    assert (row["instances"], row["uptime_sec"], row["requests"]) == (3, 100, 14)
    assert (row["requests_min"], row["latency_ms"]) == (3.25, 30)
    assert row["last_update"].startswith("2026-01-01T00:00:01")


def test_an_address_of_which_nothing_was_reported() -> None:
    row = endpoint_row([entry("a")])
    assert (row["requests"], row["requests_min"], row["latency_ms"], row["uptime_sec"]) == (0, None, None, None)


def test_a_report_replaces_what_was_told_and_keeps_since_when_and_for_how_long() -> None:
    first = entry("a", model_source="src", timeout=5, input_size=3, reference=[{"type": "task", "value": "t"}])
    assert (first["input_size"], first["timeout"]) == ("3", 5)
    second = entry("a", first, NOW + timedelta(seconds=9), uptime_sec=1)
    assert (second["model_source"], second["input_size"], second["reference"]) == (None, None, [])
    assert (second["timeout"], second["registered"]) == (5, first["registered"])
    assert loading_row(second, NOW + timedelta(seconds=9))["age_sec"] == 9


def test_details_stand_also_where_only_some_containers_have_reported() -> None:
    shown = details([entry("a", uptime_sec=7, machine_stats={"cpu_usage": [1, 2]}), entry("b")])
    assert shown["uptime_sec"] == 7
    assert [(item["id"], item["uptime_sec"], item["cpu_count"]) for item in shown["instances"]] == [
        ("a", 7, 2), ("b", None, 0),
    ]  # fmt: skip


def test_figures_of_a_report() -> None:
    stats = {"cpu_usage": [10, 20], "memory_used": 100, "memory_free": "x", "gpu_usage": 50, "network_tx": True}
    values = dict(zip(serving.FIGURES, figures({"requests_num": 3, "machine_stats": stats}), strict=True))
    assert (values["requests"], values["latency_ms"]) == (3, 0)
    assert (values["cpu_count"], values["cpu_util"], values["gpu_count"], values["gpu_util"]) == (2, 15, 1, 50)
    assert (values["ram_used"], values["ram_free"], values["network_tx"]) == (0.1, 0, 0)


@pytest.mark.parametrize(
    ("metric", "total", "dates"),
    [("requests", [60], [40_000]), ("requests_min", [0, 60, 0], [0, 40_000, 80_000]),
     ("latency_ms", [0, 20, 0], [0, 40_000, 80_000])],
)  # fmt: skip
def test_curves_add_up_or_average_the_containers(metric: str, total: list[float], dates: list[int]) -> None:
    rows = [("a", 40, 20.0), ("b", 40, 40.0), ("c", 40, 0.0)]
    together, each = curves(METRICS[metric], rows, range(0, 100, 40))
    assert (together["values"], together["dates"]) == (total, dates)
    assert each["b"]["values"] == [40 if value else value for value in total]
