"""Runs that the command line refuses before anything starts, and the dry run, which starts nothing."""

from __future__ import annotations

import pytest

from tests.integration.pipeline_cli import KINDS_OF_SERVER, NAME

pytestmark = pytest.mark.integration
SERVERS = KINDS_OF_SERVER


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--set", "tset_size=0.3"], 10, "did you mean test_size"),
        (["--set", "test_size=2"], 10, "between 0 and 1"),
        (["--mode", "remote"], 10, "unknown mode 'remote'"),
        (["--set", "dataset_version=7.7", "--mode", "in-process"], 26, "has no version 7.7; versions: "),
        (["--set", "dataset_name=Nothing", "--mode", "in-process"], 26, f"datasets there: {NAME}"),
        (["--set", "dataset_project=No project", "--mode", "in-process"], 26, "has no datasets"),
        (["--queue", "nowhere"], 33, "queue 'nowhere' does not exist"),
        (["--queue", "default", "--controllers-queue", "default"], 33, "has no live worker"),
    ],
)
def test_a_run_that_cannot_work_is_refused_before_anything_is_enqueued(
    cli_of_one_process, client, arguments, code, words
):
    def count():
        return len(client("tasks.get_all", search_hidden=True, only_fields=["id"])["tasks"])

    before = count()
    done = cli_of_one_process("run", *arguments)
    assert done.code == code, done.stderr
    assert words in done.stderr
    assert "Hint: " in done.stderr
    assert "Traceback" not in done.stderr
    assert count() == before


def test_an_unreachable_server_is_one_clear_error(cli):
    done = cli("run", "--json", CLEARML_API_HOST="http://127.0.0.1:1")
    assert done.code == 31
    assert "does not answer: Connection refused" in done.stderr
    assert done.document["status"] == "error"


def test_another_service_at_the_address_is_one_clear_error(cli, server):
    done = cli("run", CLEARML_API_HOST=server.files_url)
    assert done.code == 31
    assert "is not a ClearML API server" in done.stderr


def test_a_wrong_key_is_one_clear_error(cli):
    done = cli("run", CLEARML_API_SECRET_KEY="wrong")
    assert done.code == 30
    assert "refuses the access key" in done.stderr


def test_a_dry_run_shows_the_graph_and_asks_nobody(cli):
    done = cli("run", "--dry-run", "--json", "--set", "dataset_version=1.1", CLEARML_API_HOST="http://127.0.0.1:1")
    assert done.code == 0
    assert [(step["name"], step["parents"]) for step in done.document["steps"]] == [
        ("train_test_split", []),
        ("train_processing", ["train_test_split"]),
        ("test_processing", ["train_test_split"]),
    ]
    assert done.document["parameters"]["dataset_version"] == "1.1"
