"""`rollback`, and the commands that only look: status, render, diff."""

from __future__ import annotations

import pytest
import yaml

from tests.integration.deploy.deployer import HELD, NAMESPACE, QUEUE
from tests.integration.deploy.test_install import MEMORY, memory, other_settings

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def test_a_rollback_goes_back_and_proves_it(installed):
    installed("install", *other_settings("650Mi"))
    would = installed.json("rollback", "--dry-run")
    assert (would["from"], would["would_go_back_to"]) == (2, 1)
    assert "would roll back from revision 2 to 1" in installed("rollback", "--dry-run")
    assert memory(installed) == "650Mi"
    outcome = installed.json("rollback")
    assert (outcome["result"], outcome["revision"], outcome["to"]) == ("rolled back", 3, 1)
    assert outcome["canary"]["python"].startswith("3.")
    assert memory(installed) == "512Mi"
    assert installed.json("check")["ok"]


def test_a_rollback_proves_the_values_of_the_revision_and_not_todays(installed):
    """The values on this machine say another queue than the revision that the release goes back to."""
    installed("install", "--set", "agentk8sglue.queue=fake-pods-later", "--no-canary")
    queue = installed.api("queues.get_all", name=f"^{QUEUE}$")["queues"][0]["id"]
    installed.api("queues.delete", queue=queue, force=True)
    values = yaml.safe_load(installed.values.read_text())
    values["agentk8sglue"]["queue"] = "fake-pods-later"
    installed.values.write_text(yaml.safe_dump(values))
    outcome = installed.json("rollback")
    assert (outcome["revision"], outcome["queues"]) == (3, [QUEUE])
    assert outcome["canary"]["python"].startswith("3.")
    assert installed.json("status")["worker"]["serves"] == [QUEUE]


def test_a_rollback_whose_agent_fails_says_that_the_release_went_back(installed):
    installed("install", *other_settings("650Mi"))
    installed.cluster.faults.cordoned = True
    said = installed("rollback", code=34)
    assert "release clearml-agent was rolled back to revision 1; its agent was not proved" in said


@pytest.mark.parametrize("version", ["v3.17.2", "v4.1.4"])
def test_an_upgrade_and_a_rollback_take_over_what_others_changed(installed, version):
    """The install itself narrows the Role, which helm 4 takes for a conflict unless it merges as helm 3 does."""
    installed.cluster.fake_helm.version = version
    installed("install", *other_settings("650Mi"), "--no-canary")
    installed("rollback", "--no-canary")
    assert memory(installed) == "512Mi"


def test_a_rollback_to_a_named_revision(installed):
    installed("install", *other_settings("650Mi"))
    installed("install", *other_settings("651Mi"))
    installed("rollback", "1", "--no-canary")
    assert memory(installed) == "512Mi"


@pytest.mark.parametrize(("words", "said"), [((), "no revision to go back to"), (("7",), "no revision 7")])
def test_a_revision_that_does_not_exist_is_said_so(installed, words, said):
    assert said in installed("rollback", *words, code=25)


def test_a_rollback_without_a_release_is_said_so(deploy):
    assert "there is no release clearml-agent" in deploy("rollback", code=25)


def test_status_shows_release_pods_worker_and_queues(installed):
    task = installed.enqueue(tags=HELD)
    seen = installed.json("status")
    assert (seen["revision"]["number"], seen["revision"]["status"]) == (1, "deployed")
    assert [pod["state"] for pod in seen["agent_pods"] + seen["task_pods"]] == ["ready", "ready"]
    assert seen["worker"]["serves"] == [QUEUE] and seen["queues"] == {QUEUE: 0}
    said = installed("status")
    assert f"task pod: clearml-id-{task} on fake-node: ready" in said and f"queue: {QUEUE}, 0 waiting" in said


def test_status_of_nothing_ends_with_three(deploy):
    assert "is not installed" in deploy("status", code=3)
    assert deploy.json("status", code=3)["revision"] is None


def test_diff_and_render_show_what_an_upgrade_would_send(installed):
    assert installed.json("diff")["changed"] is False
    assert "nothing would change" in installed("diff")
    changed = installed("diff", "--set", f"{MEMORY}=777Mi")
    assert "-            memory: 512Mi" in changed and "+            memory: 777Mi" in changed
    assert "memory: 777Mi" in installed("render", "--set", f"{MEMORY}=777Mi")
    assert "kind: Deployment" in installed.json("render")["manifest"]


def test_diff_shows_the_pod_template_line_by_line(installed):
    changed = installed("diff", "--set", "agentk8sglue.basePodTemplate.priorityClassName=high")
    lines = [line for line in changed.splitlines() if line.startswith(("+", "-")) and "checksum" not in line]
    assert [line.split() for line in lines if not line.startswith(("+++", "---"))] == [
        ["+", "priorityClassName:", "high"]
    ]


def test_render_tells_the_chart_the_clusters_version_and_its_apis(installed):
    installed("render")
    argv, _ = installed.cluster.fake_helm.calls[-1]
    assert argv[argv.index("--kube-version") + 1] == installed.cluster.version
    apis = argv[argv.index("--api-versions") + 1].split(",")
    assert {"v1", "v1/Pod", "apps/v1", "apps/v1/Deployment"} <= set(apis)


def test_render_without_a_cluster_says_so(deploy, tmp_path):
    out, err = deploy.run("render", KUBECONFIG=str(tmp_path / "nowhere"))
    assert "kind: Deployment" in out
    assert "rendered without a cluster, for the Kubernetes version that helm assumes (kubeconfig" in err
    assert "--kube-version" not in deploy.cluster.fake_helm.calls[-1][0]


@pytest.mark.parametrize("command", ["rollback", "diff"])
def test_without_a_kubeconfig_helm_is_not_asked(deploy, tmp_path, command):
    said = deploy(command, code=31, KUBECONFIG=str(tmp_path / "nowhere"))
    assert "nowhere does not exist" in said and "localhost" not in said
    assert deploy.cluster.fake_helm.calls == []


def test_diff_before_an_install_shows_all_of_it(deploy):
    deploy.cluster.store.create("namespaces", "", {"metadata": {"name": NAMESPACE}, "status": {"phase": "Active"}})
    assert "+kind: Deployment" in deploy("diff")
