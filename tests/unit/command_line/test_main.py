"""How errors become exit codes."""

from __future__ import annotations

import json

import click
import pytest

from clearml_access.errors import UserFacingError
from command_line.main import run


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
