"""The stored files: one folder on disk, changed in single steps.

A file appears under its name complete and on disk, or not at all; no name leads out of the folder. Knows no HTTP, but
refuses with the status that the file server answers. Every method blocks: call them on a thread.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import threading
from pathlib import Path
from typing import BinaryIO

from localserver.errors import ApiError

PARTIAL = ".partial"
"""Folder below the root for what is being written or deleted; no request reaches it."""


def stored_parts(name: str) -> tuple[str, ...]:
    """Return the folders and the file that a name means below the root.

    Empty and `.` parts are dropped, `..` goes up but never out; everything else is taken literally.

    Raises:
        ApiError: 404, the name leads out of the root, is empty or cannot be a file's.
    """
    parts: list[str] = []
    for part in name.split("/"):
        if part == "..":
            if not parts:
                raise not_found(name)
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    if not parts or parts[0] == PARTIAL or "\0" in name:
        raise not_found(name)
    return tuple(parts)


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
        """Return where a name is stored.

        Raises:
            ApiError: 404, the name leads out of the root, in itself or through a symbolic link.
        """
        path = self.root.joinpath(*stored_parts(name))
        try:
            inside = path.resolve().is_relative_to(self.root)
        except (OSError, RuntimeError):  # a loop of links
            inside = False
        if not inside:
            raise not_found(name)
        return path

    def open(self, name: str) -> BinaryIO:
        """Open a stored file for reading.

        Raises:
            ApiError: 404, there is none.
        """
        try:
            file = self.locate(name).open("rb")
        except OSError as error:
            raise not_found(name) from error
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            file.close()
            raise not_found(name)
        return file

    def publish(self, files: dict[str, Path]) -> list[str]:
        """Rename complete temporary files to their names, all of them or, where one cannot be, none.

        Raises:
            ApiError: 409, a name is a folder's or lies below a file.
        """
        targets = {self.locate(name): temporary for name, temporary in files.items()}
        with self._changing:
            for target in targets:
                self._check_free(target, targets)
            changed = {target.parent for target in targets}
            for target, temporary in targets.items():
                changed |= {ancestor.parent for ancestor in self._below_root(target) if not ancestor.exists()}
                target.parent.mkdir(parents=True, exist_ok=True)
                temporary.replace(target)
        for folder in changed:
            _sync_folder(folder)
        return [str(target.relative_to(self.root)) for target in targets]

    def _check_free(self, target: Path, others: dict[Path, Path]) -> None:
        if target.is_dir():
            raise ApiError(409, 0, f"{target.relative_to(self.root)} is a folder: a file cannot replace it")
        for ancestor in self._below_root(target):
            if ancestor in others or (ancestor.exists() and not ancestor.is_dir()):
                name = target.relative_to(self.root)
                raise ApiError(409, 0, f"{ancestor.relative_to(self.root)} is a file: {name} cannot be stored below it")

    def _below_root(self, target: Path) -> list[Path]:
        return [ancestor for ancestor in target.parents if ancestor != self.root and self.root in ancestor.parents]

    def delete(self, name: str, with_folders: bool = False) -> str:
        """Delete a file, and the folders that this leaves empty; return its stored name.

        Raises:
            ApiError: 404, there is no such file (or, `with_folders`, no such folder).
        """
        path = self.locate(name)
        with self._changing:
            try:
                if path.is_dir() and not path.is_symlink():
                    if not with_folders:
                        raise not_found(name)
                    doomed = Path(tempfile.mkdtemp(dir=self.partial))
                    path.replace(doomed / "folder")  # out of sight in one step, then file by file
                    shutil.rmtree(doomed)
                else:
                    path.unlink()
            except OSError as error:
                raise not_found(name) from error
            for ancestor in self._below_root(path):
                try:
                    ancestor.rmdir()
                except OSError:  # not empty: so are all above it
                    break
        return str(path.relative_to(self.root))


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
