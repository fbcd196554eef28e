"""The phases of a step: from what its task notes, over the run, and beside an earlier run."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from clearml_localserver.web import phases
from clearml_localserver.web.runs import Step

START = datetime(2026, 11, 28, tzinfo=timezone.utc)
AT = START.timestamp()


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def step(started: float | None = 5, ended: float | None = 30, *, status: str = "completed") -> Step:
    return Step(
        "split",
        status,
        [],
        created=START,
        started=None if started is None else at(started),
        ended=None if ended is None else at(ended),
    )


def noted(launched: object = AT + 2, **marks: Any) -> dict[str, Any]:
    properties = {"launched": {"value": str(launched)}, "timeline": {"value": json.dumps(marks)}}
    return {"hyperparams": {"properties": properties}, "runtime": {"pod_phases": "pull 12 s"}}


def seconds(times: phases.Times) -> dict[str, float]:
    return {phase.key: round(phase.seconds, 3) for phase in times.phases}


MARKS = {"process": AT + 7, "function": AT + 9, "work": AT + 10, "returned": AT + 28}


def test_a_step_that_notes_its_moments_has_all_phases() -> None:
    found = phases.of_step(step(), noted(**MARKS), at(99))
    assert seconds(found) == {"wait": 3, "start": 2, "imports": 3, "work": 18, "exit": 2}
    assert (found.seconds, found.ran, found.pod) == (28, True, "pull 12 s")


@pytest.mark.parametrize(
    "task",
    [{}, {"hyperparams": {"properties": None}}, noted("x", process=1), noted("", process="a", work=[]), noted(1e99)],
)
def test_any_other_step_has_its_wait_and_its_run_time(task: dict[str, Any]) -> None:
    assert seconds(phases.of_step(step(), task, at(99))) == {"wait": 5, "work": 25}


def test_moments_that_contradict_each_other_shorten_a_phase_to_nothing() -> None:
    found = phases.of_step(step(), noted(AT + 400, process=1e300, work=-5, returned=AT + 29), at(99))
    assert seconds(found) == {"wait": 0, "start": 25, "imports": 0, "work": 0, "exit": 0}


def test_what_has_not_ended_lasts_until_now() -> None:
    assert seconds(phases.of_step(step(ended=None, status="running"), {}, at(9))) == {"wait": 5, "work": 4}
    assert seconds(phases.of_step(step(None, None, status="queued"), {}, at(9))) == {"wait": 9}
    assert phases.of_step(step(None, None, status="pending"), {}, at(9)).phases == ()
    assert phases.of_step(step(status="cached"), noted(**MARKS), at(9)) == phases.Times((), "cached")


def test_the_phases_of_all_steps_lie_in_the_time_of_the_run() -> None:
    times = {
        "a": phases.of_step(step(5, 15), {}, at(99)),
        "b": phases.of_step(step(10, 50), {}, at(99)),
        "c": phases.of_step(step(status="cached"), {}, at(99)),
    }
    chart = phases.chart(times)
    assert {name: [(item.phase.key, item.x, item.width) for item in row] for name, row in chart.items()} == {
        "a": [("wait", 0, 10), ("work", 10, 20)],
        "b": [("wait", 0, 20), ("work", 20, 80)],
    }
    assert phases.chart({}) == {} == phases.chart({"c": times["c"]})


def test_a_run_is_compared_with_an_earlier_one_the_greatest_loss_first() -> None:
    short, cached = phases.of_step(step(5, 10), {}, at(99)), phases.of_step(step(status="cached"), {}, at(99))
    longer = phases.of_step(step(5, 30), {}, at(99))
    before = {"same": short, "slow": short, "fast": longer, "reused": cached, "gone": short}
    now = {"same": short, "slow": longer, "fast": short, "reused": short, "new": short}
    found = phases.compare({"id": "former"}, before, now)
    assert found is not None
    assert [(change.step, change.by, change.ratio) for change in found.changes] == [
        ("slow", 20, 3), ("same", 0, 1), ("fast", -20, pytest.approx(1 / 3)),
    ]  # fmt: skip
    assert [change.step for change in found.slower] == ["slow"]
    assert (found.changes[0].phase, found.changes[0].phase_by) == ("work", 20)
    assert found.left_out == 2
    assert phases.compare({}, {}, now) is None


def test_phases_are_compared_only_where_both_runs_have_them() -> None:
    whole, two = phases.of_step(step(), noted(**MARKS), at(99)), phases.of_step(step(), {}, at(99))
    found = phases.compare({}, {"split": two}, {"split": whole})
    assert found is not None and (found.changes[0].phase, found.changes[0].phase_by) == ("", 0)
