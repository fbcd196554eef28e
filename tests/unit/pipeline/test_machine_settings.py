"""The one-machine set-up's settings, and what agents are told."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from clearml_access.agent_values import AgentValues
from clearml_access.credentials import Secret, Server
from clearml_access.errors import ServerError
from clearml_access.own_server import PROJECT
from pipeline.errors import SettingsError
from pipeline.local_stack.configuration import (
    WORKER_VARIABLE,
    agent_configuration,
    agent_environment,
    git_settings,
    read_access,
    server_environment,
)
from pipeline.local_stack.settings import MachineSettings

ACCESS = Server(
    *(f"http://127.0.0.1:{port}" for port in (8008, 8080, 8081)), Secret("KEY"), Secret("SECRET"), "the test"
)


def test_defaults_live_in_the_project_and_keep_controllers_off_the_steps_queue():
    settings = MachineSettings.from_environ({})
    assert settings.state == PROJECT / ".local"
    assert settings.api_url == "http://127.0.0.1:8008"
    queues = [spec.queues for spec in settings.workers]
    own = [(settings.controllers_queue, "default")] * 2
    assert queues[:2] == own, "one for a pipeline, one for a pipeline inside it"
    assert queues[2:] == [(*settings.steps_queues, "default")] * settings.step_workers
    assert settings.controllers_queue != settings.steps_queue


def test_every_variable_is_applied(tmp_path):
    settings = MachineSettings.from_environ(
        {
            "CLEARML_PODS_STATE": str(tmp_path),
            "CLEARML_PODS_PORT_BASE": "9000",
            "CLEARML_PODS_STEP_WORKERS": "1",
            "CLEARML_PODS_AGENT_PYTHON": "/opt/agent/bin/python",
        }
    )
    assert (settings.state, settings.api_url) == (tmp_path, "http://127.0.0.1:9008")
    assert [spec.name for spec in settings.workers] == ["controllers", "controllers-2", "steps-1"]
    assert settings.agent_python == Path("/opt/agent/bin/python")


def test_without_workers_the_queue_is_somebody_elses(tmp_path):
    settings = replace(MachineSettings.from_environ({}), has_workers=False, host="10.0.0.1")
    assert settings.workers == []
    assert settings.api_url == "http://10.0.0.1:8008"


def test_the_k8s_glue_is_not_kept_waiting(tmp_path):
    """It looks after its pods between two answers; a daemon has nothing else to do."""
    assert float(server_environment({}, tmp_path)["LOCALSERVER_POLL_WAIT_S"]) > 60
    assert "LOCALSERVER_POLL_WAIT_S" not in server_environment({}, tmp_path, patient=False)
    assert "LOCALSERVER_POLL_WAIT_S" not in server_environment({"LOCALSERVER_LIKE_GENUINE": "1"}, tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CLEARML_PODS_PORT_BASE", "http"),
        ("CLEARML_PODS_PORT_BASE", "0"),
        ("CLEARML_PODS_PORT_BASE", "65001"),
        ("CLEARML_PODS_STEP_WORKERS", "-1"),
        ("CLEARML_PODS_STEP_WORKERS", "2.5"),
    ],
)
def test_a_bad_variable_is_named(name, value):
    with pytest.raises(SettingsError, match=f"{name}='{value}' is not a whole number"):
        MachineSettings.from_environ({name: value})


def test_access_is_read_from_the_servers_configuration(tmp_path):
    conf = tmp_path / "clearml.conf"
    conf.write_text(
        '# comment\napi {\n  web_server: "http://[::1]:8080"\n  api_server: http://h:8008\n  files_server: http://h:8081\n'
        '  credentials {\n    access_key: "A"\n    secret_key: "B"\n  }\n}\n'
    )
    assert read_access(conf) == Server(
        "http://h:8008", "http://[::1]:8080", "http://h:8081", Secret("A"), Secret("B"), str(conf)
    )


def test_an_incomplete_configuration_is_an_error_that_says_what_is_missing(tmp_path):
    conf = tmp_path / "clearml.conf"
    with pytest.raises(ServerError, match="cannot be read"):
        read_access(conf)
    conf.write_text("api { \n api_server: http://h:8008 \n}")
    with pytest.raises(ServerError, match="lacks web_server, files_server, access_key, secret_key"):
        read_access(conf)


def test_the_agents_configuration_reports_in_a_thread_and_stays_in_its_folder(tmp_path):
    configuration = agent_configuration(ACCESS, tmp_path / "steps-1", tmp_path / "cache")
    json.dumps(configuration)
    assert configuration["sdk"]["development"]["report_use_subprocess"] is False
    folders = [
        configuration["agent"]["venvs_dir"],
        configuration["agent"]["vcs_cache"]["path"],
        configuration["sdk"]["storage"]["cache"]["default_base_dir"],
    ]
    assert all(folder.startswith(str(tmp_path)) for folder in folders)


def test_an_agent_reaches_the_callers_object_storage_and_ours_wins(tmp_path):
    theirs = {
        "aws": {"s3": {"key": "K"}},
        "development": {"report_use_subprocess": True, "worker": {"report_period_sec": 2}},
        "storage": {"cache": {"default_base_dir": "/home/me/cache"}},
    }
    sdk = agent_configuration(ACCESS, tmp_path / "steps-1", tmp_path / "cache", theirs)["sdk"]
    assert sdk["aws"] == {"s3": {"key": "K"}}
    assert sdk["development"] == {"report_use_subprocess": False, "worker": {"report_period_sec": 2}}
    assert sdk["storage"]["cache"]["default_base_dir"] == str(tmp_path / "cache/storage")


def test_an_agent_checks_the_certificate_if_its_caller_does(tmp_path):
    for verify in (True, False):
        configuration = agent_configuration(replace(ACCESS, verify=verify), tmp_path, tmp_path)
        assert configuration["api"]["verify_certificate"] is verify


def test_no_workers_for_controllers_means_none(tmp_path):
    settings = replace(MachineSettings.from_environ({}), controller_workers=0, step_workers=1)
    assert [spec.name for spec in settings.workers] == ["steps-1"]


def test_the_callers_clearml_and_python_variables_never_reach_an_agent(tmp_path):
    caller = {
        "PATH": "/bin",
        "HOME": "/root",
        "CLEARML_API_HOST": "https://elsewhere",
        "TRAINS_CONFIG_FILE": "/etc/other.conf",
        "PYTHONDONTWRITEBYTECODE": "1",
        "VIRTUAL_ENV": "/other",
    }
    interpreter = tmp_path / "python"
    env = agent_environment(caller, worker="host:steps-1", folder=tmp_path, interpreter=interpreter)
    assert env["PATH"] == "/bin"
    assert env["HOME"] == "/root"
    assert not {"CLEARML_API_HOST", "TRAINS_CONFIG_FILE", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV"} & env.keys()
    assert env["CLEARML_WORKER_ID"] == "host:steps-1"
    assert env["CLEARML_AGENT_SKIP_PIP_VENV_INSTALL"] == str(interpreter)
    assert env[WORKER_VARIABLE] == str(tmp_path)
    assert WORKER_VARIABLE not in server_environment(os.environ, tmp_path)


def test_step_workers_serve_all_queues_of_the_values_file(monkeypatch):
    values = AgentValues(("pods", "gpu"), "==1", "task", "agent")
    monkeypatch.setattr(AgentValues, "load", lambda: values)
    settings = MachineSettings.from_environ({"CLEARML_PODS_STEP_WORKERS": "1"})
    assert settings.steps_queue == "pods, gpu"
    assert settings.workers[-1].queues == ("pods", "gpu", "default")


def test_workers_clone_as_the_variables_say_else_as_the_clearml_conf(tmp_path):
    file = tmp_path / "clearml.conf"
    file.write_text('agent { git_user: "me", git_pass: "from the file", git_host: "", force_git_ssh_protocol: true }')
    environ = {"CLEARML_CONFIG_FILE": str(file)}
    said = {"git_user": "me", "git_pass": "from the file", "force_git_ssh_protocol": True}
    assert git_settings(environ) == said
    git = git_settings(environ | {"CLEARML_AGENT_GIT_PASS": "a token", "CLEARML_AGENT_GIT_HOST": "git.example.com"})
    assert git == said | {"git_pass": "a token", "git_host": "git.example.com"}
    assert git_settings({"CLEARML_CONFIG_FILE": str(tmp_path / "none")}) == {}
    configuration = agent_configuration(ACCESS, tmp_path, tmp_path, git=git)
    assert configuration["agent"].items() >= git.items()
    environment = agent_environment(
        {"CLEARML_AGENT_GIT_PASS": "a token"}, worker="w", folder=tmp_path, interpreter=file
    )
    assert "a token" not in environment.values(), "tasks would find it there"


def test_uv_of_a_worker_asks_the_indexes_that_pip_is_told_of(tmp_path):
    def of_worker(**environ: str) -> dict[str, str]:
        found = agent_environment(environ, worker="host:steps-1", folder=tmp_path, interpreter=tmp_path / "python")
        return {name: value for name, value in found.items() if name.startswith("UV_")}

    index, best = "https://packages.example.com/simple", {"UV_INDEX_STRATEGY": "unsafe-best-match"}
    assert of_worker(PIP_INDEX_URL=index) == {"UV_DEFAULT_INDEX": index} | best
    assert of_worker(PIP_INDEX_URL=index, UV_DEFAULT_INDEX="https://b/simple")["UV_DEFAULT_INDEX"] == "https://b/simple"
    assert of_worker(PIP_FIND_LINKS="/wheels") == {"UV_FIND_LINKS": "/wheels"}
    assert of_worker() == {}
