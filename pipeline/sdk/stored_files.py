"""Files on a file server that several records refer to: stored once, read in part.

A dataset version owns its files: its task has them as output artifacts. What else refers to such a file, a step that
hands it on or a shard that has made it, has it as an input artifact. So neither the SDK nor a server removes the file
with the step. Outside systems: the ClearML server and its file server, through the SDK.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from clearml import StorageManager
from clearml.backend_api.services import tasks
from clearml.binding import artifacts
from clearml.datasets import dataset as sdk_datasets
from clearml.storage.helper import StorageHelper

from pipeline.step_runtime import written

OWNED, REFERRED = "output", "input"
"""Modes of artifacts: the file goes with the task; it does not."""

READERS = 4
"""Requests at once."""

PIECE, SMALL_GAP, LARGE_REQUEST = 1 << 20, 1 << 16, 1 << 24
TIMEOUT_S = (30.0, 60.0)

_handed_on: dict[str, StoredFile] = {}
"""Files of this machine that are on the file server already."""


@dataclass(frozen=True)
class StoredFile:
    """A file on the file server."""

    uri: str
    sha256: str
    size: int


def prepare() -> None:
    """Patch the SDK: known digests are not computed again, and a file that is stored is not sent again."""
    plain = artifacts.Artifacts.upload_artifact
    if plain.__module__ == __name__:
        return

    def upload_artifact(self: Any, name: str, artifact_object: Any = None, **kwargs: Any) -> bool:
        stored = _handed_on.get(os.path.abspath(artifact_object)) if isinstance(artifact_object, os.PathLike) else None
        if stored is None:
            return bool(plain(self, name=name, artifact_object=artifact_object, **kwargs))
        self._add_artifact(_artifact(name, stored, REFERRED))
        return True

    artifacts.Artifacts.upload_artifact = upload_artifact
    for module in (artifacts, sdk_datasets):
        module.sha256sum = _knowing_digests(module.sha256sum)


def _knowing_digests(plain: Callable[..., Any]) -> Callable[..., Any]:
    def sha256sum(filename: str, **kwargs: Any) -> Any:
        known = written.digest_of(filename) if not kwargs.get("skip_header") else None
        return (known, None) if known else plain(filename, **kwargs)

    return sha256sum


def hand_on(file: Path, stored: StoredFile) -> None:
    """Let a task that has this file for an artifact refer to the stored one, in place of sending it."""
    _handed_on[os.path.abspath(file)] = stored


def send(task: Any, file: Path, *, mode: str) -> StoredFile:
    """Store a file below a task, as an artifact of the file's name.

    Args:
        task: The SDK's task.
        file: The file.
        mode: `OWNED`, or `REFERRED` where another record will own it.

    Raises:
        ValueError: It did not reach the file server.
    """
    manager = task._artifacts_manager
    uri = manager._upload_local_file(file.absolute(), file.name, override_filename=file.name, wait_on_upload=True)
    stored = StoredFile(str(uri), written.digest_of(file) or written.note_of(file), file.stat().st_size)
    manager._add_artifact(_artifact(file.name, stored, mode))
    return stored


def refer(task: Any, name: str, stored: StoredFile, *, mode: str) -> None:
    """Give a task a stored file as an artifact."""
    task._artifacts_manager._add_artifact(_artifact(name, stored, mode))


def _artifact(name: str, stored: StoredFile, mode: str) -> Any:
    preview = f"{stored.uri.rpartition('/')[2]} - {stored.size:,} bytes\n"
    return tasks.Artifact(
        key=name,
        type="custom",
        mode=mode,
        uri=stored.uri,
        content_size=stored.size,
        hash=stored.sha256,
        timestamp=int(time.time()),
        type_data=tasks.ArtifactTypeData(preview=preview),
    )


def verify(stored: Sequence[StoredFile]) -> None:
    """Check that files have the size and the digest that are known of them; nothing is kept of what is read.

    Raises:
        ValueError: One cannot be read, or holds something else.
    """
    with ThreadPoolExecutor(READERS) as threads:
        for _ in threads.map(_verify, stored):
            pass


def _verify(stored: StoredFile) -> None:
    digest, size = hashlib.sha256(), 0
    for piece in _Source(stored.uri).pieces():
        digest.update(piece)
        size += len(piece)
    if (digest.hexdigest(), size) != (stored.sha256, stored.size):
        raise ValueError(f"{stored.uri} is not the file that was stored there: {size:,} bytes of {stored.size:,}")


def fetch(stored: StoredFile, target: Path) -> None:
    """Fetch a whole file.

    Raises:
        ValueError: It cannot be read, or has another size.
    """
    with target.open("wb") as stream:
        for piece in _Source(stored.uri).pieces():
            stream.write(piece)
    if target.stat().st_size != stored.size:
        raise ValueError(f"{stored.uri} has {target.stat().st_size:,} bytes, {stored.size:,} were stored")


class PartialCopy:
    """A copy of a stored file that has only the parts which were asked for where they are in it; the rest is holes.

    Args:
        stored: The file.
        target: The copy.
    """

    def __init__(self, stored: StoredFile, target: Path) -> None:
        self._stored = stored
        self._source = _Source(stored.uri)
        if self._source.has_parts:
            with target.open("wb") as stream:
                stream.truncate(stored.size)
        else:
            fetch(stored, target)
        self._descriptor = os.open(target, os.O_WRONLY)

    def __enter__(self) -> PartialCopy:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def fill(self, spans: Iterable[tuple[int, int]]) -> None:
        """Fetch parts.

        Args:
            spans: First and last (not included) byte of each.

        Raises:
            ValueError: One cannot be read.
        """
        if self._source.has_parts:
            with ThreadPoolExecutor(READERS) as threads:
                for _ in threads.map(self._copy, _merged(spans)):
                    pass

    def _copy(self, span: tuple[int, int]) -> None:
        place, stop = span
        for piece in self._source.pieces(span):
            os.pwrite(self._descriptor, piece, place)
            place += len(piece)
        if place != stop:
            raise ValueError(f"{self._stored.uri} ends at byte {place:,}, before {stop:,}")


def _merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return spans in order, with small gaps filled, in requests that leave something to the other readers."""
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(spans):
        if merged and start - merged[-1][1] <= SMALL_GAP and stop - merged[-1][0] <= LARGE_REQUEST:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return merged


class _Source:
    """A file that is read by its address: by HTTP in parts, from elsewhere as a whole."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self.has_parts = uri.startswith(("http://", "https://"))
        if self.has_parts:
            container = StorageHelper.get(uri)._container
            self._session, self._headers = container.session, dict(container.get_headers(uri) or {})

    def pieces(self, part: tuple[int, int] | None = None) -> Iterator[bytes]:
        """Yield the bytes of a part, or of the whole.

        Raises:
            ValueError: The file is not there, or cannot be read.
        """
        if not self.has_parts:
            yield from self._whole()
            return
        headers = self._headers | {"Accept-Encoding": "identity"}
        headers |= {"Range": f"bytes={part[0]}-{part[1] - 1}"} if part else {}
        try:
            with self._session.get(self._uri, headers=headers, stream=True, timeout=TIMEOUT_S) as answer:
                if answer.status_code not in (200, 206):
                    raise ValueError(f"{self._uri}: {answer.status_code} {answer.reason}")
                skip = part[0] if part and answer.status_code == 200 else 0  # a server that does not know parts
                left = part[1] - part[0] if part else None
                for piece in answer.iter_content(PIECE):
                    if skip:
                        piece, skip = piece[skip:], max(skip - len(piece), 0)
                    piece = piece if left is None else piece[:left]
                    if piece:
                        yield piece
                    if left is not None:
                        left -= len(piece)
                        if not left:
                            return
        except requests.RequestException as error:
            raise ValueError(f"{self._uri} cannot be read: {error}") from error

    def _whole(self) -> Iterator[bytes]:
        local = StorageManager.get_local_copy(remote_url=self._uri, extract_archive=False)
        if not local:
            raise ValueError(f"{self._uri} cannot be read")
        with Path(local).open("rb") as stream:
            while piece := stream.read(PIECE):
                yield piece
