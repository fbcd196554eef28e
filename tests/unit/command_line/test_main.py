"""How errors become exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from clearml_localserver import cli as localserver

from clearml_access.errors import UserFacingError
from command_line.main import OUTPUT_FAILED, run

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(("carried", "code"), [(None, 7), (33, 33)])
def test_an_error_ends_with_the_code_that_it_carries_or_else_with_that_of_its_kind(capsys, carried, code):
    @click.command()
    @click.option("--json", "as_json", is_flag=True)
    def command(as_json: bool) -> None:
        error = UserFacingError("it failed")
        if carried:
            error.exit_code = carried
        raise error

    assert run(command, ["--json"], program="test", exit_code_of=lambda kind: 7) == code
    assert json.loads(capsys.readouterr().out)["exit_code"] == code


@click.command()
@click.option("--json", "as_json", is_flag=True)
def prints(as_json: bool) -> None:
    click.echo("text")
    if as_json:
        raise UserFacingError("it failed")


def run_localserver(words: list[str]) -> int:
    with pytest.raises(SystemExit) as end:
        localserver.main.main(words)
    assert isinstance(end.value.code, int)
    return end.value.code


RUNS = pytest.mark.parametrize(
    ("program", "words"),
    [
        (lambda words: run(prints, words, program="test"), []),
        (lambda words: run(prints, words, program="test"), ["--json"]),
        (lambda words: run(prints, words, program="test"), ["--help"]),
        (run_localserver, ["--help"]),
        (run_localserver, ["endpoints"]),
    ],
)


@RUNS
def test_a_full_stdout_is_one_message_with_a_code_of_its_own(monkeypatch, capsys, program, words):
    stdout = open("/dev/full", "w")  # noqa: SIM115  # closed below: closing it fails until nothing is left to write
    monkeypatch.setattr(sys, "stdout", stdout)
    assert program(words) == OUTPUT_FAILED
    said = capsys.readouterr().err
    assert said.endswith(
        "Error: stdout cannot be written: No space left on device\n"
        "Hint: free some space, or send the output elsewhere\n"
    )
    assert "defect" not in said
    stdout.close()


@RUNS
def test_a_closed_stdout_changes_nothing(monkeypatch, capsys, program, words):
    code = program(words)
    monkeypatch.setattr(sys, "stdout", None)
    assert program(words) == code
    assert sys.stdout.name == os.devnull
    sys.stdout.close()
    assert "defect" not in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["ascii", "latin-1:surrogateescape", "utf-8"])
def test_an_output_that_lacks_a_character_gets_a_question_mark(encoding):
    code = (
        "import click, rich.console, sys\n"
        "from command_line.main import run\n"
        "@click.command()\n"
        "def show():\n"
        "    print('▸ split', file=sys.stderr)\n"
        "    rich.console.Console().print('▸ split')\n"
        "sys.exit(run(show, [], program='show'))\n"
    )
    env = os.environ | {"PYTHONIOENCODING": encoding}
    argv = [sys.executable, "-c", code]
    done = subprocess.run(argv, env=env, cwd=ROOT, capture_output=True, timeout=60, check=False)
    shown = "▸ split\n".encode() if encoding == "utf-8" else b"? split\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, shown, shown)
