"""What a pod's status means: ready, waiting, or failed for a named cause with the command that repairs it.

Pure: pods come as the JSON that Kubernetes serves. The phase alone says little: a pod in `Pending` may wait for ever,
one in `Running` may be dead inside, and a task pod is `Succeeded` whatever became of its task (its script ends in
`exit 0`). So conditions, waiting reasons and last terminations are read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

Json = dict[str, Any]

TASK_POD_PREFIX = "clearml-id-"
QUEUE_LABEL = "clearml-agent-queue"

INIT_GRACE_S = 40.0
"""An init container that runs longer waits for something that will not come."""

KILLED = 137
"""Exit code of a process that was killed by SIGKILL."""

OUT_OF_MEMORY = "OOMKilled"

UNSCHEDULABLE = "Unschedulable"

ALREADY_CRASHED = 2
"""Restarts after which a container is not just slow to find its server."""


class State(StrEnum):
    """The four things a pod can be."""

    READY = "ready"
    WAITING = "waiting"
    FAILED = "failed"
    DONE = "done"


@dataclass(frozen=True)
class Cause:
    """One way in which pods fail, as users meet it."""

    name: str
    grace_s: float
    """How long it may last before it counts: some causes go away by themselves."""

    hint: str
    """The command that fixes it; `{namespace}`, `{pod}`, `{image}`, `{container}` are filled in."""


_DESCRIBE = "kubectl -n {namespace} describe pod {pod}"
_LOGS = "kubectl -n {namespace} logs {pod} -c {container} --previous"
_IMAGE = "give the node image {image} (./task build-image, or a registry it can pull from), or name another one"
_SECRET = f"make the Secret or ConfigMap that the message names (./task deploy-agent makes ours); {_DESCRIBE}"
_MEMORY = "raise the memory limit (agentk8sglue.basePodTemplate.resources or agentk8sglue.resources)"

CAUSES = {
    cause.name: cause
    for cause in (
        Cause("ImagePullBackOff", 8.0, _IMAGE),
        Cause("ErrImagePull", 15.0, _IMAGE),
        Cause("ErrImageNeverPull", 0.0, _IMAGE),
        Cause("InvalidImageName", 0.0, "correct the image's name {image} in the values"),
        Cause("CreateContainerConfigError", 8.0, _SECRET),
        Cause("CreateContainerError", 8.0, _DESCRIBE),
        Cause("RunContainerError", 8.0, _DESCRIBE),
        Cause("StartError", 4.0, f"correct the command or the image {{image}}; {_DESCRIBE}"),
        Cause("CrashLoopBackOff", 0.0, _LOGS),
        Cause(OUT_OF_MEMORY, 0.0, _MEMORY),
        Cause("Error", 0.0, _LOGS),
        Cause(UNSCHEDULABLE, 12.0, f"{{room}}; {_DESCRIBE}"),
        Cause("Evicted", 0.0, "free memory or disk on the node: kubectl describe node {node}"),
        Cause("Preempted", 0.0, "give the pod a priority class, or the cluster more room"),
        Cause("NodeLost", 20.0, "kubectl describe node {node}"),
        Cause("DeadlineExceeded", 0.0, "raise the pod's activeDeadlineSeconds"),
        Cause("InitStuck", 0.0, "./task doctor; kubectl -n {namespace} logs {pod} -c {container}"),
        Cause("FailedMount", 12.0, _SECRET),
        Cause("Deleted", 0.0, "somebody deleted the pod: kubectl -n {namespace} get events; enqueue the task again"),
    )
}


ROOM = {
    "untolerated taint": "tolerate the taint: agentk8sglue.tolerations, agentk8sglue.basePodTemplate.tolerations",
    "node affinity/selector": "correct nodeSelector or affinity in the values, or label a node",
    "were unschedulable": "kubectl uncordon NODE",
}
"""What the scheduler says of its nodes, and what to do about it; otherwise they lack room."""


@dataclass(frozen=True)
class Verdict:
    """What a pod is, and why."""

    state: State
    reason: str = ""
    """A key of `CAUSES` for a failed pod; what it waits for otherwise."""

    message: str = ""
    container: str = ""
    image: str = ""
    exit_code: int | None = None

    @property
    def grace_s(self) -> float:
        """How long this failure may last before it counts."""
        cause = CAUSES.get(self.reason)
        return cause.grace_s if cause else 0.0

    def hint(self, pod: Json) -> str:
        """Return the command that repairs it."""
        cause = CAUSES.get(self.reason)
        metadata = pod.get("metadata") or {}
        return (cause.hint if cause else _DESCRIBE).format(
            namespace=metadata.get("namespace", "default"),
            pod=metadata.get("name", "?"),
            node=(pod.get("spec") or {}).get("nodeName", "?"),
            image=self.image or "?",
            container=self.container or "?",
            room=self._room(),
        )

    def _room(self) -> str:
        found = [hint for words, hint in ROOM.items() if words in self.message]
        if not found or "Insufficient" in self.message:
            found.append("free room on a node, or lower the requests")
        return "; ".join(found)


def is_live(pod: Json) -> bool:
    """Return whether a pod has not ended: it takes a slot."""
    return (pod.get("status") or {}).get("phase") in (None, "Pending", "Running")


def classify_pod(pod: Json, now: datetime) -> Verdict:
    """Return what the pod is at the time `now`."""
    status = pod.get("status") or {}
    if status.get("reason") in ("Evicted", "NodeLost", "DeadlineExceeded", "Preempting", "Preempted"):
        reason = str(status["reason"]).replace("Preempting", "Preempted")
        return Verdict(State.FAILED, reason, str(status.get("message") or ""))
    for kind, container in _containers(status):
        found = _container_failure(kind, container, now)
        if found:
            return found
    if status.get("phase") == "Succeeded":
        return Verdict(State.DONE, "Completed")
    scheduled = _condition(status, "PodScheduled")
    if scheduled.get("status") == "False":
        return Verdict(State.FAILED, UNSCHEDULABLE, str(scheduled.get("message") or ""))
    if status.get("phase") == "Failed":
        return Verdict(State.FAILED, "Error", str(status.get("message") or ""))
    if (pod.get("metadata") or {}).get("deletionTimestamp"):
        return Verdict(State.WAITING, "Terminating")
    if _condition(status, "Ready").get("status") == "True":
        return Verdict(State.READY)
    return Verdict(State.WAITING, *_waiting(status))


def _container_failure(kind: str, container: Json, now: datetime) -> Verdict | None:
    name, image = str(container.get("name", "")), str(container.get("image", ""))
    state = container.get("state") or {}
    last = (container.get("lastState") or {}).get("terminated") or {}
    waiting, ended, running = (state.get(key) or {} for key in ("waiting", "terminated", "running"))
    reason = str(waiting.get("reason") or "")
    if reason in CAUSES:
        # The back-off hides what it backs off from; the last end tells.
        cause = OUT_OF_MEMORY if last.get("reason") == OUT_OF_MEMORY else reason
        text = str(waiting.get("message") or "")
        return Verdict(State.FAILED, cause, text, name, image, last.get("exitCode"))
    # A task pod's script ends in `exit 0` even if the kernel killed what it ran.
    if ended and (ended.get("exitCode") != 0 or ended.get("reason") == OUT_OF_MEMORY):
        cause = str(ended.get("reason") or "Error")
        cause = {"ContainerCannotRun": "StartError"}.get(cause, cause)
        text = str(ended.get("message") or f"container {name} ended with exit code {ended.get('exitCode')}")
        return Verdict(State.FAILED, cause if cause in CAUSES else "Error", text, name, image, ended.get("exitCode"))
    if kind == "init" and running and _age(running.get("startedAt"), now) > INIT_GRACE_S:
        text = f"init container {name} runs since {running.get('startedAt')}"
        return Verdict(State.FAILED, "InitStuck", text, name, image)
    if int(container.get("restartCount") or 0) >= ALREADY_CRASHED and last and not container.get("ready"):
        text = f"container {name} restarted {container['restartCount']} times"
        reason = OUT_OF_MEMORY if last.get("reason") == OUT_OF_MEMORY else "CrashLoopBackOff"
        return Verdict(State.FAILED, reason, text, name, image, last.get("exitCode"))
    return None


def _waiting(status: Json) -> tuple[str, str]:
    for kind, container in _containers(status):
        state = container.get("state") or {}
        waiting = state.get("waiting") or {}
        if waiting.get("reason") and waiting["reason"] != "PodInitializing":
            return str(waiting["reason"]), str(waiting.get("message") or "")
        if kind == "init" and state.get("running"):
            return "InitContainer", f"init container {container.get('name')} runs"
    return "NotReady", f"phase {status.get('phase', 'unknown')}"


def _containers(status: Json) -> Iterator[tuple[str, Json]]:
    for container in status.get("initContainerStatuses") or []:
        yield "init", container
    for container in status.get("containerStatuses") or []:
        yield "main", container


def _condition(status: Json, kind: str) -> Json:
    found = (condition for condition in status.get("conditions") or [] if condition.get("type") == kind)
    return next(found, {})


def _age(text: Any, now: datetime) -> float:
    return (now - datetime.fromisoformat(str(text))).total_seconds() if text else 0.0


@dataclass(frozen=True)
class PostMortem:
    """Why a task's pod ended: what must outlive the pod."""

    pod: str
    reason: str
    exit_code: int | None
    message: str
    node: str
    image: str
    finished: str

    def text(self) -> str:
        """Return it as one line for the task's console."""
        code = "" if self.exit_code is None else f", exit code {self.exit_code}"
        node = f" on node {self.node}" if self.node else ""
        # A pod's last words may be many lines. Each of them alone would look like one that its container printed.
        words = " | ".join(line.strip() for line in self.message.splitlines() if line.strip())
        return f"pod {self.pod}{node} ended: {self.reason}{code}" + (f" ({words})" if words else "")

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return asdict(self)


def task_id(pod: Json) -> str | None:
    """Return the task of a task pod; None for any other pod."""
    name = str((pod.get("metadata") or {}).get("name", ""))
    return name.removeprefix(TASK_POD_PREFIX) if name.startswith(TASK_POD_PREFIX) else None


def memory_limit(pod: Json) -> str | None:
    """Return how much memory a task pod may use, as its object says it; None: as much as its node has."""
    container = ((pod.get("spec") or {}).get("containers") or [{}])[0]
    limit = ((container.get("resources") or {}).get("limits") or {}).get("memory")
    return None if limit is None else str(limit)


def post_mortem(pod: Json, now: datetime, *, deleted: bool = False) -> PostMortem | None:
    """Return why a pod ended; None while it lives, and when it ended as its script wanted.

    Args:
        pod: The pod, best as its last watch event showed it.
        now: The time.
        deleted: The pod is gone; alive until then, somebody deleted it.
    """
    verdict = classify_pod(pod, now)
    metadata, status = pod.get("metadata") or {}, pod.get("status") or {}
    ended = status.get("phase") in ("Failed", "Succeeded")
    if verdict.state == State.DONE or not (ended or deleted):
        return None
    was_killed = verdict.state != State.FAILED or verdict.exit_code in (137, 143)
    by_hand = (deleted or metadata.get("deletionTimestamp")) and was_killed and verdict.reason != OUT_OF_MEMORY
    main = (status.get("containerStatuses") or [{}])[0]
    terminated = (main.get("state") or {}).get("terminated") or {}
    limit = memory_limit(pod) if verdict.reason == OUT_OF_MEMORY else None
    return PostMortem(
        pod=str(metadata.get("name", "")),
        reason="Deleted" if by_hand else verdict.reason,
        # The kernel may kill what the container's script runs, and not the script itself: that one ends with 0.
        exit_code=KILLED if verdict.reason == OUT_OF_MEMORY else verdict.exit_code,
        message=f"memory limit {limit}" if limit else verdict.message,
        node=str((pod.get("spec") or {}).get("nodeName") or ""),
        image=str(main.get("image") or ""),
        finished=str(terminated.get("finishedAt") or metadata.get("deletionTimestamp") or ""),
    )
