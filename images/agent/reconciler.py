"""Compares, every few seconds, this agent's pods with the records of their tasks, and corrects what does not agree.

It takes the place of the stock glue's thread for pending pods, which deletes a pod before its reason is recorded, and
enqueues a task that runs again where the API server still shows its pod as pending (after a restart, for instance).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from known_pods import KnownPods, has_ended  # type: ignore[import-not-found]
from pod_api import ClusterError, PodApi  # type: ignore[import-not-found]
from recorder import Recorder  # type: ignore[import-not-found]
from task_records import UNFINISHED, ServerError, TaskRecords, callback_s, is_stopping  # type: ignore[import-not-found]

from clearml_access.queue_policy import QueuePolicy
from deploy.kubernetes.pods import State, Verdict, classify_pod, task_id

Json = dict[str, Any]

ROUND_S = 2.0
LIST_S = 5.0
STOP_S = 6.0
"""The agent in the pod notices within 5 s that its task is to stop, and then ends it and writes the last lines."""

CANCEL_GRACE_S = 2
"""The pod's shell ignores SIGTERM; by now there is nothing left to write."""

END_GRACE_S = 5.0
"""A task's last status may arrive a moment after its pod's end."""

START_GRACE_S = 20.0
"""A pod that cannot start for a reason that may pass (a registry, a Secret that is being made) gets this long."""

LOST_S = 10.0
"""A task that was taken has its pod within this time, or is put back into its queue."""

MAY_PASS = frozenset({"Unschedulable", "NodeLost", "InitStuck", "CrashLoopBackOff", "Error", "OOMKilled"})
"""Of a pod that has not ended: it may still run."""


NOT_STARTED = "NotStarted"
"""The reason of a pod that was pending for too long, and of which the cluster says nothing more."""


class Reconciler(threading.Thread):
    """One thread, as long as the agent lives."""

    def __init__(
        self,
        cluster: PodApi,
        records: TaskRecords,
        pods: KnownPods,
        recorder: Recorder,
        lost: Callable[[set[str]], None],
        policy: QueuePolicy,
    ) -> None:
        super().__init__(daemon=True, name="reconciler")
        self._cluster = cluster
        self._records = records
        self._pods = pods
        self._recorder = recorder
        self._lost = lost
        self._policy = policy
        self._listed = 0.0
        self._first_seen: dict[tuple[str, str], float] = {}
        self._told: set[tuple[str, str]] = set()

    def run(self) -> None:
        """Work until the agent ends."""
        while True:
            try:
                self.work()
            except Exception as error:  # the next round may find the server or the cluster again
                print(f"Warning: pods and tasks were not compared: {error}", flush=True)
            self._pods.wait_for_end(ROUND_S)

    def work(self) -> None:
        """Do one round."""
        if time.monotonic() - self._listed >= LIST_S:
            self.look()
        pods = self._pods.all()
        states = self._records.states({str(task_id(pod)) for pod in pods}) if pods else {}
        for pod in pods:
            try:
                self._compare(pod, states.get(str(task_id(pod))))
            except (ClusterError, ServerError) as error:  # of this pod; the others are looked at
                print(f"Warning: pod {pod['metadata']['name']}: {error}", flush=True)

    def look(self) -> None:
        """Ask the cluster for the pods; notice those that went while nobody watched."""
        before = self._pods.all()
        try:
            listed = self._cluster.pods()
        except ClusterError as error:
            self._pods.is_current = False
            print(f"Warning: the cluster does not answer, no task is taken: {error}", flush=True)
            return
        self._listed = time.monotonic()
        self._pods.is_current = True
        for pod in self._pods.missing_from(listed, before):
            self._recorder.look({"type": "DELETED", "object": pod})
        for pod in listed:
            self._recorder.look({"type": "MODIFIED", "object": pod})
        self._lost({str(task_id(pod)) for pod in listed})

    def _compare(self, pod: Json, state: Json | None) -> None:
        status = (state or {}).get("status")
        if state:
            self._recorder.see_execution(pod, state)
        if has_ended(pod):
            self._end(pod, state)
        elif state and is_stopping(state):
            if self._lasts(pod, "stopping", STOP_S + callback_s(state)):
                self._records.call("tasks", "stopped", {"task": state["id"], "force": True})
                self._cancel(pod)
        elif status in ("stopped", "created"):
            self._cancel(pod)
        elif state and status == "queued" and not self._is_left(pod, state):
            self._judge(pod, state, classify_pod(pod, datetime.now(UTC)))

    def _is_left(self, pod: Json, state: Json) -> bool:
        """Return whether a task that waits does not wait for this pod."""
        return bool(pod["metadata"].get("deletionTimestamp")) or self._recorder.is_of_another_run(state)

    def _cancel(self, pod: Json) -> None:
        if not self._pods.was_ended_here(pod):
            self._pods.will_end(pod)
            print(f"Task {task_id(pod)} does not run any more: its pod is deleted", flush=True)
            self._cluster.delete(pod, CANCEL_GRACE_S)

    def _end(self, pod: Json, state: Json | None) -> None:
        if not self._recorder.record(pod):
            return
        if state and state.get("status") in UNFINISHED and not self._pods.was_ended_here(pod):
            if not self._lasts(pod, "ended", END_GRACE_S):
                return
            current = self._records.state(state["id"]) or {}
            if current.get("status") in UNFINISHED and not self._recorder.is_of_another_run(current):
                self._fail_unfinished(pod, current)
        self._pods.will_end(pod)
        self._cluster.delete(pod, 0)

    def _fail_unfinished(self, pod: Json, state: Json) -> None:
        name = pod["metadata"]["name"]
        what = "never started" if state["status"] == "queued" else "did not end"
        lines = self._cluster.last_lines(name, 10)
        said = f"; its last lines: {' | '.join(lines)}" if lines else ""
        self._recorder.fail(
            state, f"Completed, task {what}", f"pod {name} ended with exit code 0, but its task {what}{said}"
        )

    def _judge(self, pod: Json, state: Json, verdict: Verdict) -> None:
        """Look at a pod whose task waits for it."""
        name = pod["metadata"]["name"]
        image = f", image {verdict.image}" if verdict.image else ""
        why = f"{verdict.reason}{image}" + (f" ({verdict.message})" if verdict.message else "")
        if _is_pending(pod) and self._policy.is_over(_age_s(pod)):
            reason = verdict.reason if verdict.state == State.FAILED else NOT_STARTED
            self._give_up(pod, state, reason, f"pod {name} did not start within {self._policy.pending_limit}: {why}")
        elif verdict.state == State.FAILED and verdict.reason in MAY_PASS:
            if self._lasts(pod, verdict.reason, verdict.grace_s):
                self._say_once(state["id"], verdict.reason, f"pod {name} waits: {why}")
        elif verdict.state == State.FAILED and self._lasts(pod, "start", START_GRACE_S if verdict.grace_s else 0.0):
            self._give_up(pod, state, verdict.reason, f"pod {name} cannot start: {why}")

    def _give_up(self, pod: Json, state: Json, reason: str, text: str) -> None:
        self._recorder.fail(state, reason, text)
        self._pods.will_end(pod)
        self._cluster.delete(pod, 0)

    def _say_once(self, task: str, kind: str, text: str) -> None:
        if (task, kind) not in self._told:
            self._told.add((task, kind))
            self._records.say(task, text, "warning")

    def _lasts(self, pod: Json, what: str, seconds: float) -> bool:
        """Return whether something has been so for a time."""
        since = self._first_seen.setdefault((pod["metadata"]["uid"], what), time.monotonic())
        return time.monotonic() - since >= seconds


def _is_pending(pod: Json) -> bool:
    return (pod.get("status") or {}).get("phase") in (None, "Pending")


def _age_s(pod: Json) -> float:
    made = datetime.fromisoformat(str(pod["metadata"]["creationTimestamp"]))
    return (datetime.now(UTC) - made).total_seconds()
