"""`rollback`, and the commands that only look: status, render, diff."""

from __future__ import annotations

import pytest

from tests.integration.deploy.deployer import HELD, NAMESPACE, QUEUE
from tests.integration.deploy.test_install import MEMORY, memory, other_settings

pytestmark = pytest.mark.integration


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


def test_diff_before_an_install_shows_all_of_it(deploy):
    deploy.cluster.store.create("namespaces", "", {"metadata": {"name": NAMESPACE}, "status": {"phase": "Active"}})
    assert "+kind: Deployment" in deploy("diff")
