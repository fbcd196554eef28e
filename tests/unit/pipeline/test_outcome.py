"""What a command says of a run that has failed."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from clearml_access.run_records import read_run
from command_line.console import Console
from pipeline.amazon_reviews.definitions import DATA_PREPARE
from pipeline.commands.outcome import explain

RUN = {"id": "run", "name": "DataPrepare", "project": "p", "status": "failed", "runtime": {"_pipeline_hash": "x:1.0"}}
SPLIT = {"id": "split", "name": "train_test_split", "status": "failed", "parent": "run"}


@pytest.mark.parametrize(
    ("line", "names_workers"),
    [("ModuleNotFoundError: No module named 'pipeline'", True), ("ValueError: broken", False)],
)
def test_a_plain_agent_that_ran_a_step_is_to_be_replaced_first(line, names_workers):
    server = SimpleNamespace(console=lambda task, lines: ["Traceback", line], task_page=lambda project, task: "page")
    state = read_run(RUN, [SPLIT], DATA_PREPARE)
    connection = SimpleNamespace(server=server, machine=None)
    error = explain(connection, state, None, Console(stderr=True), tails=False, again="run it again: it run")
    assert line.partition(": ")[2] in error.message
    assert ("./task workers-up" in error.hint) is names_workers
    assert error.hint.endswith("run it again: it run")


def test_a_package_that_no_index_has_is_the_headline_and_running_again_is_no_help():
    reason = {"status_reason": "worker execution exit code 1", "status_message": "Changed by clearml-agent w:0"}
    line = "No matching distribution found for humanize==99.0.0"
    server = SimpleNamespace(
        console=lambda task, lines: [f"ERROR: {line}", "clearml_agent: ERROR: Could not install task requirements!"],
        task_page=lambda project, task: "page",
    )
    state = read_run(RUN, [SPLIT | reason], DATA_PREPARE)
    connection = SimpleNamespace(server=server, machine=None)
    error = explain(connection, state, None, Console(stderr=True), tails=False, again="run it again: it run")
    assert error.message == f"run run failed: step train_test_split: {line}"
    assert "packages=" in error.hint and "it run" not in error.hint
