"""`run --follow` against a live server: every line of every console, once, behind its step's name."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from pipeline.local_stack.configuration import read_access
from tests.api_client import ApiClient
from tests.integration.pipeline_cli import Done, PipelineCli, upload
from tests.ports import free_port_base

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(300)]

STEPS = ("train_test_split", "train_processing", "test_processing")


def written(client, task):
    """Return what stands on a task's console, as a person sees it."""
    reply = client("events.get_task_log", task=task, batch_size=10_000, navigate_earlier=False, order="asc")
    assert reply["total"] == len(reply["events"])
    lines = (line.rstrip().rpartition("\r")[2] for event in reply["events"] for line in event["msg"].split("\n"))
    return [line for line in lines if line.strip()]


def assert_all_followed(client, done: Done) -> None:
    tasks = {step["name"]: step["task_id"] for step in done.document["steps"] if step["task_id"]}
    for label, task in {"controller": done.document["run_id"], **tasks}.items():
        prefix = f"[{label}] "
        lines = [line.removeprefix(prefix) for line in done.stderr.splitlines() if line.startswith(prefix)]
        assert Counter(lines) == Counter(written(client, task)), label


def test_without_agents_every_line_is_printed_once(cli, client):
    done = cli("run", "--mode", "in-process", "--no-cache", "--follow", "--raw", "--json")
    assert done.code == 0, done.stderr
    assert_all_followed(client, done)
    assert "[train_processing] 400 reviews of the train set preprocessed" in done.stderr
    assert len(done.stdout.splitlines()) == 1


def test_reused_steps_have_nothing_to_say(cli, client):
    done = cli("run", "--mode", "in-process", "--follow", "--json")
    assert done.code == 0, done.stderr
    assert "ClearML results page" not in done.stderr
    assert not any(line.startswith(f"[{step}]") for line in done.stderr.splitlines() for step in STEPS)
    assert "[controller]" in done.stderr


def test_a_failing_steps_traceback_is_printed_once(cli, client):
    done = cli("run", "--mode", "in-process", "--set", "test_size=0.0001", "--raw", "--json")
    assert done.code == 40
    assert_all_followed(client, done)
    assert "[train_test_split] Traceback (most recent call last)" in done.stderr
    assert "    Traceback" not in done.stderr  # what stands above is not shown again at the end
    assert "train_test_split failed: cannot split 500 reviews" in done.stderr


@pytest.mark.thorough
def test_with_agents_the_lines_that_come_after_a_steps_end_are_waited_for(tmp_path):
    foreign = ("CLEARML_", "TRAINS_")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(foreign)} | {
        "HOME": str(tmp_path),
        "CLEARML_PODS_STATE": str(tmp_path / "state"),
        "CLEARML_PODS_PORT_BASE": str(free_port_base()),
    }
    cli = PipelineCli(environ, tmp_path)
    try:
        upload(cli)
        done = cli("run", "--follow", "--raw", "--json")
        assert done.code == 0, done.stderr
        access = read_access(tmp_path / "state/server/clearml.conf")
        client = ApiClient(access.api, (access.access_key, access.secret_key))
        assert_all_followed(client, done)
        client.close()
        for label in ("controller", *STEPS):
            assert f"[{label}] Process completed successfully" in done.stderr
    finally:
        cli("server", "down")
