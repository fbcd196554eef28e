"""A check: an id, a title, and a function that answers ok, warn or fail with evidence and the command that repairs it.

Preflight, `check` and `doctor` are lists of the same checks. Pure but for the functions it is handed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from clearml_access.errors import UserFacingError
from deploy.errors import exit_code_of


class Level(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True)
class Finding:
    """What a check saw."""

    level: Level
    evidence: str
    fix: str | None = None
    exit_code: int = 0
    details: tuple[str, ...] = ()
    """Events and log lines behind it."""


def ok(evidence: str) -> Finding:
    """Return a good finding."""
    return Finding(Level.OK, evidence)


def warn(evidence: str, fix: str) -> Finding:
    """Return a finding that a person should read."""
    return Finding(Level.WARN, evidence, fix)


def fail(evidence: str, fix: str, exit_code: int = 1) -> Finding:
    """Return a finding that must be fixed."""
    return Finding(Level.FAIL, evidence, fix, exit_code)


@dataclass(frozen=True)
class Check:
    """One question with a yes-or-no answer."""

    id: str
    title: str
    run: Callable[[], Finding]
    needs: tuple[str, ...] = ()
    """Checks without which this one cannot be answered."""

    shared: bool = False
    """Whether the answer is the same for all releases of a deployment."""

    release: str = ""
    """The release that it asks about; empty for a shared one."""


@dataclass(frozen=True)
class Result:
    """A check and its answer."""

    id: str
    title: str
    finding: Finding
    seconds: float = field(compare=False)
    release: str = ""

    @property
    def level(self) -> Level:
        """How it ended."""
        return self.finding.level

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON types."""
        body = {key: value for key, value in asdict(self.finding).items() if key != "level"}
        return {
            "id": self.id,
            "release": self.release or None,
            "title": self.title,
            "result": str(self.level),
            **body,
            "seconds": round(self.seconds, 2),
        }


def run(checks: Iterable[Check], clock: Callable[[], float] = time.monotonic) -> Iterator[Result]:
    """Run checks in order; one whose needs failed is reported as skipped."""
    bad: dict[tuple[str, str], tuple[str, ...]] = {}
    """Ids and releases, and the titles of what failed in the first place."""
    for check in checks:
        began = clock()
        needs = dict.fromkeys((need, release) for need in check.needs for release in ("", check.release))
        missing = dict.fromkeys(title for need in needs for title in bad.get(need, ()))
        finding = Finding(Level.SKIP, f"needs: {', '.join(missing)}") if missing else _ask(check)
        if finding.level in (Level.FAIL, Level.SKIP):
            bad[check.id, check.release] = tuple(missing) or (check.title,)
        yield Result(check.id, check.title, finding, clock() - began, check.release)


def of_releases(listed: Mapping[str, Sequence[Check]]) -> list[Check]:
    """Return the checks of several releases as one list: what is shared once, all else for each release.

    Args:
        listed: Each release's checks by its name.
    """
    found: list[Check] = []
    for release, checks in listed.items():
        for check in checks:
            if not check.shared:
                title = f"{release}: {check.title}" if len(listed) > 1 else check.title
                found.append(replace(check, release=release, title=title))
            elif all(check.id != other.id for other in found):
                found.append(check)
    return found


def _ask(check: Check) -> Finding:
    try:
        return check.run()
    except UserFacingError as error:
        fix = error.hint or "./task doctor -- --verbose"
        return Finding(Level.FAIL, error.message, fix, exit_code_of(type(error)), error.evidence)


def exit_code(results: Iterable[Result]) -> int:
    """Return the exit code of the first check that failed, 0 if none did."""
    return next((result.finding.exit_code or 1 for result in results if result.level == Level.FAIL), 0)
