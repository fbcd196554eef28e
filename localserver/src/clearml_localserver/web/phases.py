"""The phases of a step, from its queue to its end: over the whole run, and beside those of an earlier run. Pure.

A step of this project notes the moments of its process as user properties, and the Kubernetes agent how long each
phase of its pod took. Of any other step the queue's wait and the run time are known.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from clearml_localserver.web.runs import Step
from clearml_localserver.web.shapes import map_of, number, read_json, text

Json = dict[str, Any]

FIELDS = ["runtime.pod_phases", "hyperparams.properties.timeline", "hyperparams.properties.launched"]
"""Fields of a step's task that `of_step` reads besides those of `runs`."""

NAMES = {
    "wait": "queue wait",
    "start": "start",
    "imports": "imports",
    "work": "work",
    "exit": "exit",
}
"""The phases in order: key → what a page calls it."""

MARKS = (("start", "process"), ("imports", "work"), ("work", "returned"))
"""Each phase of a step that notes its moments, and the mark that ends it; what comes after the last is its exit."""

_TIMELINE = map_of(number, 20)
_MOMENT = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")
SLOWER_S, SLOWER_RATIO = 1.0, 1.2
"""A step got slower if it took at least this much longer, in seconds and as a ratio."""


@dataclass(frozen=True)
class Phase:
    """One phase of a step; moments in seconds since 1970."""

    key: str
    start: float
    end: float

    @property
    def name(self) -> str:
        """What a page calls it."""
        return NAMES[self.key]

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.end - self.start


@dataclass(frozen=True)
class Times:
    """The phases of one step."""

    phases: tuple[Phase, ...]
    status: str
    pod: str = ""
    """The phases of its last pod, as its agent has written them."""

    @property
    def ran(self) -> bool:
        """Whether the step has run to its end in this run."""
        return self.status in ("completed", "failed", "aborted") and bool(self.phases)

    @property
    def seconds(self) -> float:
        """How long all phases took."""
        return sum(phase.seconds for phase in self.phases)


@dataclass(frozen=True)
class Segment:
    """A phase in the drawing of a run: parts of the run's length, 0 to 100."""

    phase: Phase
    x: float
    width: float


@dataclass(frozen=True)
class Change:
    """A step beside the same step of an earlier run."""

    step: str
    now: float
    before: float
    phase: str
    """The phase that changed most; nothing where the phases are not known in both."""

    phase_by: float
    """By how many seconds it changed."""

    @property
    def by(self) -> float:
        """How many seconds longer it took."""
        return self.now - self.before

    @property
    def ratio(self) -> float | None:
        """How many times as long it took."""
        return self.now / self.before if self.before > 0 else None

    @property
    def is_slower(self) -> bool:
        """Whether it took so much longer that a page says so."""
        return self.by >= SLOWER_S and self.now >= SLOWER_RATIO * self.before


@dataclass(frozen=True)
class Comparison:
    """A run beside an earlier one."""

    former: Json
    """The earlier run's controller."""

    changes: list[Change]
    """Steps that ran in both, the one that lost most time first."""

    left_out: int
    """Steps that did not run to their end in both."""

    @property
    def slower(self) -> list[Change]:
        """The steps that got slower."""
        return [change for change in self.changes if change.is_slower]


def of_step(step: Step, task: Json, now: datetime) -> Times:
    """Return the phases of a step; moments that contradict each other shorten a phase to nothing.

    Args:
        step: The step.
        task: Its task, with `FIELDS`.
        now: The end of what has not ended.
    """
    pod = text((task.get("runtime") or {}).get("pod_phases"))[:500]
    if step.created is None or step.status == "cached":
        return Times((), step.status, "" if step.status == "cached" else pod)
    noted = (task.get("hyperparams") or {}).get("properties") or {}
    started = step.started.timestamp() if step.started else None
    ended = step.ended.timestamp() if step.ended else now.timestamp()
    marks = _TIMELINE(read_json(_property(noted, "timeline"))) if started is not None else {}
    moments: list[tuple[str, float]] = [("wait", _limited(started, ended))] if started is not None else []
    if started is None:
        if step.status != "queued":
            return Times((), step.status, pod)
        moments = [("wait", ended)]
    elif all(isinstance(marks.get(mark), int | float) for _, mark in MARKS):
        moments += [(key, _limited(marks[mark], ended)) for key, mark in MARKS] + [("exit", ended)]
    else:
        moments.append(("work", ended))
    return Times(tuple(_phases(min(_launched(noted, step), moments[0][1]), moments)), step.status, pod)


def _property(noted: Mapping[str, Any], name: str) -> str:
    item = noted.get(name)
    return text(item.get("value")) if isinstance(item, dict) else ""


def _launched(noted: Mapping[str, Any], step: Step) -> float:
    """Return when a step was put into its queue: as its pipeline has noted, else when its task was made."""
    created = step.created.timestamp() if step.created else 0.0
    stored = _property(noted, "launched")
    launched = float(stored) if _MOMENT.fullmatch(stored) else created
    return max(created, launched)


def _limited(moment: float | None, end: float) -> float:
    return end if moment is None else min(float(moment), end)


def _phases(start: float, moments: Iterable[tuple[str, float]]) -> Iterable[Phase]:
    for key, end in moments:
        end = max(start, end)
        yield Phase(key, start, end)
        start = end


def chart(times: Mapping[str, Times]) -> dict[str, list[Segment]]:
    """Return where the phases of each step lie in the time of the whole run; {} before anything has run."""
    all_phases = [phase for each in times.values() for phase in each.phases]
    if not all_phases:
        return {}
    first = min(phase.start for phase in all_phases)
    length = max(0.001, max(phase.end for phase in all_phases) - first)
    return {
        name: [
            Segment(phase, (phase.start - first) / length * 100, max(0.2, phase.seconds / length * 100))
            for phase in each.phases
            if phase.seconds > 0
        ]
        for name, each in times.items()
        if each.phases
    }


def compare(former: Json, before: Mapping[str, Times], now: Mapping[str, Times]) -> Comparison | None:
    """Return the steps that ran in both runs, the one that lost most time first; None where none did."""
    both = [name for name, each in now.items() if each.ran and name in before and before[name].ran]
    if not both:
        return None
    changes = []
    for name in both:
        phase, by = _most_changed(before[name], now[name])
        changes.append(Change(name, now[name].seconds, before[name].seconds, phase, by))
    changes.sort(key=lambda change: -change.by)
    return Comparison(former, changes, len(now) - len(both))


def _most_changed(before: Times, now: Times) -> tuple[str, float]:
    """Return the phase that changed most, and by how many seconds; nothing where one of them has fewer phases."""
    if [phase.key for phase in now.phases] != [phase.key for phase in before.phases]:
        return "", 0.0
    pairs = zip(before.phases, now.phases, strict=True)
    return max(((new.name, new.seconds - old.seconds) for old, new in pairs), key=lambda item: abs(item[1]))
