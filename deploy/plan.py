"""What is to be installed: chart, values and the facts that they settle. Pure: `Plan.of` gets everything handed.

Layers, lowest first: the chart's defaults, `helm/values-agent.yaml`, what the settings say (server addresses, names of
Secrets), `--values` files, `--set`, and the queue file of a release that is made from one. helm applies the first of
them, the rest is merged here by helm's rules; only a queue file's environment is added to what is below it.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from clearml_access import agent_values
from clearml_access.agent_values import AGENT_POD_PIN, TASK_POD_PIN
from clearml_access.credentials import Server
from deploy import pod_values, queue_values, versions
from deploy.helm import values as v
from deploy.helm import values_schema
from deploy.helm.values import Values
from deploy.settings import Settings

MAX_PODS = "K8S_GLUE_MAX_PODS"

URLS = {
    "api": "agentk8sglue.apiServerUrlReference",
    "web": "agentk8sglue.webServerUrlReference",
    "files": "agentk8sglue.fileServerUrlReference",
}
"""Each of the server's addresses, and its value."""

IMAGE = "agentk8sglue.image.repository"

KEYS_ANNOTATION = "clearml-pods/keys"
"""Changes with the keys, so that a new key starts a new agent pod; a running one keeps the old in its environment."""

CONFIGURATION = """\
# Read by the agent and by every task pod; holds no keys, those come from a Secret.
sdk.development.report_use_subprocess: false
"""
"""As a subprocess, the SDK's reporting is looked at every 5 s, twice: 10 s more at the end of every step."""


POD_VERBS = ("get", "list", "watch", "create", "patch", "delete")

AGENT_ROLE: tuple[dict[str, Any], ...] = (
    {"apiGroups": [""], "resources": ["pods"], "verbs": [*POD_VERBS]},
    {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
)
"""The glue makes, watches and deletes task pods, and reads the last lines of one whose task never started. The chart's
Role also lets it read and write all Secrets, Services and events of the namespace."""


@dataclass(frozen=True)
class Plan:
    """A release as it should be."""

    settings: Settings
    values: Values
    """What helm is given."""

    computed: Values
    """What the chart's templates see."""

    chart_version: str
    chart_kube_version: str

    @classmethod
    def of(
        cls,
        settings: Settings,
        server: Server | None,
        base: Values,
        layers: Sequence[Values],
        queue_file: Values | None = None,
        *,
        by_git: bool = False,
        worker: str = "",
        chart_defaults: Values,
        chart_words: Set[str] = frozenset(),
        chart_version: str = "",
        chart_kube_version: str = "",
    ) -> Plan:
        """Merge the layers and check them; without a server, leave out what it determines.

        Args:
            settings: What the command was told.
            server: The ClearML server, if it is known.
            base: The project's own values.
            layers: Those of the person, lowest first.
            queue_file: The file in `helm/queues` that the release is made from, if it is made from one.
            by_git: Whether the release is applied out of git, without this tool.
            worker: What the agent is to be called on the server, where the chart's name is in use and the values give
                it none. The chart's own agent image knows no other name.
            chart_defaults: The chart's own values.
            chart_words: The words of the chart's templates.
            chart_version: The chart's name and version.
            chart_kube_version: helm's range of Kubernetes versions.

        Raises:
            ValuesError: A key that the chart would ignore, a value of the wrong type, or one that cannot work here.
        """
        sets = [v.parse_set(text) for text in settings.sets]
        own = [*layers, *sets]
        values_schema.require(base, chart_defaults)
        sources = [
            *zip_longest(layers, settings.values_files),
            *((layer, "--set") for layer in sets),
            (queue_file or {}, settings.queue_file),
        ]
        for layer, source in sources:
            values_schema.require(layer, chart_defaults, chart_words, str(source or ""))
        given = v.merge(base, *own, queue_file or {})
        is_own_image = v.get(given, IMAGE) == v.get(base, IMAGE)
        values_schema.require_served(given, is_own_image=is_own_image)
        values = v.merge(base, connection(settings, server, by_git=by_git), *own)
        if queue_file is not None:
            values = queue_values.merged(values, queue_file, settings)
        values = pod_values.with_worker(values, worker if is_own_image else "")
        values = pod_values.finished(_with_plain_queues(values), settings)
        return cls(settings, values, v.computed(chart_defaults, values), chart_version, chart_kube_version)

    def _get(self, path: str) -> str:
        return str(v.get(self.computed, path) or "")

    @property
    def queues(self) -> tuple[str, ...]:
        """Queues that the agent is to serve, the most urgent first."""
        return agent_values.queue_names(self._get(agent_values.QUEUE))

    @property
    def worker(self) -> str:
        """What the agent calls itself on the server."""
        return pod_values.worker_of(self.computed) or self.settings.fullname

    @property
    def api_url(self) -> str:
        """The API server's address as pods use it."""
        return self._get("agentk8sglue.apiServerUrlReference").rstrip("/")

    @property
    def urls(self) -> dict[str, str]:
        """The three addresses as pods use them."""
        return {kind: self._get(path).rstrip("/") for kind, path in URLS.items()}

    @property
    def task_image(self) -> str:
        """Image of task pods."""
        return self._get("agentk8sglue.defaultContainerImage")

    @property
    def agent_image(self) -> str:
        """Image of the agent pod, put together as the chart does."""
        registry = self._get("agentk8sglue.image.registry") or self._get("global.imageRegistry")
        name = f"{self._get('agentk8sglue.image.repository')}:{self._get('agentk8sglue.image.tag')}"
        return f"{registry}/{name}" if registry else name

    @property
    def keys_secret(self) -> str:
        """Secret that the agent reads its keys from."""
        return self._get("clearml.existingAgentk8sglueSecret") or f"{self.settings.fullname}-ac"

    @property
    def makes_keys_secret(self) -> bool:
        """Whether that Secret is ours; a person may have named one of their own."""
        return self.keys_secret == self.settings.keys_secret

    @property
    def makes_config_secret(self) -> bool:
        """Whether the Secret with `clearml.conf` is ours."""
        return self._get("clearml.existingClearmlConfigSecret") == self.settings.config_secret

    @property
    def configuration(self) -> str:
        """The `clearml.conf` of agent and task pods, for the Secret that is ours: what the values add comes last."""
        own = str(v.get(self.values, values_schema.CONFIG) or "")
        return CONFIGURATION + (f"{own.rstrip()}\n" if own else "")

    @property
    def task_account(self) -> str:
        """ServiceAccount that task pods run as; empty: the agent's."""
        return v.environment(self.computed).get(pod_values.TASK_ACCOUNT) or ""

    @property
    def makes_task_account(self) -> bool:
        """Whether that account is ours."""
        return self.task_account == self.settings.task_account

    @property
    def agent_role(self) -> list[dict[str, Any]]:
        """What the agent may do in its namespace: what it does, and no more."""
        jobs = {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": [*POD_VERBS]}
        as_jobs = bool(v.get(self.computed, "agentk8sglue.taskAsJob"))
        return [*AGENT_ROLE, *([jobs] if as_jobs else [])]

    @property
    def pins(self) -> dict[str, versions.Pin]:
        """The agent's version in the agent pod and in task pods."""
        listed = v.environment(self.computed)
        return {name: versions.Pin(listed.get(name) or "") for name in (AGENT_POD_PIN, TASK_POD_PIN)}

    @property
    def max_pods(self) -> int | None:
        """How many task pods there may be at a time; None: any number."""
        text = v.environment(self.computed).get(MAX_PODS)
        return int(text) if text and text.isdigit() and int(text) else None

    def tasks(self) -> dict[str, Any]:
        """Return what task pods are like, as `status` shows it."""
        template = v.get(self.computed, "agentk8sglue.basePodTemplate") or {}
        names = {"nodeSelector": "node_selector", "tolerations": "tolerations", "priorityClassName": "priority_class"}
        found = {shown: template[name] for name, shown in names.items() if template.get(name)}
        found["resources"] = template.get("resources") or {}
        return {"image": self.task_image, "max_pods": self.max_pods, **found}

    @property
    def makes(self) -> list[tuple[str, str]]:
        """Kinds and names of what an install makes beside the chart's objects."""
        found = [
            (self.makes_keys_secret, "Secret", self.keys_secret),
            (self.makes_config_secret, "Secret", self.settings.config_secret),
            (self.makes_task_account, "ServiceAccount", self.task_account),
        ]
        return [(kind, name) for ours, kind, name in found if ours]


def _with_plain_queues(values: Values) -> Values:
    """Return the values with the queues as every glue reads them: it splits at commas and keeps the blanks."""
    text = v.get(values, agent_values.QUEUE)
    if not isinstance(text, str):
        return values
    return v.merge(values, v.nest(agent_values.QUEUE, ",".join(agent_values.queue_names(text))))


def connection(settings: Settings, server: Server | None, *, by_git: bool = False) -> Values:
    """Return the layer that settings and server determine.

    Args:
        settings: What the command was told.
        server: The ClearML server, if it is known.
        by_git: Whether the release is applied out of git. Then nobody makes the queue before it, and another Secret
            may hold the keys than those of this machine.
    """
    if server is None and not by_git:
        return {}
    secrets = {
        # With only one of the two the chart still writes a Secret with placeholder keys.
        "existingAgentk8sglueSecret": settings.keys_secret,
        "existingClearmlConfigSecret": settings.config_secret,
    }
    if by_git:
        glue: Values = {"createQueueIfNotExists": True}
    else:
        glue = {"annotations": {KEYS_ANNOTATION: server.fingerprint(settings.release)}} if server else {}
    layer: Values = {"clearml": secrets, "agentk8sglue": glue}
    urls = {"api": server.api, "web": server.web, "files": server.files} if server else {}
    return v.merge(layer, *(v.nest(URLS[kind], url) for kind, url in urls.items() if url))
