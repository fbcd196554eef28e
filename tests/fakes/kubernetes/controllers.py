"""The fake's Deployment and namespace controllers: one step each time they are called."""

from __future__ import annotations

import hashlib
import json

from tests.fakes.kubernetes import admission
from tests.fakes.kubernetes.faults import Faults
from tests.fakes.kubernetes.store import FakeStore, Json, Refusal

HASH = "pod-template-hash"


def run_deployments(store: FakeStore, faults: Faults) -> None:
    """Bring the pods of every Deployment one step nearer to what it says."""
    for deployment in store.look("deployments", ""):
        _one(store, faults, deployment)
    for pod in store.look("pods", ""):
        namespace, owners = pod["metadata"]["namespace"], pod["metadata"].get("ownerReferences") or []
        ownerless = [item for item in owners if ("deployments", namespace, item["name"]) not in store.objects]
        if ownerless and not pod["metadata"].get("deletionTimestamp"):
            store.delete("pods", namespace, pod["metadata"]["name"])


def _one(store: FakeStore, faults: Faults, deployment: Json) -> None:
    metadata, spec = deployment["metadata"], deployment["spec"]
    namespace, name = metadata["namespace"], metadata["name"]
    template = spec["template"]
    current = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:9]
    labels = ",".join(f"{key}={value}" for key, value in spec["selector"]["matchLabels"].items())
    pods = store.look("pods", namespace, labels)
    old = [pod for pod in pods if pod["metadata"]["labels"][HASH] != current]
    new = [pod for pod in pods if pod not in old]
    wanted = int(spec.get("replicas", 1))
    recreate = (spec.get("strategy") or {}).get("type") == "Recreate"
    conditions: list[Json] = []
    alive = [pod for pod in new if not pod["metadata"].get("deletionTimestamp")]
    if len(alive) < wanted and not (recreate and (old or len(new) > len(alive))):
        conditions = _make_pod(store, faults, deployment, current)
    replaced = old if recreate or not wanted or any(is_ready(pod) for pod in new) else []
    for pod in (*replaced, *alive[wanted:]):
        if not pod["metadata"].get("deletionTimestamp"):
            store.delete("pods", namespace, pod["metadata"]["name"])
    updated = [pod for pod in store.look("pods", namespace, labels) if pod["metadata"]["labels"][HASH] == current]
    status: Json = {
        "observedGeneration": metadata["generation"],
        "updatedReplicas": len(updated),
        "readyReplicas": sum(is_ready(pod) for pod in updated),
        "conditions": conditions,
    }
    store.set_status("deployments", namespace, name, status)


def _make_pod(store: FakeStore, faults: Faults, deployment: Json, current: str) -> list[Json]:
    """Make one pod of the template; return the conditions that this leads to."""
    metadata, template = deployment["metadata"], deployment["spec"]["template"]
    namespace = metadata["namespace"]
    number = hashlib.sha256(f"{current}{len(store.history)}".encode()).hexdigest()[:5]
    labels = {**template["metadata"]["labels"], HASH: current}
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{metadata['name']}-{current}-{number}",
            "labels": labels,
            "ownerReferences": [{"kind": "Deployment", "name": metadata["name"]}],
            "annotations": template["metadata"].get("annotations") or {},
        },
        "spec": template["spec"],
    }
    try:
        admission.require(store, faults, namespace, body)
        store.create("pods", namespace, body)
    except Refusal as refusal:
        return [{"type": "ReplicaFailure", "status": "True", "reason": refusal.reason, "message": refusal.message}]
    return []


def end_namespaces(store: FakeStore, faults: Faults) -> None:
    """Empty the namespaces that are being deleted, then let them go."""
    for namespace in store.look("namespaces", ""):
        name = namespace["metadata"]["name"]
        if namespace["status"]["phase"] != "Terminating" or faults.namespace_hangs:
            continue
        for kind, its_namespace, item in list(store.objects):
            if its_namespace == name:
                store.remove(kind, its_namespace, item)
        store.remove("namespaces", "", name)


def is_ready(pod: Json) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
