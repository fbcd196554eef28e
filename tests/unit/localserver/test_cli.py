"""The command line: `serve` is what runs where no sub-command is named."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from clearml_localserver import cli
from clearml_localserver.errors import OperatorError
from clearml_localserver.settings import Settings
from clearml_localserver.store import Store
from click.testing import CliRunner


@pytest.mark.parametrize("arguments", [[], ["serve"]])
def test_options_without_a_sub_command_start_the_server(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Path] = []

    def refuse(data: Path) -> None:
        started.append(data)
        raise OperatorError("folder in use\nHint: stop that one")

    monkeypatch.setattr(cli, "prepare_folder", refuse)
    result = CliRunner().invoke(cli.main, [*arguments, "--data", str(tmp_path), "--api-port", "0"])
    assert started == [tmp_path]
    assert (result.exit_code, result.stderr) == (10, "Error: folder in use\nHint: stop that one\n")


def test_help_of_the_group_shows_how_to_start_and_every_sub_command() -> None:
    result = CliRunner().invoke(cli.main, ["--help"])
    assert result.exit_code == 0
    assert "clearml-localserver --data ./data" in result.output
    for name in ("serve", *cli.COMMANDS):
        assert f"  {name} " in result.output


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_help_of_a_sub_command_shows_an_example_as_it_is_typed(name: str) -> None:
    result = CliRunner().invoke(cli.main, [name, "--help"])
    assert result.exit_code == 0
    assert f"\n      clearml-localserver {name}" in result.output
    assert "\\b" not in result.output


def test_the_server_starts_without_loading_what_only_sub_commands_need() -> None:
    code = "import sys, clearml_localserver.cli, clearml_localserver.app\n"
    code += "print([name for name in sys.modules if name in NAMES])"
    names = "NAMES = ('httpx', 'rich', 'clearml_localserver.upkeep', 'clearml_localserver.commands')"
    result = subprocess.run([sys.executable, "-c", f"{names}\n{code}"], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_unknown_sub_command_is_named() -> None:
    result = CliRunner().invoke(cli.main, ["bakcup"])
    assert result.exit_code == 2
    assert "No such command 'bakcup'" in result.stderr


def test_setting_of_the_wrong_type_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCALSERVER_POLL_WAIT_S", "soon")
    result = CliRunner().invoke(cli.main, ["--data", str(tmp_path)])
    assert result.exit_code == 10
    assert result.stderr == "Error: LOCALSERVER_POLL_WAIT_S='soon' is not of type float\n"


def test_a_server_like_a_genuine_one_waits_for_nothing_unless_it_is_told_to(tmp_path: Path) -> None:
    usual = Settings(tmp_path)
    assert usual.with_environ({"LOCALSERVER_LIKE_GENUINE": "0"}) == usual
    genuine = usual.with_environ({"LOCALSERVER_LIKE_GENUINE": "1"})
    assert genuine == usual.as_genuine()
    assert (genuine.poll_wait_s, genuine.idle_timeout_s, genuine.worker_lost_s) == (0.0, 2.0, 600.0)
    told = usual.with_environ({"LOCALSERVER_LIKE_GENUINE": "true", "LOCALSERVER_POLL_WAIT_S": "3"})
    assert told == replace(genuine, poll_wait_s=3.0)


def test_what_is_neither_yes_nor_no_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCALSERVER_LIKE_GENUINE", "maybe")
    result = CliRunner().invoke(cli.main, ["--data", str(tmp_path)])
    assert (result.exit_code, result.stderr) == (10, "Error: LOCALSERVER_LIKE_GENUINE='maybe' is not of type boolean\n")


@pytest.mark.parametrize(
    "arguments",
    [
        "backup DATA FILE/below",
        "backup DATA /proc/backup",
        "backup DATA DATA/files/backup",
        "restore DATA FILE/below",
        "restore LIST new",
        "export DATA FILE/below",
        "export DATA DATA/files/export",
        "import DATA --config BINARY",
        "import DATA --config FILE",
        "retention DATA --what console --older-than 99999999999999d",
        "retention DATA --what console --older-than 9999999w",
        "retention FILE/below --what console --older-than 1d",
        "keys list DATA",
        "--data FILE/below",
        "--data new --host 256.256.256.256",
    ],
)
def test_what_cannot_be_used_is_one_message(arguments: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Store(tmp_path / "server.sqlite").close()
    Path("DATA/files").mkdir(parents=True)
    Path("server.sqlite").rename("DATA/server.sqlite")
    Path("FILE").touch()
    Path("BINARY").write_bytes(b"\xd0ELF")
    Path("LIST").mkdir()
    Path("LIST/SHA256SUMS").touch()
    Path("LIST/backup.json").write_text("[]")
    result = CliRunner().invoke(cli.main, arguments.split())
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code in (2, 10) and "Error: " in result.stderr
    assert not list(Path("DATA/files").iterdir())


@pytest.mark.parametrize("name", ["API_PORT", "WEB_PORT", "FILES_PORT"])
@pytest.mark.parametrize("port", ["65536", "-1"])
def test_a_port_that_is_none_is_one_message(
    name: str, port: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for service in ("API_PORT", "WEB_PORT", "FILES_PORT"):
        monkeypatch.setenv(f"LOCALSERVER_{service}", port if service == name else "0")
    result = CliRunner().invoke(cli.main, ["--data", str(tmp_path / "data")])
    assert (result.exit_code, f"port {port} is not a port" in result.stderr) == (10, True)


@pytest.mark.parametrize("host", ["192.0.2.1", "999.1.1.1"])
def test_a_host_that_is_not_this_machine_is_told_apart_from_a_port_in_use(host: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(cli.main, ["--data", str(tmp_path), "--host", host, "--port-base", "33400"])
    assert result.exit_code == 10 and f"on {host} cannot be used" in result.stderr
    assert "--host takes an address of this machine" in result.stderr and "listens there" not in result.stderr
