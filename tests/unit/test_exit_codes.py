"""The table of exit codes in docs/settings.md says what the code does."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from clearml_localserver import cli as localserver
from clearml_localserver.commands.check import DAMAGED
from clearml_localserver.commands.transfer import INCOMPLETE

import deploy.errors
import pipeline.errors
from clearml_access import errors as access
from command_line import main
from deploy.cli import NOT_INSTALLED

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = {
    "pipeline": "`pipeline`",
    "deploy": "`deploy`",
    "cluster": "`cluster`",
    "images": "`images.build`",
    "localserver": "`clearml-localserver`",
}
COMMON = (0, 1, 2, 3, main.NOT_INSTALLED, main.DEFECT, main.OUTPUT_FAILED, 129, 130, main.BROKEN_PIPE, 143)
"""Rows that are written by hand: they stand for no class of errors."""


def errors() -> Iterator[tuple[int, str, str]]:
    """Return code, program and meaning of each class of errors that has a code of its own."""
    for folder, program in PROGRAMS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            if ".venv" in path.parts:
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef) and (code := own_code(node)) is not None:
                    summary = (ast.get_docstring(node) or "").splitlines()[0].rstrip(".")
                    yield code, program, summary
    for name, kind in vars(access).items():
        if isinstance(kind, type) and issubclass(kind, access.UserFacingError):
            summary = (inspect.getdoc(kind) or name).splitlines()[0].rstrip(".")
            yield pipeline.errors.exit_code_of(kind), "`pipeline`", summary
            yield deploy.errors.exit_code_of(kind), "`deploy`", summary


def own_code(node: ast.ClassDef) -> int | None:
    for line in node.body:
        if isinstance(line, ast.Assign) and getattr(line.targets[0], "id", "") == "exit_code":
            value = ast.literal_eval(line.value)
            assert isinstance(value, int)
            return value
    return None


def expected() -> list[str]:
    meanings: dict[tuple[int, str], list[str]] = {}
    for code, program, summary in errors():
        if code not in COMMON:
            meanings.setdefault((code, program), []).append(summary)
    return [f"| {code} | {program} | {'; '.join(texts)} |" for (code, program), texts in sorted(meanings.items())]


def rows() -> list[tuple[int, str]]:
    text = (ROOT / "docs/settings.md").read_text(encoding="utf-8").partition("## Exit codes")[2]
    return [(int(code), line) for line in text.splitlines() for code in re.findall(r"^\| (\d+) \|", line)]


def test_the_table_of_errors_is_what_the_code_has():
    documented = [line for code, line in rows() if code not in COMMON]
    assert documented == expected(), "\n".join(expected())


def test_the_codes_that_all_programs_share_are_documented_first():
    assert [code for code, _ in rows()][: len(COMMON)] == list(COMMON)


@pytest.mark.parametrize(
    ("ours", "shared"),
    [
        (localserver.DEFECT, main.DEFECT),
        (localserver.OUTPUT_FAILED, main.OUTPUT_FAILED),
        (localserver.BROKEN_PIPE, main.BROKEN_PIPE),
        ((localserver.INTERRUPTED, localserver.TERMINATED), (130, 143)),
        ((DAMAGED, INCOMPLETE), (1, 1)),
        (NOT_INSTALLED, 3),
    ],
)
def test_the_programs_share_those_codes(ours, shared):
    assert ours == shared
