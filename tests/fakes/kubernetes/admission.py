"""The fake's admission, in Kubernetes' words: Pod Security "restricted", a quota of pods, LimitRanges, accounts."""

from __future__ import annotations

from tests.fakes.kubernetes.faults import Faults
from tests.fakes.kubernetes.kubelet import megabytes
from tests.fakes.kubernetes.store import FakeStore, Json, Refusal

ENFORCE = "pod-security.kubernetes.io/enforce"


def require(store: FakeStore, faults: Faults, namespace: str, pod: Json) -> None:
    """Refuse a pod that the namespace's rules do not admit.

    Raises:
        Refusal: With the words of the rule.
    """
    name, spec = pod["metadata"]["name"], pod["spec"]
    _require_account(store, namespace, name, spec.get("serviceAccountName") or "default")
    if faults.pod_quota is not None and len(store.select("pods", namespace)) >= faults.pod_quota:
        text = f'pods "{name}" is forbidden: exceeded quota: pods, limited: pods={faults.pod_quota}'
        raise Refusal(403, "Forbidden", text)
    for item in store.select("limitranges", namespace):
        for limit in item["spec"]["limits"]:
            for container in spec["containers"]:
                _require_within(name, limit, container)
    labels = (store.find("namespaces", "", namespace) or {}).get("metadata", {}).get("labels") or {}
    broken = _restricted(spec) if labels.get(ENFORCE) == "restricted" else []
    if broken:
        text = f'pods "{name}" is forbidden: violates PodSecurity "restricted:latest": {", ".join(broken)}'
        raise Refusal(403, "Forbidden", text)


def _require_account(store: FakeStore, namespace: str, name: str, account: str) -> None:
    if account != "default" and store.find("serviceaccounts", namespace, account) is None:
        text = f'error looking up service account {namespace}/{account}: serviceaccount "{account}" not found'
        raise Refusal(403, "Forbidden", f'pods "{name}" is forbidden: {text}')


def _require_within(name: str, limit: Json, container: Json) -> None:
    resources = container.get("resources") or {}
    for resource, least in (limit.get("min") or {}).items():
        asked = (resources.get("requests") or {}).get(resource) or (limit.get("defaultRequest") or {}).get(resource)
        if asked is None or megabytes(asked) < megabytes(least):
            text = f"minimum {resource} usage per Container is {least}, but request is {asked}"
            raise Refusal(403, "Forbidden", f'pods "{name}" is forbidden: {text}')


def _restricted(spec: Json) -> list[str]:
    pod = spec.get("securityContext") or {}
    broken = []
    for container in [*(spec.get("initContainers") or []), *spec["containers"]]:
        own = container.get("securityContext") or {}
        if own.get("allowPrivilegeEscalation") is not False:
            broken.append(
                f'allowPrivilegeEscalation != false (container "{container["name"]}" must set '
                "securityContext.allowPrivilegeEscalation=false)"
            )
        if "ALL" not in ((own.get("capabilities") or {}).get("drop") or []):
            broken.append(f'unrestricted capabilities (container "{container["name"]}" must drop "ALL")')
        if not (own.get("runAsNonRoot") or pod.get("runAsNonRoot")):
            broken.append("runAsNonRoot != true (pod must set securityContext.runAsNonRoot=true)")
        if not (own.get("seccompProfile") or pod.get("seccompProfile")):
            broken.append("seccompProfile (pod must set securityContext.seccompProfile.type)")
    if any("hostPath" in volume for volume in spec.get("volumes") or []):
        broken.append("restricted volume types (hostPath)")
    return broken
