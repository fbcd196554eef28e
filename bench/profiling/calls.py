"""The calls that a server has answered, by endpoint: counted by the server itself. Outside system: `/metrics`."""

from __future__ import annotations

import urllib.request
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

FAMILY = "localserver_request_seconds"
FILES = "files: GET and PUT"
TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Calls:
    """Requests to one endpoint."""

    count: int
    seconds: float
    """From the request's arrival to its answer, waiting for an event included."""


def answered(api: str) -> dict[str, Calls]:
    """Return what the server at this address has answered since its start."""
    with urllib.request.urlopen(f"{api}/metrics", timeout=TIMEOUT_S) as reply:
        return of_text(reply.read().decode())


def of_text(text: str) -> dict[str, Calls]:
    """Return the calls that a page of Prometheus metrics counts."""
    counts: Counter[str] = Counter()
    seconds: defaultdict[str, float] = defaultdict(float)
    for family in text_string_to_metric_families(text):
        if family.name != FAMILY:
            continue
        for sample in family.samples:
            endpoint = FILES if sample.labels["service"] == "files" else sample.labels["endpoint"]
            if sample.name.endswith("_count"):
                counts[endpoint] += int(sample.value)
            elif sample.name.endswith("_sum"):
                seconds[endpoint] += sample.value
    return {endpoint: Calls(count, seconds[endpoint]) for endpoint, count in counts.items() if count}


def between(before: Mapping[str, Calls], after: Mapping[str, Calls]) -> dict[str, Calls]:
    """Return what was answered between two looks, most calls first."""
    none = Calls(0, 0.0)
    found = {
        endpoint: Calls(
            calls.count - before.get(endpoint, none).count, calls.seconds - before.get(endpoint, none).seconds
        )
        for endpoint, calls in after.items()
    }
    return dict(sorted(((name, it) for name, it in found.items() if it.count), key=lambda item: -item[1].count))
