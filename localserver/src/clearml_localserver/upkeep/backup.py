"""A backup is a folder: the database as of one moment, the files, the access key, and checksums over all of it.

`SHA256SUMS` is in the form that `sha256sum --check` reads, so that a backup can be verified without this program.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from clearml_localserver.bootstrap import prepare_folder
from clearml_localserver.database import FILE_NAME, applied_steps, connect_read_only, reading, require_sound, snapshot
from clearml_localserver.times import iso, utcnow
from clearml_localserver.upkeep.data_folder import (
    CONFIGURATION,
    CREDENTIALS,
    FILES,
    Tell,
    UpkeepError,
    put_in_place,
    require_data_folder,
    require_outside,
    stored_files,
    work_folder,
)

SUMS, INFO = "SHA256SUMS", "backup.json"
FORMAT = 1
PIECE = 2**20


@dataclass(frozen=True)
class Summary:
    """What a backup holds."""

    folder: Path
    files: int
    size: int
    linked: int


def backup(data: Path, target: Path, tell: Tell, *, link: bool = True, replace: bool = False) -> Summary:
    """Make a backup of a data folder, on which a server may run; the target appears whole and verified or not at all.

    Args:
        data: Data folder.
        target: Folder of the backup, which does not exist yet.
        tell: Called with the progress.
        link: Share files with the data folder by hard links where both are on one file system. The server never writes
            into a stored file, it only replaces or removes names; so a link keeps the content as it is now.
        replace: Replace the backup at the target.

    Raises:
        UpkeepError: There is no data folder, the target exists, or what was written is not what was read.
        StartError: The database is damaged or cannot be read.
    """
    database = require_data_folder(data)
    require_outside(target, data)
    _require_free(target, replace)
    with work_folder(target) as work:
        # Files may come and go meanwhile. A first round catches those that are deleted later, a second one, after the
        # moment of the database, those that it names and that came during the first.
        copier = Copier(work, link, tell)
        copier.copy_files(data / FILES)
        moment_ns = time.time_ns()
        with reading(database):
            snapshot(database, work / FILE_NAME, lambda done, of: tell(f"database: {done} of {of} pages"))
            with closing(connect_read_only(work / FILE_NAME, immutable=True)) as copy:
                require_sound(database, copy)
                step = max(applied_steps(copy), default=0)
        copier.copy_files(data / FILES, newest_ns=moment_ns)
        # The configuration says which addresses are this server's: without it `check` and `export` of a restored folder
        # cannot tell a lost file from one on another server.
        for name in (CREDENTIALS, CONFIGURATION):
            if (data / name).exists():
                copier.copy(data / name, name, link=False)
        copier.add(FILE_NAME)
        copier.verify()
        made = Summary(target, copier.count, copier.size, len(copier.linked))
        about = {"format": FORMAT, "made": iso(utcnow()), "of": str(data.resolve()), "schema_step": step}
        about |= {"files": made.files, "bytes": made.size}
        (work / INFO).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
        copier.add(INFO)
        _write_sums(work / SUMS, copier.sums)
        os.sync()
        put_in_place(work, target)
    return made


def restore(source: Path, data: Path, tell: Tell, *, replace: bool = False) -> Path | None:
    """Make a data folder of a backup, after verifying it; return where the folder that was there is now.

    Raises:
        UpkeepError: It is not a backup or was changed since, or the folder is not empty and `replace` is not given.
        StartError: A server runs on the folder.
    """
    if data.resolve().is_relative_to(source.resolve()):
        raise UpkeepError(f"{data} is inside the backup itself\nHint: choose a folder outside of {source}")
    sums = verify(source, tell)
    aside = None
    with ExitStack() as held:
        if data.exists() and any(data.iterdir()):
            if not replace:
                raise UpkeepError(
                    f"{data} is not empty\nHint: restore into another folder, or use --replace: what is there now is "
                    "kept beside it"
                )
            # Until the end: a server that came meanwhile would write into what is put aside.
            held.enter_context(prepare_folder(data))
            aside = data.with_name(f"{data.name}.before-restore-{utcnow():%Y%m%dT%H%M%S}")
        work = held.enter_context(work_folder(data))
        copier = Copier(work, False, tell)
        for name in sums:
            if name != INFO:
                copier.copy(source / name, name, link=False)
        copier.verify()
        os.sync()
        if aside is not None:
            data.rename(aside)
        elif data.exists() and any(data.iterdir()):
            raise UpkeepError(
                f"{data} was made by another process meanwhile\nHint: end that process and repeat with --replace"
            )
        work.rename(data)
    return aside


def verify(source: Path, tell: Tell) -> dict[str, str]:
    """Compare every file of a backup with its checksum; return the checksums.

    Raises:
        UpkeepError: It is not a backup, or a file is missing or was changed.
    """
    try:
        sums = _read_sums(source / SUMS)
        about = json.loads((source / INFO).read_text(encoding="utf-8"))
        if not isinstance(about, dict):
            raise ValueError(f"{INFO} is not an object")
    except (OSError, ValueError) as error:
        raise UpkeepError(f"{source} is not a backup: {SUMS} or {INFO} cannot be read ({error})") from error
    if about.get("format") != FORMAT:
        raise UpkeepError(f"backup {source} is of format {about.get('format')}; this version reads {FORMAT}")
    bad: list[str] = []
    for number, (name, expected) in enumerate(sums.items(), 1):
        try:
            found = _digest(source / name)
        except OSError as error:
            bad.append(f"{name}: {error.strerror}")
            continue
        if found != expected:
            bad.append(f"{name}: not what was written")
        tell(f"verified {number} of {len(sums)} files")
    if bad:
        shown = "\n".join(f"  {line}" for line in bad[:20])
        raise UpkeepError(f"backup {source} is damaged, {len(bad)} of {len(sums)} files:\n{shown}")
    return sums


class Copier:
    """Copies or links files into a folder and keeps their checksums."""

    def __init__(self, work: Path, link: bool, tell: Tell) -> None:
        self.sums: dict[str, str] = {}
        self.linked: set[str] = set()
        self._work = work
        self._link = link
        self._tell = tell
        self._copied: set[str] = set()
        self._sizes: dict[str, int] = {}
        self._inodes: dict[str, int] = {}

    def copy_files(self, root: Path, newest_ns: int | None = None) -> None:
        """Copy all stored files.

        Args:
            root: Their folder.
            newest_ns: On a later round, copy a file again that was replaced since the last one, unless it was
                written after this moment: what the database names is the content before.
        """
        for name, status in stored_files(root):
            stored = f"{FILES}/{name}"
            known = self._inodes.get(stored)
            if known == status.st_ino or (known is not None and status.st_mtime_ns > (newest_ns or 0)):
                continue
            try:
                self.copy(root / name, stored, link=self._link)
            except FileNotFoundError:  # deleted meanwhile: no longer anybody's
                continue
            self._inodes[stored] = status.st_ino
        (self._work / FILES).mkdir(mode=0o700, exist_ok=True)

    def copy(self, source: Path, name: str, *, link: bool) -> None:
        """Put one file into the folder."""
        target = self._work / name
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        if not (link and self._try_link(source, target)):
            self.sums[name] = _copy(source, target)
            self._copied.add(name)
        else:
            self.sums[name] = _digest(target)
            self.linked.add(name)
        self._sizes[name] = target.stat().st_size
        self._tell(f"files: {self.count}")

    @property
    def count(self) -> int:
        """How many files there are."""
        return len(self._sizes)

    @property
    def size(self) -> int:
        """How many bytes they have."""
        return sum(self._sizes.values())

    def _try_link(self, source: Path, target: Path) -> bool:
        try:
            os.link(source, target, follow_symlinks=False)
        except FileNotFoundError:
            raise
        except OSError:  # another file system, or one without links
            self._link = False
            return False
        return True

    def add(self, name: str) -> None:
        """Count a file that is in the folder already."""
        self.sums[name] = _digest(self._work / name)
        self._sizes[name] = (self._work / name).stat().st_size

    def verify(self) -> None:
        """Read every copy back.

        Raises:
            UpkeepError: One is not what was read.
        """
        for number, name in enumerate(sorted(self._copied), 1):
            if _digest(self._work / name) != self.sums[name]:
                raise UpkeepError(
                    f"{name} was written to {self._work} but reads back differently\nHint: the disk is failing"
                )
            self._tell(f"read back {number} of {len(self._copied)} copies")


def _require_free(target: Path, replace: bool) -> None:
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not (target / SUMS).is_file():
        raise UpkeepError(f"{target} exists and is not a backup\nHint: choose a folder that does not exist yet")
    if not replace:
        raise UpkeepError(
            f"{target} holds a backup already\nHint: choose another folder, e.g. named by the date, or use --replace"
        )


def _copy(source: Path, target: Path) -> str:
    """Copy a file with mode and times; return the checksum of what was read."""
    digest = hashlib.sha256()
    with source.open("rb") as reader, target.open("xb") as writer:
        while piece := reader.read(PIECE):
            digest.update(piece)
            writer.write(piece)
    shutil.copystat(source, target)
    return digest.hexdigest()


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()


ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r"}
"""As coreutils writes names that would break a line; such a line begins with a backslash."""


def _write_sums(path: Path, sums: dict[str, str]) -> None:
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        for name in sorted(sums):
            escaped = re.sub(r"[\\\n\r]", lambda match: ESCAPES[match[0]], name)
            file.write(f"{'' if escaped == name else chr(92)}{sums[name]}  {escaped}\n")


def _read_sums(path: Path) -> dict[str, str]:
    sums: dict[str, str] = {}
    plain = {escaped: character for character, escaped in ESCAPES.items()}
    for line in path.read_text(encoding="utf-8", errors="surrogateescape").split("\n")[:-1]:
        digest, _, name = line.removeprefix("\\").partition("  ")
        if line.startswith("\\"):
            name = re.sub(r"\\[\\nr]", lambda match: plain[match[0]], name)
        if not re.fullmatch("[0-9a-f]{64}", digest) or not name or ".." in Path(name).parts or name.startswith("/"):
            raise ValueError(f"line {line!r} is not a checksum")
        sums[name] = digest
    return sums
