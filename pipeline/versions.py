"""Dataset versions: plain arithmetic on strings such as "1.2".

`1.0` is the empty root, `1.1`, `1.2`, … its batches; what a run derives from `1.2` is `1.2.1` (the split), `1.2.2` and
`1.2.3` (the processed halves) and `1.2.4` (the features). A later run must not shadow those, since ClearML finds a
version by its text and takes the newest of equal ones: its versions are `1.2.1.post2` and so on. To that form ClearML's
own parser (PEP 440) brings every spelling of "the second 1.2.1", and it sorts it behind the first.

The module is pure: who knows which versions exist passes them in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from pipeline.errors import SettingsError

ROOT = "1.0"

STAGES = {"split": 1, "train": 2, "test": 3, "features": 4}
"""What a run makes of a dataset version, and the number that it adds."""

_VERSION = re.compile(r"(?P<release>\d+(?:\.\d+)*)(?:\.post(?P<run>\d+))?", re.ASCII)


def version_key(version: str) -> tuple[tuple[int, ...], int]:
    """Return what versions sort by: their numbers, then the run.

    Raises:
        SettingsError: It is not a version of the form `1.2` or `1.2.post3`.
    """
    match = _VERSION.fullmatch(version)
    if not match:
        raise SettingsError(f"dataset version {version!r} is not of the form 1.2 or 1.2.post3")
    return tuple(map(int, match["release"].split("."))), int(match["run"] or 0)


def child_version(base: str, stage: str) -> str:
    """Return the version that a stage derives from a base: "1.2" and "split" give "1.2.1".

    Args:
        base: The version that a run works on.
        stage: One of `STAGES`.

    Raises:
        SettingsError: The base is not a version.
    """
    numbers, run = version_key(base)
    return _text((*numbers, STAGES[stage]), run)


def sibling_version(version: str, stage: str) -> str:
    """Return another stage's version in the same run: "1.2.1.post2" and "train" give "1.2.2.post2".

    Args:
        version: The version of any stage of the run.
        stage: One of `STAGES`.

    Raises:
        SettingsError: It is not a version.
    """
    numbers, run = version_key(version)
    return _text((*numbers[:-1], STAGES[stage]), run)


def is_of_stage(version: str, stage: str) -> bool:
    """Return whether a version is what a stage has derived from a batch.

    Args:
        version: A version, or a text of another form, which is none.
        stage: One of `STAGES`; nothing for the batches themselves.
    """
    if not _VERSION.fullmatch(version):
        return False
    numbers, _ = version_key(version)
    return len(numbers) > 2 and numbers[-1] == STAGES[stage] if stage else len(numbers) == 2


def in_order(versions: Iterable[str]) -> list[str]:
    """Return versions in their order; texts of another form come first."""
    return sorted(versions, key=lambda version: version_key(version) if _VERSION.fullmatch(version) else ((), 0))


def next_batch_version(versions: Iterable[str], root: str = ROOT) -> str:
    """Return the version of the next batch: "1.1" where there is the root only, "1.3" behind "1.2".

    Args:
        versions: Every version that exists; those that are not a batch of this root are ignored.
        root: The version of the empty root.

    Raises:
        SettingsError: The root is not a version.
    """
    (*major, _), _ = version_key(root)
    keys = [version_key(version) for version in [root, *versions] if _VERSION.fullmatch(version)]
    last = max(numbers[-1] for numbers, run in keys if list(numbers[:-1]) == major and not run)
    return _text((*major, last + 1), 0)


def unique_version(wanted: str, taken: Iterable[str]) -> str:
    """Return the wanted version, or its next run where that exists: "1.2.1", "1.2.1.post2", "1.2.1.post3".

    A split begins a run: the number that it gets is free for the stages behind it too, so that all have the same.

    Args:
        wanted: The version that a run would like.
        taken: Every version that exists.

    Raises:
        SettingsError: It is not a version.
    """
    numbers, wanted_run = version_key(wanted)
    same = {numbers}
    if is_of_stage(wanted, "split"):
        same = {(*numbers[:-1], number) for number in STAGES.values()}
    keys = (version_key(version) for version in taken if _VERSION.fullmatch(version))
    runs = [max(run, 1) for others, run in keys if others in same]
    return wanted if max(wanted_run, 1) not in runs else _text(numbers, max(runs) + 1)


def version_to_hold(claimant: str, claims: Mapping[str, str], settled: Iterable[str] = ()) -> str:
    """Return the version that one of several claimants is to hold: its own, or another where it has a rival.

    ClearML hands out no numbers. A claimant writes the version that looks free, reads what everybody has written, and
    writes and reads again until this function returns its own version. Of two that write the same version, the later
    one reads the other's; so whoever has a rival moves, also the one that was first. Rivals that read the same move to
    different versions, by their order.

    Args:
        claimant: The id of the one that asks.
        claims: Id → version of everybody who has one, the claimant included, in an order that all of them see.
        settled: The ids of those that are finished and will not move.

    Raises:
        SettingsError: The claimant's version is not a version.
    """
    wanted, taken = claims[claimant], list(claims.values())
    still = set(settled)
    if taken.count(wanted) == 1:
        return wanted
    version = wanted
    for rival in [id for id, claim in claims.items() if claim == wanted and id not in still]:
        version = unique_version(wanted, taken)
        taken.append(version)
        if rival == claimant:
            break
    return version


def _text(numbers: Iterable[int], run: int) -> str:
    return ".".join(map(str, numbers)) + (f".post{run}" if run else "")
