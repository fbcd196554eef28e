import io
from dataclasses import replace

import pytest

from clearml_access.run_records import RunState, StepState
from command_line.console import Console
from pipeline.runs.progress import STYLE, Progress


def shown(states, terminal=False):
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=120)
    with Progress(console) as progress:
        for state in states:
            progress.update(state)
        progress.note("a [note]")
        progress.note("a [note]")
    return text.getvalue()


def run(*statuses):
    names = ("train_test_split", "train_processing")
    steps = tuple(StepState(name, f"id-{name}", status) for name, status in zip(names, statuses, strict=False))
    return RunState("run", "DataPrepare", status="running", steps=steps, created=1.0)


def test_without_a_terminal_every_change_is_one_line():
    states = [
        run("queued", "pending"),
        run("running", "pending"),
        run("running", "pending"),
        run("completed", "queued"),
    ]
    lines = shown(states).splitlines()
    assert [line.partition(" s  ")[2] for line in lines[:-1]] == [
        "▸ controller: running",
        "… train_test_split: queued",
        "▸ train_test_split: running",
        "✓ train_test_split: completed",
        "… train_processing: queued",
    ]
    assert lines[-1] == "a [note]"


def test_another_attempt_says_why_there_is_one():
    step = StepState("train_test_split", "id", "queued", earlier_attempts=("pod: Evicted",))
    lines = shown([replace(run(), steps=(step,))])
    assert "… train_test_split: queued (attempt 2; the one before: pod: Evicted)" in lines


def test_a_pod_is_named_while_it_runs():
    """So that `kubectl logs -f` can be used; its name is known once its agent has reported."""
    task = "id-train_test_split"
    worker = f"clearml-agent-0:{task}"
    states = [
        replace(run(), steps=(StepState("train_test_split", task, status, worker=seen),))
        for status, seen in [("running", ""), ("running", worker), ("completed", worker)]
    ]
    lines = [line.partition(" s  ")[2] for line in shown(states).splitlines()]
    assert lines[1:-1] == [
        "▸ train_test_split: running",
        f"▸ train_test_split: running (pod clearml-id-{task})",
        "✓ train_test_split: completed",
    ]
    assert f"clearml-id-{task}" in shown(states[:2], terminal=True)


@pytest.mark.parametrize("status", STYLE)
def test_on_a_terminal_the_last_state_stays(status):
    assert status in shown([run("completed", status)], terminal=True)


def test_a_terminal_shows_something_before_the_first_news():
    assert shown([], terminal=True)
