"""`--help` of every command of every program: whole sentences, help for each option, and examples that can be typed."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner

from command_line.invocation import FOLDER_VARIABLE, TASK_VARIABLE
from tests.unit.command_lines import ALL, ROOTS, Root, name

ROOT = Path(__file__).resolve().parents[2]
BRACKETS = re.compile(r"\s*\[[^\[\]]*(\[[^\]]*\])?[^\]]*\]$")
"""`[default: 6]` at the end of an option's help."""

everything = pytest.mark.parametrize(("root", "path", "command"), ALL, ids=name)


def help_of(root: Root, path: tuple[str, ...]) -> str:
    done = CliRunner().invoke(root.command, [*path, "--help"], prog_name=root.program, env={"COLUMNS": "80"})
    assert done.exit_code == 0, done.output
    return done.output


@everything
def test_no_sentence_is_cut(root, path, command):
    text = help_of(root, path)
    usage, _, rest = text.partition("\n\n")
    assert usage.startswith(f"Usage: {' '.join([root.program, *path])} ")
    assert "..." not in rest
    assert "\b" not in rest


@everything
def test_each_command_and_option_is_described_in_sentences(root, path, command):
    first = " ".join((command.help or "").partition("\n\n")[0].split())
    assert re.match(r"[A-Z]", first) and first.endswith("."), first
    assert command.short_help is None or command.short_help.endswith("."), command.short_help
    for option in command.params:
        if isinstance(option, click.Option):
            sentence = BRACKETS.sub("", option.help or "")
            assert re.match(r"[A-Z]", sentence) and sentence.endswith("."), f"{option.opts}: {option.help!r}"


@everything
def test_each_command_has_an_example(root, path, command):
    shown = examples(help_of(root, path))
    if isinstance(command, click.Group):
        assert shown or path
        return
    own = [words for found, words in map(resolve, shown) if found is root and tuple(words[: len(path)]) == path]
    assert own, "no example of the command itself"
    for line in shown:
        check(line)


def examples(text: str) -> list[str]:
    """Return the lines of a help's examples."""
    block = re.search(r"^ +Examples?\b[^\n]*:\n((?: {4,}\S[^\n]*\n|\n(?= {4,}\S))+)", text, re.MULTILINE)
    return [] if block is None else [line.strip() for line in block[1].splitlines() if line.strip()]


def resolve(line: str) -> tuple[Root, list[str]]:
    """Return the program that a line runs, and its arguments: `./task NAME -- …` by what the Taskfile says."""
    line = re.sub(r"\s{2,}[#(].*$|\s>\s.*$", "", re.sub(r"\$\(.*?\)", "X", line))
    if line.startswith("./task "):
        before, _, after = line.removeprefix("./task ").partition(" -- ")
        taskfile = yaml.safe_load((ROOT / "Taskfile.yml").read_text(encoding="utf-8"))
        variables = {f"{{{{.{key}}}}}": value for key, value in taskfile["vars"].items()}
        line = taskfile["tasks"][before.strip()]["cmd"].replace("{{.CLI_ARGS}}", after)
        for _ in range(2):  # a variable may hold another
            for key, value in variables.items():
                line = line.replace(key, value)
        line = line.replace(".venv/bin/python", "python").removeprefix("CLEARML_PODS_TASK=bench ")
    root = next(root for root in ROOTS if line == root.program or line.startswith(root.program + " "))
    words = shlex.split(line.removeprefix(root.program))
    if root.program == "clearml-localserver" and words and words[0].startswith("-"):
        words = ["serve", *words]
    return root, words


def check(line: str) -> None:
    """Parse an example as the program would; the files that it names need not be there."""
    root, words = resolve(line)
    command = root.command
    while True:
        context = click.Context(command, **command.context_settings)
        values, rest, _ = command.make_parser(context).parse_args(list(words))
        for parameter in command.params:
            given = values.get(str(parameter.name))
            texts = [text for text in (given if isinstance(given, (list, tuple)) else [given]) if isinstance(text, str)]
            for text in texts:
                if not isinstance(parameter.type, click.Path):
                    parameter.type.convert(text, parameter, context)
            assert texts or not (isinstance(parameter, click.Argument) and parameter.required), line
        if not isinstance(command, click.Group):
            assert rest == [], line
            return
        below = command.get_command(context, rest[0])
        assert below is not None, line
        command, words = below, rest[1:]


TASKFILE = yaml.safe_load((ROOT / "Taskfile.yml").read_text(encoding="utf-8"))
TASKS = [
    task
    for task, facts in TASKFILE["tasks"].items()
    if "{{.CLI_ARGS}}" in str(facts.get("cmd")) and " -m tests" not in facts["cmd"] and "{{.BENCH}}" not in facts["cmd"]
]


@pytest.mark.parametrize("task", TASKS)
def test_a_command_that_a_task_runs_is_named_by_the_task(task, monkeypatch, capsys):
    root, words = resolve(f"./task {task}")
    for more, code in (("--help",), 0), (("--nonsense",), 2):
        monkeypatch.setenv(TASK_VARIABLE, task)
        assert root.main([*words, *more]) == code
        assert TASK_VARIABLE not in os.environ, "a process that the command starts is not this task"
    shown = capsys.readouterr()
    assert shown.out.startswith(f"Usage: ./task {task} ")
    assert f"Usage: ./task {task} " in shown.err
    assert f"Try './task {task} --help' for help." in shown.err or task == "bench"  # which says more
    own = [line for line in examples(shown.out) if line.startswith(f"./task {task}")]
    assert own and not any(line.startswith(root.program) and words == resolve(line)[1] for line in examples(shown.out))
    for line in own:
        check(line)


def test_the_taskfile_hands_over_the_name_of_its_task():
    assert TASKFILE["env"][TASK_VARIABLE] == "{{.TASK}}"
    assert TASKFILE["env"][FOLDER_VARIABLE] == "{{.USER_WORKING_DIR}}"
    assert TASKFILE["vars"]["BENCH"].startswith(f"{TASK_VARIABLE}=bench ")


@pytest.mark.parametrize(("words", "asks"), [((), True), (("--", "--yes"), False), (("--", "-y"), False)])
def test_clean_asks_unless_it_is_told_not_to(tmp_path, words, asks):
    """A copy of the task that deletes nothing, run by go-task without a terminal."""
    prompt = TASKFILE["tasks"]["clean"]["prompt"]
    document = {"version": "3", "tasks": {"clean": {"prompt": prompt, "cmd": "echo done"}}}
    (tmp_path / "Taskfile.yml").write_text(yaml.safe_dump(document))
    (program,) = list((ROOT / ".tools").glob("*/bin/task"))[:1] or [Path(shutil.which("task") or "task")]
    done = subprocess.run(
        [program, "--dir", tmp_path, "clean", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ("has a prompt" in done.stderr) is asks and ("done" in done.stdout.split()) is not asks


@pytest.mark.parametrize("line", ["python -m deploy status --nonsense", "./task deploy-agent -- more"])
def test_an_example_that_cannot_be_typed_is_found(line):
    with pytest.raises((click.UsageError, AssertionError)):
        check(line)
