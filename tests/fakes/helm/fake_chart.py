"""What tests/charts/clearml-agent makes of values, without helm.

`recorded.yaml` is what the real helm made of the chart's defaults (and `clearml.existingAgentk8sglueSecret=keys`, for
which the chart makes no Secret of its own). Here the fields that follow from values are replaced in it. The end-to-end
tests compare the result with the real helm's for other values; the unit tests say when the chart has changed since.
"""

from __future__ import annotations

import copy
import hashlib
import json
from pathlib import Path
from typing import Any

import yaml

from deploy.helm import documents

Json = dict[str, Any]

CHART = Path(__file__).parents[2] / "charts/clearml-agent"
RECORDED = Path(__file__).with_name("recorded.yaml")
CHART_DIGEST = "b0f0d5872da5e818"
"""Of the chart that `recorded.yaml` was made of."""

URLS = {
    "CLEARML_API_HOST": "apiServerUrlReference",
    "CLEARML_WEB_HOST": "webServerUrlReference",
    "CLEARML_FILES_HOST": "fileServerUrlReference",
}


def chart_digest() -> str:
    """Return a text that changes with any file of the chart."""
    files = sorted(path for path in CHART.rglob("*") if path.is_file())
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()[:16]


def rendered(release: str, namespace: str, values: Json) -> list[Json]:
    """Return the chart's objects.

    Args:
        release: Name of the release.
        namespace: Namespace of the release.
        values: As the templates see them: over the chart's defaults, without nulls.
    """
    name = release if "clearml-agent" in release else f"{release}-clearml-agent"
    text = RECORDED.read_text(encoding="utf-8").replace("namespace: clearml\n", f"namespace: {namespace}\n")
    text = text.replace("--namespace clearml ", f"--namespace {namespace} ")
    text = text.replace("instance: clearml-agent\n", f"instance: {release}\n")
    for part in ("-sa", "-kpa", "-pt"):
        text = text.replace(f"clearml-agent{part}\n", f"{name}{part}\n")
    text = text.replace("name: clearml-agent\n", f"name: {name}\n").replace(
        "value: clearml-agent\n", f"value: {name}\n"
    )
    objects = {item["kind"]: item for item in documents.read_all(text)}
    glue, base = values["agentk8sglue"], values["agentk8sglue"]["basePodTemplate"]
    account = glue["serviceExistingAccountName"] or f"{name}-sa"
    pull = values["imageCredentials"]
    secrets = [{"name": pull["existingSecret"]}] if pull["enabled"] and pull["existingSecret"] else []
    access: Json = {"serviceAccountName": account} | ({"imagePullSecrets": secrets} if secrets else {})
    objects["ConfigMap"]["data"]["template.yaml"] = _pod_template(objects["ConfigMap"], base, access)
    _agent(objects["Deployment"]["spec"], glue, values["clearml"]["existingAgentk8sglueSecret"], access)
    if conf := values["clearml"]["existingClearmlConfigSecret"]:
        _mount_configuration(objects["Deployment"]["spec"]["template"]["spec"], conf)
    objects["RoleBinding"]["subjects"][0]["name"] = account
    if glue["serviceExistingAccountName"]:
        del objects["ServiceAccount"]
    template = objects["Deployment"]["spec"]["template"]["metadata"]
    # helm hashes its own YAML of it; what counts is that it changes with the template.
    checksum = hashlib.sha256(json.dumps(base, sort_keys=True).encode()).hexdigest()
    template["annotations"] = {"checksum/template": checksum, **glue["annotations"]}
    return list(objects.values())


def written(objects: list[Json]) -> str:
    """Return objects as YAML."""
    return str(yaml.dump_all(objects, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), sort_keys=False))


def comparable(item: Json) -> Json:
    """Return an object without the checksum, which is helm's own, and with the template inside it as an object."""
    item = copy.deepcopy(item)
    if item["kind"] == "Deployment":
        item["spec"]["template"]["metadata"]["annotations"].pop("checksum/template")
    if item["kind"] == "ConfigMap":
        item["data"] = documents.read(item["data"]["template.yaml"])
    return item


def _agent(spec: Json, glue: Json, secret: str, access: Json) -> None:
    spec["replicas"] = glue["replicaCount"]
    pod = spec["template"]["spec"]
    pod |= access
    pod |= {"securityContext": glue.get("podSecurityContext") or {}}
    pod |= {"nodeSelector": glue["nodeSelector"], "tolerations": glue["tolerations"]}
    (init,), (agent,) = pod["initContainers"], pod["containers"]
    image = "{registry}/{repository}:{tag}".format(**glue["image"])
    agent["resources"], init["resources"] = glue["resources"], glue["initContainers"]["resources"]
    facts = {"K8S_GLUE_QUEUE": glue["queue"], "CLEARML_DOCKER_IMAGE": glue["defaultContainerImage"]}
    facts |= {variable: glue[key] for variable, key in URLS.items()}
    for container in (init, agent):
        container |= {"image": image, "securityContext": glue.get("containerSecurityContext") or {}}
        for item in container["env"]:
            if item["name"] in facts:
                item["value"] = facts[item["name"]]
            if "valueFrom" in item:
                item["valueFrom"]["secretKeyRef"]["name"] = secret
    if glue["createQueueIfNotExists"]:
        extra = next(item for item in agent["env"] if item["name"] == "K8S_GLUE_EXTRA_ARGS")
        extra["value"] += " --create-queue"
    agent["env"] += glue["extraEnvs"]


def _mount_configuration(pod: Json, secret: str) -> None:
    (agent,) = pod["containers"]
    mount = {"name": "conf", "mountPath": "/root/clearml.conf", "subPath": "clearml.conf", "readOnly": True}
    agent["volumeMounts"].append(mount)
    agent["env"].insert(0, {"name": "CLEARML_CONFIG_FILE", "value": "/root/clearml.conf"})
    pod["volumes"].append({"name": "conf", "secret": {"secretName": secret}})


def _pod_template(config_map: Json, base: Json, access: Json) -> str:
    template = documents.read(config_map["data"]["template.yaml"])
    template["metadata"] |= {"labels": base["labels"], "annotations": base["annotations"]}
    spec, (container,) = template["spec"], template["spec"]["containers"]
    spec |= access | {name: base[name] for name in ("priorityClassName", "schedulerName") if base[name]}
    spec |= {"securityContext": base.get("podSecurityContext") or {}}
    spec |= {name: base[name] for name in ("nodeSelector", "tolerations", "volumes")}
    container |= {name: base[name] for name in ("env", "resources", "volumeMounts")}
    container |= {"securityContext": base.get("containerSecurityContext") or {}}
    return written([template])
