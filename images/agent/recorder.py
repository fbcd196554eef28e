"""Writes how a task's pod ended onto the task's record, while the pod can still be asked (helm-charts#319).

It watches this agent's pods and writes exit code, OOMKilled, evicted, image, node to the task's console, its runtime
section and, if nobody runs it any more, its status. Pods are deleted only after that (reconciler.py).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from known_pods import KnownPods, has_ended  # type: ignore[import-not-found]
from phases import execution_start, phases, sandbox_time  # type: ignore[import-not-found]
from pod_api import ClusterError, PodApi  # type: ignore[import-not-found]
from task_records import UNFINISHED, ServerError, TaskRecords, queue_of  # type: ignore[import-not-found]

from clearml_access import pod_records, url_credentials
from deploy.kubernetes.pods import OUT_OF_MEMORY, PostMortem, memory_limit, post_mortem, task_id

Json = dict[str, Any]

AGAIN_S = 2.0


class Recorder:
    """Knows this agent's pods and records their ends."""

    def __init__(self, records: TaskRecords, pods: KnownPods, pending_queue: Callable[[], str | None]) -> None:
        self._records = records
        self._pods = pods
        self._pending_queue = pending_queue
        self._lock = threading.Lock()
        self._written: set[str] = set()
        self._sandboxes: dict[str, str] = {}
        self._executions: dict[str, Json | None] = {}

    def watch(self, cluster: PodApi) -> None:
        """Watch for ever; begin again whenever the API server ends the watch."""
        while True:
            try:
                for event in cluster.events():
                    self.look(event)
            except ClusterError:  # the reconciler, which asks for the pods every few seconds, says so
                time.sleep(AGAIN_S)
            time.sleep(0.1)

    def look(self, event: Json) -> None:
        """Take in a pod's change; write down its end, if this event is it."""
        pod, deleted = event["object"], event["type"] == "DELETED"
        if task_id(pod) is None:
            return
        (self._pods.forget if deleted else self._pods.see)(pod)
        try:
            self.record(pod, deleted=deleted)
        except Exception as error:  # one pod's record must not end the others'
            print(f"Warning: the end of pod {pod['metadata']['name']} was not recorded: {error}", flush=True)

    def record(self, pod: Json, *, deleted: bool = False) -> bool:
        """Write down a pod's end, once; return whether it has one."""
        task, uid = str(task_id(pod)), str(pod["metadata"].get("uid"))
        if moment := sandbox_time(pod):
            self._sandboxes[uid] = moment
        with self._lock:
            ended = deleted or has_ended(pod)
            if not ended or uid in self._written:
                return ended
            found = post_mortem(pod, datetime.now(UTC), deleted=deleted)
            if found or not self._pods.was_ended_here(pod):
                state = self._records.state(task)
                if state and not self.is_of_another_run(state):
                    self._write(pod, state, None if self._pods.was_ended_here(pod) else found)
            self._written.add(uid)
            self._sandboxes.pop(uid, None)
            self._executions.pop(uid, None)
            return True

    def see_execution(self, pod: Json, state: Json) -> None:
        """Remember when the task's own script began; the record forgets that when the task ends."""
        uid = str(pod["metadata"].get("uid"))
        self._executions[uid] = execution_start(self._executions.get(uid), state)

    def is_of_another_run(self, state: Json) -> bool:
        """Return whether the task waits in a queue again: it was reset and enqueued while this pod still ended."""
        pending = self._pending_queue()
        return state.get("status") == "queued" and pending is not None and queue_of(state) not in (None, pending)

    def _write(self, pod: Json, state: Json, found: PostMortem | None) -> None:
        notes: dict[str, str] = {}
        uid = str(pod["metadata"].get("uid"))
        took = phases(pod, self._sandboxes.get(uid), self._executions.get(uid))
        if took:
            notes[pod_records.PHASES] = pod_records.phases_as_text(took)
        text = url_credentials.hide(found.text()) if found else ""
        if found and (state.get("runtime") or {}).get(pod_records.END) != text:
            self._records.say(state["id"], text, "error")
            notes[pod_records.END] = text
            print(f"Task {state['id']}: {text}", flush=True)
        limit = memory_limit(pod)
        if found and found.reason == OUT_OF_MEMORY and limit:
            notes[pod_records.MEMORY] = limit
        if notes:
            try:
                self._records.note(state, notes)
            except ServerError as error:  # a published task's record takes no more notes
                print(f"Warning: {error}", flush=True)
        if found and state.get("status") in UNFINISHED:
            self._records.fail(state["id"], f"pod: {found.reason}", text)

    def explain(self, state: Json, text: str) -> None:
        """Write down why a task ended that has its status already."""
        self._records.say(state["id"], text, "error")
        self._records.note(state, {pod_records.END: text})
        print(f"Task {state['id']}: {url_credentials.hide(text)}", flush=True)

    def fail(self, state: Json, reason: str, text: str) -> None:
        """End a task as failed whose pod has no end to read: it cannot start, or is gone."""
        self.explain(state, text)
        self._records.fail(state["id"], f"pod: {reason}", text)
