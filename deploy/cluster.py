"""The cluster, through the official client. The only module that imports `kubernetes`.

Objects go in and come out as the JSON that Kubernetes serves (pods.py reads it); vendor errors stop here. Every call
has a deadline, and none is repeated for ever.

It must not decide or wait: use cases do. Outside system: the Kubernetes API server.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import urllib3
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException

from deploy.errors import (
    ClusterError,
    ClusterUnreachableError,
    KubeconfigError,
    ReleaseBusyError,
    RightsError,
)
from deploy.settings import Settings

TIMEOUT_S = 15.0
STREAM_TIMEOUT_S = 30.0
LOG_TAIL = 20

MANAGED = {"app.kubernetes.io/managed-by": "clearml-pods"}
"""On every object that we make outside the release."""

LEASE_S = 30
Json = dict[str, Any]


@dataclass(frozen=True)
class Access:
    """Which cluster we talk to, and how we know."""

    context: str
    server: str
    source: str
    user: str


@dataclass(frozen=True)
class Right:
    """Something that we must be allowed to do."""

    verb: str
    resource: str
    group: str = ""
    subresource: str = ""

    def __str__(self) -> str:
        name = self.resource + (f".{self.group}" if self.group else "")
        return f"{self.verb} {name}" + (f"/{self.subresource}" if self.subresource else "")


class Cluster:
    """One namespace of the cluster of one kubeconfig context."""

    def __init__(self, settings: Settings) -> None:
        self.namespace = settings.namespace
        self.access, self._api = _connect(settings)

    # -- the cluster and we

    def version(self) -> str:
        """Return the API server's version, e.g. `v1.34.2`."""
        return str(self._call("GET", "/version")["gitVersion"])

    def date(self) -> str:
        """Return the API server's clock, as its answers carry it."""
        return str(self._send("GET", "/version", None, None, stream=False, timeout=TIMEOUT_S).headers.get("Date") or "")

    def allowed(self, rights: tuple[Right, ...]) -> list[Right]:
        """Return the rights that we do not have in the namespace."""
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
        answer = self._call("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
        return bool(answer["status"]["allowed"])

    def has_namespace(self) -> bool:
        """Return whether the namespace is there, and not on its way out."""
        if self.is_namespace_ending():
            raise ClusterError(
                f"namespace {self.namespace} is being deleted",
                hint=f"kubectl wait --for=delete namespace/{self.namespace}",
            )
        return self._get(f"/api/v1/namespaces/{self.namespace}") is not None

    def is_namespace_ending(self) -> bool:
        """Return whether the namespace is there and on its way out."""
        found = self._get(f"/api/v1/namespaces/{self.namespace}")
        return found is not None and found["status"].get("phase") == "Terminating"

    def create_namespace(self) -> None:
        """Make the namespace."""
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace, "labels": MANAGED}}
        self._call("POST", "/api/v1/namespaces", body)

    def delete_namespace_if_ours(self) -> bool:
        """Delete the namespace if `create_namespace` made it."""
        found = self._get(f"/api/v1/namespaces/{self.namespace}")
        labels = (found or {}).get("metadata", {}).get("labels") or {}
        if not found or any(labels.get(key) != value for key, value in MANAGED.items()):
            return False
        self._call("DELETE", f"/api/v1/namespaces/{self.namespace}")
        return True

    # -- Secrets

    def secret(self, name: str) -> dict[str, str] | None:
        """Return a Secret's content."""
        found = self._get(self._path("secrets", name))
        return found and {
            key: base64.b64decode(value).decode(errors="replace") for key, value in (found.get("data") or {}).items()
        }

    def put_secret(self, name: str, content: Mapping[str, str]) -> bool:
        """Make or replace a Secret; return whether that changed anything."""
        before = self.secret(name)
        if before == dict(content):
            return False
        data = {key: base64.b64encode(value.encode()).decode() for key, value in content.items()}
        metadata = {"name": name, "labels": MANAGED}
        body = {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": metadata, "data": data}
        if before is None:
            self._call("POST", self._path("secrets"), body)
        else:
            self._call("PUT", self._path("secrets", name), body)
        return True

    def delete(self, kind: str, name: str, *, group: str = "", grace_s: int | None = None) -> bool:
        """Delete one object; return whether there was one."""
        body = {"propagationPolicy": "Background"} | ({} if grace_s is None else {"gracePeriodSeconds": grace_s})
        try:
            self._call("DELETE", self._path(kind, name, group=group), body)
        except _NotFoundError:
            return False
        return True

    # -- workloads

    def deployment(self, name: str) -> Json | None:
        """Return a Deployment."""
        return self._get(self._path("deployments", name, group="apps/v1"))

    def recreate_on_change(self, name: str) -> bool:
        """Make a Deployment end its old pod before it starts the new one; return whether that was news.

        helm's charts leave the strategy to us (neither helm 3's nor helm 4's patches touch what the chart does not
        name), and the default keeps the old agent taking tasks beside the new one.
        """
        deployment = self.deployment(name)
        if deployment is None or deployment["spec"].get("strategy", {}).get("type") == "Recreate":
            return False
        patch = {"spec": {"strategy": {"type": "Recreate", "rollingUpdate": None}}}
        self._call("PATCH", self._path("deployments", name, group="apps/v1"), patch)
        return True

    def restart(self, name: str, mark: str) -> None:
        """Make a Deployment start a new pod by marking its template."""
        patch = {"spec": {"template": {"metadata": {"annotations": {"clearml-pods/restarted": mark}}}}}
        self._call("PATCH", self._path("deployments", name, group="apps/v1"), patch)

    def scale(self, name: str, replicas: int) -> None:
        """Set a Deployment's number of pods."""
        self._call("PATCH", self._path("deployments", name, group="apps/v1"), {"spec": {"replicas": replicas}})

    def pods(self, selector: str = "") -> list[Json]:
        """Return pods by label selector."""
        query = {"labelSelector": selector} if selector else {}
        return list(self._call("GET", self._path("pods"), query=query).get("items") or [])

    def pod(self, name: str) -> Json | None:
        """Return one pod."""
        return self._get(self._path("pods", name))

    def create_pod(self, body: Json) -> None:
        """Make a pod."""
        self._call("POST", self._path("pods"), body)

    def watch_pods(self, timeout_s: int) -> Iterator[tuple[str, Json]]:
        """Yield (event, pod) for every pod now and every change, until `timeout_s` have passed."""
        query = {"watch": "true", "timeoutSeconds": str(timeout_s), "allowWatchBookmarks": "false"}
        for line in self._stream(self._path("pods"), query, timeout_s + STREAM_TIMEOUT_S):
            event = json.loads(line)
            if event.get("type") == "ERROR":
                return
            yield str(event["type"]), event["object"]

    def events(self, name: str) -> list[str]:
        """Return what Kubernetes reported about one object, oldest first."""
        query = {"fieldSelector": f"involvedObject.name={name}"}
        items = self._call("GET", self._path("events"), query=query).get("items") or []
        items.sort(key=lambda item: str(item.get("lastTimestamp") or item.get("eventTime") or ""))
        return [f"{item.get('type')} {item.get('reason')}: {str(item.get('message')).strip()}" for item in items]

    def nodes(self) -> list[Json] | None:
        """Return the nodes; None if we may not see them."""
        try:
            return list(self._call("GET", "/api/v1/nodes").get("items") or [])
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
            return list(self._stream(self._path("pods", pod) + "/log", query, STREAM_TIMEOUT_S))
        except (ClusterError, _NotFoundError):
            return []

    def follow_log(self, pod: str, container: str = "") -> Iterator[str]:
        """Yield a container's lines from its first on, until it ends."""
        query = {"follow": "true"} | ({"container": container} if container else {})
        with suppress(_NotFoundError):
            yield from self._stream(self._path("pods", pod) + "/log", query, None)

    def leftovers(self, release: str, fullname: str) -> list[str]:
        """Return what is still there of a release, as kind/name."""
        kinds = (
            ("pods", ""),
            ("secrets", ""),
            ("configmaps", ""),
            ("serviceaccounts", ""),
            ("services", ""),
            ("deployments", "apps/v1"),
            ("roles", "rbac.authorization.k8s.io/v1"),
            ("rolebindings", "rbac.authorization.k8s.io/v1"),
            ("leases", "coordination.k8s.io/v1"),
        )
        found = []
        for kind, group in kinds:
            for item in self._call("GET", self._path(kind, group=group)).get("items") or []:
                name = str(item["metadata"]["name"])
                ours = name == fullname or name.startswith((f"{fullname}-", f"sh.helm.release.v1.{release}.v"))
                if ours or name.startswith("clearml-id-"):
                    found.append(f"{kind.removesuffix('s')}/{name}")
        return found

    # -- one at a time

    @contextmanager
    def exclusive(self, name: str, holder: str) -> Iterator[None]:
        """Hold a Lease while changing the release, so that two installs at once do not meet in the middle.

        Raises:
            ReleaseBusyError: Somebody else holds it; the message names them.
        """
        self._take(name, holder)
        stop = threading.Event()
        renewer = threading.Thread(target=self._renew, args=(name, holder, stop), daemon=True)
        renewer.start()
        try:
            yield
        finally:
            stop.set()
            renewer.join(timeout=TIMEOUT_S)
            with suppress(ClusterError):
                self.delete("leases", name, group="coordination.k8s.io/v1")

    def _take(self, name: str, holder: str) -> None:
        path = self._path("leases", group="coordination.k8s.io/v1")
        found = self._get(f"{path}/{name}")
        if found:
            spec = found["spec"]
            renewed = datetime.fromisoformat(spec["renewTime"].replace("Z", "+00:00"))
            if datetime.now(UTC) - renewed < timedelta(seconds=LEASE_S) and spec["holderIdentity"] != holder:
                raise ReleaseBusyError(
                    f"{spec['holderIdentity']} works on release {name} since {spec['acquireTime']}",
                    hint="wait until it ends (its lease runs out by itself when it was killed)",
                )
        body = self._lease(name, holder)
        try:
            if found:
                body["metadata"]["resourceVersion"] = found["metadata"]["resourceVersion"]
                self._call("PUT", f"{path}/{name}", body)
            else:
                self._call("POST", path, body)
        except _ConflictError as error:
            raise ReleaseBusyError(
                f"somebody else began to work on release {name}", hint="wait until it ends"
            ) from error

    def _lease(self, name: str, holder: str) -> Json:
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        spec = {"holderIdentity": holder, "leaseDurationSeconds": LEASE_S, "acquireTime": now, "renewTime": now}
        metadata: Json = {"name": name, "namespace": self.namespace, "labels": MANAGED}
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}

    def _renew(self, name: str, holder: str, stop: threading.Event) -> None:
        path = self._path("leases", name, group="coordination.k8s.io/v1")
        while not stop.wait(LEASE_S / 3):
            now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
            # The API server may be restarting; a lease lost for good only lets another install wait less.
            with suppress(ClusterError):
                self._call("PATCH", path, {"spec": {"renewTime": now, "holderIdentity": holder}})

    # -- HTTP

    def _path(self, kind: str, name: str = "", *, group: str = "") -> str:
        root = f"/apis/{group}" if group else "/api/v1"
        return f"{root}/namespaces/{self.namespace}/{kind}" + (f"/{name}" if name else "")

    def _get(self, path: str) -> Json | None:
        try:
            return self._call("GET", path)
        except _NotFoundError:
            return None

    def _call(self, method: str, path: str, body: Json | None = None, query: Mapping[str, str] | None = None) -> Json:
        response = self._send(method, path, body, query, stream=False, timeout=TIMEOUT_S)
        return cast("Json", json.loads(response.data or b"{}"))

    def _stream(self, path: str, query: Mapping[str, str], timeout: float | None) -> Iterator[str]:
        response = self._send("GET", path, None, query, stream=True, timeout=timeout)
        rest = b""
        try:
            for chunk in response.stream(amt=None, decode_content=False):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    yield line.decode(errors="replace")
            if rest:
                yield rest.decode(errors="replace")
        except urllib3.exceptions.HTTPError as error:
            raise ClusterUnreachableError(f"the connection to {self.access.server} broke: {error}") from error
        finally:
            response.release_conn()
            response.close()

    def _send(
        self, method: str, path: str, body: Json | None, query: Mapping[str, str] | None, *, stream: bool, timeout: Any
    ) -> Any:
        kind = "application/strategic-merge-patch+json" if method == "PATCH" else "application/json"
        if method == "PATCH" and "/leases/" in path:
            kind = "application/merge-patch+json"
        headers = {"Accept": "application/json, */*", "Content-Type": kind}
        auth = ["BearerToken"]
        method, url, headers, sent, _ = self._api.param_serialize(
            method, path, query_params=list((query or {}).items()), header_params=headers, body=body, auth_settings=auth
        )
        try:
            answer = self._api.call_api(method, url, headers, sent, _request_timeout=(TIMEOUT_S, timeout)).response
        except (urllib3.exceptions.HTTPError, ApiException, OSError) as error:
            raise ClusterUnreachableError(
                f"Kubernetes API {self.access.server} (context {self.access.context}) does not answer: {_short(error)}",
                hint="kubectl cluster-info; is the cluster up (task cluster-status), is it the right context?",
            ) from error
        if answer.status >= 400:
            raise self._refused(method, path, answer.status, answer.data)
        return answer

    def _refused(self, method: str, path: str, status: int, raw: bytes) -> ClusterError:
        try:
            # Anything but a Status may be a proxy's page; of any text only the start, it could hold what was sent.
            message = str(json.loads(raw).get("message") or status)[:400]
        except (ValueError, AttributeError):
            message = f"HTTP {status}"
        if status == 404:
            return _NotFoundError(message)
        if status == 409:
            return _ConflictError(message)
        if status in (401, 403):
            return RightsError(
                f"{self.access.user or 'this user'} may not: {message}",
                hint=f"kubectl auth can-i --list -n {self.namespace}; ask the cluster's administrator",
            )
        if status >= 500:
            return ClusterUnreachableError(f"Kubernetes API {self.access.server} answered {status}: {message}")
        return ClusterError(f"Kubernetes answered {status} to {method} {path}: {message}")


class _NotFoundError(ClusterError):
    """There is no such object."""


class _ConflictError(ClusterError):
    """The object is there already, or changed meanwhile."""


def _connect(settings: Settings) -> tuple[Access, client.ApiClient]:
    configuration = client.Configuration()
    configuration.retries = False
    try:
        contexts, current = config.list_kube_config_contexts(settings.kubeconfig)  # type: ignore[no-untyped-call]
    except ConfigException as error:
        if settings.kubeconfig is None:
            with suppress(ConfigException):
                config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]
                return Access("in-cluster", configuration.host, "service account", ""), client.ApiClient(configuration)
        where = settings.kubeconfig or "~/.kube/config"
        raise KubeconfigError(
            f"no kubeconfig: {where} {_short(error)}",
            hint="export KUBECONFIG=…; task cluster-up makes a cluster and prints the line",
        ) from error
    except Exception as error:  # yaml's errors, permissions
        raise KubeconfigError(f"kubeconfig {settings.kubeconfig} cannot be read: {_short(error)}") from error
    names = [context["name"] for context in contexts]
    if settings.context and settings.context not in names:
        raise KubeconfigError(
            f"kubeconfig {settings.kubeconfig or '~/.kube/config'} has no context {settings.context}",
            hint=f"--context {' or '.join(names)}",
        )
    chosen = next((context for context in contexts if context["name"] == settings.context), current)
    try:
        config.load_kube_config(settings.kubeconfig, chosen["name"], configuration, persist_config=False)  # type: ignore[no-untyped-call]
    except (ConfigException, OSError) as error:
        raise KubeconfigError(f"context {chosen['name']} cannot be used: {_short(error)}") from error
    configuration.retries = False
    access = Access(
        context=str(chosen["name"]),
        server=str(configuration.host),
        source=str(settings.kubeconfig or "~/.kube/config"),
        user=str(chosen["context"].get("user", "")),
    )
    return access, client.ApiClient(configuration)


def _short(error: object) -> str:
    reason = getattr(error, "reason", None) or error
    return str(reason).splitlines()[0][:300] if str(reason) else type(error).__name__


Sleep = Callable[[float], None]
