"""What `python -m pipeline` says where the local server or the agent is not installed: before it starts anything."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.cli import main
from pipeline.local_stack import MachineSettings, lifecycle, up
from pipeline.local_stack.errors import StartError


@pytest.fixture
def settings(tmp_path: Path) -> MachineSettings:
    return replace(MachineSettings.from_environ({}), state=tmp_path / "state", port_base=1)


def test_a_server_that_is_not_installed_is_named_with_what_to_do(settings: MachineSettings) -> None:
    absent = replace(settings, server_command=(sys.executable, "-m", "no_such_server"))
    with pytest.raises(StartError, match=rf"not installed: {sys.prefix} has no module no_such_server") as raised:
        up(absent)
    assert raised.value.hint is not None
    assert raised.value.hint.startswith("./task setup")
    assert "CLEARML_API_HOST" in raised.value.hint
    assert not settings.state.exists()


def test_a_run_in_this_process_without_an_agent_says_how_to_do_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("CLEARML_CONFIG_FILE", "CLEARML_API_HOST", "CLEARML_API_ACCESS_KEY", "CLEARML_API_SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLEARML_PODS_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("CLEARML_PODS_AGENT_PYTHON", str(tmp_path / "absent/python"))
    monkeypatch.setattr(lifecycle.server, "ensure", lambda _: pytest.fail("nothing is started"))
    assert main(["run", "--mode", "in-process"]) == 35
    said = capfd.readouterr().err
    assert said.startswith("Error: there is no clearml-agent: ")
    assert "Hint: ./task setup installs it" in said
    assert "--mode in-process needs none: ./task server-up -- --no-workers" in said
    assert "Traceback" not in said
    assert not (tmp_path / "state").exists()
