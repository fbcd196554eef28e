"""The archives of a dataset version and its parents, fetched several at once and read one file after the other.

Outside system: the ClearML server and its file server, through the SDK.
"""

from __future__ import annotations

import contextlib
import shutil
import zipfile
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pipeline.sdk import stored_files
from pipeline.sdk.stored_files import StoredFile
from pipeline.step_runtime.scratch import scratch_folder

AHEAD = 4
"""Files that are fetched while one is read."""


@contextlib.contextmanager
def fetched(dataset: Any, suffix: str) -> Iterator[Iterator[Path] | None]:
    """Give the files with that end of their name, in the order of their names; each is removed when the next is taken.

    Args:
        dataset: The version, as `pipeline.sdk.datasets` opens it.
        suffix: The end of their names.

    Returns:
        None where the version does not say which archive a file is in.

    Raises:
        ValueError: An archive is not where the server says.
        BadZipFile: It is damaged.
    """
    places = dataset.places_of_files(suffix)
    if places is None:
        yield None
        return
    folder = scratch_folder()
    threads = ThreadPoolExecutor(AHEAD)
    try:
        yield _files(places, folder, threads)
    finally:
        threads.shutdown(cancel_futures=True)
        shutil.rmtree(folder, ignore_errors=True)


def _files(places: Mapping[str, StoredFile], folder: Path, threads: ThreadPoolExecutor) -> Iterator[Path]:
    waiting: deque[Future[Path]] = deque()
    names = iter(enumerate(sorted(places)))

    def ask() -> None:
        number, name = next(names, (0, None))
        if name is not None:
            waiting.append(threads.submit(_fetch, name, places[name], folder / str(number)))

    for _ in range(AHEAD):
        ask()
    while waiting:
        file = waiting.popleft().result()
        ask()
        yield file
        file.unlink()


def _fetch(name: str, stored: StoredFile, folder: Path) -> Path:
    """Fetch one file out of its archive; a file that is stored as it is has none."""
    folder.mkdir()
    file = folder / Path(name).name
    if not stored.uri.endswith(".zip"):
        stored_files.fetch(stored, file)
        return file
    archive = folder / "archive"
    stored_files.fetch(stored, archive)
    with zipfile.ZipFile(archive) as opened:
        try:
            member = opened.open(name)
        except KeyError as error:
            raise ValueError(f"{stored.uri} has no file {name}") from error
        with member, file.open("wb") as target:
            shutil.copyfileobj(member, target)
    archive.unlink()
    return file
