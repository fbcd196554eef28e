"""What the agent in its image hands to task pods: nothing secret in their arguments."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from types import ModuleType, SimpleNamespace

import pytest

from tests.fakes import agent_image

SOURCE = agent_image.FOLDER / "glue.py"


@pytest.fixture
def glue(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module, without the agent's package, which is in the image alone."""
    stand_in = SimpleNamespace(K8sIntegration=object, Recorder=object, Glue=object)
    for name in ("clearml_agent", "clearml_agent.glue", "clearml_agent.glue.k8s", "recorder", "pod_glue"):
        monkeypatch.setitem(sys.modules, name, stand_in)
    agent_image.module("pod_arguments")  # found beside it, as in the image
    spec = importlib.util.spec_from_file_location("agent_glue", SOURCE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


KEYS = ["CLEARML_API_ACCESS_KEY", "CLEARML_API_SECRET_KEY"]
ENVIRON = {"CLEARML_API_HOST": "http://s:8008", "CLEARML_API_ACCESS_KEY": "AK", "CLEARML_API_SECRET_KEY": "hush"}


def template(glue, *variables, mounts=()):
    container = {
        "env": [{"name": name} for name in variables],
        "volumeMounts": [{"name": "x", "mountPath": path} for path in mounts],
    }
    return glue.Template({"spec": {"containers": [container]}})


def test_keys_that_the_template_brings_are_not_in_the_arguments(glue, tmp_path):
    text = glue.configuration(ENVIRON, template(glue, *KEYS), tmp_path / "none")
    assert 'api.api_server: "http://s:8008"' in text and "hush" not in text
    assert "hush" in glue.configuration(ENVIRON, template(glue, KEYS[0]), tmp_path / "none")
    assert "hush" in glue.configuration(ENVIRON, glue.Template(None), tmp_path / "none")


def test_a_configuration_that_the_template_mounts_is_not_in_the_arguments(glue, tmp_path):
    (tmp_path / "clearml.conf").write_text("sdk.aws.s3.secret: quiet\n")
    mounted = template(glue, *KEYS, mounts=["/etc/clearml-pods"])
    assert "quiet" not in glue.configuration({}, mounted, tmp_path / "clearml.conf")
    assert glue.configuration({}, mounted, tmp_path / "clearml.conf"), "or the stock glue takes the agent's own file"
    assert "quiet" in glue.configuration({}, template(glue, *KEYS), tmp_path / "clearml.conf")


@pytest.mark.parametrize("name", ["CLEARML_AGENT_GIT_PASS", "TRAINS_AGENT_GIT_PASS", "CLEARML_AGENT_GIT_USER"])
def test_gits_credentials_leave_the_agents_environment(glue, capsys, name):
    environ = {name: "hush", "HOME": "/root"}
    glue.drop_git_credentials(environ, template(glue))
    assert environ == {"HOME": "/root"}
    said = capsys.readouterr().out
    assert name in said and "secretKeyRef" in said and "hush" not in said


def test_no_word_is_lost_where_task_pods_have_git_credentials(glue, capsys):
    glue.drop_git_credentials({"CLEARML_AGENT_GIT_PASS": "hush"}, template(glue, "CLEARML_AGENT_GIT_PASS"))
    glue.drop_git_credentials({}, template(glue))
    assert capsys.readouterr().out == ""


def test_an_agent_that_is_to_make_jobs_ends_with_what_to_do(glue):
    for kind in (None, "pod", " Pod"):
        glue.check_kind(kind)
    with pytest.raises(SystemExit, match="image makes pods and watches those"):
        glue.check_kind("job")


def test_a_queues_policy_that_cannot_be_read_ends_the_agent(glue):
    with pytest.raises(SystemExit, match="MAX_PENDING_MINUTES=soon"):
        glue.queue_policy({"CLEARML_PODS_MAX_PENDING_MINUTES": "soon"})


@pytest.mark.parametrize("queue", ["-x", "--help", "GPU größe/2", "a,b"])
def test_a_queue_of_any_name_reaches_the_agent_as_one_word(tmp_path, queue):
    shown = tmp_path / "python"
    shown.write_text('#!/bin/sh\nfor word in "$@"; do echo "$word"; done\n')
    shown.chmod(0o755)
    script = (agent_image.FOLDER / "entrypoint.sh").read_text().replace("/opt/agent/bin/python", str(shown))
    env = {"PATH": "/usr/bin:/bin", "K8S_GLUE_QUEUE": queue, "K8S_GLUE_EXTRA_ARGS": "--namespace a --create-queue"}
    done = subprocess.run(["bash", "-c", script], env=env, capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.splitlines()[2:] == [f"--queue={queue}", "--namespace", "a", "--create-queue"]
