"""What steps pin beyond their image, kept on a volume that pods share: an environment for each set of pins.

Copied into task images, whose Python may be as old as 3.9, and imported there by `pip_shim` where something has to be
installed and `CLEARML_PODS_PACKAGES` names a folder. The workers of one machine take from here what "the same pins"
are, and which environments go (`pipeline.local_stack.kept_environments`).

An environment is a folder `environments/KEY`. KEY stands for the wanted packages, the indexes, the Python and the
packages of the image, so that whatever would be installed otherwise is another environment:

- `site`: the packages that were added to the image's or replaced them. A line in the image's environment puts the
  folder before its own on Python's path, so nothing is copied or installed when a later step wants the same.
- `prefix`: their scripts and data, linked into the image's environment.
- `files.json`: its files and their sizes, as they were when it was kept. One that has lost some, say because somebody
  made room on the volume, is no longer used.
- `used`: its time of change says when a step last used it. Each step holds a shared lock on it while it runs
  (`step-python`), so that no environment is removed under a step.

The first pod installs into its own container, as without a volume, and copies what was new to a folder with a name of
its own. That gets the final name once it is whole. Two pods at once do this both, and one copy is dropped.
Standard library only. Outside systems: the file system, `sync`.
"""

from __future__ import annotations

import compileall
import contextlib
import csv
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

LAYOUT = 2
"""Of an environment's folder; another number makes all of them again."""

KEPT = 20
UNUSED_S = 30 * 24 * 3600
"""Of more environments than this, or unused for so long, those that were unused for longest are removed."""

SURELY_UNUSED_S = 3600
"""One that was used since is never removed: between its choice and the lock, a step's start takes seconds."""

LEFT_BEHIND_S = 6 * 3600
"""After that, a folder that did not become an environment belongs to a pod that was killed."""

SYNC_TIMEOUT_S = 120
ENVIRONMENTS, SITE, PREFIX, USED, FILES = "environments", "site", "prefix", "used", "files.json"
PACKAGE = re.compile(r"[A-Za-z0-9][\w.-]*\s*(\[[^\]@]*\])?\s*([<>=!~;][^@]*)?")
INDEX_OPTION = re.compile(r"(-i|--index-url|--extra-index-url|-f|--find-links|--trusted-host)[ =]\s*(\S+)")
ARCHIVES = (".whl", ".zip", ".tar.gz", ".tar.bz2")
INDEX_VARIABLES = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX", "UV_DEFAULT_INDEX")


class KeptPackages:
    """The packages that this pod's step wants so far, and the environment that is kept for them.

    The agent installs in several calls: NumPy before all others. Each call asks for what was asked for before, too.
    """

    def __init__(self, volume: Path, lines: Sequence[str], *, prefix: Path, site: Path) -> None:
        """Take up what earlier calls of this pod have left.

        Args:
            volume: The folder that pods share.
            lines: What is wanted now, as lines of a requirements file.
            prefix: The image's environment.
            site: Its folder of packages.
        """
        self._environments, self._prefix, self._site = volume / ENVIRONMENTS, prefix, site
        self._state_file = prefix / "kept_packages.json"
        self._path_file = site / "kept_packages.pth"
        state = self._read_state()
        self._links: list[str] = state.get("links", [])
        self._image: dict[str, int] = state.get("image") or records(site)
        self._lines = [*state.get("lines", []), *lines]
        self._can_keep = bool(state.get("can_keep", True)) and all(map(comes_from_an_index, lines))
        self.damage = ""
        """What the environment has lost, once `use` has found that; it is gone then, unless a step uses it."""

    @property
    def folder(self) -> Path:
        """The environment of all that is wanted."""
        return self._environments / key_of(self._lines, sorted(self._image), str(self._prefix))

    def use(self) -> bool:
        """Let this pod's Python use the environment; return whether there is one."""
        folder = self.folder
        if not self._can_keep or not folder.exists():
            return False
        self.damage = damage(folder)
        if self.damage:
            discard(folder)
        if self.damage or not _take_up(folder):
            return False
        self._leave()
        self._enter(folder)
        return True

    def begin(self, arguments: list[str]) -> list[str]:
        """Prepare an installation into the pod's own environment; return pip's arguments for it."""
        changed = self._leave()
        self._write_state()
        if not changed:
            return arguments
        return ["install", *(word for line in self._lines for word in _as_words(line))]

    def incomplete(self) -> list[str]:
        """Return the names of packages whose files are not what their records say, of those installed in this pod."""
        found = set()
        for name in self._new():
            for path, size in listed(self._site / name / "RECORD"):
                if size and not path.endswith(".pyc") and _size(f"{self._site}/{path}") != size:
                    found.add(name.partition("-")[0])
        return sorted(found)

    def _new(self) -> list[str]:
        return [name for name, changed in records(self._site).items() if self._image.get(name) != changed]

    def keep(self) -> str:
        """Keep what the installation has added, for other pods; return what is to be said of it.

        Raises:
            OSError: The volume is full, or takes nothing.
        """
        new, folder = self._new(), self.folder
        if not self._can_keep or not new or folder.exists():
            return ""
        self._environments.mkdir(exist_ok=True)
        half = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=self._environments))
        try:
            self._copy(new, half, folder / SITE)
            with contextlib.suppress(FileExistsError):
                _publish(half, folder)
        finally:
            remove_tree(half)
        remove_old(self._environments)
        return f"{len(new)} package(s) kept for other steps that want the same: {folder}\n"

    def _copy(self, names: Sequence[str], half: Path, final: Path) -> None:
        (half / SITE).mkdir()
        for name in names:
            for listed_path, _ in listed(self._site / name / "RECORD"):
                path = Path(os.path.normpath(self._site / listed_path))
                inside = path.is_relative_to(self._site)
                part, base = (SITE, self._site) if inside else (PREFIX, self._prefix)
                if path.is_file() and path.is_relative_to(base):
                    target = half / part / path.relative_to(base)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(path, target)
        # Without compiled bytecode every import is 3 to 5 times slower.
        compileall.compile_dir(str(half / SITE), quiet=2, stripdir=str(half / SITE), prependdir=str(final))

    def _enter(self, folder: Path) -> None:
        code = (
            f"import site, sys; p, s = {str(folder / SITE)!r}, {str(self._site)!r}; site.addsitedir(p); "
            "sys.path.remove(p); sys.path.insert(sys.path.index(s) if s in sys.path else len(sys.path), p)"
        )
        self._path_file.write_text(code + "\n", encoding="utf-8")
        for path in sorted(file for file in (folder / PREFIX).rglob("*") if not file.is_dir()):
            self._link(self._prefix / path.relative_to(folder / PREFIX), path)
        self._link(self._prefix / "kept", folder)
        self._write_state()

    def _link(self, place: Path, target: Path) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        place.symlink_to(target)
        self._links.append(str(place))

    def _leave(self) -> bool:
        """Take away the environment that an earlier call chose; return whether there was one."""
        for link in self._links:
            Path(link).unlink(missing_ok=True)
        left, self._links = bool(self._links), []
        self._path_file.unlink(missing_ok=True)
        return left

    def _read_state(self) -> dict[str, Any]:
        try:
            return dict(json.loads(self._state_file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return {}

    def _write_state(self) -> None:
        state = {"lines": self._lines, "links": self._links, "image": self._image, "can_keep": self._can_keep}
        self._state_file.write_text(json.dumps(state), encoding="utf-8")


def key_of(lines: Sequence[str], *facts: Any) -> str:
    """Return what an environment is found by.

    Args:
        lines: What it is to have, as lines of a requirements file, in any order.
        facts: What else makes another environment of the same lines, as JSON types.
    """
    pins = sorted({" ".join(without_secrets(line).split()) for line in lines})
    indexes = [without_secrets(os.environ.get(name, "")) for name in INDEX_VARIABLES]
    every = [LAYOUT, pins, indexes, platform.python_version(), platform.machine(), *facts]
    return hashlib.sha256(json.dumps(every).encode()).hexdigest()[:16]


def wanted(words: Sequence[str], options: Mapping[str, bool], harmless: Collection[str] = ()) -> list[str]:
    """Return what an `install` of pip's asks for, as lines of a requirements file.

    Args:
        words: What follows `install`.
        options: The options with a value: whether it is a requirements file.
        harmless: The options that change nothing of what is asked for. Any other is a line, too: no line that
            `comes_from_an_index`.
    """
    lines: list[str] = []
    rest = iter(words)
    for word in rest:
        option, equals, value = word.partition("=") if word.startswith("-") else (word, "", "")
        if option in options:
            value = value if equals else next(rest, "")
            lines += list(_lines_of(Path(value))) if options[option] else [f"{option} {value}"]
        elif word not in harmless:
            lines.append(word)
    return lines


def _lines_of(file: Path) -> Iterator[str]:
    for line in file.read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
        text = re.sub(r"(^|\s)#.*", "", line).strip()
        if text:
            yield text


def _as_words(line: str) -> list[str]:
    option = INDEX_OPTION.fullmatch(line)
    return [option[1], option[2]] if option else [line]


def comes_from_an_index(line: str) -> bool:
    """Return whether a line asks for a package by its name: what an address or a folder has may change."""
    if line.startswith("-"):
        return INDEX_OPTION.fullmatch(line) is not None
    return PACKAGE.fullmatch(line) is not None and not line.lower().endswith(ARCHIVES)


def without_secrets(text: str) -> str:
    """Return a text without the user and password of its addresses; a password may hold a bare `@`."""
    return re.sub(r"//[^/\s]*@", "//", text)


def records(site: Path) -> dict[str, int]:
    """Return the records of installed packages, and when each was written."""
    return {file.parent.name: file.stat().st_mtime_ns for file in site.glob("*.dist-info/RECORD")}


def listed(record: Path) -> list[tuple[str, int]]:
    """Return the files of an installed package, from its `RECORD`, and their sizes in bytes; 0 where it has none."""
    with record.open(newline="", encoding="utf-8") as file:
        return [(row[0], int(row[2]) if row[2:] and row[2].isdigit() else 0) for row in csv.reader(file) if row]


def write_list(folder: Path) -> None:
    """Write down what an environment's folder has, for `damage`. Without compiled modules, Python is only slower."""
    sizes = {
        str(file.relative_to(folder)): file.stat().st_size
        for file in folder.rglob("*")
        if file.is_file() and not file.name.endswith(".pyc") and file.name != USED
    }
    (folder / FILES).write_text(json.dumps(sizes), encoding="utf-8")


def damage(folder: Path) -> str:
    """Return what an environment's folder has lost since `write_list`; empty: nothing.

    It looks at names and sizes alone: to read all files would take longer than to install them.
    """
    try:
        sizes = json.loads((folder / FILES).read_text(encoding="utf-8"))
        lost = [path for path, size in sizes.items() if _size(f"{folder}/{path}") != size]
    except (OSError, ValueError, AttributeError):
        return FILES
    lost += [] if (folder / USED).exists() else [USED]
    return lost[0] + (f" and {len(lost) - 1} more" if lost[1:] else "") if lost else ""


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return -1


def discard(folder: Path) -> None:
    """Remove an environment that is damaged, unless a step uses it."""
    with contextlib.ExitStack() as stack, contextlib.suppress(OSError):  # a volume that this pod only reads
        try:
            _lock(stack.enter_context((folder / USED).open("r+")).fileno(), fcntl.LOCK_EX)
        except BlockingIOError:
            return
        except OSError:  # without `used`, nobody can hold a lock on it; or a volume without locks
            pass
        _rename_and_remove(folder)


def _take_up(folder: Path) -> bool:
    """Note that an environment is used; return whether it is there."""
    try:
        with (folder / USED).open() as used:
            try:
                _lock(used.fileno(), fcntl.LOCK_SH)
            except BlockingIOError:  # it is being removed
                return False
            except OSError:  # a volume without locks
                pass
            with contextlib.suppress(OSError):  # a volume that this pod only reads
                os.utime(folder / USED)
            return True
    except OSError:
        return False


def remove_old(environments: Path, kept: int | None = None) -> None:
    """Remove the environments that are too many or too old, unless one is in use, and what killed pods have left.

    Args:
        environments: Their folder.
        kept: So many stay; default: `KEPT`.
    """
    most = KEPT if kept is None else kept
    now, found = time.time(), []
    for folder in environments.iterdir():
        with contextlib.suppress(OSError):  # another pod removes it, too
            if "." in folder.name:
                if now - folder.stat().st_mtime > LEFT_BEHIND_S:
                    remove_tree(folder)
            else:
                found.append((now - (folder / USED).stat().st_mtime, folder))
    for place, (unused_s, folder) in enumerate(sorted(found)):
        if unused_s > SURELY_UNUSED_S and (place >= most or unused_s > UNUSED_S):
            with contextlib.suppress(OSError):  # a step holds the lock, or the folder belongs to another user
                _remove_unused(folder)


def _remove_unused(folder: Path) -> None:
    with (folder / USED).open("r+") as used:
        _lock(used.fileno(), fcntl.LOCK_EX)
        if time.time() - (folder / USED).stat().st_mtime < SURELY_UNUSED_S:
            return
        _rename_and_remove(folder)


def _rename_and_remove(folder: Path) -> None:
    folder.chmod(0o755)
    gone = Path(tempfile.mkdtemp(prefix=f"{folder.name}.gone-", dir=folder.parent))
    folder.rename(gone)
    remove_tree(gone)


def _publish(half: Path, folder: Path) -> None:
    """Give a whole environment its name.

    Raises:
        OSError: It could not be written to the disk; as FileExistsError: another pod was first.
    """
    write_list(half)
    (half / USED).touch()
    for path, _, files in os.walk(half):
        for name in files:
            os.chmod(os.path.join(path, name), 0o444 | os.stat(os.path.join(path, name)).st_mode & 0o111)
        os.chmod(path, 0o555)  # noqa: S103 - no step changes what others use
    (half / USED).chmod(0o666)  # pods of other users note that they use it
    subprocess.run(["sync", "--file-system", str(half)], timeout=SYNC_TIMEOUT_S, check=False)
    try:
        half.rename(folder)
    except OSError as error:
        if folder.exists():
            raise FileExistsError(folder) from error
        raise


def remove_tree(folder: Path) -> None:
    """Remove a folder whose folders may be write-protected."""
    for path, _, _ in os.walk(folder):
        with contextlib.suppress(OSError):
            os.chmod(path, 0o755)  # noqa: S103
    shutil.rmtree(folder, ignore_errors=True)


def _lock(file: int, kind: int) -> None:
    fcntl.flock(file, kind | fcntl.LOCK_NB)
