"""What serves models in a cluster: a Deployment, its Service and a Secret for the keys. Pure.

Not the chart `clearml-serving` (1.5): it writes the keys into the Deployment, has no probes and no security context, so
that a namespace with Pod Security "restricted" refuses it, and wants Kafka.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clearml_access.credentials import Server
from deploy.errors import ValuesError
from deploy.helm import values as v
from deploy.helm.values import Values
from deploy.kubernetes.ownership import MANAGED, RELEASE

Json = dict[str, Any]

PORT = 8080
CONTAINER = "serving"
SCRATCH = "/scratch"

TEMPLATE = "clearml-pods/template"
"""Label of pods: a digest of what they were made from, so that new ones are told from old ones."""

APPLIED = "clearml-pods/applied"
"""Annotation: the object as it was applied, to go back to."""

SERVICE_TASK = "CLEARML_SERVING_TASK_ID"

KEYS = {"CLEARML_API_ACCESS_KEY": "access_key", "CLEARML_API_SECRET_KEY": "secret_key"}  # pragma: allowlist secret
"""Variable → key of the Secret."""

DEPLOYMENTS = ("deployments", "apps/v1")
SERVICES = ("services", "")
MONITORS = ("servicemonitors", "monitoring.coreos.com/v1")

START_S = 180
"""How long a process may take until it has read its endpoints."""


@dataclass(frozen=True)
class Manifest:
    """The objects of one release."""

    release: str
    namespace: str
    values: Values
    server: Server
    service_id: str
    """The service's task on the ClearML server."""

    @classmethod
    def of(
        cls, release: str, namespace: str, base: Values, layers: Sequence[Values], server: Server, service_id: str
    ) -> Manifest:
        """Merge the values and check them.

        Raises:
            ValuesError: There is no such value, or it has the wrong type.
        """
        for layer in layers:
            _require_known(base, layer)
        return cls(release, namespace, v.merge(base, *layers), server, service_id)

    @property
    def image(self) -> str:
        """The image."""
        return str(self.values["image"])

    @property
    def keys_secret(self) -> str:
        """Name of the Secret with the access key."""
        return f"{self.release}-keys"

    @property
    def keys(self) -> dict[str, str]:
        """What is in it."""
        return {"access_key": str(self.server.access_key), "secret_key": str(self.server.secret_key)}

    @property
    def host(self) -> str:
        """Where pods reach the process."""
        return f"http://{self.release}.{self.namespace}.svc:{PORT}"

    @property
    def address(self) -> str:
        """Where clients reach the models."""
        return str(self.values["address"] or f"{self.host}/serve").rstrip("/")

    @property
    def urls(self) -> dict[str, str]:
        """The ClearML server's addresses as pods use them."""
        known = {"api": self.server.api, "web": self.server.web, "files": self.server.files}
        return {name: str(self.values["server"][name] or url or "").rstrip("/") for name, url in known.items()}

    @property
    def labels(self) -> dict[str, str]:
        """On every object."""
        return {**MANAGED, RELEASE: self.release}

    @property
    def selector(self) -> dict[str, str]:
        """The labels by which the pods are found."""
        return {RELEASE: self.release, "app.kubernetes.io/component": CONTAINER}

    @property
    def digest(self) -> str:
        """Stands for what the pods are made from."""
        text = json.dumps([self._annotations(), self.pod_spec()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def is_new(self, pod: Json) -> bool:
        """Return whether a pod is made from this."""
        return bool(((pod["metadata"].get("labels")) or {}).get(TEMPLATE) == self.digest)

    def objects(self) -> list[tuple[tuple[str, str], Json]]:
        """Return kind and group, and the object, in the order in which they are applied."""
        found = [(SERVICES, self._service()), (DEPLOYMENTS, self._deployment())]
        if self.values["serviceMonitor"]:
            found.append((MONITORS, self._monitor()))
        return [(kind, with_applied(body)) for kind, body in found]

    def _metadata(self, name: str, **more: Any) -> Json:
        return {"name": name, "labels": self.labels, **more}

    def _service(self) -> Json:
        ports = [{"name": "http", "port": PORT, "targetPort": "http", "protocol": "TCP"}]
        spec = {"type": "ClusterIP", "selector": self.selector, "ports": ports}
        return {"apiVersion": "v1", "kind": "Service", "metadata": self._metadata(self.release), "spec": spec}

    def _deployment(self) -> Json:
        labels = {**self.labels, **self.selector, TEMPLATE: self.digest}
        template = {"metadata": {"labels": labels, "annotations": self._annotations()}, "spec": self.pod_spec()}
        spec = {
            "replicas": self.values["replicas"],
            "selector": {"matchLabels": self.selector},
            # The new pod answers before the old one ends.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "revisionHistoryLimit": 2,
            "template": template,
        }
        return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": self._metadata(self.release), "spec": spec}

    def _monitor(self) -> Json:
        endpoints = [{"port": "http", "path": "/metrics", "interval": "15s"}]
        spec = {"selector": {"matchLabels": {RELEASE: self.release}}, "endpoints": endpoints}
        metadata = self._metadata(self.release)
        return {"apiVersion": MONITORS[1], "kind": "ServiceMonitor", "metadata": metadata, "spec": spec}

    def _annotations(self) -> dict[str, str]:
        return {
            "prometheus.io/scrape": "true",
            "prometheus.io/port": str(PORT),
            "prometheus.io/path": "/metrics",
            # A new key starts a new pod; a running one keeps the old in its environment.
            "clearml-pods/keys": self.server.fingerprint(self.release),
            **self.values["annotations"],
        }

    def pod_spec(self) -> Json:
        """Return the pod."""
        own = ("nodeSelector", "tolerations", "affinity", "imagePullSecrets", "priorityClassName", "serviceAccountName")
        scratch = {"name": "scratch", "emptyDir": {"sizeLimit": self.values["scratch"]}}
        return {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 30,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 1000,
                "runAsGroup": 1000,
                "fsGroup": 1000,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [self._container()],
            "volumes": [scratch, *self.values["volumes"]],
            **{name: self.values[name] for name in own if self.values[name]},
        }

    def _container(self) -> Json:
        def ask(path: str, **often: int) -> Json:
            # A process that answers a large request has no time for a probe meanwhile.
            return {"httpGet": {"path": path, "port": "http"}, "timeoutSeconds": 10, **often}

        return {
            "name": CONTAINER,
            "image": self.image,
            "imagePullPolicy": "IfNotPresent",
            "workingDir": SCRATCH,
            "env": self._environment(),
            "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
            "startupProbe": ask("/readyz", periodSeconds=2, failureThreshold=START_S // 2),
            "readinessProbe": ask("/readyz", periodSeconds=5, failureThreshold=3),
            "livenessProbe": ask("/healthz", periodSeconds=20, failureThreshold=6),
            "resources": self.values["resources"],
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
            },
            "volumeMounts": [{"name": "scratch", "mountPath": SCRATCH}, *self.values["volumeMounts"]],
        }

    def _environment(self) -> list[Json]:
        plain = {f"CLEARML_{name.upper()}_HOST": url for name, url in self.urls.items()}
        plain |= {
            SERVICE_TASK: self.service_id,
            "CLEARML_SERVING_POLL_FREQ": "0.05",  # minutes
            "CLEARML_DEFAULT_BASE_SERVE_URL": self.address,
            "CLEARML_DEFAULT_KAFKA_SERVE_URL": "",
            "CLEARML_BKG_THREAD_REPORT": "1",
            "HOME": SCRATCH,
            "TMPDIR": SCRATCH,
        }
        if not self.server.verify:
            plain["CLEARML_API_HOST_VERIFY_CERT"] = "0"
        keys = [
            {"name": name, "valueFrom": {"secretKeyRef": {"name": self.keys_secret, "key": key}}}
            for name, key in KEYS.items()
        ]
        return v.by_name(
            [*({"name": name, "value": value} for name, value in plain.items()), *keys], self.values["env"]
        )


def with_applied(body: Json) -> Json:
    """Return an object that carries what it was applied as."""
    text = json.dumps(body, sort_keys=True)
    metadata = {**body["metadata"], "annotations": {**(body["metadata"].get("annotations") or {}), APPLIED: text}}
    return {**body, "metadata": metadata}


def applied(live: Json) -> Json | None:
    """Return what an object in the cluster was applied as; None where we did not apply it."""
    text = (live["metadata"].get("annotations") or {}).get(APPLIED)
    return with_applied(json.loads(text)) if text else None


def service_task(deployment: Json) -> str:
    """Return the service's task of a Deployment."""
    listed = deployment["spec"]["template"]["spec"]["containers"][0].get("env") or []
    return str(next((item.get("value") for item in listed if item["name"] == SERVICE_TASK), "") or "")


def _require_known(base: Mapping[str, Any], layer: Mapping[str, Any], where: str = "") -> None:
    """Refuse a value that would be ignored, or that has another type than the file's own.

    Raises:
        ValuesError: It is named.
    """
    for name, value in layer.items():
        path = f"{where}{name}"
        if name not in base:
            raise ValuesError(
                f"there is no value {path} in helm/values-serving.yaml; there are: {', '.join(base)}",
                hint="docs/serving.md, On Kubernetes",
            )
        own = base[name]
        if type(value) is not type(own):
            raise ValuesError(f"{path} is {value!r}: it has to be like {own!r}", hint="see helm/values-serving.yaml")
        if path == "server":
            _require_known(own, value, "server.")
