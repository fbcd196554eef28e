"""Whose a worker, a task pod or another object is."""

import pytest

from deploy.kubernetes.ownership import RELEASE, Owner, agent_label, is_built_in

OWN = Owner("clearml-agent", "clearml-agent")
TASK = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("worker", "is_agent", "is_worker"),
    [
        ("clearml-agent", True, True),
        ("clearml-agent:0", True, True),
        ("clearml-agent-5b764d996-65h49", True, True),
        ("clearml-agent-5b764d996-65h49:0", True, True),
        (f"clearml-agent:{TASK}", False, True),
        (f"clearml-agent:gpu0:{TASK}", False, True),
        ("clearml-agent-gpu", False, False),
        ("clearml-agent-gpu-large", False, False),
        (f"clearml-agent-gpu:{TASK}", False, False),
        ("my-clearml-agent", False, False),
        ("", False, False),
    ],
)
def test_workers(worker, is_agent, is_worker):
    assert (OWN.is_agent(worker), OWN.is_worker(worker)) == (is_agent, is_worker)


def test_an_agent_with_a_name_of_its_own_is_not_the_one_of_the_chart():
    named = Owner("clearml-agent", "clearml-agent", "clearml-agent.team")
    for worker in ("clearml-agent.team", "clearml-agent.team:0"):
        assert (named.is_agent(worker), OWN.is_agent(worker)) == (True, False)
    assert (named.is_worker(f"clearml-agent.team:{TASK}"), OWN.is_worker(f"clearml-agent.team:{TASK}")) == (True, False)
    for worker in ("clearml-agent", "clearml-agent-5b764d996-65h49", "clearml-agentXteam"):
        assert not named.is_agent(worker)


def task_pod(labels=(), worker=""):
    env = [{"name": "CLEARML_WORKER_ID", "value": worker}] if worker else []
    return {
        "metadata": {"name": f"clearml-id-{TASK}", "labels": dict(labels)},
        "spec": {"containers": [{"name": "main", "env": env}]},
    }


@pytest.mark.parametrize(
    ("pod", "own"),
    [
        (task_pod({RELEASE: "clearml-agent"}), True),
        (task_pod({RELEASE: "clearml-agent-gpu"}), False),
        # The label decides, also where the worker was given another name.
        (task_pod({RELEASE: "clearml-agent"}, f"renamed:{TASK}"), True),
        (task_pod({RELEASE: "clearml-agent-gpu"}, f"clearml-agent:{TASK}"), False),
        # Started by an older install.
        (task_pod({"CLEARML": agent_label("clearml-agent")}), True),
        (task_pod({"CLEARML": agent_label("clearml-agent-gpu")}, f"clearml-agent-gpu:{TASK}"), False),
        (task_pod({"CLEARML": "agent"}, f"clearml-agent-5b764d996-65h49:{TASK}"), True),
        # Nothing says whose it is.
        (task_pod(), False),
        (task_pod({"CLEARML": "agent"}), False),
        (task_pod(worker="clearml-agent"), False),
        ({"metadata": {"name": "web", "labels": {RELEASE: "clearml-agent"}}}, False),
    ],
)
def test_task_pods(pod, own):
    assert OWN.is_task_pod(pod) is own


def item(name, labels=(), annotations=(), **fields):
    return {"metadata": {"name": name, "labels": dict(labels), "annotations": dict(annotations)}, **fields}


HELM = "meta.helm.sh/release-name"


@pytest.mark.parametrize(
    ("kind", "found", "own"),
    [
        ("deployments", item("clearml-agent", annotations={HELM: "clearml-agent"}), True),
        ("deployments", item("clearml-agent-gpu", annotations={HELM: "clearml-agent-gpu"}), False),
        ("roles", item("clearml-agent-kpa", annotations={HELM: "other"}), False),
        ("secrets", item("sh.helm.release.v1.clearml-agent.v1", {"owner": "helm", "name": "clearml-agent"}), True),
        ("secrets", item("sh.helm.release.v1.clearml-agent.v1", {"owner": "helm", "name": "clearml"}), False),
        ("secrets", item("clearml-agent-keys", {RELEASE: "clearml-agent"}), True),
        ("secrets", item("clearml-agent-keys"), True),  # of an older install
        ("secrets", item("clearml-agent-gpu-keys"), False),
        ("configmaps", item("clearml-agent-conf"), False),
        ("leases", item("clearml-agent"), True),
        ("leases", item("clearml-agent-gpu", {RELEASE: "clearml-agent-gpu"}), False),
        ("pods", item("clearml-agent-5b764d996-65h49", {"app.kubernetes.io/name": "clearml-agent"}), True),
        ("pods", item("clearml-agent-gpu-5b764d996-65h49", {"app.kubernetes.io/name": "clearml-agent-gpu"}), False),
        ("pods", task_pod({RELEASE: "clearml-agent"}), True),
        ("pods", task_pod({RELEASE: "clearml-agent-gpu"}), False),
        ("services", item("clearml-agent-service"), False),
    ],
)
def test_objects(kind, found, own):
    assert OWN.has(kind, found) is own


def test_what_every_namespace_holds_is_nobodys():
    assert is_built_in("configmaps", item("kube-root-ca.crt"))
    assert is_built_in("serviceaccounts", item("default"))
    assert is_built_in("secrets", item("default-token-x", type="kubernetes.io/service-account-token"))
    assert not is_built_in("secrets", item("default", type="Opaque"))
