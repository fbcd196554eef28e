"""The server's figures in Prometheus' text format.

Imported at the first scrape: the library costs a start 0.1 s.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from clearml_localserver.http.connection_manager import ConnectionManager
from clearml_localserver.http.loop import LoopMonitor
from clearml_localserver.http.request_metrics import BOUNDS_S, RequestCounters
from clearml_localserver.http.server_state import ServerState

CONTENT_TYPE = CONTENT_TYPE_LATEST
PREFIX = "localserver_"
RECENT_S = 60.0


def requests(counters: RequestCounters) -> list[Metric]:
    """Return counts and latencies by service and endpoint."""
    labels = ("service", "endpoint")
    counts = CounterMetricFamily(f"{PREFIX}requests", "Answered requests.", labels=(*labels, "status"))
    for (service, endpoint, status), count in counters.requests.items():
        counts.add_metric((service, endpoint, str(status)), count)
    times = HistogramMetricFamily(
        f"{PREFIX}request_seconds", "Time from a request's headers to the end of its answer.", labels=labels
    )
    for names, latencies in counters.latencies.items():
        total, buckets = 0, []
        for bound, count in zip(BOUNDS_S, latencies.buckets, strict=True):
            total += count
            buckets.append(("+Inf" if bound == BOUNDS_S[-1] else str(bound), total))
        times.add_metric(names, buckets, latencies.sum_s)
    return [counts, times]


def connections(manager: ConnectionManager, lost_log_lines: int) -> list[Metric]:
    """Return what the connection manager holds and has refused."""
    refused = CounterMetricFamily(
        f"{PREFIX}refused", "Connections and requests refused or ended because of a limit.", labels=("reason",)
    )
    for reason, count in manager.refused.items():
        refused.add_metric((reason,), count)
    return [
        refused,
        _gauge("connections", "Open connections.", manager.connections),
        _gauge("connections_limit", "Most open connections.", manager.max_connections),
        _gauge("unsent_bytes", "Bytes of responses that wait for slow clients.", manager.unsent_bytes),
        CounterMetricFamily(
            f"{PREFIX}access_log_lost_lines",
            "Access log lines lost because the disk was too slow.",
            value=lost_log_lines,
        ),
    ]


def event_loop(monitor: LoopMonitor) -> list[Metric]:
    """Return how long the event loop stalled."""
    stall = GaugeMetricFamily(
        f"{PREFIX}loop_longest_stall_seconds", "Longest time in which no request was answered.", labels=("window",)
    )
    stall.add_metric(("start",), monitor.longest_s)
    stall.add_metric(("1m",), monitor.recent_s(RECENT_S))
    return [stall]


def state(server_state: ServerState) -> list[Metric]:
    """Return how queues and workers stand."""
    labels = ("queue", "name")
    lengths = GaugeMetricFamily(f"{PREFIX}queue_length", "Tasks that wait in a queue.", labels=labels)
    waits = GaugeMetricFamily(
        f"{PREFIX}queue_longest_wait_seconds", "How long the queue's oldest entry has waited.", labels=labels
    )
    for queue in server_state.queues:
        lengths.add_metric((queue.id, queue.name), queue.length)
        waits.add_metric((queue.id, queue.name), queue.longest_wait_s)
    workers = GaugeMetricFamily(f"{PREFIX}workers", "Registered workers by state.", labels=("state",))
    for name, count in server_state.workers.items():
        workers.add_metric((name,), count)
    handed_out = _gauge("handed_out_tasks", "Tasks that a worker has taken but not started.", server_state.handed_out)
    return [lengths, waits, workers, handed_out]


def storage(database_bytes: int, files_bytes: int, files: int, free_bytes: int) -> list[Metric]:
    """Return what the data takes."""
    return [
        _gauge("database_bytes", "Size of the database with its log.", database_bytes),
        _gauge("files_bytes", "Size of the stored files, as of the last walk (every 15 minutes or less).", files_bytes),
        _gauge("files", "Number of stored files, as of the last walk.", files),
        _gauge("free_bytes", "Free space on the data folder's disk.", free_bytes),
    ]


def text(metrics: list[Metric]) -> bytes:
    """Return metrics as text, with those of the process."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Given(metrics))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


class _Given(Collector):
    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        yield from self._metrics


def _gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(PREFIX + name, help_text, value=value)
