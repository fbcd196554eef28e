"""What became of every pod of a namespace while somebody watched: evidence that outlives the pods."""

from __future__ import annotations

import json
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from deploy import tools


@dataclass
class Life:
    """The pods that had one name."""

    uids: set[str] = field(default_factory=set)
    started: datetime | None = None
    finished: datetime | None = None
    restarts: int = 0


class PodWatch:
    """`kubectl get pods --watch`, written to a file and read at the end."""

    def __init__(self, kubeconfig: Path, namespace: str, file: Path) -> None:
        self._file = file
        words = ["get", "pods", "--watch", "--output-watch-events", "--output=json"]
        self._output = file.open("wb")
        self._process = subprocess.Popen(
            [str(tools.kubectl_path()), "--kubeconfig", str(kubeconfig), "--namespace", namespace, *words],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.PIPE,
        )

    def stop(self) -> None:
        """End the watch. One that has ended by itself has seen only half of it."""
        ended = self._process.poll()
        self._process.terminate()
        _, stderr = self._process.communicate(timeout=30)
        self._output.close()
        assert ended is None, f"the watch ended by itself ({ended}): {stderr.decode()}"

    def lives(self) -> dict[str, Life]:
        """Return what was seen, by the pods' names."""
        found: dict[str, Life] = defaultdict(Life)
        for event in self._events():
            pod = event["object"]
            life = found[pod["metadata"]["name"]]
            life.uids.add(pod["metadata"]["uid"])
            for container in pod["status"].get("containerStatuses") or []:
                state = container.get("state") or {}
                moments = {**(state.get("running") or {}), **(state.get("terminated") or {})}
                life.started = _moment(moments.get("startedAt")) or life.started
                life.finished = _moment(moments.get("finishedAt")) or life.finished
                life.restarts = max(life.restarts, int(container.get("restartCount") or 0))
        return dict(found)

    def most_at_once(self, prefix: str) -> int:
        """Return how many pods with such names were pending or running at a time."""
        alive: set[str] = set()
        most = 0
        for event in self._events():
            pod = event["object"]
            name = pod["metadata"]["name"]
            gone = event["type"] == "DELETED" or pod["status"].get("phase") in ("Succeeded", "Failed")
            (alive.discard if gone else alive.add)(name)
            most = max(most, sum(other.startswith(prefix) for other in alive))
        return most

    def _events(self) -> Iterator[dict[str, Any]]:
        text, decoder, at = self._file.read_text(encoding="utf-8").strip(), json.JSONDecoder(), 0
        while at < len(text):
            try:
                event, end = decoder.raw_decode(text, at)
            except ValueError:
                return  # the watch was ended in the middle of one
            yield event
            at = end + len(text[end:]) - len(text[end:].lstrip())


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


@contextmanager
def watched(kubeconfig: Path, namespace: str, file: Path) -> Iterator[PodWatch]:
    """Watch for the length of the block."""
    watch = PodWatch(kubeconfig, namespace, file)
    try:
        yield watch
    finally:
        watch.stop()
