"""What the deployment asks of a cluster and does in it: one namespace's objects, by the names that use cases have.

Objects are the JSON that Kubernetes serves (pods.py reads it). It must not decide or wait: use cases do.
Outside system: the Kubernetes API server, through api.py.
"""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass

from deploy.errors import ClusterError, RightsError
from deploy.kubernetes import lease
from deploy.kubernetes.api import APPLY, Json, KubernetesApi, NotFoundError
from deploy.kubernetes.ownership import MANAGED, Owner, is_built_in
from deploy.settings import Settings

RBAC = "rbac.authorization.k8s.io/v1"

KINDS = (
    ("pods", ""),
    ("secrets", ""),
    ("configmaps", ""),
    ("serviceaccounts", ""),
    ("services", ""),
    ("deployments", "apps/v1"),
    ("roles", RBAC),
    ("rolebindings", RBAC),
    ("leases", "coordination.k8s.io/v1"),
)
"""What a release is made of: kinds and their groups, as in paths."""

MANAGER = "clearml-pods"
"""What we call ourselves as the owner of an object's fields."""

STREAM_TIMEOUT_S = 30.0
LOG_TAIL = 20

DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
"""Asks for the kinds of all groups in one answer."""


@dataclass(frozen=True)
class Right:
    """An action for which the user needs permission."""

    verb: str
    resource: str
    group: str = ""
    subresource: str = ""

    def __str__(self) -> str:
        name = self.resource + (f".{self.group}" if self.group else "")
        return f"{self.verb} {name}" + (f"/{self.subresource}" if self.subresource else "")


class Cluster:
    """One namespace of the cluster of one kubeconfig context."""

    def __init__(self, settings: Settings, owner: Owner) -> None:
        self.namespace = settings.namespace
        self._owner = owner
        self._api = KubernetesApi(settings)
        self.access = self._api.access

    def of(self, owner: Owner) -> Cluster:
        """Return this namespace as another release sees it."""
        other = copy.copy(self)
        other._owner = owner
        return other

    # -- the cluster and its user

    def version(self) -> str:
        """Return the API server's version, e.g. `v1.34.2`."""
        return str(self._api.call("GET", "/version")["gitVersion"])

    def api_versions(self) -> list[str]:
        """Return the APIs that the cluster serves: `apps/v1`, and `apps/v1/Deployment` where it says the kinds.

        Kubernetes tells the kinds of all groups in two answers since 1.30.
        """
        found: set[str] = set()
        for path in ("/api", "/apis"):
            answer = self._api.call("GET", path, accept=DISCOVERY)
            if answer.get("kind") == "APIVersions":
                found.update(answer["versions"])
            for group in answer.get("groups") or []:
                found.update(str(version["groupVersion"]) for version in group["versions"])
            for group in answer.get("items") or []:
                name = group["metadata"].get("name")
                for version in group["versions"]:
                    served = f"{name}/{version['version']}" if name else str(version["version"])
                    kinds = (item.get("responseKind") or {} for item in version.get("resources") or [])
                    found |= {served, *(f"{served}/{kind['kind']}" for kind in kinds if kind.get("kind"))}
        return sorted(found)

    def date(self) -> str:
        """Return the API server's clock, as its answers carry it."""
        return self._api.date()

    def allowed(self, rights: tuple[Right, ...]) -> list[Right]:
        """Return the permissions that the user lacks in the namespace."""
        return [right for right in rights if not self._may(right)]

    def _may(self, right: Right) -> bool:
        attributes = {
            "namespace": self.namespace,
            "verb": right.verb,
            "resource": right.resource,
            "group": right.group,
            "subresource": right.subresource,
        }
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        answer = self._api.call("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
        return bool(answer["status"]["allowed"])

    def user(self) -> str:
        """Return the user as the API server names it; or as the kubeconfig does, if that does not say (before 1.28)."""
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        with suppress(ClusterError):
            answer = self._api.call("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", review)
            return str(answer["status"]["userInfo"]["username"])
        return self.access.user

    def has_namespace(self) -> bool:
        """Return whether the namespace is there, and not on its way out."""
        if self.is_namespace_ending():
            raise ClusterError(
                f"namespace {self.namespace} is being deleted",
                hint=f"kubectl wait --for=delete namespace/{self.namespace}",
            )
        return self._api.get(f"/api/v1/namespaces/{self.namespace}") is not None

    def is_namespace_ending(self) -> bool:
        """Return whether the namespace is there and on its way out."""
        found = self._api.get(f"/api/v1/namespaces/{self.namespace}")
        return found is not None and found["status"].get("phase") == "Terminating"

    def create_namespace(self) -> None:
        """Make the namespace."""
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace, "labels": MANAGED}}
        self._api.call("POST", "/api/v1/namespaces", body)

    def delete_namespace_if_ours(self) -> bool:
        """Delete the namespace if `create_namespace` made it."""
        found = self._api.get(f"/api/v1/namespaces/{self.namespace}")
        labels = (found or {}).get("metadata", {}).get("labels") or {}
        if not found or any(labels.get(key) != value for key, value in MANAGED.items()):
            return False
        self._api.call("DELETE", f"/api/v1/namespaces/{self.namespace}")
        return True

    # -- Secrets

    def secret(self, name: str) -> dict[str, str] | None:
        """Return a Secret's content."""
        found = self._api.get(self._api.path("secrets", name))
        return found and {
            key: base64.b64decode(value).decode(errors="replace") for key, value in (found.get("data") or {}).items()
        }

    def put_secret(self, name: str, content: Mapping[str, str]) -> bool:
        """Make or replace a Secret; return whether that changed anything."""
        before = self.secret(name)
        if before == dict(content):
            return False
        data = {key: base64.b64encode(value.encode()).decode() for key, value in content.items()}
        metadata = {"name": name, "labels": self._owner.labels}
        body = {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": metadata, "data": data}
        if before is None:
            self._api.call("POST", self._api.path("secrets"), body)
        else:
            self._api.call("PUT", self._api.path("secrets", name), body)
        return True

    def delete(self, kind: str, name: str, *, group: str = "", grace_s: int | None = None) -> bool:
        """Delete one object; return whether there was one."""
        body = {"propagationPolicy": "Background"} | ({} if grace_s is None else {"gracePeriodSeconds": grace_s})
        try:
            self._api.call("DELETE", self._api.path(kind, name, group=group), body)
        except NotFoundError:
            return False
        return True

    # -- any objects

    def object(self, kind: str, name: str, *, group: str = "") -> Json | None:
        """Return an object of any kind."""
        return self._api.get(self._api.path(kind, name, group=group))

    def apply(self, kind: str, body: Json, *, group: str = "", dry_run: bool = False) -> bool:
        """Make or change an object to be as `body` says; return whether that changes anything.

        Fields of others stay, such as what Kubernetes adds itself.

        Raises:
            AdmissionError: The namespace's rules refuse it.
        """
        path = self._api.path(kind, body["metadata"]["name"], group=group)
        before = self._api.get(path)
        query = {"fieldManager": MANAGER, "force": "true"} | ({"dryRun": "All"} if dry_run else {})
        after = self._api.call("PATCH", path, body, query, patch=APPLY)
        return before is None or any(_wanted(before, name) != _wanted(after, name) for name in ("metadata", "spec"))

    # -- workloads

    def deployment(self, name: str) -> Json | None:
        """Return a Deployment."""
        return self._api.get(self._api.path("deployments", name, group="apps/v1"))

    def recreate_on_change(self, name: str) -> bool:
        """Make a Deployment end its old pod before it starts the new one; return whether that was news.

        helm's charts leave the strategy to us (neither helm 3's nor helm 4's patches touch what the chart does not
        name), and the default keeps the old agent taking tasks beside the new one.
        """
        deployment = self.deployment(name)
        if deployment is None or deployment["spec"].get("strategy", {}).get("type") == "Recreate":
            return False
        patch = {"spec": {"strategy": {"type": "Recreate", "rollingUpdate": None}}}
        self._api.call("PATCH", self._api.path("deployments", name, group="apps/v1"), patch)
        return True

    def narrow_role(self, name: str, rules: list[Json]) -> bool:
        """Leave a Role these rights alone, whatever its chart gave it; return whether that was news."""
        role = self.role(name)
        if role is None or role.get("rules") == rules:
            return False
        self._api.call("PATCH", self._api.path("roles", name, group=RBAC), {"rules": rules})
        return True

    def role(self, name: str) -> Json | None:
        """Return a Role."""
        return self._api.get(self._api.path("roles", name, group=RBAC))

    def role_binding(self, name: str) -> Json | None:
        """Return a RoleBinding."""
        return self._api.get(self._api.path("rolebindings", name, group=RBAC))

    def service_account(self, name: str) -> Json | None:
        """Return a ServiceAccount."""
        return self._api.get(self._api.path("serviceaccounts", name))

    def ensure_service_account(self, name: str) -> bool:
        """Make a ServiceAccount whose token no pod gets, if there is none of that name; return whether it was made."""
        if self.service_account(name) is not None:
            return False
        self._api.call("POST", self._api.path("serviceaccounts"), service_account(name, self._owner.labels))
        return True

    def restart(self, name: str, mark: str) -> None:
        """Make a Deployment start a new pod by marking its template."""
        patch = {"spec": {"template": {"metadata": {"annotations": {"clearml-pods/restarted": mark}}}}}
        self._api.call("PATCH", self._api.path("deployments", name, group="apps/v1"), patch)

    def scale(self, name: str, replicas: int) -> None:
        """Set a Deployment's number of pods."""
        self._api.call("PATCH", self._api.path("deployments", name, group="apps/v1"), {"spec": {"replicas": replicas}})

    def pods(self, selector: str = "") -> list[Json]:
        """Return pods by label selector."""
        query = {"labelSelector": selector} if selector else {}
        return list(self._api.call("GET", self._api.path("pods"), query=query).get("items") or [])

    def pod(self, name: str) -> Json | None:
        """Return one pod."""
        return self._api.get(self._api.path("pods", name))

    def create_pod(self, name: str, spec: Json, *, dry_run: bool = False) -> None:
        """Make a pod of the release; in a dry run only let the namespace's rules judge it.

        Raises:
            AdmissionError: They refuse it.
        """
        metadata = {"name": name, "labels": self._owner.labels}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        self._api.call("POST", self._api.path("pods"), body, {"dryRun": "All"} if dry_run else None)

    def rules(self, kind: str, group: str = "") -> list[Json] | None:
        """Return the namespace's objects of a kind that restricts others; None if this user may not list them."""
        try:
            return list(self._api.call("GET", self._api.path(kind, group=group)).get("items") or [])
        except RightsError:
            return None

    def namespace_labels(self) -> dict[str, str]:
        """Return the namespace's labels."""
        found = self._api.get(f"/api/v1/namespaces/{self.namespace}") or {}
        return dict((found.get("metadata") or {}).get("labels") or {})

    def watch_pods(self, timeout_s: int) -> Iterator[tuple[str, Json]]:
        """Yield (event, pod) for every pod now and every change, until `timeout_s` have passed."""
        query = {"watch": "true", "timeoutSeconds": str(timeout_s), "allowWatchBookmarks": "false"}
        for line in self._api.stream(self._api.path("pods"), query, timeout_s + STREAM_TIMEOUT_S):
            event = json.loads(line)
            if event.get("type") == "ERROR":
                return
            yield str(event["type"]), event["object"]

    def events(self, name: str, uid: str = "") -> list[str]:
        """Return what Kubernetes reported about one object, oldest first; with `uid`, not about others of its name."""
        query = {"fieldSelector": f"involvedObject.name={name}" + (f",involvedObject.uid={uid}" if uid else "")}
        items = self._api.call("GET", self._api.path("events"), query=query).get("items") or []
        items.sort(key=lambda item: str(item.get("lastTimestamp") or item.get("eventTime") or ""))
        return [f"{item.get('type')} {item.get('reason')}: {str(item.get('message')).strip()}" for item in items]

    def nodes(self) -> list[Json] | None:
        """Return the nodes; None if this user may not list them."""
        try:
            return list(self._api.call("GET", "/api/v1/nodes").get("items") or [])
        except RightsError:
            return None

    def log(
        self,
        pod: str,
        container: str = "",
        *,
        previous: bool = False,
        tail: int | None = LOG_TAIL,
        since_s: int | None = None,
    ) -> list[str]:
        """Return a container's last lines; none if it has not started."""
        query = {"container": container} if container else {}
        query |= {"previous": "true"} if previous else {}
        query |= {"tailLines": str(tail)} if tail is not None else {}
        query |= {"sinceSeconds": str(since_s)} if since_s is not None else {}
        try:
            return list(self._api.stream(self._api.path("pods", pod) + "/log", query, STREAM_TIMEOUT_S))
        except (ClusterError, NotFoundError):
            return []

    def follow_log(self, pod: str, container: str = "") -> Iterator[str]:
        """Yield a container's lines from its first on, until it ends."""
        query = {"follow": "true"} | ({"container": container} if container else {})
        with suppress(NotFoundError):
            yield from self._api.stream(self._api.path("pods", pod) + "/log", query, None)

    def task_pods(self) -> list[Json]:
        """Return the pods of the release's tasks; those of another agent are left out."""
        return [pod for pod in self.pods() if self._owner.is_task_pod(pod)]

    def leftovers(self) -> list[str]:
        """Return what is still there of the release, as kind/name."""
        return [_called(kind, item) for kind, item in self._objects(KINDS) if self._owner.has(kind, item)]

    def objects_of_others(self) -> list[str]:
        """Return what in the namespace is neither the release's nor Kubernetes' own, as kind/name."""
        items = self._objects((*KINDS, ("persistentvolumeclaims", "")))
        return [
            _called(kind, item)
            for kind, item in items
            if not self._owner.has(kind, item) and not is_built_in(kind, item)
        ]

    def _objects(self, kinds: tuple[tuple[str, str], ...]) -> Iterator[tuple[str, Json]]:
        for kind, group in kinds:
            for item in self._api.call("GET", self._api.path(kind, group=group)).get("items") or []:
                yield kind, item

    def exclusive(self, name: str) -> AbstractContextManager[None]:
        """Return a context in which nobody else may change the release `name`.

        Raises:
            ReleaseBusyError: Somebody else does; the message names them.
        """
        return lease.held(self._api, name, lease.this_process(), self._owner.labels)


def _wanted(item: Json, part: str) -> Json:
    """Return a part of an object without what changes by itself at each write."""
    found = item.get(part) or {}
    return found if part == "spec" else {key: found.get(key) for key in ("labels", "annotations")}


def service_account(name: str, labels: Mapping[str, str]) -> Json:
    """Return a ServiceAccount whose token no pod gets."""
    metadata = {"name": name, "labels": dict(labels)}
    about = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
    return {**about, "automountServiceAccountToken": False}


def _called(kind: str, item: Json) -> str:
    return f"{kind.removesuffix('s')}/{item['metadata']['name']}"
