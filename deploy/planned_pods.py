"""The pods that a release will make, read from what its chart makes of the values: what a probe must be like.

So a probe has what agent and tasks have: certificates, proxies, pull secrets, nodes, tolerations, accounts and security
contexts, by whichever values the chart takes them from. What the install itself makes is left out: it does not exist
yet.

Pure: objects come as the JSON that Kubernetes serves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from deploy.helm import documents

Json = dict[str, Any]

Made = frozenset[tuple[str, str]]
"""Kinds and names of objects."""

_KINDS = {"secret": ("Secret", "secretName"), "configMap": ("ConfigMap", "name")}
"""Kind of volume → what it is made of, and the field with the name."""

_LIGHT_VOLUMES = {*_KINDS, "projected", "emptyDir", "hostPath", "downwardAPI", "csi"}
"""Volumes that hold settings. Data is left out: a claim may be in use on another node."""

_OF_THE_POD = {
    *("nodeSelector", "tolerations", "affinity", "topologySpreadConstraints", "priorityClassName", "schedulerName"),
    *("runtimeClassName", "securityContext", "imagePullSecrets", "serviceAccountName", "hostAliases", "dnsPolicy"),
    *("dnsConfig", "hostNetwork"),
}


def made(objects: Iterable[Json], others: Iterable[tuple[str, str]]) -> Made:
    """Return what an install makes: the chart's objects, and ours."""
    return frozenset([*((item["kind"], item["metadata"]["name"]) for item in objects), *others])


def agent_spec(objects: Iterable[Json]) -> Json:
    """Return the agent's pod."""
    deployment = next((item for item in objects if item["kind"] == "Deployment"), {})
    return dict(((deployment.get("spec") or {}).get("template") or {}).get("spec") or {})


def task_spec(objects: Iterable[Json], account: str = "") -> Json:
    """Return a task's pod, but for its image and command; `account` is the one that the agent gives it."""
    text = next((item["data"]["template.yaml"] for item in objects if "template.yaml" in (item.get("data") or {})), "")
    spec = dict((documents.read(text) or {}).get("spec") or {})
    return spec | ({"serviceAccountName": account} if account else {})


def spec(objects: Sequence[Json], role: str, account: str) -> Json:
    """Return the pod of a role: `agent` or `task`."""
    return agent_spec(objects) if role == "agent" else task_spec(objects, account)


def full(spec: Json, coming: Made, image: str) -> Json:
    """Return a pod as the release makes it, for the namespace's rules to judge: it names only accounts that exist."""
    listed = [{"name": "main", **item, "image": item.get("image") or image} for item in spec.get("containers") or []]
    return _with_known_account({"restartPolicy": "Never", **spec, "containers": listed}, coming)


def probe(spec: Json, coming: Made, container: Json, limits: Sequence[Json], hidden: Iterable[str]) -> Json:
    """Return a short-lived pod like another one.

    Args:
        spec: The pod that it is to be like.
        coming: What is not there yet.
        container: Name, image and command.
        limits: The namespace's LimitRanges, which say how small a container may be.
        hidden: Environment variables that it must not have.
    """
    like = (spec.get("containers") or [{}])[0]
    volumes = [item for item in spec.get("volumes") or [] if _is_light(item, coming)]
    names = {item["name"] for item in volumes}
    own = {
        **container,
        "env": [item for item in like.get("env") or [] if item["name"] not in hidden and not _is_coming(item, coming)],
        "envFrom": [item for item in like.get("envFrom") or [] if not _is_coming(item, coming)],
        "volumeMounts": [item for item in like.get("volumeMounts") or [] if item["name"] in names],
        "securityContext": like.get("securityContext") or {},
        "resources": _small(like.get("resources") or {}, limits),
    }
    kept = {name: value for name, value in spec.items() if name in _OF_THE_POD and value}
    return _with_known_account({**kept, "volumes": volumes, "containers": [own]}, coming)


def _with_known_account(spec: Json, coming: Made) -> Json:
    if ("ServiceAccount", spec.get("serviceAccountName")) not in coming:
        return spec
    return {name: value for name, value in spec.items() if name != "serviceAccountName"}


def _is_light(volume: Mapping[str, Any], coming: Made) -> bool:
    kinds = [kind for kind in volume if kind != "name"]
    if not set(kinds) <= _LIGHT_VOLUMES:
        return False
    parts = [volume, *((volume.get("projected") or {}).get("sources") or [])]
    for part in parts:
        for kind, (of, field) in _KINDS.items():
            source = part.get(kind) or {}
            if (of, source.get(field) or source.get("name")) in coming:
                return False
    return True


_REFERENCES = (
    ("Secret", ("secretKeyRef", "secretRef")),
    ("ConfigMap", ("configMapKeyRef", "configMapRef")),
)


def _is_coming(item: Mapping[str, Any], coming: Made) -> bool:
    source = item.get("valueFrom") or item
    return any((of, (source.get(name) or {}).get("name")) in coming for of, names in _REFERENCES for name in names)


def _small(wanted: Mapping[str, Any], limits: Sequence[Json]) -> Json:
    """Return resources that any node has, for a container of which the values ask for more.

    What a LimitRange gives to containers that ask for nothing is left to it: it is within its own bounds. A quota may
    want every container to have a limit: where the values give one, there is one here.
    """
    given = {name for item in limits for name in item.get("default") or {}}
    given_requests = given | {name for item in limits for name in item.get("defaultRequest") or {}}
    requests = {"cpu": "10m", "memory": "32Mi"}
    most = {"memory": "256Mi"} | {
        name: wanted["limits"][name] for name in ("cpu",) if name in (wanted.get("limits") or {})
    }
    return {
        "requests": {name: value for name, value in requests.items() if name not in given_requests},
        "limits": {name: value for name, value in most.items() if name not in given},
    }
