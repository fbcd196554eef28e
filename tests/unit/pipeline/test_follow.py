"""Following consoles: events that come late, twice alike or out of order, and the lines made of them."""

from __future__ import annotations

import io
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearml_access.console import Source
from clearml_access.errors import CallRefusedError, ServerUnreachableError
from clearml_access.run_records import RunState, StepState
from command_line.console import Console
from pipeline.runs import follow
from pipeline.runs.follow import Follower

MINUTE = 60_000


def event(moment, message, worker="host"):
    return {"timestamp": moment, "msg": message, "worker": worker}


class Server:
    """Consoles that grow by `arrive`, read as ClearML's API has it."""

    def __init__(self):
        self.consoles: dict[str, list] = {}
        self.in_hand: list[set[str]] = []
        self.problem = None

    def arrive(self, task, *events):
        self.consoles.setdefault(task, []).extend(events)

    def console_events(self, task_id, after=None):
        if self.problem:
            raise self.problem
        console = self.consoles.get(task_id, [])
        newer = [event for event in console if after is None or event["timestamp"] > after]
        return sorted(newer, key=lambda event: event["timestamp"]), len(console)

    def tasks_in_hand(self):
        return self.in_hand.pop(0) if self.in_hand else set()


class Shown:
    """An observer that remembers."""

    def __init__(self):
        self.notes, self.states = [], []

    def note(self, text):
        self.notes.append(text)

    def update(self, run):
        self.states.append(run)


@pytest.mark.parametrize(
    "looks",
    [
        [[event(1, "a")], [event(2, "b")]],
        [[event(1, "a"), event(1, "a")], [event(1, "a")]],
        [[event(MINUTE, "late by a second comes")], [event(MINUTE - 1000, "first")]],
        [[event(9 * MINUTE, "another clock, minutes ahead", "other")], [event(1, "a")], [event(2, "b")]],
        [[event(1, "the same"), event(1, "the same", "other")], [], [event(1, "the same")]],
        [[event(1, "several\nlines\n"), event(2, "no end")], [event(3, "of line")]],
    ],
)
def test_what_arrives_is_taken_once(looks):
    server = Server()
    source = Source(server, "task")
    for events in looks:
        server.arrive("task", *events)
        assert Counter(source.lines()) == Counter(line for one in events for line in one["msg"].split("\n") if line)
    assert source.lines() == source.lines(all_of_it=True) == []


@given(st.lists(st.lists(st.tuples(st.integers(0, 20 * MINUTE), st.sampled_from("abc")), max_size=6), max_size=8))
def test_nothing_is_lost_or_repeated_in_whatever_order_it_arrives(looks):
    server = Server()
    source = Source(server, "task")
    taken = []
    for events in looks:
        server.arrive("task", *(event(*one) for one in events))
        taken += source.lines()
    assert Counter(taken) == Counter(letter for events in looks for _, letter in events)


def test_a_console_that_was_reset_begins_anew():
    server = Server()
    source = Source(server, "task")
    server.arrive("task", *(event(moment, "before") for moment in range(5)))
    assert len(source.lines()) == 5
    server.consoles["task"] = [event(MINUTE, "again")]
    assert source.lines() == ["again"]
    server.arrive("task", event(MINUTE - 40_000, "late"))
    assert source.lines() == ["late"]


def run(*statuses, status="running", **fields):
    steps = tuple(StepState(name, f"id-{name}", state, **fields) for name, state in statuses)
    return RunState("run", status=status, steps=steps)


def printed(server, *states, terminal=False, observer=None, raw=False):
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, color_system="standard" if terminal else None, width=60)
    with Follower(server, console, observer or Shown(), raw=raw) as follower:
        for state in states:
            follower.update(state)
    return text.getvalue()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(follow, "LOOK_EVERY_S", 0.0)


def test_each_line_follows_its_steps_name():
    server = Server()
    long = "x" * 200
    server.arrive("run", event(1, f"begins\n\n{long}\n"))
    server.arrive("id-split", event(2, "10 %\r100 %\n\x1b[31mred\x1b[0m [not markup]\x1b[2K"))
    assert printed(server, run(("split", "running"))).splitlines() == [
        "[controller] begins",
        f"[controller] {long}",
        "[split] 100 %",
        "[split] red [not markup]",
    ]


def test_lines_of_agents_and_libraries_are_counted_and_shown_with_raw():
    server, observer = Server(), Shown()
    server.arrive("run", event(1, "Starting Task Execution:\nmine\n"))
    server.arrive("id-split", event(2, "Current configuration (clearml_agent v1.9.2):\n"))
    server.arrive("id-split", event(3, "agent.worker_id = vm\nTraceback (most recent call last):\n  x\nE: no\n"))
    state = run(("split", "running"))
    assert printed(server, state, observer=observer).splitlines() == [
        "[controller] mine",
        "[split] Traceback (most recent call last):",
        "[split]   x",
        "[split] E: no",
    ]
    assert observer.notes == ["3 lines of agents and libraries are not shown; --raw shows all"]
    observer = Shown()
    assert len(printed(server, state, raw=True, observer=observer).splitlines()) == 7
    assert observer.notes == []


def test_on_a_terminal_names_are_aligned_and_colours_kept():
    server = Server()
    server.arrive("run", event(1, "begins"))
    server.arrive("id-a_longer_step", event(2, "\x1b[31mred\x1b[0m"))
    first, second = printed(server, run(("a_longer_step", "running")), terminal=True).splitlines()
    assert "controller   \x1b" in first
    assert "a_longer_step\x1b" in second
    assert "\x1b[31mred" in second


def test_the_last_lines_come_after_the_runs_end():
    server, task = Server(), "id-split"
    ended = run(("split", "completed"), status="completed")
    server.in_hand = [{task}, {task, "another run's"}]
    arrive = server.tasks_in_hand

    def last_words():
        left = arrive()
        if len(server.in_hand) == 0:
            server.consoles[task] = [event(1, "last words")]
        return left

    server.tasks_in_hand = last_words
    assert printed(server, ended) == "[split] last words\n"


def test_a_cached_steps_console_is_another_runs():
    server = Server()
    server.arrive("id-split", event(1, "long ago"))
    assert printed(server, run(("split", "cached"), cached=True)) == ""


def test_a_server_that_was_away_costs_no_line():
    server, text, observer = Server(), io.StringIO(), Shown()
    server.arrive("run", event(1, "a"))
    with Follower(server, Console(file=text), observer) as follower:
        follower.update(run())
        server.problem = ServerUnreachableError("away")
        server.arrive("run", event(2, "b"))
        follower.update(run())
        server.problem = None
    assert text.getvalue().splitlines() == ["[controller] a", "[controller] b"]
    assert len(observer.states) == 2


def test_lines_that_could_not_be_had_are_told_of(monkeypatch):
    monkeypatch.setattr(follow, "LAST_WORDS_S", 0.0)
    server, observer = Server(), Shown()
    server.problem = ServerUnreachableError("away")
    assert printed(server, run(), observer=observer) == ""
    assert "last lines of the consoles are missing" in observer.notes[0]


def test_a_console_that_is_refused_is_told_of():
    server, observer = Server(), Shown()
    server.problem = CallRefusedError("no such task")
    assert printed(server, run(), observer=observer) == ""
    assert observer.notes[0] == "the console of controller cannot be read: no such task"


def test_a_task_that_its_controller_has_deleted_again_is_not_told_of(monkeypatch):
    """`PipelineDecorator` makes a task for a step, finds the step in the cache, and deletes the task."""
    monkeypatch.setattr(follow, "LOOK_EVERY_S", 0.0)
    server, observer = Server(), Shown()
    with Follower(server, Console(file=io.StringIO()), observer) as follower:
        server.problem = CallRefusedError("no such task")
        follower.update(RunState("run", steps=(StepState("make", "deleted"),)))
        server.problem = None
        follower.update(RunState("run", steps=(StepState("make", "of another run", cached=True),)))
    assert observer.notes == []
