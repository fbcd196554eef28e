"""What every task pod gets, whatever the values say and whichever chart and agent image are used.

The release's name, so that its pods are known; all credentials by reference, since a pod's arguments can be read by
everyone who may list pods; and no way to the Kubernetes API, since what runs in a task pod is its user's code.

Pure: values go in, values come out.
"""

from __future__ import annotations

from typing import Any

from clearml_access.queue_policy import WORKER
from deploy.helm import values as v
from deploy.helm.values import Values
from deploy.kubernetes.ownership import RELEASE
from deploy.settings import Settings

POD = "agentk8sglue.basePodTemplate"
AGENT_ENV = "agentk8sglue.extraEnvs"

POD_KEYS = {"CLEARML_API_ACCESS_KEY": "agentk8sglue_key", "CLEARML_API_SECRET_KEY": "agentk8sglue_secret"}
"""What a task pod reads from the Secret: its variable and the Secret's key."""

GIT = ("CLEARML_AGENT_GIT_USER", "CLEARML_AGENT_GIT_PASS")
"""The agent needs them nowhere: in its own environment it only copies them into the arguments of task pods."""

TASK_ACCOUNT = "K8S_GLUE_TASK_ACCOUNT"
"""Tells this project's agent image as which ServiceAccount task pods run; the chart knows only the agent's own."""

EXISTING_ACCOUNT = "agentk8sglue.serviceExistingAccountName"

CONF_FOLDER = "/etc/clearml-pods"
"""Where this project's agent image looks in task pods for a `clearml.conf` that a person keeps in a Secret."""

CONF = "clearml-conf"
"""Name of its volume."""

ACCOUNT_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"
NO_ACCOUNT = "no-kubernetes-account"
"""An empty volume where Kubernetes mounts an account's token: where something is mounted, it mounts none."""


def worker_of(values: Values) -> str:
    """Return what the values call the agent on the server; nothing where that is left to the chart."""
    return v.environment(values).get(WORKER) or ""


def with_worker(values: Values, name: str) -> Values:
    """Return the values with a name for the agent on the server, unless they give it one."""
    return _with_missing(values, AGENT_ENV, [{"name": WORKER, "value": name}]) if name else values


def finished(values: Values, settings: Settings) -> Values:
    """Return the values with all that task pods must have."""
    values = v.merge(values, v.nest(f"{POD}.labels", {RELEASE: settings.release}))
    values = _with_git_by_reference(_with_keys_by_reference(values))
    return _without_token(_with_configuration_by_reference(values, settings), settings)


def _with_keys_by_reference(values: Values) -> Values:
    """Return the values with the access key in the template by reference, where the template has none of its own."""
    name = v.get(values, "clearml.existingAgentk8sglueSecret")
    if not name:
        return values
    references = [
        {"name": variable, "valueFrom": {"secretKeyRef": {"name": name, "key": key}}}
        for variable, key in POD_KEYS.items()
    ]
    return _with_missing(values, f"{POD}.env", references)


def _with_git_by_reference(values: Values) -> Values:
    """Return the values with git's credentials moved from the agent's environment to the task pods'."""
    listed = v.get(values, AGENT_ENV) or []
    moved = [item for item in listed if item["name"] in GIT]
    if not moved:
        return values
    kept = v.nest(AGENT_ENV, [item for item in listed if item not in moved])
    return _with_missing(v.merge(values, kept), f"{POD}.env", moved)


def _with_configuration_by_reference(values: Values, settings: Settings) -> Values:
    """Return the values with a person's own `clearml.conf` as a volume of task pods; ours holds no secret."""
    name = v.get(values, "clearml.existingClearmlConfigSecret")
    if not name or name == settings.config_secret:
        return values
    secret = {"secretName": name, "items": [{"key": "clearml.conf", "path": "clearml.conf"}]}
    values = _with_missing(values, f"{POD}.volumes", [{"name": CONF, "secret": secret}])
    return _with_missing(values, f"{POD}.volumeMounts", [{"name": CONF, "mountPath": CONF_FOLDER, "readOnly": True}])


def _without_token(values: Values, settings: Settings) -> Values:
    """Return the values with an account for task pods that may do nothing, unless they name one.

    An account that the values give to agent and tasks together stays, for what a cloud grants it, but without a token
    for Kubernetes: the chart lets it do what the agent may. One that `K8S_GLUE_TASK_ACCOUNT` names is used as it is.
    """
    if TASK_ACCOUNT in v.environment(values):
        return values
    values = _with_missing(values, f"{POD}.volumes", [{"name": NO_ACCOUNT, "emptyDir": {}}])
    values = _with_missing(values, f"{POD}.volumeMounts", [{"name": NO_ACCOUNT, "mountPath": ACCOUNT_FOLDER}])
    if v.get(values, EXISTING_ACCOUNT):
        return values
    return _with_missing(values, AGENT_ENV, [{"name": TASK_ACCOUNT, "value": settings.task_account}])


def _with_missing(values: Values, path: str, items: list[dict[str, Any]]) -> Values:
    """Return the values with the named items added to a list, but for those whose names it has."""
    given = v.get(values, path) or []
    known = {item["name"] for item in given}
    return v.merge(values, v.nest(path, [*given, *(item for item in items if item["name"] not in known)]))
