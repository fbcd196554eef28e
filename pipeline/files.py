"""Writing files so that they appear complete or not at all.

The module must not know what is in them. It talks to no outside system but the file system.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import OutputFileError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside a file; it takes the file's place if the block succeeds, and is gone if not.

    The folder is made. What is not a file, such as `/dev/null` or a pipe, is written itself: see `whole_or_not`.

    Raises:
        OutputFileError: Nothing can be written there.
    """
    if path.is_dir():
        raise OutputFileError(f"cannot write {path}: it is a folder")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_or_not(path) as temporary:
            yield temporary
    except OSError as error:
        raise OutputFileError(f"cannot write {path}: {error.strerror or error}") from error


@contextlib.contextmanager
def whole_or_not(path: Path) -> Iterator[Path]:
    """As `replacing`, in a folder that is there, and with the system's own errors.

    A device or a pipe must never be replaced: root would take `/dev/null` from the whole machine. So it is given
    itself. A link stays, and the file that it names is replaced.

    Raises:
        OSError: Nothing can be written there.
    """
    if path.exists() and not path.is_file():
        yield path
        return
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
