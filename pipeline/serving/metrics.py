"""The metrics of an inference process, as Prometheus reads them: requests, errors and latency by endpoint and model.

clearml-serving's own statistics go through Kafka to a container of their own, and count no errors. These are counted in
the process itself. Outside system: `prometheus_client`.
"""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

from pipeline.serving.answering import Answering

CONTENT_TYPE = CONTENT_TYPE_LATEST

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Seconds. A short text takes about a millisecond, the largest request some seconds."""

MODEL = ("endpoint", "version", "model_id")


class Metrics:
    """What one process has counted since its start."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._requests = Counter(
            "serving_requests",
            "Requests that were answered, by HTTP status",
            (*MODEL, "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "serving_request_seconds", "Time to an answer", MODEL, buckets=BUCKETS, registry=self.registry
        )
        self._texts = Counter("serving_texts", "Texts that were answered", MODEL, registry=self.registry)
        self._in_progress = Gauge(
            "serving_requests_in_progress", "Requests that are not answered yet", registry=self.registry
        )
        self._endpoints: set[str] = set()

    def began(self) -> None:
        """Count a request that has come."""
        self._in_progress.inc()

    def ended(self, request: Answering, path: str, status: int, seconds: float) -> None:
        """Count a request that is answered.

        Args:
            request: What its endpoint said of it.
            path: The request's path. It names the endpoint of a request that was refused before, if that has answered
                any: what clients make up does not become a label.
            status: The HTTP status.
            seconds: How long it took.
        """
        self._in_progress.dec()
        if request.endpoint:
            self._endpoints.add(request.endpoint)
        named = path.removeprefix("/serve/").partition("/")[0]
        endpoint = request.endpoint or (named if named in self._endpoints else "")
        model = (endpoint, request.version, request.model_id)
        self._requests.labels(*model, str(status)).inc()
        self._seconds.labels(*model).observe(seconds)
        if request.texts and status == 200:
            self._texts.labels(*model).inc(request.texts)

    def text(self) -> bytes:
        """Return them as Prometheus reads them."""
        return generate_latest(self.registry)
