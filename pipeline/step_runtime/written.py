"""Files that are hashed while they are written: what sends one later need not read it again to learn its digest.

Outside system: the file system.
"""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import Any

_known: dict[str, tuple[tuple[int, int, int], str]] = {}
"""File → which file it was when it was complete, and its digest."""


class HashedFile(io.RawIOBase):
    """A new file, written from its begin to its end.

    Args:
        path: The file; one that is there is overwritten.
    """

    def __init__(self, path: Path) -> None:
        self._stream = path.open("wb", buffering=0)
        self._digest = hashlib.sha256()
        self._size = 0

    @property
    def sha256(self) -> str:
        """The digest of what has been written so far."""
        return self._digest.hexdigest()

    def writable(self) -> bool:
        """Say that it can be written."""
        return True

    def tell(self) -> int:
        """Return how many bytes have been written."""
        return self._size

    def write(self, data: Any) -> int:
        """Write all of the bytes."""
        whole = memoryview(data).cast("B")
        self._digest.update(whole)
        rest = whole
        while rest:
            rest = rest[self._stream.write(rest) :]
        self._size += len(whole)
        return len(whole)

    def close(self) -> None:
        """Close the file."""
        self._stream.close()
        super().close()


def note(path: Path, sha256: str) -> None:
    """Remember the digest of a file that is complete."""
    _known[os.path.abspath(path)] = (_identity(path), sha256)


def note_of(path: Path) -> str:
    """Compute the digest of a file that is complete, remember it, and return it."""
    with path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    note(path, sha256)
    return sha256


def digest_of(path: str | Path) -> str | None:
    """Return the digest of a file that has not changed since it was noted; None for any other."""
    identity, sha256 = _known.get(os.path.abspath(path), (None, None))
    if identity is None:
        return None
    try:
        return sha256 if _identity(path) == identity else None
    except OSError:
        return None


def _identity(path: str | Path) -> tuple[int, int, int]:
    found = os.stat(path)
    return found.st_ino, found.st_size, found.st_mtime_ns
