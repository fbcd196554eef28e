"""This agent's task pods as it last saw them: one view for the loop that makes pods and the threads that end them."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

Json = dict[str, Any]


class KnownPods:
    """Pods by uid. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pods: dict[str, Json] = {}
        self._ended_here: set[str] = set()
        self._end = threading.Event()
        self.is_current = False
        """The cluster has answered lately."""
        self.gone = 0
        """How many pods are gone: there may be room for others since."""

    def see(self, pod: Json) -> None:
        """Take in a pod as it is now."""
        uid = pod["metadata"]["uid"]
        with self._lock:
            before, self._pods[uid] = self._pods.get(uid, {}), pod
        if has_ended(pod) and not has_ended(before):
            self._end.set()

    def forget(self, pod: Json) -> None:
        """Drop a pod that is gone."""
        with self._lock:
            if self._pods.pop(pod["metadata"]["uid"], None):
                self.gone += 1

    def wait_for_end(self, seconds: float) -> None:
        """Wait until a pod ends, for so long at most."""
        if self._end.wait(seconds):
            self._end.clear()

    def all(self) -> list[Json]:
        """Return the pods that are there."""
        with self._lock:
            return list(self._pods.values())

    def missing_from(self, listed: Iterable[Json], known_before: Iterable[Json]) -> list[Json]:
        """Return the pods that were known before a list was asked for and are not in it: they are gone."""
        uids = {pod["metadata"]["uid"] for pod in listed}
        return [pod for pod in known_before if pod["metadata"]["uid"] not in uids]

    def will_end(self, pod: Json) -> None:
        """Remember that this agent ends a pod itself, for a reason that is already on its task's record."""
        with self._lock:
            self._ended_here.add(pod["metadata"]["uid"])

    def was_ended_here(self, pod: Json) -> bool:
        """Return whether this agent ended the pod itself."""
        with self._lock:
            return pod["metadata"]["uid"] in self._ended_here


def has_ended(pod: Json) -> bool:
    """Return whether a pod's containers have ended for good."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
