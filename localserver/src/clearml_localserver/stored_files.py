"""The stored files: one folder on disk, changed in single steps.

A file appears under its name complete and on disk, or not at all; no name leads out of the folder. Knows no HTTP, but
refuses with the status that the file server answers. Every method blocks: call them on a thread.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import threading
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote
from uuid import uuid4

from clearml_localserver.errors import ApiError

PARTIAL = ".partial"
"""Folder below the root for what is being written or deleted; no request reaches it."""


MAX_FOLDERS = 100
MAX_FOLDERS_AT_ONCE = 1000
"""Most folders of one upload: other uploads wait while they are made, and each is written to disk separately."""

MAX_PART_BYTES = 255
"""What Linux file systems take."""

ESCAPED = {code: f"%{code:02X}" for code in (*range(1, 32), ord('"')) if code != 27} | {ord("\t"): None}
BACKSLASHES = re.compile(r"\\+")
"""What stored names do not hold, since clients write it in a form's header in several ways or not at all: `"`, line
breaks and control characters arrive percent-encoded, so that `a"b` and `a%22b` arrive alike and must be one file; some
clients double a backslash; a tab is dropped by whatever takes the file's address apart."""

SDK_SAFE = "'[]{}()$^,.; -_+-=/"
"""What the SDK leaves as it is when it makes a folder's name of a project's or task's name."""


def stored_parts(name: str) -> tuple[str, ...]:
    """Return the folders and the file that a name means below the root.

    Empty and `.` parts are dropped, `..` goes up but never out; the rest stays but for `ESCAPED` and `BACKSLASHES`.

    Raises:
        ApiError: 404, the name leads out of the root, is empty or cannot be a file's.
    """
    parts = _parts(name)
    if len(parts) > MAX_FOLDERS + 1:
        raise not_found(name)
    return parts


def require_storable(name: str) -> None:
    """Check that a file can be stored under a name.

    Raises:
        ApiError: 400, it is too long or lies too deep; 404, it is not a file's name.
    """
    parts = _parts(name)
    shown = name if len(name) <= 200 else f"{name[:200]}..."
    if len(parts) > MAX_FOLDERS + 1:
        raise ApiError(400, 0, f"File {shown} lies below more than {MAX_FOLDERS} folders; nothing was stored")
    if any(len(part.encode()) > MAX_PART_BYTES for part in parts):
        raise ApiError(400, 0, f"A part of the name {shown} is longer than {MAX_PART_BYTES} bytes; nothing was stored")


def _parts(name: str) -> tuple[str, ...]:
    parts: list[str] = []
    for part in BACKSLASHES.sub(r"\\", name.translate(ESCAPED)).split("/"):
        if part == "..":
            if not parts:
                raise not_found(name)
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    if not parts or parts[0] == PARTIAL or "\0" in name:
        raise not_found(name)
    return tuple(parts)


def spellings(name: str) -> list[tuple[str, ...]]:
    """Return the stored names that a name can mean, the exact one first.

    The SDK stores a task's files below the encoded names of project and task. It does not encode some of their
    addresses (those of models) again, so requests for them have the plain names. Data folders of earlier versions have
    quotes in names.

    Raises:
        ApiError: 404, the name is not a file's.
    """
    parts = stored_parts(name)
    above, slash, last = name.rpartition("/")
    encoded = stored_parts(f"{quote(above, safe=SDK_SAFE)}{slash}{last}")
    quoted = tuple(part.replace("%22", '"') for part in parts)
    return list(dict.fromkeys((parts, encoded, quoted)))


class Folder:
    """The stored files of one server."""

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.root = root.resolve()
        self.partial = self.root / PARTIAL
        shutil.rmtree(self.partial, ignore_errors=True)
        self.partial.mkdir()
        # Renames and removals change folders; one at a time, an upload never loses the folder it just made.
        self._changing = threading.Lock()

    def locate(self, name: str) -> Path:
        """Return where a name is stored, or would be.

        Raises:
            ApiError: 404, the name leads out of the root, in itself or through a symbolic link.
        """
        return self._at(stored_parts(name), name)

    def _at(self, parts: tuple[str, ...], name: str) -> Path:
        path = str(self.root)
        for part in parts:
            path = f"{path}/{part}"
            try:
                is_link = stat.S_ISLNK(os.lstat(path).st_mode)
            except OSError:  # nothing is there: no link either
                continue
            if is_link and not self._leads_inside(path):
                raise not_found(name)
        return Path(path)

    def _leads_inside(self, link: str) -> bool:
        try:
            return Path(link).resolve().is_relative_to(self.root)
        except (OSError, RuntimeError):  # a loop of links
            return False

    def _find(self, name: str) -> Path:
        """Return where a name is stored; if it is not, where it is stored in another spelling."""
        exact, *others = spellings(name)
        path = self._at(exact, name)
        if not others or os.path.lexists(path):
            return path
        spelt = (self._at(parts, name) for parts in others)
        return next((other for other in spelt if os.path.lexists(other)), path)

    def open(self, name: str) -> BinaryIO:
        """Open a stored file for reading.

        Raises:
            ApiError: 404, there is none.
        """
        try:
            file = self._find(name).open("rb")
        except OSError as error:
            raise not_found(name) from error
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            file.close()
            raise not_found(name)
        return file

    def publish(self, files: dict[str, Path]) -> list[str]:
        """Rename complete temporary files to their names, all of them or, where one cannot be, none.

        Raises:
            ApiError: 409, a name is a folder's or lies below a file; 413, they lie in too many folders.
        """
        targets = {self.locate(name): temporary for name, temporary in files.items()}
        folders = {folder: target for target in targets for folder in self._below_root(target)}
        if len(folders) > MAX_FOLDERS_AT_ONCE:
            text = f"The files of one upload lie in at most {MAX_FOLDERS_AT_ONCE} folders; nothing was stored"
            raise ApiError(413, 0, text)
        with self._changing:
            for target in targets:
                if target.is_dir():
                    raise ApiError(409, 0, f"{self._shown(target)} is a folder: a file cannot replace it")
            missing = [folder for folder, below in folders.items() if not self._is_there(folder, below, targets)]
            for target, temporary in targets.items():
                target.parent.mkdir(parents=True, exist_ok=True)
                temporary.replace(target)
        for folder in {target.parent for target in targets} | {folder.parent for folder in missing}:
            _sync_folder(folder)
        return [self._shown(target) for target in targets]

    def _is_there(self, folder: Path, below: Path, files: dict[Path, Path]) -> bool:
        """Return whether a folder exists; refuse a file in its place."""
        if folder in files or (folder.exists() and not folder.is_dir()):
            raise ApiError(409, 0, f"{self._shown(folder)} is a file: {self._shown(below)} cannot be stored below it")
        return folder.exists()

    def _shown(self, path: Path) -> str:
        return str(path.relative_to(self.root))

    def _below_root(self, target: Path) -> list[Path]:
        """Return the folders above a file, from the innermost up to the one below the root."""
        return list(target.parents)[: len(target.relative_to(self.root).parts) - 1]

    def delete(self, name: str, with_folders: bool = False) -> str:
        """Delete a file, and the folders that this leaves empty; return its stored name.

        Raises:
            ApiError: 404, there is no such file (or, `with_folders`, no such folder).
        """
        path = self._find(name)
        if not os.path.lexists(path):
            raise not_found(name)
        doomed = self.partial / uuid4().hex
        with self._changing:
            if path.is_dir() and not path.is_symlink() and not with_folders:
                raise not_found(name)
            try:
                path.replace(doomed)  # out of sight in one step; what takes long needs no lock
            except OSError as error:
                raise not_found(name) from error
            for ancestor in self._below_root(path):
                try:
                    ancestor.rmdir()
                except OSError:  # not empty: so are all above it
                    break
        if doomed.is_dir() and not doomed.is_symlink():
            shutil.rmtree(doomed)
        else:
            doomed.unlink()
        return self._shown(path)


def _sync_folder(folder: Path) -> None:
    """Put a folder's entries on disk: a renamed file is safe only with its folder."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:  # deleted meanwhile
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def not_found(name: str) -> ApiError:
    """Return the 404 of a name that no file has."""
    return ApiError(404, 0, f"File {name} not found")
