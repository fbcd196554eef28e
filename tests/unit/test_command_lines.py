"""Every command of every program ends with a message and an exit code, whatever happens in it."""

from __future__ import annotations

import errno
import functools
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import pytest

import deploy.cli
import pipeline.cli
from clearml_access.errors import UserFacingError
from command_line.main import run
from tests.unit.command_lines import LEAVES, ROOTS, Root, name

HEADLINE = "the shelf is missing"


@pytest.fixture
def temporary(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def failing(monkeypatch, command: click.Command, error: BaseException) -> None:
    def callback(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(command, "callback", callback)
    monkeypatch.setattr(command, "params", [])


@pytest.mark.parametrize(("root", "path", "command"), LEAVES, ids=name)
def test_a_defect_is_a_message_and_a_file_with_the_traceback(root, path, command, monkeypatch, capfd, temporary):
    failing(monkeypatch, command, RuntimeError(HEADLINE))
    assert root.main(path) == 70
    said = capfd.readouterr().err
    assert re.search(rf"^Error: internal error.*RuntimeError: {HEADLINE}$", said, re.MULTILINE)
    assert "Traceback" not in said
    (file,) = temporary.iterdir()
    assert str(file) in said
    assert "Traceback" in file.read_text() and HEADLINE in file.read_text()
    assert file.stat().st_mode & 0o077 == 0
    assert root.main([*path, "--verbose"]) == 70
    said = capfd.readouterr().err
    assert "Traceback" in said and "in callback" in said
    assert len(list(temporary.iterdir())) == 1


@pytest.mark.parametrize(("root", "path", "command"), LEAVES, ids=name)
def test_a_user_error_is_an_error_a_hint_and_its_own_code(root, path, command, monkeypatch, capfd, temporary):
    failing(monkeypatch, command, root.user_error)
    assert root.main(path) == root.user_error.exit_code
    assert capfd.readouterr().err == "Error: no\nHint: yes\n"
    assert root.main([*path, "--verbose"]) == root.user_error.exit_code
    said = capfd.readouterr().err
    assert "Traceback" in said and said.endswith("Error: no\nHint: yes\n")
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(("root", "path", "command"), LEAVES[:1], ids=name)
def test_an_error_that_has_another_ones_code_keeps_it(root, path, command, monkeypatch, capfd, temporary):
    error = type(root.user_error)("no")
    error.exit_code = 28
    failing(monkeypatch, command, error)
    assert root.main(path) == 28


@pytest.mark.parametrize("module", ["kubernetes", "pyhelm3"])
def test_deploy_without_its_packages_says_what_to_install(module, monkeypatch, tmp_path):
    """As in an environment made without the extra `deploy`."""
    code = (
        f"import sys; sys.modules[{module!r}] = None; from deploy.cli import main; sys.exit(main(['status', '--json']))"
    )
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text("{}")
    environ = os.environ | {"KUBECONFIG": str(kubeconfig)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    message = f"`python -m deploy` needs the package {module}, which is not installed in {sys.prefix}"
    assert done.stderr.startswith(f"Error: {message}\nHint: `./task setup` installs all packages")
    assert "Traceback" not in done.stderr
    assert (done.returncode, json.loads(done.stdout)["error"]) == (69, message)


def test_a_module_that_a_package_should_have_is_a_defect(monkeypatch, capfd, temporary):
    root = next(root for root in ROOTS if root.program == "python -m pipeline")
    path, command = next((path, command) for own, path, command in LEAVES if own is root)
    failing(monkeypatch, command, ModuleNotFoundError("No module named 'pipeline.x'", name="pipeline.x"))
    assert root.main(path) == 70
    assert "internal error" in capfd.readouterr().err


@pytest.mark.parametrize("root", ROOTS, ids=name)
def test_a_wrong_option_is_a_usage_error(root, capfd):
    path = next(path for own, path, _ in LEAVES if own is root)
    words = [*path, "--nonsense"] if root.program != "python -m bench" else ["--only", "nonsense"]
    assert root.main(words) == 2
    assert "Error: " in capfd.readouterr().err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("root", ROOTS, ids=name)
def test_a_signal_ends_a_command_with_the_code_that_shells_have(root: Root, number, code, monkeypatch, capfd, request):
    if number == signal.SIGINT:  # a shell without job control starts what runs in the background with it ignored
        request.addfinalizer(functools.partial(signal.signal, number, signal.getsignal(number)))
        signal.signal(number, signal.default_int_handler)
    cleaned_up = []

    def callback(**_: object) -> None:
        try:
            os.kill(os.getpid(), number)
        finally:
            cleaned_up.append(number)

    _, path, command = next(leaf for leaf in LEAVES if leaf[0] is root)
    monkeypatch.setattr(command, "callback", callback)
    monkeypatch.setattr(command, "params", [])
    before = signal.getsignal(number)
    assert root.main(path) == code
    assert cleaned_up == [number]
    assert signal.getsignal(number) is before
    said = capfd.readouterr().err
    assert said.startswith(f"Error: {'interrupted' if code == 130 else 'ended by SIGTERM'}")
    assert "Traceback" not in said


@pytest.mark.parametrize("root", ROOTS[:1] + ROOTS[-1:], ids=name)
def test_a_reader_that_has_gone_is_no_message(root):
    """`… | head`: the help is more than a pipe takes whose reader has gone."""
    module = "pipeline" if root is ROOTS[0] else "clearml_localserver"
    read, write = os.pipe()
    os.close(read)
    argv = [sys.executable, "-m", module, "--help"]
    done = subprocess.run(argv, stdout=write, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def command(error: BaseException) -> click.Command:
    def callback(as_json: bool) -> None:
        raise error

    return click.Command("it", params=[click.Option(["--json", "as_json"], is_flag=True)], callback=callback)


def test_errors_are_json_too_where_json_is_asked_for(capfd, temporary):
    error = UserFacingError("no", hint="yes", evidence=("line",))
    error.document = {"status": "error"}
    assert run(command(error), ["--json"], program="it") == 1
    printed = capfd.readouterr()
    assert printed.err == "  line\nError: no\nHint: yes\n"
    body = {"status": "error", "error": "no", "hint": "yes", "exit_code": 1, "evidence": ["line"]}
    assert json.loads(printed.out) == body
    assert run(command(RuntimeError("boom")), ["--json"], program="it") == 70
    body = json.loads(capfd.readouterr().out)
    assert body["error"] == "internal error in `it`: RuntimeError: boom"
    assert run(command(KeyboardInterrupt()), ["--json"], program="it") == 130
    assert json.loads(capfd.readouterr().out)["error"] == "interrupted"
    assert run(command(UserFacingError("no")), ["--json", "--nonsense"], program="it") == 2
    assert json.loads(capfd.readouterr().out)["exit_code"] == 2


def test_without_room_for_the_traceback_the_message_says_how_to_see_it(monkeypatch, capfd):
    def full(**_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(tempfile, "mkstemp", full)
    assert run(command(RuntimeError("boom")), [], program="it") == 70
    assert "run the command again with --verbose" in capfd.readouterr().err


@pytest.mark.parametrize("text", ["-" + "0a" * 16, "0a" * 15, "0a" * 16 + "\n", "0A" * 16, "__$not"])
@pytest.mark.parametrize(
    ("main", "words", "said"),
    [
        (pipeline.cli.main, ("run-full", "--from-failed={}"), "{!r} is not an id: 32 characters|No such option '-0'"),
        # Where the value may be left out, click takes a leading `-` for an option.
        (pipeline.cli.main, ("run", "--from-failed={}"), "{!r} is not an id: 32 characters|No such option '-0'"),
        (deploy.cli.main, ("doctor", "--task={}"), "{!r} is not an id: 32 characters"),
    ],
)
def test_what_is_not_an_id_is_refused(main, words, said, text, capfd, monkeypatch):
    monkeypatch.setenv("CLEARML_CONFIG_FILE", "/nowhere/clearml.conf")
    assert main([word.format(text) for word in words]) == 2
    err = capfd.readouterr().err
    assert any(part.format(text) in err for part in said.split("|"))
