"""What the glue takes over from the stock one, and what docker arguments become in a pod."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
from types import SimpleNamespace

import pytest
import yaml

from tests.fakes import agent_image

GLUE = agent_image.FOLDER / "pod_glue.py"


@pytest.fixture(scope="module")
def arguments():
    return agent_image.module("pod_arguments")


@pytest.fixture(scope="module")
def glue_class():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *words, **options: None)  # the agent imports pkg_resources
        return agent_image.module("pod_glue", with_agent=True)


def own_methods() -> set[str]:
    (found,) = (node for node in ast.parse(GLUE.read_text()).body if getattr(node, "name", "") == "Glue")
    return {node.name for node in found.body if isinstance(node, ast.FunctionDef) and node.name != "__init__"}


def test_each_stock_method_that_is_replaced_stands_in_the_list_with_its_reason(glue_class):
    stock = {name for name in own_methods() if hasattr(glue_class.K8sIntegration, name)}
    overridden = agent_image.module("overridden").OVERRIDDEN
    assert set(overridden) == stock
    assert all(overridden.values())


def test_the_pinned_agent_calls_them_as_they_are_declared(glue_class):
    for name in agent_image.module("overridden").OVERRIDDEN:
        stock = inspect.signature(getattr(glue_class.K8sIntegration, name)).parameters
        ours = inspect.signature(getattr(glue_class.Glue, name)).parameters
        takes_any = any(parameter.kind == parameter.VAR_KEYWORD for parameter in ours.values())
        missing = [word for word in stock if word not in ours and not takes_any and stock[word].kind != 4]
        assert missing == [], name


def test_what_the_glue_relies_on_is_in_the_pinned_agent(glue_class):
    """The manifest is in the template that is handed over; what runs is `/bin/bash -c` with an exit code of 0."""
    source = inspect.getsource(glue_class.K8sIntegration)
    assert "self.KUBECTL_APPLY_CMD.format(" in source
    assert "if self._is_same_tenant(task_session):" in source
    assert "args=['-c', '{} ; exit 0'.format(" in source
    assert "self._create_daemon_instance(" in source
    assert "task_data = session.api_client.tasks.get_all(id=[task_id])[0]" in source
    assert "queue_name = self._session.api_client.queues.get_by_id(queue=queue).name" in source
    assert not re.search(r"task_data[.\[]", source), "what QuickClient gives has no fields"
    assert "return deepcopy(self.template_dict)" in source, "each pod has a template of its own"


def test_the_name_of_a_queue_is_asked_for_once_a_minute_and_other_calls_go_on(monkeypatch):
    quick = agent_image.module("quick_client")
    asked = []
    queues = SimpleNamespace(get_by_id=lambda queue: asked.append(queue) or SimpleNamespace(name=f"name {len(asked)}"))
    tasks = SimpleNamespace(failed=lambda task, force: f"{task} failed")
    names = quick.QueueNames()
    client = quick.QuickClient(SimpleNamespace(queues=queues, tasks=tasks, workers="others"), names)
    assert [client.queues.get_by_id(queue="q").name for _ in range(3)] == ["name 1"] * 3
    monkeypatch.setattr(quick, "NAME_S", -1.0)
    assert client.queues.get_by_id(queue="q").name == "name 2"
    assert [task.id for task in client.tasks.get_all(id=["a"])] == ["a"]
    assert (client.tasks.failed("a", force=True), client.workers) == ("a failed", "others")


@pytest.mark.parametrize(
    ("words", "env"),
    [
        (["-e", "A=1"], [("A", "1")]),
        (["--env", "A=1=2"], [("A", "1=2")]),
        (["--env=A=1"], [("A", "1")]),
        (["-eA=1"], [("A", "1")]),
        (["-e", "A="], [("A", "")]),
    ],
)
def test_environment(arguments, words, env):
    found = arguments.parse(words, frozenset(), host_access=False)
    assert (found.env, found.dropped) == (env, [])


def test_an_empty_credential_leaves_the_pod_templates_in_place(arguments):
    """helm-charts#263: steps of a controller without credentials get `-e CLEARML_AGENT_GIT_PASS=`."""
    words = ["-e", "CLEARML_AGENT_GIT_PASS=", "-e", "CLEARML_AGENT_GIT_USER=", "-e", "A="]
    given = frozenset({"CLEARML_AGENT_GIT_PASS", "A"})
    found = arguments.parse(words, frozenset(), host_access=False, template_env=given)
    assert found.env == [("CLEARML_AGENT_GIT_USER", ""), ("A", "")]
    (said,) = found.dropped
    assert "the pod template has CLEARML_AGENT_GIT_PASS" in said


@pytest.mark.parametrize(
    ("words", "dropped"),
    [
        (["-e", "HOME"], "--env HOME"),
        (["--gpus", "all", "-e", "A=1"], "--gpus all"),
        (["--network=host"], "--network host"),
        (["--privileged"], "--privileged"),
        (["-v", "/data:/data"], "--volume /data:/data"),
        (["-v", "unknown:/data"], "no volume of that name"),
        (["--ipc=host"], "--ipc host"),
    ],
)
def test_what_has_no_counterpart_is_named(arguments, words, dropped):
    (said,) = arguments.parse(words, frozenset(), host_access=False).dropped
    assert dropped in said


@pytest.mark.parametrize(
    "words",
    [
        ["-e"],
        ["--env"],
        ["--shm-size"],
        ["--shm-size", "much"],
        ["--shm-size=8x"],
        ["-v"],
        ["--name"],
        ["-m", "much"],
        ["--cpus", "all"],
    ],
)
def test_what_lacks_its_value_is_an_error(arguments, words):
    with pytest.raises(arguments.ArgumentError):
        arguments.parse(words, frozenset(), host_access=False)


@pytest.mark.parametrize(("size", "limit"), [("8g", "8Gi"), ("512M", "512Mi"), ("64kb", "64Ki"), ("1024", "1024")])
def test_shared_memory(arguments, size, limit):
    pod = {"spec": {"containers": [{"volumeMounts": [{"name": "old", "mountPath": "/dev/shm"}]}]}}
    arguments.parse([f"--shm-size={size}"], frozenset(), host_access=False).apply_to(pod)
    assert pod["spec"]["volumes"] == [{"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": limit}}]
    assert pod["spec"]["containers"][0]["volumeMounts"] == [{"name": "shm", "mountPath": "/dev/shm"}]


@pytest.mark.parametrize(
    ("words", "template", "resources"),
    [
        (["-m", "8g"], {}, {"limits": {"memory": "8Gi"}}),
        (["-m512m"], {"limits": {"memory": "4Gi", "gpu": 1}}, {"limits": {"memory": "512Mi", "gpu": 1}}),
        (
            ["--memory=128m"],
            {"limits": {"memory": "4Gi"}, "requests": {"memory": "256Mi", "cpu": "50m"}},
            {"limits": {"memory": "128Mi"}, "requests": {"memory": "128Mi", "cpu": "50m"}},
        ),
        (
            ["--memory=512m", "--memory-reservation", "300m", "--cpus", "1.5"],
            {"requests": {"memory": "256Mi"}},
            {"limits": {"memory": "512Mi", "cpu": "1.5"}, "requests": {"memory": "300Mi"}},
        ),
        (
            ["--memory-reservation=8g"],
            {"limits": {"memory": "4Gi"}},
            {"limits": {"memory": "8Gi"}, "requests": {"memory": "8Gi"}},
        ),
    ],
)
def test_memory_and_cpus_are_resources_of_the_container(arguments, words, template, resources):
    pod = {"spec": {"containers": [{"resources": template}]}}
    found = arguments.parse(words, frozenset(), host_access=False)
    found.apply_to(pod)
    assert found.dropped == []
    assert pod["spec"]["containers"][0]["resources"] == resources


def test_parts_of_the_node_only_where_they_are_allowed(arguments):
    pod = {"spec": {"containers": [{}]}}
    arguments.parse(["-v", "/srv:/data:ro", "--ipc", "host"], frozenset(), host_access=True).apply_to(pod)
    assert pod["spec"]["hostIPC"] is True
    assert pod["spec"]["volumes"] == [{"name": "host-0", "hostPath": {"path": "/srv"}}]
    assert pod["spec"]["containers"][0]["volumeMounts"] == [{"name": "host-0", "mountPath": "/data", "readOnly": True}]


def run(arguments, command: str, **env: str) -> subprocess.CompletedProcess[str]:
    container = {"command": ["/bin/bash"], "args": ["-c", f"{command} ; exit 0"]}
    arguments.guarded(container)
    words = [*container["command"], *container["args"]]
    return subprocess.run(
        words, env={"PATH": "/usr/bin:/bin"} | env, capture_output=True, text=True, timeout=30, check=False
    )


def test_a_script_that_fails_ends_its_container_with_its_exit_code(arguments):
    assert run(arguments, "echo x ; exit 3", HOME="/tmp").returncode == 3
    assert run(arguments, "echo x ; true", HOME="/tmp").returncode == 0


@pytest.mark.parametrize("home", ["/nowhere", ""])
def test_a_home_that_cannot_be_written_is_replaced(arguments, home):
    done = run(arguments, 'echo "x" >> ~/clearml.conf && cat ~/clearml.conf', HOME=home)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "x"), done.stderr
    assert "HOME is not writable for user" in done.stdout


def test_a_setup_script_keeps_its_effect_in_ascii(arguments):
    script = arguments.ascii_script("NAME='grüß'\necho $NAME")
    assert script.isascii()
    assert run(arguments, script, HOME="/tmp").stdout == "grüß\n"
    assert arguments.ascii_script("echo x") == "echo x"


@pytest.mark.parametrize(
    ("queue", "label"),
    [
        ("pods", "pods"),
        ("GPU_large 2", "gpu-large-2"),
        ("team/gpu (V100)", "team-gpu-v100"),
        ("größe", "groe"),
        ("大きい", ""),
        ("a" * 62 + " b", "a" * 62),
    ],
)
def test_a_queue_of_any_name_gives_a_label_that_kubernetes_takes(glue_class, queue, label):
    found = glue_class.Glue._safe_k8s_label_value(queue)
    assert found == label
    assert re.fullmatch(r"([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)?", found)


@pytest.mark.parametrize("queue", ["pods", "GPU_large 2", "team/gpu (V100)", "f" * 32])
def test_a_name_that_the_stock_agent_can_label_keeps_its_label(glue_class, queue):
    assert glue_class.Glue._safe_k8s_label_value(queue) == glue_class.K8sIntegration._safe_k8s_label_value(queue)


def test_the_agent_leaves_the_yaml_of_other_tests_alone(glue_class):
    assert type(yaml.safe_load("a: 1")) is dict
