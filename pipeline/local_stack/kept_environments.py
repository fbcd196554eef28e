"""Environments of tasks that ask for other packages, kept by what they asked for: the next task gets a copy at once.

A folder for each, shared by all workers of this machine. Its name stands for the wanted packages, the indexes, the
Python and the environment that they were added to:

- `env`: the environment, hard links to what was installed. A task gets a copy of it by hard links: it runs none that is
  kept, so one may be removed at any time, and nothing that a task installs later is in it.
- `packages.txt`: what was asked for, to be read by people.
- `files.json`: its files and their sizes. One that has lost some is no longer used.
- `used`: its time of change says when it was last taken.

One that is not whole has another name: `finish` gives it its own once it is compiled and on the disk. Two workers at
once make it twice, and one is dropped. Outside systems: the file system, `sync`.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from clearml_access.kept_packages import (
    USED,
    comes_from_an_index,
    damage,
    discard,
    key_of,
    listed,
    records,
    remove_old,
    remove_tree,
    wanted,
    without_secrets,
    write_list,
)

SITE = "lib/python*/site-packages"
ENVIRONMENT, PACKAGES = "env", "packages.txt"

KEPT = 10
"""As many as the agent itself keeps, where it makes the environments."""

LEAST_FREE_BYTES = 5 * 10**9
"""With less room on the disk, none is kept, and those that no task has taken for an hour are removed."""

SYNC_TIMEOUT_S = 120
VALUED = {"-r": True, "--requirement": True} | dict.fromkeys(
    ("-i", "--index-url", "--extra-index-url", "-f", "--find-links", "--trusted-host"), False
)
"""pip's options with a value: whether that is a requirements file."""

HARMLESS = ("--upgrade", "-U", "--use-deprecated=legacy-resolver")
"""Options of the agent's that make no other environment."""

INDEX_VARIABLES = tuple(
    f"UV_{name}" for name in ("INDEX", "INDEX_URL", "EXTRA_INDEX_URL", "FIND_LINKS", "NO_INDEX", "INDEX_STRATEGY")
)
"""What uv reads beyond what `key_of` knows."""

SCRIPT_BYTES = 64 * 1024
"""A longer file among the programs is a binary."""


@dataclass(frozen=True)
class Pins:
    """What a task has asked for so far: the agent installs in several calls, NumPy before all others."""

    lines: tuple[str, ...] = ()
    """As those of a requirements file, without passwords."""

    can_keep: bool = True
    """Whether the same lines bring the same: not so for an address, a folder, or an option that is not known."""

    def with_words(self, words: Sequence[str]) -> Pins:
        """Return it with what one more `install` of pip's asks for.

        Raises:
            OSError: A requirements file cannot be read.
        """
        lines = wanted(words, VALUED, HARMLESS)
        able = self.can_keep and all(map(comes_from_an_index, lines))
        return replace(self, lines=tuple(sorted({*self.lines, *map(without_secrets, lines)})), can_keep=able)


@dataclass(frozen=True)
class KeptEnvironments:
    """The environments that this machine keeps.

    Attributes:
        folder: In it one for each.
        base: The environment that all of them began as; one of another base has another name.
    """

    folder: Path
    base: Path

    def place(self, pins: Pins) -> Path:
        """Return the folder of the environment with these pins, whether it is there or not."""
        variables = [without_secrets(os.environ.get(name, "")) for name in INDEX_VARIABLES]
        site = next(self.base.glob(SITE), self.base)
        return self.folder / key_of(pins.lines, sorted(records(site).items()), variables)

    def find(self, pins: Pins) -> Path | None:
        """Return the environment with these pins, to be copied, and note that it was taken; None if there is none.

        One that has lost files, say by somebody who made room, is removed: it would be kept for good.
        """
        place = self.place(pins)
        if not pins.can_keep or not place.exists():
            return None
        if damage(place):
            discard(place)
            return None
        with contextlib.suppress(OSError):  # another worker removes it; to copy it fails then, and is said
            os.utime(place / USED)
        return place / ENVIRONMENT

    def _added(self, site: Path) -> Iterator[Path]:
        before = records(next(self.base.glob(SITE), self.base))
        return (site / name / "RECORD" for name, changed in records(site).items() if before.get(name) != changed)

    def begin_to_keep(self, environment: Path, pins: Pins) -> Path | None:
        """Copy an environment, to be given to `finish`; None if it is not to be kept.

        Raises:
            OSError: The disk is full, or takes nothing.
        """
        place = self.place(pins)
        if not pins.can_keep or place.exists():
            return None
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        free = shutil.disk_usage(self.folder).free
        if free < LEAST_FREE_BYTES:
            remove_old(self.folder, kept=0)
            raise OSError(f"only {free / 1e9:.1f} GB are free on the disk")
        half = Path(tempfile.mkdtemp(prefix=f"{place.name}.", dir=self.folder))
        try:
            link_tree(environment, half / ENVIRONMENT, place / ENVIRONMENT)
            (half / PACKAGES).write_text("".join(f"{line}\n" for line in pins.lines), encoding="utf-8")
            (half / USED).touch()
        except BaseException:
            remove_tree(half)
            raise
        return half

    def finish(self, half: Path) -> None:
        """Compile what was installed, bring it to the disk, and give the environment its name."""
        new = half / "new.txt"
        new.write_text("".join(f"{path}\n" for path in self._new_modules(half / ENVIRONMENT)), encoding="utf-8")
        # Without compiled bytecode every import is 3 to 5 times slower. A file that does not compile stays as it is.
        subprocess.run([sys.executable, "-m", "compileall", "-q", "-i", str(new)], check=False)
        new.unlink()
        write_list(half)
        _write_to_disk(half)
        place = half.with_name(half.name.partition(".")[0])
        try:
            half.rename(place)
        except OSError:  # another worker was first
            remove_tree(half)
        remove_old(self.folder, kept=KEPT)

    def _new_modules(self, environment: Path) -> list[Path]:
        site = next(environment.glob(SITE))
        found = [site / name for record in self._added(site) for name, _ in listed(record) if name.endswith(".py")]
        return [path for path in found if path.is_file()]


def link_tree(source: Path, target: Path, at: Path) -> None:
    """Copy an environment by hard links.

    Args:
        source: The environment.
        target: The copy, which must not be there.
        at: Where the copy will be: its scripts name the Python there.
    """
    # Python writes its compiled files under such names first, and they may go while this looks at them.
    ignore = shutil.ignore_patterns("*.pyc.*")
    shutil.copytree(source, target, symlinks=True, copy_function=_link, ignore=ignore)
    old = re.compile(re.escape(os.fsencode(source)) + rb"(?![\w.-])")
    for path in (target / "bin").glob("*"):
        if path.is_symlink() or not path.is_file() or path.stat().st_size > SCRIPT_BYTES:
            continue
        before = path.read_bytes()
        after = old.sub(lambda _: os.fsencode(at), before)
        if after != before:
            mode = path.stat().st_mode
            path.unlink()  # the file itself is that of the source
            path.write_bytes(after)
            path.chmod(mode)


def _write_to_disk(folder: Path) -> None:
    """Else a machine that loses its power may keep names without contents."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(["sync", "--file-system", str(folder)], timeout=SYNC_TIMEOUT_S, check=False)


def _link(source: str, target: str) -> str:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # another file system, or one without hard links
        shutil.copy2(source, target, follow_symlinks=False)
    return target
