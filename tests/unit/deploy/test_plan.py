"""The plan: which layer wins, which facts it settles, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from clearml_access.agent_values import AGENT_POD_PIN, IN_CLONE, TASK_POD_PIN
from clearml_access.credentials import Secret, Server, is_loopback
from deploy.errors import SettingsError, ValuesError
from deploy.plan import Plan
from deploy.settings import Settings

SERVER = Server("http://s:8008", "http://s:8080", "http://s:8081", Secret("AK"), Secret("hush"), "test")
BASE = yaml.safe_load(IN_CLONE.read_text())


def plan(*sets: str, layers: tuple = (), server: Server = SERVER, **settings) -> Plan:
    return Plan.of(
        Settings(sets=sets, **settings), server, BASE, layers, chart_defaults={"global": {"imageRegistry": "r"}}
    )


def test_the_projects_values_and_the_servers_addresses():
    found = plan()
    assert found.queues == ("pods",)
    assert found.api_url == "http://s:8008"
    assert found.agent_image.startswith("docker.io/library/clearml-pods-agent:")
    assert found.pins[AGENT_POD_PIN] == found.pins[TASK_POD_PIN]
    assert found.makes_keys_secret and found.makes_config_secret
    assert found.max_pods is None


def test_files_win_over_settings_and_set_wins_over_files():
    layers = ({"agentk8sglue": {"queue": "file", "apiServerUrlReference": "http://file:1/"}},)
    found = plan("agentk8sglue.queue=a, b", layers=layers)
    assert (found.queues, found.api_url) == (("a", "b"), "http://file:1")


def test_the_chart_is_handed_queues_without_blanks_which_the_glue_would_keep():
    assert plan("agentk8sglue.queue=pods, gpu").values["agentk8sglue"]["queue"] == "pods,gpu"
    assert plan().values["agentk8sglue"]["queue"] == "pods"


def test_a_secret_of_ones_own_is_left_to_its_owner():
    found = plan("clearml.existingAgentk8sglueSecret=mine")
    assert (found.keys_secret, found.makes_keys_secret) == ("mine", False)


def test_a_limit_of_pods_is_read():
    found = plan('agentk8sglue.extraEnvs=[{name: K8S_GLUE_MAX_PODS, value: "3"}]')
    assert found.max_pods == 3
    assert found.pins[AGENT_POD_PIN].specifier == ""  # helm replaces lists


def test_no_value_holds_the_secret_key_and_new_keys_change_the_values():
    first, second = plan(), plan(server=Server("a", "b", "c", Secret("AK"), Secret("other"), "test"))
    assert "hush" not in str(first.values)
    assert first.values["agentk8sglue"]["annotations"] != second.values["agentk8sglue"]["annotations"]


@pytest.mark.parametrize("own", [(), ({"agentk8sglue": {"basePodTemplate": {"env": [{"name": "A", "value": "b"}]}}},)])
def test_task_pods_read_the_keys_from_the_secret_whatever_the_chart_does(own):
    template = plan("clearml.existingAgentk8sglueSecret=mine", layers=own).values["agentk8sglue"]["basePodTemplate"]
    found = {item["name"]: item.get("valueFrom", {}).get("secretKeyRef") for item in template["env"]}
    assert found.keys() >= {"CLEARML_API_ACCESS_KEY", "CLEARML_API_SECRET_KEY"}
    assert found["CLEARML_API_SECRET_KEY"] == {"name": "mine", "key": "agentk8sglue_secret"}
    assert ("A" in found) is bool(own)


def test_a_wrong_key_is_refused():
    with pytest.raises(ValuesError, match=r"did you mean agentk8sglue\.queue"):
        plan("agentk8sglue.queu=x")


@pytest.mark.parametrize(
    ("sets", "layers", "source"),
    [
        ((), ({}, {"nope": 1}), "two.yaml"),
        (("nope=1",), ({}, {}), "--set"),
        ((), ({"agentk8sglue": {"queue": 1}}, {}), "one.yaml"),
    ],
)
def test_a_problem_names_the_file_that_it_is_in_and_another_command(sets, layers, source):
    files = (Path("one.yaml"), Path("two.yaml"))
    with pytest.raises(ValuesError, match=f"chart: {source}: ") as refused:
        plan(*sets, layers=layers, values_files=files)
    assert "render" not in refused.value.hint


def test_a_secret_does_not_show_itself():
    assert "hush" not in repr(SERVER)


@pytest.mark.parametrize(
    ("release", "fullname"),
    [("clearml-agent", "clearml-agent"), ("gpu", "gpu-clearml-agent"), ("my-clearml-agent", "my-clearml-agent")],
)
def test_objects_are_named_as_the_chart_names_them(release, fullname):
    assert Settings(release=release).fullname == fullname


@pytest.mark.parametrize("name", ["", "Upper", "a_b", "-a", "a-", "x" * 64, "a.b"])
def test_a_name_that_kubernetes_refuses_is_refused_here(name):
    with pytest.raises(SettingsError):
        Settings.from_environ({}, release=name)


def test_options_win_over_the_environment():
    assert Settings.from_environ({"KUBECONFIG": "/env"}).kubeconfig == "/env"
    assert Settings.from_environ({"KUBECONFIG": "/env"}, kubeconfig="/option").kubeconfig == "/option"
    assert Settings.from_environ({"KUBECONFIG": "/env"}, kubeconfig=None).kubeconfig == "/env"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8008", True),
        ("http://localhost:8008", True),
        ("http://[::1]:8008", True),
        ("http://0.0.0.0:8008", True),
        ("http://10.0.0.1:8008", False),
        ("https://api.clear.ml", False),
    ],
)
def test_addresses_that_mean_this_machine(url, expected):
    assert is_loopback(url) is expected
