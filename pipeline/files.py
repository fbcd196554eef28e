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

    Raises:
        OutputFileError: Nothing can be written there.
    """
    if path.is_dir():
        raise OutputFileError(f"cannot write {path}: it is a folder")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OutputFileError(f"cannot write {path}: {error.strerror or error}") from error
