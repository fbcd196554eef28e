"""What localserver costs: start time, memory at rest, calls per second, beside what was measured of the genuine one.

    task bench-server [-- --json FILE]

The genuine server cannot run here (eight containers); its figures are those of the design notes, measured once on a
machine of this kind, and are marked as such. Everything else is measured in this run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil

from localserver.pytest_plugin import ClearmlServer, running_server

STARTS = 5
SECONDS = 3.0
GENUINE = {"start_s": (10.0, 15.0), "idle_rss_mib": 650, "get_by_id_ms": 6, "edit_ms": 6, "add_batch_ms": 26}
"""Genuine server 2.3.0 with small stand-ins for its databases: see docs/benchmarks.md."""


class Session:
    """One client connection with a token."""

    def __init__(self, server: ClearmlServer) -> None:
        self.http = httpx.Client(base_url=server.api_url, trust_env=False, timeout=30)
        token = self.http.get("/auth.login", auth=server.credentials).json()["data"]["token"]
        self.http.cookies.clear()
        self.http.headers["Authorization"] = f"Bearer {token}"

    def call(self, endpoint: str, data: Any) -> dict[str, Any]:
        """Call an endpoint; a list is sent as JSON lines."""
        if isinstance(data, list):
            content = "\n".join(json.dumps(item) for item in data)
            headers = {"Content-Type": "application/json-lines"}
            reply = self.http.request("POST", f"/v2.23/{endpoint}", content=content, headers=headers)
        else:
            reply = self.http.request("GET", f"/v2.23/{endpoint}", json=data)
        reply.raise_for_status()
        found: dict[str, Any] = reply.json()["data"]
        return found


def starts(folder: Path) -> list[float]:
    """Measure starts, the ready line included, each on a fresh data folder."""
    found = []
    for number in range(STARTS):
        began = time.perf_counter()
        with running_server(folder / f"start-{number}"):
            found.append(time.perf_counter() - began)
    return found


def rate(server: ClearmlServer, clients: int, work: Callable[[Session, int], None]) -> dict[str, float]:
    """Run `work` from `clients` threads for some seconds; return calls per second and latencies in ms."""
    times: list[float] = []
    end = time.perf_counter() + SECONDS

    def run(session: Session) -> None:
        number = 0
        while (began := time.perf_counter()) < end:
            work(session, number)
            times.append(time.perf_counter() - began)
            number += 1

    threads = [threading.Thread(target=run, args=(Session(server),)) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    quantiles = statistics.quantiles(times, n=100)
    return {"per_s": len(times) / SECONDS, "median_ms": quantiles[49] * 1000, "p99_ms": quantiles[98] * 1000}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the result to this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        result: dict[str, Any] = {"start_s": starts(root)}
        with running_server(root / "data") as server:
            time.sleep(1)
            result["idle_rss_mib"] = psutil.Process(server.process.pid).memory_info().rss / 2**20
            first = Session(server)
            task = first.call("tasks.create", {"name": "bench task", "type": "testing"})["id"]

            def get(session: Session, number: int) -> None:
                session.call("tasks.get_by_id", {"task": task})

            def edit(session: Session, number: int) -> None:
                session.call("tasks.edit", {"task": task, "comment": str(number), "force": True})

            def report(session: Session, number: int) -> None:
                event = {"type": "training_stats_scalar", "task": task, "metric": "m", "variant": "v"}
                session.call("events.add_batch", [event | {"iter": number * 20 + n, "value": n} for n in range(20)])

            for name, work in {"get_by_id": get, "edit": edit, "add_batch (20 scalars)": report}.items():
                result[name] = {clients: rate(server, clients, work) for clients in (1, 8)}
            result["loaded_rss_mib"] = psutil.Process(server.process.pid).memory_info().rss / 2**20
    print(table(result))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1), encoding="utf-8")


def table(result: dict[str, Any]) -> str:
    """Return the Markdown table that docs/benchmarks.md keeps."""
    start = statistics.median(result["start_s"])
    low, high = GENUINE["start_s"]  # type: ignore[misc]
    rows = [
        "| what | localserver | target | genuine server (noted) |",
        "|---|---|---|---|",
        f"| start to ready line, median of {STARTS} | {start:.2f} s | 1.5 s | {low:.0f}-{high:.0f} s |",
        f"| resident memory at rest | {result['idle_rss_mib']:.0f} MiB | 150 MiB | {GENUINE['idle_rss_mib']} MiB |",
        f"| resident memory after this benchmark | {result['loaded_rss_mib']:.0f} MiB | | |",
    ]
    noted = {"get_by_id": "get_by_id_ms", "edit": "edit_ms", "add_batch (20 scalars)": "add_batch_ms"}
    for name, key in noted.items():
        for clients, figures in result[name].items():
            genuine = f"median {GENUINE[key]} ms" if clients == 1 else ""
            rows.append(
                f"| {name}, {clients} client{'s' if clients > 1 else ''} | {figures['per_s']:.0f}/s, "
                f"median {figures['median_ms']:.1f} ms, p99 {figures['p99_ms']:.1f} ms | | {genuine} |"
            )
    return "\n".join(rows)


if __name__ == "__main__":
    main()
