"""The fake node: schedules pods, runs their commands as processes of this machine, and says how they fare.

A pod goes one stage further each time it is looked at: scheduled, started, ended. What a container prints is what its
command printed; only an agent's pod runs no command (tests/fakes/kubernetes/agent.py plays it).
"""

from __future__ import annotations

import base64
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.kubernetes.faults import Faults
from tests.fakes.kubernetes.store import FakeStore, Json, now

NODE = "fake-node"
GLUE = "k8s-glue"
TASK_POD = "clearml-id-"
COMMAND_TIMEOUT_S = 30
UNITS = {"Ki": 1 / 1024, "Mi": 1, "Gi": 1024}


@dataclass
class Container:
    """What the node knows of a pod's one container."""

    lines: list[tuple[float, str]] = field(default_factory=list)
    """What it printed, and when."""
    process: subprocess.Popen[str] | None = None
    held: bool = False
    """It runs until a test says otherwise."""
    looks: int = 0

    def say(self, *lines: str, age_s: float = 0.0) -> None:
        self.lines += [(time.time() - age_s, line) for line in lines]


class FakeKubelet:
    """One node of a cluster."""

    def __init__(self, store: FakeStore, faults: Faults, dns: dict[str, str]) -> None:
        self._store = store
        self._faults = faults
        self._dns = dns
        self.containers: dict[str, Container] = {}
        """By the pod's uid."""

    def run_pods(self) -> None:
        """Take every pod one stage further."""
        for pod in self._store.look("pods", ""):
            metadata = pod["metadata"]
            namespace, name = metadata["namespace"], metadata["name"]
            container = self.containers.setdefault(metadata["uid"], Container())
            container.looks += 1
            if metadata.get("deletionTimestamp"):
                if container.looks > 1 and not metadata.get("finalizers"):
                    self._kill(container)
                    self._store.remove("pods", namespace, name)
                continue
            status = self._status(pod, container)
            if status is not None:
                self._store.set_status("pods", namespace, name, status)

    def secret(self, namespace: str, name: str, key: str) -> str | None:
        found = self._store.find("secrets", namespace, name)
        value = ((found or {}).get("data") or {}).get(key)
        return None if value is None else base64.b64decode(value).decode()

    def environment(self, pod: Json) -> dict[str, str]:
        """Return a container's variables, with Secrets read and names resolved."""
        found: dict[str, str] = {}
        for item in pod["spec"]["containers"][0].get("env") or []:
            reference = (item.get("valueFrom") or {}).get("secretKeyRef")
            if reference:
                found[item["name"]] = self.secret(pod["metadata"]["namespace"], **reference) or ""
            else:
                found[item["name"]] = self.resolve(item.get("value", ""))
        return found

    def resolve(self, text: str) -> str:
        """Replace the names that only pods can resolve."""
        for name, address in self._dns.items():
            text = text.replace(name, address)
        return text

    # -- stages

    def _status(self, pod: Json, container: Container) -> Json | None:
        status = pod.get("status") or {}
        phase = status.get("phase")
        if phase in ("Succeeded", "Failed"):
            return None
        if phase is None or _is_unscheduled(status):
            no_room = self._no_room(pod)
            if no_room:
                return {"phase": "Pending", "conditions": [_condition("PodScheduled", "False", no_room)]}
            if phase is None:
                return {"phase": "Pending", "conditions": [_condition("PodScheduled", "True")], "startTime": now()}
        self._store.objects["pods", pod["metadata"]["namespace"], pod["metadata"]["name"]]["spec"]["nodeName"] = NODE
        began = {"startTime": status.get("startTime") or now(), "conditions": [_condition("PodScheduled", "True")]}
        if any("running" in item["state"] for item in status.get("containerStatuses") or []):
            return self._next(pod, container, began)
        stuck = self._cannot_start(pod, status)
        return began | stuck if stuck else self._start(pod, container, began)

    def _no_room(self, pod: Json) -> str:
        requests = ((pod["spec"]["containers"][0].get("resources") or {}).get("requests")) or {}
        if self._faults.cordoned:
            return "0/1 nodes are available: 1 node(s) were unschedulable."
        if _cpus(str(requests.get("cpu", "0"))) > self._faults.node_cpus:
            return "0/1 nodes are available: 1 Insufficient cpu."
        return ""

    def _cannot_start(self, pod: Json, status: Json) -> Json | None:
        spec = pod["spec"]["containers"][0]
        image, name = spec.get("image", ""), spec["name"]
        if image in self._faults.missing_images:
            reason = "ImagePullBackOff" if status.get("containerStatuses") else "ErrImagePull"
            text = f'Back-off pulling image "{image}"'
            self._event(pod, "Failed", f"Failed to pull image {image}: not found")
            return _waiting(name, image, reason, text)
        for item in spec.get("env") or []:
            reference = (item.get("valueFrom") or {}).get("secretKeyRef")
            if reference and self._store.find("secrets", pod["metadata"]["namespace"], reference["name"]) is None:
                text = f'secret "{reference["name"]}" not found'
                return _waiting(name, image, "CreateContainerConfigError", text)
        if self._faults.init_stuck and pod["spec"].get("initContainers"):
            state = {"running": {"startedAt": now(age_s=60)}}
            init = {"name": pod["spec"]["initContainers"][0]["name"], "image": image, "state": state}
            return {"phase": "Pending", "initContainerStatuses": [init]}
        return self._dies(pod, name, image)

    def _dies(self, pod: Json, name: str, image: str) -> Json | None:
        limits = ((pod["spec"]["containers"][0].get("resources") or {}).get("limits")) or {}
        if megabytes(str(limits.get("memory", "1Gi"))) < self._faults.image_needs_mb.get(image, 0):
            return _crash_loop(name, image, "OOMKilled", 137)
        if image in self._faults.crashing_images:
            self.containers[pod["metadata"]["uid"]].lines = []
            self.containers[pod["metadata"]["uid"]].say(self._faults.crashing_images[image])
            return _crash_loop(name, image, "Error", 1)
        return None

    def _start(self, pod: Json, container: Container, began: Json) -> Json:
        spec = pod["spec"]["containers"][0]
        if spec.get("command") and spec["name"] != GLUE and not container.held:  # others run until they are ended
            argv = [self.resolve(word) for word in spec["command"]]
            argv[0] = sys.executable if argv[0] == "python3" else argv[0]
            # An empty environment but for its own variables, as in a pod; proxies of this machine do not count.
            container.process = subprocess.Popen(
                argv, env=self.environment(pod), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
        state = {"running": {"startedAt": now()}}
        return began | _running(spec, state)

    def _next(self, pod: Json, container: Container, began: Json) -> Json | None:
        if container.process is None:
            return None
        said, _ = container.process.communicate(timeout=COMMAND_TIMEOUT_S)
        container.say(*said.splitlines())
        # A task pod's script ends in `exit 0`, whatever became of the task.
        code = 0 if pod["metadata"]["name"].startswith(TASK_POD) else container.process.returncode
        return ended(pod, code) | {"startTime": began["startTime"]}

    def _event(self, pod: Json, reason: str, message: str) -> None:
        metadata = pod["metadata"]
        name = f"{metadata['name']}.{reason.lower()}"
        if self._store.find("events", metadata["namespace"], name) is None:
            body = {
                "metadata": {"name": name},
                "involvedObject": {"name": metadata["name"]},
                "type": "Warning",
                "reason": reason,
                "message": message,
                "lastTimestamp": now(),
            }
            self._store.create("events", metadata["namespace"], body)

    def _kill(self, container: Container) -> None:
        if container.process is not None and container.process.poll() is None:
            container.process.kill()
            container.process.wait(COMMAND_TIMEOUT_S)

    def log(self, uid: str, query: Json) -> list[str]:
        """Return what a container printed."""
        lines = self.containers[uid].lines if uid in self.containers else []
        if "sinceSeconds" in query:
            since = time.time() - float(query["sinceSeconds"])
            lines = [line for line in lines if line[0] >= since]
        texts = [text for _, text in lines]
        return texts[-int(query["tailLines"]) :] if "tailLines" in query else texts

    def close(self) -> None:
        for container in self.containers.values():
            self._kill(container)


def ended(pod: Json, code: int, reason: str = "") -> Json:
    """Return the status of a pod whose container has ended."""
    spec = pod["spec"]["containers"][0]
    reason = reason or ("Completed" if code == 0 else "Error")
    state = {"terminated": {"exitCode": code, "reason": reason, "finishedAt": now()}}
    phase = "Succeeded" if code == 0 else "Failed"
    return _running(spec, state, ready=False) | {"phase": phase}


def _running(spec: Json, state: Json, *, ready: bool = True) -> Json:
    container = {"name": spec["name"], "image": spec.get("image"), "ready": ready, "restartCount": 0, "state": state}
    conditions = [_condition("PodScheduled", "True"), _condition("Ready", "True" if ready else "False")]
    return {"phase": "Running", "conditions": conditions, "containerStatuses": [container]}


def _waiting(name: str, image: str, reason: str, message: str) -> Json:
    state = {"waiting": {"reason": reason, "message": message}}
    return {"phase": "Pending", "containerStatuses": [{"name": name, "image": image, "state": state}]}


def _crash_loop(name: str, image: str, reason: str, code: int) -> Json:
    waiting = {"reason": "CrashLoopBackOff", "message": f"back-off restarting failed container {name}"}
    last = {"terminated": {"exitCode": code, "reason": reason}}
    container = {"name": name, "image": image, "restartCount": 3, "state": {"waiting": waiting}, "lastState": last}
    return {"phase": "Running", "containerStatuses": [container]}


def _condition(kind: str, status: str, message: str = "") -> Json:
    return {"type": kind, "status": status, "message": message}


def _is_unscheduled(status: Json) -> bool:
    return any(item["type"] == "PodScheduled" and item["status"] == "False" for item in status.get("conditions") or [])


def _cpus(text: str) -> float:
    return float(text[:-1]) / 1000 if text.endswith("m") else float(text)


def megabytes(text: str) -> float:
    found: Any = re.fullmatch(r"(\d+)(Ki|Mi|Gi)?", text)
    return float(found[1]) * UNITS.get(found[2], 1 / 2**20)
