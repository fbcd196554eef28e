"""What every task pod gets whatever the values say: its release's name, secrets by reference, no Kubernetes token."""

import pytest
import yaml

from clearml_access.agent_values import IN_CLONE
from deploy import pod_values
from deploy.helm import values as v
from deploy.helm import values_schema
from deploy.settings import Settings

SETTINGS = Settings(release="gpu")
BASE = yaml.safe_load(IN_CLONE.read_text())


def finished(agent=(), **pod):
    given = {"clearml": {"existingAgentk8sglueSecret": "mine"}}
    return pod_values.finished(
        v.merge(BASE, given, {"agentk8sglue": {**dict(agent), "basePodTemplate": pod}}), SETTINGS
    )


def named(values, path):
    return {item["name"]: item for item in v.get(values, path) or []}


POD = "agentk8sglue.basePodTemplate"
PASS = {"name": "CLEARML_AGENT_GIT_PASS", "valueFrom": {"secretKeyRef": {"name": "git", "key": "token"}}}
USER = {"name": "CLEARML_AGENT_GIT_USER", "value": "robot"}


def test_the_releases_name_is_added_to_the_labels():
    labels = v.get(finished(labels={"team": "a"}), f"{POD}.labels")
    assert labels["clearml-pods/release"] == "gpu"
    assert labels["team"] == "a" and "app.kubernetes.io/part-of" in labels


def test_gits_credentials_are_moved_from_the_agent_to_the_task_pods():
    values = finished({"extraEnvs": [PASS, USER, {"name": "A", "value": "b"}]}, env=[{"name": "C", "value": "d"}])
    assert not named(values, "agentk8sglue.extraEnvs").keys() & {"CLEARML_AGENT_GIT_PASS", "CLEARML_AGENT_GIT_USER"}
    assert "A" in named(values, "agentk8sglue.extraEnvs")
    found = named(values, f"{POD}.env")
    assert (found["CLEARML_AGENT_GIT_PASS"], found["CLEARML_AGENT_GIT_USER"]) == (PASS, USER)
    assert "C" in found


def test_the_task_pods_own_git_credentials_win():
    own = {"name": "CLEARML_AGENT_GIT_PASS", "valueFrom": {"secretKeyRef": {"name": "own", "key": "token"}}}
    assert named(finished({"extraEnvs": [PASS]}, env=[own]), f"{POD}.env")["CLEARML_AGENT_GIT_PASS"] == own


@pytest.mark.parametrize("path", ["agentk8sglue.extraEnvs", f"{POD}.env"])
@pytest.mark.parametrize("name", ["CLEARML_AGENT_GIT_PASS", "CLEARML_API_SECRET_KEY"])
def test_a_secret_in_clear_is_refused(path, name):
    (problem,) = values_schema.problems(v.nest(path, [{"name": name, "value": "hush"}]))
    assert "secretKeyRef" in str(problem) and "hush" not in str(problem)


def test_task_pods_run_as_an_account_that_may_do_nothing_and_get_no_token():
    values = finished(volumes=[{"name": "data", "emptyDir": {}}])
    assert named(values, "agentk8sglue.extraEnvs")["K8S_GLUE_TASK_ACCOUNT"]["value"] == "gpu-clearml-agent-tasks"
    assert named(values, f"{POD}.volumes").keys() == {"data", "no-kubernetes-account"}
    mounts = v.get(values, f"{POD}.volumeMounts")
    assert [item["mountPath"] for item in mounts] == ["/var/run/secrets/kubernetes.io/serviceaccount"]


def test_an_account_for_agent_and_tasks_stays_theirs_without_a_token():
    values = finished({"serviceExistingAccountName": "cloud"})
    assert "K8S_GLUE_TASK_ACCOUNT" not in named(values, "agentk8sglue.extraEnvs")
    assert "no-kubernetes-account" in named(values, f"{POD}.volumes")


def test_an_account_that_is_named_for_tasks_is_used_as_it_is():
    values = finished({"extraEnvs": [{"name": "K8S_GLUE_TASK_ACCOUNT", "value": "trainer"}]})
    assert named(values, "agentk8sglue.extraEnvs")["K8S_GLUE_TASK_ACCOUNT"]["value"] == "trainer"
    assert named(values, f"{POD}.volumes") == {}


def test_a_configuration_of_ones_own_reaches_task_pods_as_a_volume():
    own = v.merge(BASE, {"clearml": {"existingClearmlConfigSecret": "team-conf"}})
    values = pod_values.finished(own, SETTINGS)
    assert named(values, f"{POD}.volumes")["clearml-conf"]["secret"]["secretName"] == "team-conf"
    assert "/etc/clearml-pods" in [item["mountPath"] for item in v.get(values, f"{POD}.volumeMounts")]
    ours = v.merge(BASE, {"clearml": {"existingClearmlConfigSecret": SETTINGS.config_secret}})
    assert "clearml-conf" not in named(pod_values.finished(ours, SETTINGS), f"{POD}.volumes")


def test_what_is_finished_stays_as_it_is():
    values = finished({"extraEnvs": [PASS]})
    assert pod_values.finished(values, SETTINGS) == values
