"""`update-pins`: lock files and pins brought to their newest versions, each with the command that proves it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from maintenance.pins import ON_KUBERNETES, PINS, QUICK, Pin, SourceError

LOCK_TIMEOUT_S = 600

Run = Callable[[Sequence[str], Path], None]


@dataclass(frozen=True)
class Lock:
    """A lock file, brought up to date by its own tool."""

    name: str
    file: str
    command: tuple[str, ...]
    proof: str


LOCKS = (
    Lock("lock", "uv.lock", ("uv", "lock", "--upgrade"), QUICK),
    Lock("agent-lock", "images/agent/uv.lock", ("uv", "lock", "--upgrade", "--project", "images/agent"), ON_KUBERNETES),
    Lock(
        "serving-lock",
        "images/serving/uv.lock",
        ("uv", "lock", "--upgrade", "--project", "images/serving"),
        "./task test-thorough",
    ),
    Lock("clients-lock", "tests/clients/uv.lock", ("uv", "lock", "--upgrade", "--project", "tests/clients"), QUICK),
    Lock(
        "build-tools-lock",
        "images/build-tools.txt",
        (
            *("uv", "pip", "compile", "--quiet", "--upgrade", "--generate-hashes", "--universal"),
            *("--python-version", "3.11", "images/build-tools.in", "-o", "images/build-tools.txt"),
        ),
        ON_KUBERNETES,
    ),
)

NAMES = (*(pin.name for pin in PINS), *(lock.name for lock in LOCKS))


@dataclass(frozen=True)
class Outcome:
    """What became of one pin or lock file."""

    name: str
    state: str
    """`current`, `newer` (known, not written), `updated`, or `unknown` (its source did not answer)."""

    detail: str
    proof: str = ""


def update(root: Path, names: Iterable[str] = (), *, write: bool, run: Run | None = None) -> Iterable[Outcome]:
    """Yield the outcome of each pin, then of each lock file, one by one as they are known.

    Args:
        root: The clone.
        names: Only these; all if empty.
        write: Change the files; otherwise only pins are looked at, since a lock file's tool writes as it looks.
        run: Runs a command in a folder; raises `SourceError`.
    """
    wanted = set(names) or set(NAMES)
    run = run or _run
    for pin in PINS:
        if pin.name in wanted:
            yield _update_pin(root, pin, write=write, run=run)
    for lock in LOCKS:
        if lock.name in wanted and write:
            yield _update_lock(root, lock, run)


def _update_pin(root: Path, pin: Pin, *, write: bool, run: Run) -> Outcome:
    try:
        now = pin.current(root)
        newest = pin.newest(now)
        new = {group: newest[group] for group in now}
        change = ", ".join(f"{now[group][:12]} -> {new[group][:12]}" for group in now)
        if new == now:
            return Outcome(pin.name, "current", ", ".join(text[:12] for text in now.values()))
        if not write:
            return Outcome(pin.name, "newer", change, pin.proof)
        pin.replace(root, new)
        if pin.after:
            run(pin.after, (root / next(iter(pin.places))).parent)
    except SourceError as error:
        return Outcome(pin.name, "unknown", str(error))
    return Outcome(pin.name, "updated", change, pin.proof)


def _update_lock(root: Path, lock: Lock, run: Run) -> Outcome:
    path = root / lock.file
    before = path.read_bytes()
    try:
        run(lock.command, root)
    except SourceError as error:
        return Outcome(lock.name, "unknown", str(error))
    if path.read_bytes() == before:
        return Outcome(lock.name, "current", lock.file)
    return Outcome(lock.name, "updated", lock.file, lock.proof)


def _run(command: Sequence[str], folder: Path) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=LOCK_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SourceError(f"{' '.join(command)}: {error}") from error
    if done.returncode:
        raise SourceError(f"{' '.join(command)}: {done.stderr.strip().splitlines()[-1:]}")
