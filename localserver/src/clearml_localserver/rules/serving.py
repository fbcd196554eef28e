"""Pure rules of model serving: what a container's report says, and how the reports of several are summed up."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from statistics import fmean
from typing import Any

from clearml_localserver.times import iso, parse

Document = dict[str, Any]

DEFAULT_TIMEOUT_S = 600
KEEP_S = 7 * 86_400
"""How long reports are kept."""

DESCRIBED = ("model_source", "model_version", "preprocess_artifact", "input_type", "input_size")
"""What a container reports about its model besides the name."""

REPORTED = ("uptime_sec", "requests_num", "requests_min", "latency_ms")
FIGURES = (
    "requests", "requests_min", "latency_ms", "cpu_count", "cpu_util", "gpu_count", "gpu_util",
    "ram_used", "ram_free", "network_tx", "network_rx",
)  # fmt: skip
"""Columns of a kept report."""


@dataclass(frozen=True)
class Metric:
    """A curve over time that can be asked for."""

    title: str
    figure: str
    """SQL over a report's columns."""
    mean: bool = False
    """Whether the containers' figures are averaged; else they are added up."""
    gaps: bool = False
    """Whether an interval without reports is left out; else it is 0."""


METRICS: Mapping[str, Metric] = {
    "requests": Metric("Number of Requests", "max(requests)", gaps=True),
    "requests_min": Metric("Requests per Minute", "avg(requests_min)"),
    "latency_ms": Metric("Average Latency (ms)", "avg(latency_ms)", mean=True),
    "cpu_count": Metric("CPU Count", "max(cpu_count)"),
    "gpu_count": Metric("GPU Count", "max(gpu_count)"),
    "cpu_util": Metric("Average CPU Load (%)", "avg(cpu_util)", mean=True),
    "gpu_util": Metric("Average GPU Utilization (%)", "avg(gpu_util)", mean=True),
    "ram_total": Metric("RAM Total (GB)", "avg(ram_used + ram_free)"),
    "ram_used": Metric("RAM Used (GB)", "avg(ram_used)"),
    "ram_free": Metric("RAM Free (GB)", "avg(ram_free)"),
    "network_tx": Metric("Network Throughput TX (MBps)", "avg(network_tx)"),
    "network_rx": Metric("Network Throughput RX (MBps)", "avg(network_rx)"),
}


def container(data: Document, previous: Document | None, now: datetime) -> Document:
    """Return the entry that a container's registration or report makes; what it does not report is removed.

    The time-out, and since when the container is known, are kept.
    """
    before = previous or {}
    size = data.get("input_size")
    return {
        "id": data["container_id"],
        "endpoint": data["endpoint_name"],
        "model": data["model_name"],
        "url": data.get("endpoint_url"),
        **{name: data.get(name) for name in DESCRIBED},
        "input_size": None if size is None else str(size),
        "tags": data.get("tags", []),
        "system_tags": data.get("system_tags", []),
        "reference": data.get("reference", []),
        "timeout": data.get("timeout") or before.get("timeout", DEFAULT_TIMEOUT_S),
        "registered": before.get("registered") or iso(now),
        "last_update": iso(now),
        **{name: data.get(name) for name in REPORTED},
        "cpu_count": len(_listed(data, "cpu_usage")),
        "gpu_count": len(_listed(data, "gpu_usage")),
    }


def figures(data: Document) -> list[float]:
    """Return what is kept of a report, in the order of `FIGURES`; memory in GB."""
    stats = data.get("machine_stats") or {}
    cpus, gpus = _listed(data, "cpu_usage"), _listed(data, "gpu_usage")
    values = {
        "requests": data.get("requests_num"),
        "requests_min": data.get("requests_min"),
        "latency_ms": data.get("latency_ms"),
        "cpu_count": len(cpus),
        "cpu_util": fmean(cpus) if cpus else 0,
        "gpu_count": len(gpus),
        "gpu_util": fmean(gpus) if gpus else 0,
        "ram_used": _number(stats.get("memory_used")) / 1000,
        "ram_free": _number(stats.get("memory_free")) / 1000,
        "network_tx": stats.get("network_tx"),
        "network_rx": stats.get("network_rx"),
    }
    return [_number(values[name]) for name in FIGURES]


def endpoint_row(containers: list[Document]) -> Document:
    """Return what is shown of the containers at one address together."""
    rates, latencies = _given(containers, "requests_min"), _given(containers, "latency_ms")
    return {
        "endpoint": containers[0]["endpoint"],
        "model": containers[0]["model"],
        "url": containers[0]["url"],
        "instances": len(containers),
        "uptime_sec": max(_given(containers, "uptime_sec"), default=None),
        "requests": sum(_given(containers, "requests_num")),
        "requests_min": fmean(rates) if rates else None,
        "latency_ms": round(fmean(latencies)) if latencies else None,
        "last_update": max(item["last_update"] for item in containers),
    }


def loading_row(item: Document, now: datetime) -> Document:
    """Return what is shown of a container that serves nothing yet."""
    since = parse(item["registered"])
    return {
        "id": item["id"],
        "endpoint": item["endpoint"],
        "url": None,
        "model": item["model"],
        **{name: item[name] for name in DESCRIBED},
        "uptime_sec": item["uptime_sec"],
        "age_sec": int((now - since).total_seconds()) if since else 0,
        "last_update": item["last_update"],
    }


def details(containers: list[Document]) -> Document:
    """Return what is shown of one address: its model, and each of its containers."""
    together = endpoint_row(containers)
    shown = {name: together[name] for name in ("endpoint", "model", "url", "uptime_sec", "last_update")}
    instances = [
        {
            "id": item["id"],
            "requests": item["requests_num"],
            **{name: item[name] for name in ("uptime_sec", "requests_min", "latency_ms", "last_update")},
            **{name: item[name] for name in ("reference", "cpu_count", "gpu_count")},
        }
        for item in containers
    ]
    return shown | {name: containers[0][name] for name in DESCRIBED} | {"instances": instances}


def curves(metric: Metric, rows: Iterable[tuple[str, int, float]], starts: range) -> tuple[Document, Document]:
    """Return the curve of all containers together, and that of each.

    Args:
        metric: What is shown.
        rows: Container, start of the interval and figure.
        starts: The starts of all intervals.
    """
    each: dict[str, dict[int, float]] = {}
    for name, start, value in rows:
        each.setdefault(name, {})[start] = value
    together: dict[int, list[float]] = {}
    for values in each.values():
        for start, value in values.items():
            together.setdefault(start, []).append(value)
    fold = fmean if metric.mean else math.fsum
    total = _curve(metric, {start: fold(values) for start, values in together.items()}, starts)
    return total, {name: _curve(metric, values, starts) for name, values in sorted(each.items())}


def _curve(metric: Metric, values: Mapping[int, float], starts: range) -> Document:
    shown = sorted(values) if metric.gaps else starts
    points = [(start * 1000, values.get(start, 0)) for start in shown]
    return {"title": metric.title, "dates": [date for date, _ in points], "values": [value for _, value in points]}


def _given(containers: list[Document], name: str) -> list[float]:
    return [item[name] for item in containers if item[name] is not None]


def _listed(data: Document, name: str) -> list[float]:
    values = (data.get("machine_stats") or {}).get(name)
    return [_number(item) for item in (values if isinstance(values, list) else [] if values is None else [values])]


def _number(value: Any) -> float:
    fine = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if fine else 0.0
