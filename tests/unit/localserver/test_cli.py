"""The command line: `serve` is what runs where no sub-command is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from localserver import cli
from localserver.errors import OperatorError


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
    assert "python -m localserver --data ./data" in result.output
    for name in cli.main.commands:
        assert f"  {name} " in result.output


def test_unknown_sub_command_is_named() -> None:
    result = CliRunner().invoke(cli.main, ["bakcup"])
    assert result.exit_code == 2
    assert "No such command 'bakcup'" in result.stderr


def test_setting_of_the_wrong_type_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCALSERVER_POLL_WAIT_S", "soon")
    result = CliRunner().invoke(cli.main, ["--data", str(tmp_path)])
    assert result.exit_code == 10
    assert result.stderr == "Error: LOCALSERVER_POLL_WAIT_S='soon' is not of type float\n"
