"""A data folder seen from outside: what it contains, whether a server uses it, read access to its database."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from clearml_localserver.database import FILE_NAME, connect_read_only, reading
from clearml_localserver.errors import OperatorError
from clearml_localserver.file_locks import try_lock
from clearml_localserver.store import Tx
from clearml_localserver.stored_files import PARTIAL

FILES = "files"
CREDENTIALS = "credentials.json"
CONFIGURATION = "clearml.conf"

Tell = Callable[[str], None]
"""Called often, with a few words on what is being done."""


class UpkeepError(OperatorError):
    """An upkeep command that cannot be done."""


def require_data_folder(data: Path) -> Path:
    """Return the database of a data folder.

    Raises:
        UpkeepError: It is not a data folder.
    """
    database = data / FILE_NAME
    if not database.is_file():
        raise UpkeepError(f"{data} is not a data folder of localserver: it has no {FILE_NAME}")
    return database


def require_outside(target: Path, data: Path) -> None:
    """Check that a folder does not lie in a data folder, which a later backup or restore would take with it.

    Raises:
        UpkeepError: It does.
    """
    if target.resolve().is_relative_to(data.resolve()):
        raise UpkeepError(f"{target} is inside data folder {data}\nHint: choose a folder outside of it")


def running_pid(data: Path) -> str | None:
    """Return the pid of the server that runs on a folder (as text), or None."""
    try:
        handle = os.open(data / "lock", os.O_RDONLY)
    except OSError:  # no server ever ran here
        return None
    try:
        if try_lock(handle, shared=True):
            return None
        return os.read(handle, 32).decode("ascii", "replace").strip() or "unknown"
    finally:
        os.close(handle)


@contextmanager
def reading_database(database: Path) -> Iterator[Tx]:
    """Give one read transaction on a database, whether or not a server runs on it.

    Raises:
        StartError: It cannot be read.
    """
    with reading(database), closing(connect_read_only(database)) as connection:
        connection.execute("BEGIN")
        yield Tx(connection)


def stored_files(root: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Yield name (relative, with `/`) and status of every stored file, unordered, without half-written uploads."""
    folders = [root]
    while folders:
        folder = folders.pop()
        try:
            entries = list(os.scandir(folder))
        except FileNotFoundError:  # deleted meanwhile, or never made
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if folder != root or entry.name != PARTIAL:
                    folders.append(Path(entry.path))
            elif entry.is_file(follow_symlinks=False):
                try:
                    yield os.path.relpath(entry.path, root), entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue


@contextmanager
def work_folder(target: Path) -> Iterator[Path]:
    """Give an empty folder beside the target that is this process's alone."""
    work = target.with_name(f".{target.name}.partial")
    work.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(work, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if not try_lock(handle):
            raise UpkeepError(f"another process writes {target} now\nHint: wait for it")
        for path in work.iterdir():  # left by an interrupted process
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)  # nothing is there once it has been put in place
    finally:
        os.close(handle)


def put_in_place(work: Path, target: Path) -> None:
    """Rename a finished folder to its name; an older one of that name is removed."""
    if target.exists() and any(target.iterdir()):
        old = target.with_name(f".{target.name}.replaced")
        shutil.rmtree(old, ignore_errors=True)
        target.rename(old)
        work.rename(target)
        shutil.rmtree(old)
    else:
        work.rename(target)
