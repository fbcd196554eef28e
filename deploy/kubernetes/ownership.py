"""Whose an object of the namespace is: this release's, or that of another release or person.

Names prove nothing: `clearml-agent-gpu` is another release than `clearml-agent`, and every agent calls its task pods
`clearml-id-<task>`. So labels, helm's annotations and the agent's own marks are read. What cannot be told is another's.

Pure: objects come as the JSON that Kubernetes serves.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any

from deploy.kubernetes.pods import task_id

Json = dict[str, Any]

MANAGED = {"app.kubernetes.io/managed-by": "clearml-pods"}
"""On every object that we make outside the release."""

RELEASE = "clearml-pods/release"
"""Label with the release's name, on task pods (by the pod template) and on what we make outside the release."""

HELM_RELEASE = "meta.helm.sh/release-name"
"""helm's annotation on everything that it makes."""

AGENT_LABEL = "CLEARML"
"""The agent's label on its task pods: `agent-` and a digest of its worker's name."""

_HASH = "[bcdfghjklmnpqrstvwxz2456789]"
"""Kubernetes' letters for generated names: a Deployment's pods are called by two groups of them."""


@dataclass(frozen=True)
class Owner:
    """One release, and how to know what belongs to it."""

    release: str
    fullname: str
    """The chart's name for its objects; also of its agent on the ClearML server, unless that has another."""

    worker: str = ""
    """The agent's other name there."""

    @property
    def labels(self) -> dict[str, str]:
        """Labels of what we make for the release."""
        return {**MANAGED, RELEASE: self.release}

    def is_agent(self, worker: str) -> bool:
        """Return whether a worker is the release's agent.

        An agent calls itself by `CLEARML_WORKER_ID` (the chart sets the release's name), or else by its pod's name and
        a number; one whose values give it a name by that alone.
        """
        if self.worker:
            return bool(re.fullmatch(rf"{re.escape(self.worker)}(:\d+)?", worker))
        return bool(re.fullmatch(rf"{re.escape(self.fullname)}(-{_HASH}{{1,10}}-{_HASH}{{5}})?(:\d+)?", worker))

    def is_worker(self, worker: str) -> bool:
        """Return whether a worker is the release's agent, or runs in one of its task pods: those add the task's id."""
        return self.is_agent(worker) or self.is_agent(worker.partition(":")[0])

    def is_task_pod(self, pod: Json) -> bool:
        """Return whether the release's agent made this task pod.

        Pods that an older install started have no label of ours. They carry the agent's own label, and its worker's
        name in their environment.
        """
        if task_id(pod) is None:
            return False
        labels = (pod.get("metadata") or {}).get("labels") or {}
        if RELEASE in labels:
            return bool(labels[RELEASE] == self.release)
        return labels.get(AGENT_LABEL) == agent_label(self.fullname) or self.is_worker(_worker_of(pod))

    def has(self, kind: str, item: Json) -> bool:
        """Return whether an object is of the release.

        Args:
            kind: Its kind as in paths: plural, lower case.
            item: The object.
        """
        metadata = item["metadata"]
        labels, name = metadata.get("labels") or {}, str(metadata["name"])
        if kind == "pods" and task_id(item) is not None:
            return self.is_task_pod(item)
        if RELEASE in labels:
            return bool(labels[RELEASE] == self.release)
        if (metadata.get("annotations") or {}).get(HELM_RELEASE) == self.release:
            return True
        if kind == "secrets":
            record = labels.get("owner") == "helm" and labels.get("name") == self.release
            return record or name in (f"{self.fullname}-keys", f"{self.fullname}-conf")
        if kind == "pods":  # a Deployment's pods have the chart's labels and not helm's annotation
            return labels.get("app.kubernetes.io/name") == self.fullname
        return kind == "leases" and name == self.fullname


def is_built_in(kind: str, item: Json) -> bool:
    """Return whether Kubernetes puts such an object into every namespace."""
    name = item["metadata"]["name"]
    return (kind, name) in (("configmaps", "kube-root-ca.crt"), ("serviceaccounts", "default")) or (
        kind == "secrets" and item.get("type") == "kubernetes.io/service-account-token"
    )


def agent_label(worker: str) -> str:
    """Return what clearml-agent's glue (1.9.2) writes as its label on the pods of a worker's tasks."""
    return f"agent-{hashlib.md5(worker.encode(), usedforsecurity=False).hexdigest()[:8]}"


def _worker_of(pod: Json) -> str:
    """Return the worker that a task pod was given; it ends in the task's id."""
    containers = (pod.get("spec") or {}).get("containers") or [{}]
    listed = containers[0].get("env") or []
    found = str(next((item.get("value") for item in listed if item.get("name") == "CLEARML_WORKER_ID"), ""))
    return found if found.partition(":")[2] else ""
