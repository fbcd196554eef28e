"""Each key of the chart's values works, or is refused with what to do instead. None is ignored in silence.

The keys are those of the values table in the README of upstream's chart 5.3.x.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from clearml_access.agent_values import IN_CLONE
from deploy.errors import ValuesError
from deploy.helm import values, values_schema
from deploy.plan import Plan
from deploy.settings import Settings

BASE = yaml.safe_load(IN_CLONE.read_text())
CHARTS_OWN_IMAGE = {"agentk8sglue": {"image": {"repository": "allegroai/clearml-agent-k8s-base"}}}
MOUNT = [{"name": "a.txt", "folderPath": "/mnt", "fileContent": "text"}]
LABELS, SECURITY = {"team": "vision"}, {"runAsUser": 1000}
AFFINITY = {"nodeAffinity": {}}
VOLUMES, MOUNTS = [{"name": "data", "emptyDir": {}}], [{"name": "data", "mountPath": "/data"}]
RESOURCES = {"limits": {"memory": "1Gi"}}
ENV = [{"name": "A", "value": "b"}]

POD = {
    "labels": LABELS,
    "annotations": LABELS,
    "nodeSelector": LABELS,
    "tolerations": [{"operator": "Exists"}],
    "affinity": AFFINITY,
    "volumes": VOLUMES,
    "volumeMounts": MOUNTS,
    "fileMounts": MOUNT,
    "podSecurityContext": SECURITY,
    "containerSecurityContext": SECURITY,
    "resources": RESOURCES,
}

WORK: dict[str, Any] = {
    "global.imageRegistry": "registry.example.com",
    "clearml.existingAgentk8sglueSecret": "mine",
    "clearml.existingClearmlConfigSecret": "mine",
    "clearml.clearmlConfig": "sdk.storage.cache.size.cleanup_margin_percent: 5",
    **{f"agentk8sglue.{key}": value for key, value in POD.items()},
    "agentk8sglue.image.registry": "registry.example.com",
    "agentk8sglue.image.repository": "team/agent",
    "agentk8sglue.image.tag": "1",
    "agentk8sglue.replicaCount": 1,
    "agentk8sglue.initContainers.resources": RESOURCES,
    "agentk8sglue.serviceAccountAnnotations": LABELS,
    "agentk8sglue.serviceExistingAccountName": "agent",
    "agentk8sglue.clearmlcheckCertificate": False,
    "agentk8sglue.apiServerUrlReference": "http://api:8008",
    "agentk8sglue.fileServerUrlReference": "http://files:8081",
    "agentk8sglue.webServerUrlReference": "http://web:8080",
    "agentk8sglue.defaultContainerImage": "python:3.11",
    "agentk8sglue.queue": "gpu",
    "agentk8sglue.createQueueIfNotExists": True,
    "agentk8sglue.extraEnvs": ENV,
    "agentk8sglue.additionalClusterRoleBindings": ["view"],
    "agentk8sglue.additionalRoleBindings": ["view"],
    **{f"agentk8sglue.basePodTemplate.{key}": value for key, value in POD.items()},
    "agentk8sglue.basePodTemplate.initContainers": [{"name": "first", "image": "busybox"}],
    "agentk8sglue.basePodTemplate.schedulerName": "volcano",
    "agentk8sglue.basePodTemplate.env": ENV,
    "agentk8sglue.basePodTemplate.priorityClassName": "high",
    "agentk8sglue.basePodTemplate.hostAliases": [{"ip": "10.0.0.1", "hostnames": ["api"]}],
}
"""A value for each key that reaches the chart, or the Secrets that `deploy` makes."""

REFUSED: dict[str, tuple[Any, str]] = {
    "clearml.agentk8sglueKey": ("AK", "deploy makes a Secret"),
    "clearml.agentk8sglueSecret": ("hush", "deploy makes a Secret"),
    "imageCredentials.enabled": (True, "imageCredentials.existingSecret"),
    "imageCredentials.existingSecret": ("pull", "imageCredentials.enabled"),
    "imageCredentials.registry": ("r", "imageCredentials.existingSecret"),
    "imageCredentials.username": ("me", "imageCredentials.existingSecret"),
    "imageCredentials.password": ("hush", "a secret does not belong into values"),
    "imageCredentials.email": ("me@example.com", "imageCredentials.existingSecret"),
    "sessions.portModeEnabled": (True, "the chart's image has"),
    "sessions.svcAnnotations": (LABELS, "sessions.portModeEnabled"),
    "sessions.svcType": ("NodePort", "sessions.portModeEnabled"),
    "sessions.externalIP": ("10.0.0.1", "sessions.portModeEnabled"),
    "sessions.startingPort": (30000, "sessions.portModeEnabled"),
    "sessions.maxServices": (5, "sessions.portModeEnabled"),
}
"""A value that cannot work alone, and what the message names instead."""


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, below in tree.items():
        if isinstance(below, Mapping):
            yield from leaves(below, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def plan(*layers: dict[str, Any], defaults: dict[str, Any] | None = None, words: frozenset[str] = frozenset()) -> Plan:
    return Plan.of(Settings(), None, BASE, layers, chart_defaults=defaults or {}, chart_words=words)


def test_each_key_of_the_chart_is_one_that_works_or_one_that_is_refused():
    assert set(leaves(values_schema.SCHEMA)) == WORK.keys() | REFUSED.keys()
    assert not WORK.keys() & REFUSED.keys()


@pytest.mark.parametrize("path", WORK)
def test_a_key_that_works_reaches_the_chart(path):
    given, found = WORK[path], values.get(plan(values.nest(path, WORK[path])).values, path)
    if isinstance(given, dict):  # merged with what this project's values have there
        assert found.items() >= given.items() or found == values.merge(values.get(BASE, path), given)
    elif isinstance(given, list):  # the keys come after it
        assert found[: len(given)] == given
    else:
        assert found == given


@pytest.mark.parametrize("path", REFUSED)
def test_a_key_that_cannot_work_is_refused_with_what_to_do_instead(path):
    value, words = REFUSED[path]
    with pytest.raises(ValuesError) as refused:
        plan(values.nest(path, value))
    assert path in refused.value.message and words in refused.value.message
    assert "hush" not in refused.value.message


@pytest.mark.parametrize(
    "layers",
    [
        ({"imageCredentials": {"enabled": True, "existingSecret": "pull"}},),
        ({"imageCredentials": {"enabled": True}}, {"imageCredentials": {"existingSecret": "pull"}}),
        (CHARTS_OWN_IMAGE, {"sessions": {"portModeEnabled": True, "svcType": "ClusterIP"}}),
    ],
)
def test_keys_that_work_together_are_taken(layers):
    merged = values.merge(*layers)
    assert {key: plan(*layers).values[key] for key in merged if key != "agentk8sglue"}.items() <= merged.items()


@pytest.mark.parametrize("key", ["nameOverride", "fullnameOverride"])
def test_names_of_the_objects_follow_from_the_release(key):
    with pytest.raises(ValuesError, match="--release"):
        plan({key: "other"}, defaults={key: ""})


def test_more_than_one_agent_of_a_release_is_refused():
    with pytest.raises(ValuesError, match="race for its tasks"):
        plan({"agentk8sglue": {"replicaCount": 2}})


def test_jobs_are_refused_where_this_projects_agent_image_is_to_make_them():
    jobs = {"agentk8sglue": {"taskAsJob": True}}
    with pytest.raises(ValuesError, match="taskAsJob: this project's agent image makes pods"):
        plan(jobs, defaults={"agentk8sglue": {"taskAsJob": False}})
    plan(CHARTS_OWN_IMAGE, jobs, defaults={"agentk8sglue": {"taskAsJob": False}})


def test_a_queues_policy_that_the_agent_cannot_read_is_refused():
    env = [{"name": "CLEARML_PODS_MAX_PENDING_MINUTES", "value": "an hour"}]
    with pytest.raises(ValuesError, match="CLEARML_PODS_MAX_PENDING_MINUTES=an hour: expected minutes"):
        plan({"agentk8sglue": {"extraEnvs": env}})


def test_a_configuration_is_added_to_the_one_of_this_project():
    text = plan({"clearml": {"clearmlConfig": "sdk { a: 1 }\n"}}).configuration
    assert text.startswith(plan().configuration) and text.endswith("\nsdk { a: 1 }\n")


@pytest.mark.parametrize(
    "line", ["api.credentials.secret_key = hush", 'agent { "git_pass": hush }', "access_key: hush"]
)
def test_a_configuration_with_a_secret_is_refused(line):
    with pytest.raises(ValuesError, match="a secret does not belong") as refused:
        plan({"clearml": {"clearmlConfig": line}})
    assert "hush" not in refused.value.message


def test_a_configuration_beside_a_secret_of_ones_own_is_refused():
    with pytest.raises(ValuesError, match="remove one of the two"):
        plan({"clearml": {"clearmlConfig": "sdk { a: 1 }", "existingClearmlConfigSecret": "mine"}})


@pytest.mark.parametrize("path", ["agentk8sglue.basePodTemplate.hostAliases", "agentk8sglue.affinity"])
def test_a_key_that_this_copy_of_the_chart_does_not_read_is_refused(path):
    layer = values.nest(path, WORK[path])
    words = frozenset({"agentk8sglue", "basePodTemplate", "queue"})
    with pytest.raises(ValuesError, match=f"{path}: this chart does not read it"):
        plan(layer, words=words)
    assert plan(layer, words=words | {path.rpartition(".")[2]})
    assert plan(layer, words=words, defaults=values.nest(path, []))
