"""The adapter for ClearML datasets: read a version, make a version.

Why not `Dataset` as it is: two versions may carry the same number there (and `get` takes whichever was touched last),
a version under construction is found like a finished one, and a killed upload leaves a version that looks alive.
Here a version number is taken once, only finished versions are read, and what fails is removed.

It must not know what is in the files. Outside system: the ClearML server and its file server, through the SDK.
"""

from __future__ import annotations

import contextlib
import logging
import time
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clearml import Task
from clearml.backend_interface.session import SendError

from clearml_access.errors import UserFacingError
from pipeline.clearml_server import ClearmlServer, DatasetVersion
from pipeline.datasets import archives, parts
from pipeline.datasets.lookup import DatasetNotFoundError, DatasetStateError
from pipeline.sdk import datasets as sdk_datasets
from pipeline.sdk import stored_files
from pipeline.sdk.datasets import COMPRESSED, FastDataset, cache_alone
from pipeline.sdk.stored_files import StoredFile
from pipeline.versions import unique_version, version_to_hold

MOVES = 100
"""How many numbers a version tries; each run that starts at the same moment may cost one."""

NAMELESS_S = 3.0
"""A version without maker and number that has neither after these seconds was left by a process that was killed."""


@dataclass(frozen=True)
class DatasetSource:
    """A finished dataset version, readable."""

    id: str
    project: str
    name: str
    version: str
    _dataset: Any

    def local_folder(self) -> Path:
        """Return a folder that holds its files (and its parents'); the SDK caches it, so it must not be changed."""
        self._dataset.make_room_in_cache()
        with cache_alone():
            return Path(self._dataset.get_local_copy())

    @contextlib.contextmanager
    def files(self, suffix: str) -> Iterator[Iterator[Path]]:
        """Give its files of a kind and its parents', one after the other in the order of their names.

        They are fetched a few ahead, and each is removed when the next one is asked for.

        Raises:
            DatasetStateError: A file cannot be fetched or unpacked.
        """
        with archives.fetched(self._dataset, suffix) as fetched:
            if fetched is None:  # made by an SDK that did not note which archive a file is in
                folder = self.local_folder()
                fetched = iter(sorted(folder.rglob(f"*{suffix}"), key=lambda file: file.relative_to(folder).as_posix()))
            yield self._told(fetched)

    def _told(self, files: Iterator[Path]) -> Iterator[Path]:
        try:
            yield from files
        except (ValueError, zipfile.BadZipFile) as error:
            raise DatasetStateError(f"version {self.version} of dataset {self.name!r}: {error}") from error

    def own_names(self) -> list[str]:
        """Return the names of the files that it adds to its parents'."""
        return sorted([*self._archived(), *self._dataset.own_links()])

    def _archived(self) -> list[str]:
        entries = self._dataset.file_entries
        return [entry.relative_path for entry in entries if entry.parent_dataset_id == self.id]

    def own_files(
        self,
        folder: Path,
        *,
        names: Collection[str] | None = None,
        columns: Collection[str] | None = None,
        rows: tuple[int, int] | None = None,
    ) -> list[Path]:
        """Fetch the files that it adds to its parents' into a folder, in the order of their names.

        Of a parquet file that is stored as it is, only what is wanted is fetched: the copy has holes elsewhere.

        Args:
            folder: The folder, which is new.
            names: Only these files.
            columns: Only these columns.
            rows: Only rows from the first number up to, not including, the second.

        Raises:
            DatasetStateError: A file is not where the server says, or cannot be unpacked.
        """
        links = {name: stored for name, stored in self._dataset.own_links().items() if names is None or name in names}
        archived = [name for name in self._archived() if names is None or name in names]
        complaints: list[str] = []
        folder.mkdir(parents=True, exist_ok=True)
        try:
            if archived:
                with _sdk_complaints(logging.WARNING) as complaints, cache_alone():
                    self._dataset.fetch_own_archives(folder)
            for name, stored in links.items():
                if columns is None and rows is None:
                    stored_files.fetch(stored, folder / name)
                else:
                    parts.fetch_some(stored, folder / name, columns=columns, rows=rows)
        except ValueError as error:
            raise DatasetStateError(f"version {self.version} of dataset {self.name!r}: {error}") from error
        files = [folder / name for name in sorted([*archived, *links])]
        absent = [file.name for file in files if not file.is_file()]
        if absent:
            cause = ": ".join(complaints[-1].splitlines()) if complaints else "the file server does not have them"
            raise DatasetStateError(
                f"version {self.version} of dataset {self.name!r}: no {', '.join(absent)} could be fetched: {cause}"
            )
        return files


def zipped(file: Path) -> Path:
    """Compress a file as a version stores it, ahead of the version; return the archive, which is beside it.

    Raises:
        OSError: It cannot be written.
    """
    archive = file.with_name(f"{file.name}.zip")
    sdk_datasets.zip_alone(file, archive)
    return archive


def open_version(*, dataset_id: str, alias: str) -> DatasetSource:
    """Open a finished version for reading, and record on the running task that it was used, as `alias`.

    Raises:
        DatasetNotFoundError: No dataset has that id.
    """
    sdk_datasets.prepare()
    try:
        dataset = FastDataset.get(dataset_id, alias=alias)
    except ValueError as error:
        raise DatasetNotFoundError(f"dataset version {dataset_id} cannot be opened: {error}") from error
    return DatasetSource(dataset.id, dataset.project, dataset.name, str(dataset.version), dataset)


class DatasetDraft:
    """A dataset version under construction.

    Attributes:
        id: Its id, which is also its task's.
        version: Its number.
    """

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset
        self._compression = zipfile.ZIP_STORED
        self.id: str = dataset.id
        self.version: str = str(dataset.version)

    def add(self, file: Path, *, archive: Path | None = None) -> None:
        """Add a file under its own name.

        Args:
            file: The file.
            archive: What `zipped` has made of it, if it is the only one; it is removed once it is sent.
        """
        if file.suffix not in COMPRESSED:
            self._compression = zipfile.ZIP_DEFLATED
        if archive is not None:
            self._dataset.take_archive(file, archive)
        self._dataset.add_files(str(file), local_base_folder=str(file.parent))

    def store(self, file: Path) -> StoredFile:
        """Store a file as it is, under its own name; a step that returns this file refers to what is stored here.

        Raises:
            ValueError: It did not reach the file server.
        """
        stored: StoredFile = self._dataset.store_file(file)
        stored_files.hand_on(file, stored)
        return stored

    def refer(self, name: str, stored: StoredFile) -> None:
        """Add a file that is stored already, as a part of the version: it is not copied."""
        self._dataset.refer(name, stored)

    def upload(self) -> None:
        """Send the files, zipped by one thread: the results of several the SDK unpacks into memory and zips again."""
        # The SDK's preview needs pandas; ours is the table that callers report.
        self._dataset.upload(show_progress=False, preview=False, max_workers=1, compression=self._compression)

    def report_plot(self, title: str, series: str, figure: Any) -> None:
        """Show a plotly figure on the dataset's task."""
        self._dataset.get_logger().report_plotly(title, series, figure, iteration=0)

    def report_table(self, title: str, series: str, rows: Sequence[Sequence[Any]]) -> None:
        """Show a table on the dataset's task; the first row is the header."""
        self._dataset.get_logger().report_table(title, series, iteration=0, table_plot=[list(row) for row in rows])


@contextlib.contextmanager
def new_version(
    server: ClearmlServer,
    *,
    project: str,
    name: str,
    version: str,
    parents: Sequence[str] = (),
    description: str = "",
    facts: Mapping[str, object] | None = None,
    exact: bool = False,
) -> Iterator[DatasetDraft]:
    """Make a dataset version: finished when the block ends, gone when the block fails.

    Args:
        server: The server, to look at the versions that exist.
        project: The dataset's project.
        name: The dataset's name.
        version: The number wanted; `1.2.1` becomes `1.2.1.post2` if it is taken.
        parents: Ids of the versions whose files it contains too.
        description: Shown on the dataset's page.
        facts: `section/name` → value, recorded on the dataset's task: what it was made from, and how.
        exact: Take the number wanted or none.

    Raises:
        DatasetStateError: The version could not be stored, or `exact` and it is taken.
    """
    sdk_datasets.prepare()
    # One that wants this number or none learns from `_take_number` whether it has it.
    taken = set() if exact else {item.version for item in server.dataset_versions(project, name)}
    dataset = None
    try:
        dataset = FastDataset.create(
            dataset_project=project,
            dataset_name=name,
            dataset_version=unique_version(version, taken),
            parent_datasets=list(parents),
            description=description,
        )
        _take_number(server, dataset, name, exact=exact)
        if facts:
            server.add_facts(dataset.id, facts)
        draft = DatasetDraft(dataset)
        yield draft
        with _sdk_complaints() as complaints:
            draft.upload()
            dataset.store_state()
            if not _is_stored(server, dataset):
                raise _incomplete(complaints)
            dataset.finalize()
            if not dataset.is_final():
                raise _incomplete(complaints)
    except BaseException as error:
        dataset_id = dataset.id if dataset is not None else None
        refusal = _refusal(server, dataset_id, error)
        if dataset_id:
            discard(dataset_id)
        if refusal:
            raise DatasetStateError(
                f"version {version} of dataset {name!r} could not be stored: {refusal}",
                hint="check the server's free space, then run the same command again",
            ) from error
        raise


@contextlib.contextmanager
def _sdk_complaints(level: int = logging.ERROR) -> Iterator[list[str]]:
    """Collect what the SDK logs in the block: only the log says why an upload or an unpacking failed."""
    found: list[str] = []
    handler = logging.Handler(level)
    handler.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("clearml")
    logger.addHandler(handler)
    try:
        yield found
    finally:
        logger.removeHandler(handler)


def _incomplete(complaints: Sequence[str]) -> ValueError:
    return ValueError(": ".join(["the upload did not reach the server whole", *complaints[-1:]]))


def _is_stored(server: ClearmlServer, dataset: Any) -> bool:
    """Say whether the server has the files and the list of them: some refusals the SDK only logs."""
    wanted = {entry.artifact_name for entry in dataset.file_entries if entry.parent_dataset_id == dataset.id}
    wanted |= set(dataset.own_links())
    task = server.tasks(["execution.artifacts"], id=[dataset.id])[0]
    stored = {artifact["key"] for artifact in (task.get("execution") or {}).get("artifacts") or []}
    return wanted | {"state"} <= stored


def _refusal(server: ClearmlServer, dataset_id: str | None, error: BaseException) -> str:
    """Return what the server said, if it is the server that made the SDK fail."""
    if isinstance(error, SendError):
        return str(getattr(getattr(error.result, "meta", None), "result_msg", None) or error)
    if not isinstance(error, ValueError) or "upload" not in str(error).lower() or dataset_id is None:
        return ""
    try:  # what the SDK does not hand on: any small write tells
        server.call("tasks.ping", task=dataset_id)
    except UserFacingError as refused:
        return refused.message
    return str(error)


def _take_number(server: ClearmlServer, dataset: Any, name: str, *, exact: bool) -> None:
    """Renumber `dataset` until no other version has its number: runs that start together choose the same one.

    Raises:
        DatasetStateError: Another version has it, and `exact`; or others took each number that was tried.
    """
    for _ in range(MOVES):
        versions = server.versions_in([dataset.project_id])
        number = str(dataset.version)
        # This version's own entry may be missing or older than what was written last.
        claims = {item.id: item.version for item in versions if item.version} | {dataset.id: number}
        hold = version_to_hold(dataset.id, claims, settled=[item.id for item in versions if item.final])
        if hold == number:
            return
        if exact:
            raise _exists_already(name, number)
        dataset.renumber(hold)
    raise DatasetStateError(
        f"dataset {name!r}: other runs took each of {MOVES} numbers that were tried for version {dataset.version}",
        hint="run the same command again when fewer runs start at once",
    )


def _exists_already(name: str, version: str) -> DatasetStateError:
    return DatasetStateError(
        f"version {version} of dataset {name!r} exists already", hint="wait for the other upload, then run this again"
    )


def discard(dataset_id: str) -> None:
    """Remove an unfinished version with its files; what cannot be removed is marked as failed.

    A server that takes neither keeps an unfinished version; the next upload or run removes it.
    """
    logger = logging.getLogger("clearml")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        # The SDK's `Dataset.delete` opens the version first, and keeps quiet about one that it cannot open, such as one
        # whose maker was killed before its first files.
        Task.get_task(task_id=dataset_id).delete(
            # Files that it only refers to are another task's until it is finished, which may use them again.
            callback=lambda kind, uri: kind != "artifact" or dataset_id in uri,
            raise_on_error=True,
        )
    except Exception:  # the SDK raises anything here; the version must not look alive in any case
        with contextlib.suppress(SendError, ValueError):
            Task.get_task(task_id=dataset_id).mark_failed(force=True, status_reason="upload was not finished")
    finally:
        logger.setLevel(level)


def discard_unfinished(server: ClearmlServer, project: str, name: str, makers: set[str] | None = None) -> list[str]:
    """Remove the versions that no process is making any more; return their numbers.

    Args:
        server: The server.
        project: The dataset's project.
        name: The dataset's name.
        makers: Only versions made by these tasks; by default, by any task that is not running.
    """
    unfinished = [item for item in server.dataset_versions(project, name) if not item.final]
    if makers is None:
        parents = sorted({item.parent for item in unfinished if item.parent})
        running = {
            task["id"]
            for task in (server.tasks(["status"], id=parents) if parents else [])
            if task["status"] == "in_progress"
        }
        gone = [item for item in unfinished if item.parent not in running]
    else:
        nameless = _nameless(unfinished)
        if nameless:  # one that lives has its maker and number in a moment
            time.sleep(NAMELESS_S)
            nameless &= _nameless(server.dataset_versions(project, name))
        gone = [item for item in unfinished if item.parent in makers or item.id in nameless]
    for item in gone:
        discard(item.id)
    return [item.version for item in gone]


def _nameless(versions: Sequence[DatasetVersion]) -> set[str]:
    """Return the versions that have neither maker nor number yet: the SDK writes both down a few calls later."""
    return {item.id for item in versions if not (item.final or item.parent or item.version)}
