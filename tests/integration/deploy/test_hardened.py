"""A namespace with rules: what they are, what they refuse, and that an agent is installed in it."""

from __future__ import annotations

import json

import pytest

from deploy.errors import AdmissionError
from deploy.verification.admission import NO_ACCOUNT_YET
from tests.fakes.kubernetes.faults import RequestFault
from tests.integration.deploy.deployer import HELD, NAMESPACE

pytestmark = pytest.mark.integration

RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted"}
NO_DEFAULT_ACCOUNT = f'pods "x" is forbidden: error looking up service account {NAMESPACE}/default: {NO_ACCOUNT_YET}'
LIMITS = {"type": "Container", "min": {"memory": "64Mi"}, "defaultRequest": {"memory": "96Mi"}, "default": {"cpu": "2"}}


@pytest.fixture
def hardened(deploy):
    """An empty namespace with Pod Security "restricted" and the other rules of a company's."""
    store = deploy.cluster.store
    store.create(
        "namespaces", "", {"metadata": {"name": NAMESPACE, "labels": RESTRICTED}, "status": {"phase": "Active"}}
    )
    quota = {"spec": {"hard": {"pods": "10"}}, "status": {"hard": {"pods": "10"}, "used": {"pods": "2"}}}
    store.create("resourcequotas", NAMESPACE, {"metadata": {"name": "team"}, **quota})
    store.create("limitranges", NAMESPACE, {"metadata": {"name": "sizes"}, "spec": {"limits": [LIMITS]}})
    deny = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    store.create("networkpolicies", NAMESPACE, {"metadata": {"name": "deny"}, "spec": deny})
    allow = {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"ports": [{"port": 53}]}]}
    store.create("networkpolicies", NAMESPACE, {"metadata": {"name": "dns"}, "spec": allow})
    return deploy


def probes(deploy):
    """Return every probe pod that there ever was, by its role."""
    history = [item for _, event, kind, _, item in deploy.cluster.store.history if (event, kind) == ("ADDED", "pods")]
    found = [item for item in history if "-probe-" in item["metadata"]["name"]]
    return {item["metadata"]["name"].rpartition("-")[2]: item["spec"] for item in found}


def set_json(path, value):
    return ("--set", f"{path}={json.dumps(value)}")


def test_an_agent_is_installed_and_proved_in_it(hardened):
    assert hardened.json("install")["result"] == "installed"
    assert hardened.json("check")["ok"]
    requests = {role: spec["containers"][0]["resources"]["requests"] for role, spec in probes(hardened).items()}
    assert requests == {"agent": {}, "task": {}}, "left to the LimitRange, which knows how small they may be"


def test_what_it_enforces_is_shown(hardened):
    found = hardened.results("doctor", code=43)["namespace-rules"]
    assert found["result"] == "ok"
    for text in (
        "Pod Security: enforce restricted, warn restricted",
        "ResourceQuota team: pods 2 of 10",
        "LimitRange sizes: Container memory min 64Mi",
        "NetworkPolicy deny denies all pods ingress and egress",
        "NetworkPolicy dns allows all pods some egress",
    ):
        assert text in found["evidence"]


def test_rules_that_cannot_be_seen_are_named(hardened):
    hardened.cluster.faults.forbidden = {("list", "resourcequotas")}
    found = hardened.results("doctor", code=43)["namespace-rules"]
    assert (found["result"], "not visible to this user: resourcequotas" in found["evidence"]) == ("warn", True)


@pytest.mark.parametrize(
    ("path", "value", "role", "said"),
    [
        ("agentk8sglue.basePodTemplate.containerSecurityContext", None, "task", "allowPrivilegeEscalation != false"),
        ("agentk8sglue.podSecurityContext", None, "agent", "runAsNonRoot != true"),
        ("agentk8sglue.basePodTemplate.volumes", [{"name": "x", "hostPath": {"path": "/"}}], "task", "hostPath"),
    ],
)
def test_a_pod_that_it_refuses_is_named_in_admissions_own_words_before_anything_is_changed(
    hardened, path, value, role, said
):
    text = hardened("install", *set_json(path, value), code=AdmissionError.exit_code)
    assert f'{role} pod: namespace {NAMESPACE} does not admit it: pods "clearml-agent-admission-{role}"' in text
    assert "violates PodSecurity" in text and said in text
    assert "permission denied" not in text and "can-i" not in text
    assert "pod-security.kubernetes.io/enforce=baseline" in text
    assert hardened.cluster.store.select("secrets", NAMESPACE) == []


@pytest.mark.parametrize("made_by", ["an administrator", "install"])
def test_a_namespace_that_was_made_a_moment_ago_gets_its_account_first(deploy, made_by):
    """Kubernetes makes the account `default` after the namespace; until then it refuses every pod."""
    if made_by != "install":
        deploy.cluster.store.create("namespaces", "", {"metadata": {"name": NAMESPACE}, "status": {"phase": "Active"}})
    late = RequestFault("POST", "/pods", 403, NO_DEFAULT_ACCOUNT, times=3)
    deploy.cluster.faults.requests.append(late)
    deploy("install", "--no-canary")
    assert late.times == 0


def test_a_namespace_that_never_gets_its_account_is_refused_with_the_cause(hardened):
    hardened.cluster.faults.requests.append(RequestFault("POST", "/pods", 403, NO_DEFAULT_ACCOUNT))
    text = hardened("install", "--no-canary", code=AdmissionError.exit_code)
    assert NO_ACCOUNT_YET in text and "see whether the cluster's kube-controller-manager works" in text


def test_a_task_that_asks_for_too_little_is_refused_before_it_is_sent(hardened):
    words = set_json("agentk8sglue.basePodTemplate.resources", {"requests": {"memory": "32Mi"}})
    text = hardened("install", *words, code=AdmissionError.exit_code)
    assert "minimum memory usage per Container is 64Mi" in text and "basePodTemplate.resources" in text


def test_a_quota_that_is_full_now_is_a_warning(hardened):
    hardened("install", "--no-canary")
    hardened.cluster.faults.pod_quota = 1
    found = hardened.results("doctor")["admission"]
    assert (found["result"], "exceeded quota" in found["evidence"]) == ("warn", True)


def test_rights_that_are_missing_are_still_called_rights(installed):
    installed.cluster.faults.forbidden = {("create", "pods")}
    said = installed("install", "--set", "agentk8sglue.resources.limits.memory=600Mi", code=33)
    assert "create pods" in said


def test_a_probe_is_like_the_pods_that_it_stands_for(installed):
    """A company's certificates, proxy, registry, nodes and account, as the values give them to agent and tasks."""
    store = installed.cluster.store
    store.create("serviceaccounts", NAMESPACE, {"metadata": {"name": "cloud"}})
    store.create("secrets", NAMESPACE, {"metadata": {"name": "proxy"}, "data": {"url": ""}})
    base = {
        "volumes": [
            {"name": "ca", "configMap": {"name": "company-ca"}},
            {"name": "data", "persistentVolumeClaim": {"claimName": "data"}},
        ],
        "volumeMounts": [
            {"name": "ca", "mountPath": "/etc/company", "readOnly": True},
            {"name": "data", "mountPath": "/data"},
        ],
        "env": [
            {"name": "HTTPS_PROXY", "valueFrom": {"secretKeyRef": {"name": "proxy", "key": "url"}}},
            {"name": "NO_PROXY", "value": "*"},
        ],
        "nodeSelector": {"team": "a"},
        "tolerations": [{"key": "team", "operator": "Exists"}],
    }
    values = {"agentk8sglue": {"basePodTemplate": base, "serviceExistingAccountName": "cloud"}}
    values["agentk8sglue"] |= {"nodeSelector": {"team": "agents"}}
    values["imageCredentials"] = {"enabled": True, "existingSecret": "registry"}
    file = installed.values.with_name("company.yaml")
    file.write_text(json.dumps(values))
    installed("install", "--no-canary", "--values", str(file))
    task, agent = probes(installed)["task"], probes(installed)["agent"]
    (container,) = task["containers"]
    assert [item["name"] for item in task["volumes"]] == ["ca", "no-kubernetes-account"]
    assert container["volumeMounts"][0] == base["volumeMounts"][0]
    assert [item["name"] for item in container["env"]] == ["HTTPS_PROXY", "NO_PROXY"], "and no keys"
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert (task["nodeSelector"], task["tolerations"]) == (base["nodeSelector"], base["tolerations"])
    assert task["serviceAccountName"] == agent["serviceAccountName"] == "cloud"
    assert task["imagePullSecrets"] == agent["imagePullSecrets"] == [{"name": "registry"}]
    assert (agent["nodeSelector"], agent["containers"][0]["securityContext"]["allowPrivilegeEscalation"]) == (
        {"team": "agents"},
        False,
    )
    task_pod = installed.enqueue(tags=HELD)
    assert installed.cluster.store.get("pods", NAMESPACE, f"clearml-id-{task_pod}")["spec"]["nodeSelector"] == {
        "team": "a"
    }
