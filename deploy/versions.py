"""Which versions work together: helm's version ranges, and the windows of agent, server, Python and Kubernetes.

Pure. Every row of the tables names its reason, so that a refusal explains itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

Version = tuple[int, int, int]

_VERSION = re.compile(r"v?(\d+)(?:\.(\d+))?(?:\.(\d+))?")
_BOUND = re.compile(r"(>=|<=|!=|=|>|<|~|\^)?\s*v?([\dxX*]+(?:\.[\dxX*]+){0,2})(?:-[\w.]+)?(?:\+[\w.]+)?")

OLDEST_HELM: Version = (3, 10, 0)
"""pyhelm3 and our calls need nothing newer; older ones are not tested."""

BAD_AGENTS: tuple[Version, Version] = ((1, 9, 3), (2, 0, 6))
"""First and last agent that cannot take a task from an open-source server."""

BAD_AGENTS_REASON = (
    "it calls tasks.enqueue with update_execution_queue=false after taking a task, "
    "which an open-source server refuses with 400 (clearml-agent#223): no task ever starts"
)


def parse(text: str) -> Version | None:
    """Return the numbers of a version text, e.g. of `v1.34.2+k3s1`; None where there are none."""
    match = _VERSION.match(text.strip())
    return (int(match[1]), int(match[2] or 0), int(match[3] or 0)) if match else None


def satisfies(version: str, constraint: str) -> bool:
    """Return whether a version lies within one of helm's ranges, e.g. `>= 1.21.0-0 < 1.33.0-0 || 1.40.x`.

    Pre-release tails are ignored: a cluster's `v1.33.0-gke.1` counts as 1.33.0.
    """
    numbers = parse(version)
    if numbers is None:
        return False
    return any(_all_bounds(numbers, part) for part in constraint.split("||"))


def _all_bounds(version: Version, part: str) -> bool:
    ranges = re.sub(r"(\S+)\s+-\s+(\S+)", r">=\1 <=\2", part)
    return all(_bound(version, match[1] or "=", match[2]) for match in _BOUND.finditer(ranges))


def _bound(version: Version, operator: str, text: str) -> bool:
    given = [int(number) for number in re.split(r"[.]", re.split(r"\.?[xX*]", text)[0]) if number]
    low = (*given, 0, 0, 0)[:3]
    if operator in ("=", "~") and len(given) < 3:
        return list(version[: len(given)]) == given
    if operator == "~":
        return version[:2] == low[:2] and version >= low
    if operator == "^":
        return version[0] == low[0] and version >= low
    return {
        "=": version == low,
        "!=": version != low,
        ">": version > low,
        ">=": version >= low,
        "<": version < low,
        "<=": version <= low,
    }[operator]


@dataclass(frozen=True)
class Pin:
    """What an agent's version specifier allows."""

    specifier: str
    """E.g. `==1.9.2`; empty: the newest."""

    @property
    def exact(self) -> Version | None:
        """The one version that it allows, if it is one."""
        return parse(self.specifier[2:]) if self.specifier.startswith("==") else None

    def refused(self, *, open_source_server: bool) -> str | None:
        """Return why no agent of this pin may be installed, or nothing."""
        exact = self.exact
        if exact and open_source_server and BAD_AGENTS[0] <= exact <= BAD_AGENTS[1]:
            return f"clearml-agent {self.specifier[2:]} does not work with an open-source server: {BAD_AGENTS_REASON}"
        return None


OLDEST_KUBERNETES: Version = (1, 21, 0)
"""The chart's own lower bound."""

TASK_PYTHON: tuple[int, int] = (3, 11)
"""Python of the task image; a step is shipped as source and checked against its exact pins."""

OLDEST_SDK: Version = (2, 1, 0)
"""The SDK that ships steps the way `pipeline` writes them."""
