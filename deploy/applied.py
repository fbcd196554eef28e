"""An agent that helm does not know: Argo CD, Flux or kubectl applied its objects. Its Deployment tells what it is.

Pure: the Deployment comes as the JSON that Kubernetes serves.
"""

from __future__ import annotations

from typing import Any

from clearml_access import agent_values
from deploy.helm import values as v
from deploy.plan import Plan
from deploy.pod_values import POD_KEYS
from deploy.settings import Settings

Json = dict[str, Any]

APPLIERS = (
    ("Argo CD", "annotations", "argocd.argoproj.io/tracking-id"),
    ("Argo CD", "labels", "argocd.argoproj.io/instance"),
    ("Flux", "labels", "kustomize.toolkit.fluxcd.io/name"),
)
"""Who applies, and the mark that says so."""

GLUE = "k8s-glue"
"""Name of the agent's container, by the chart."""

FACTS = {
    "K8S_GLUE_QUEUE": agent_values.QUEUE,
    "CLEARML_DOCKER_IMAGE": "agentk8sglue.defaultContainerImage",
    "CLEARML_API_HOST": "agentk8sglue.apiServerUrlReference",
    "CLEARML_WEB_HOST": "agentk8sglue.webServerUrlReference",
    "CLEARML_FILES_HOST": "agentk8sglue.fileServerUrlReference",
}
"""The agent's variables, and the values that the chart makes them of."""


def applied_by(deployment: Json) -> str:
    """Return who applied an object, as far as it says so."""
    metadata = deployment["metadata"]
    for name, place, mark in APPLIERS:
        if found := (metadata.get(place) or {}).get(mark):
            return f"{name} ({str(found).partition(':')[0]})"
    return "something other than helm"


def chart_of(deployment: Json) -> str:
    """Return the chart, name and version, that an object was made by."""
    return str((deployment["metadata"].get("labels") or {}).get("helm.sh/chart") or "an unknown chart")


def plan_of(settings: Settings, deployment: Json) -> Plan:
    """Return the release that a Deployment of the chart's is, as far as the Deployment tells."""
    containers = deployment["spec"]["template"]["spec"]["containers"]
    agent = next((item for item in containers if item["name"] == GLUE), containers[0])
    listed = agent.get("env") or []
    values: v.Values = v.nest("agentk8sglue.extraEnvs", [item for item in listed if "value" in item])
    for item in listed:
        if item["name"] in FACTS and "value" in item:
            values = v.merge(values, v.nest(FACTS[item["name"]], item["value"]))
        reference = (item.get("valueFrom") or {}).get("secretKeyRef")
        if item["name"] in POD_KEYS and reference:
            values = v.merge(values, v.nest("clearml.existingAgentk8sglueSecret", reference["name"]))
    return Plan(settings, values, values, chart_of(deployment), chart_kube_version="")
