"""How often a controller looks at its steps."""

from __future__ import annotations

import time

import pytest

from pipeline.sdk.controller import Pace


@pytest.fixture
def clock(monkeypatch):
    """A clock that tests set."""
    moment = [1_000.0]
    monkeypatch.setattr(time, "monotonic", lambda: moment[0])
    return moment


def test_the_looks_are_closer_together_while_steps_are_short(clock):
    pace = Pace()
    waits = []
    for passed in (0.0, 1.0, 4.0, 8.0, 3_600.0):
        clock[0] = 1_000.0 + passed
        waits.append(pace.next_look([]))
    assert waits == pytest.approx([0.1, 0.1, 0.2, 0.4, 0.5])


def test_the_end_of_a_step_brings_them_together_again(clock):
    pace = Pace()
    clock[0] += 3_600
    assert pace.next_look([]) == Pace.LONGEST_S
    assert pace.next_look(["split"]) == Pace.SHORTEST_S
    clock[0] += 5
    assert pace.next_look(["split"]) == pytest.approx(0.25)
