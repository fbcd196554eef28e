"""The SDK's `Dataset` without what makes it slow or loud; its only importer. The adapter is `pipeline.datasets`.

Its zip files take zlib's fastest level and go with the process (`prepare`), it asks for nothing that is known, and it
writes the lineage of a version from its parents' own. Outside system: the ClearML server and its file server, through
the SDK.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from clearml import Dataset, StorageManager
from clearml.config import get_cache_dir
from clearml.datasets import dataset as sdk_datasets
from clearml.utilities import parallel

from clearml_access import locks
from pipeline.clearml_server import ClearmlServer
from pipeline.sdk import steps, stored_files, version_task
from pipeline.sdk.stored_files import StoredFile
from pipeline.step_runtime import scratch, written

LINEAGE = "Dataset Struct"
"""The configuration object in which the SDK keeps a version's lineage, for the web page."""

GENEALOGY_VERSIONS = 30
"""A longer plot of a version's ancestors cannot be read."""


CACHE_CONTEXT = "datasets"
CACHED_FILES = 2
"""Of a version: the list of its files, and the folder of the files."""

COMPRESSED = {".parquet", ".gz", ".zip", ".zst"}
"""Files that another compression only slows down."""


class _FastZipFile(zipfile.ZipFile):
    """zlib's default level takes most of an upload's time for a tenth less of the size."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"compresslevel": 1, **kwargs})


def zip_alone(file: Path, archive: Path) -> None:
    """Write a zip file that holds one file, as the SDK would at an upload; its digest is known then.

    Raises:
        OSError: It cannot be written.
    """
    compression = zipfile.ZIP_STORED if file.suffix in COMPRESSED else zipfile.ZIP_DEFLATED
    with _FastZipFile(archive, "w", compression=compression) as stream:
        stream.write(file, arcname=file.name)
    written.note_of(archive)


@dataclass(frozen=True)
class _Archive:
    """A finished zip file, as the SDK asks one of its own."""

    zip_path: Path
    size: int
    archive_preview: list[str]
    files_zipped: set[str]
    count: int = 1


class _Zipper(parallel.ParallelZipper):  # type: ignore[misc]
    """The SDK's zipper, which takes an archive that is there already as it is."""

    ready: ClassVar[dict[str, Path]] = {}
    """File → its archive."""

    def zip_iter(self, file_paths: Sequence[Any], arcnames: Any = None) -> Iterator[Any]:
        if len(file_paths) != 1 or str(file_paths[0]) not in self.ready:
            yield from super().zip_iter(file_paths, arcnames=arcnames)
            return
        file = str(file_paths[0])
        archive = self.ready.pop(file)
        size = archive.stat().st_size
        yield _Archive(archive, size, [f"{Path(file).name} - {parallel.format_size(size)}"], {file})


def _zip_in_scratch(prefix: str, suffix: str) -> tuple[int, str]:
    """Make the SDK's zip file where it goes with the process: a failed upload leaves it behind."""
    return tempfile.mkstemp(prefix=prefix, suffix=suffix, dir=scratch.own_folder())


def prepare() -> None:
    """Patch the SDK for reading and writing datasets; a second call changes nothing."""
    parallel.ZipFile = _FastZipFile
    parallel.mkstemp = _zip_in_scratch
    sdk_datasets.ParallelZipper = _Zipper
    sdk_datasets.Dataset = FastDataset  # the SDK's own code opens each ancestor, too
    if sdk_datasets.get_or_create_project.__module__ != __name__:
        sdk_datasets.get_or_create_project = _once_for_each_project(sdk_datasets.get_or_create_project)
    steps.prepare()
    stored_files.prepare()


def _once_for_each_project(plain: Callable[..., Any]) -> Callable[..., Any]:
    """Let the SDK make and mark a dataset's projects once, and not for each version."""
    known: set[str] = set()

    def get_or_create_project(session: Any, project_name: str, **kwargs: Any) -> Any:
        if project_name in known:
            return kwargs.get("project_id")
        made = plain(session, project_name=project_name, **kwargs)
        known.add(project_name)
        return made

    return get_or_create_project


class FastDataset(Dataset):  # type: ignore[misc]
    """The SDK's dataset without the questions whose answers are known: half of its 280 calls for one version.

    A finished version never changes, so it is fetched once per process; and since files are only ever added here, no
    parent has to be searched for a file that came back.
    """

    _known: ClassVar[dict[str, Any]] = {}
    _projects: ClassVar[set[str]] = set()
    """Projects that are known as a dataset's."""
    _calls: list[tuple[str, dict[str, Any]]] | None = None
    """Of a version under construction: its calls for the script on its task, which are written down at its end."""
    _is_stored = False

    @classmethod
    def get(cls, dataset_id: str | None = None, **kwargs: Any) -> Any:
        """Return a dataset version."""
        if dataset_id not in cls._known or kwargs.get("alias"):
            with version_task.reading():
                dataset = super().get(dataset_id=dataset_id, **kwargs)
            if not dataset.is_final():
                return dataset
            cls._known[dataset.id] = dataset
            return dataset
        return cls._known[dataset_id]

    @classmethod
    def create(cls, **kwargs: Any) -> Any:
        """Make a version under construction."""
        with version_task.creating():
            dataset = super().create(**kwargs)
        dataset._calls = []
        dataset._task.send_edits()
        return dataset

    def make_room_in_cache(self) -> None:
        """Let the SDK's cache hold all versions that this one is made of: it removes what is above 100 files."""
        StorageManager.set_cache_file_limit(
            CACHED_FILES * (len(self._dependency_graph) + 100), cache_context=CACHE_CONTEXT
        )

    def take_archive(self, file: Path, archive: Path) -> None:
        """Send this archive of a file that is added, in place of zipping it."""
        _Zipper.ready[file.absolute().as_posix()] = archive

    def store_file(self, file: Path) -> StoredFile:
        """Send a file as it is, outside of the version's archives, and let the version link to it.

        Raises:
            ValueError: It did not reach the file server.
        """
        stored = stored_files.send(self._task, file, mode=stored_files.OWNED)
        self._link(file.name, stored)
        return stored

    def refer(self, name: str, stored: StoredFile) -> None:
        """Let the version link to a file that is stored already, which is its own from then on."""
        stored_files.refer(self._task, name, stored, mode=stored_files.OWNED)
        self._link(name, stored)

    def _link(self, name: str, stored: StoredFile) -> None:
        self._dataset_link_entries[name] = sdk_datasets.LinkEntry(
            link=stored.uri, relative_path=name, parent_dataset_id=self.id, size=stored.size, hash=stored.sha256
        )
        self.update_changed_files(num_files_added=1)

    def own_links(self) -> dict[str, StoredFile]:
        """Return the files that this version links to, those of its parents left out: name → where it is."""
        return {
            name: StoredFile(entry.link, entry.hash or "", entry.size or 0)
            for name, entry in sorted(self._dataset_link_entries.items())
            if entry.parent_dataset_id == self.id
        }

    def places_of_files(self, suffix: str) -> dict[str, StoredFile] | None:
        """Return where the files of this version and its parents are, those whose names have that end.

        Returns:
            Name → the archive that it is in, or the file itself where it is stored as it is; None if one is unknown.
        """
        entries = [entry for entry in self.file_entries if entry.relative_path.endswith(suffix)]
        makers = sorted({entry.parent_dataset_id for entry in entries})
        server = ClearmlServer.of_task(self._task)
        found = {
            (task["id"], item["key"]): StoredFile(item["uri"], item.get("hash") or "", item.get("content_size") or 0)
            for task in (server.tasks(["execution.artifacts"], id=makers) if makers else ())
            for item in (task.get("execution") or {}).get("artifacts") or ()
            if item.get("uri") and item.get("content_size")
        }
        places = {
            name: StoredFile(entry.link, entry.hash or "", entry.size or 0)
            for name, entry in self._dataset_link_entries.items()
            if name.endswith(suffix)
        }
        for entry in entries:
            place = found.get((entry.parent_dataset_id, entry.artifact_name))
            if place is None:
                return None
            places[entry.relative_path] = place
        return places

    def renumber(self, version: str) -> None:
        """Give the version under construction another number, which others see at once."""
        self.version = version
        self._task.send_edits()

    @property
    def project_id(self) -> str:
        """The hidden project of the dataset, in which its versions are."""
        return str(self._task.project)

    def is_final(self) -> bool:
        """Say whether the version is finished; one that is never changes."""
        return self._known.get(self.id) is self or bool(super().is_final())

    def store_state(self) -> None:
        """Write the list of the files down, once: the SDK does so after each change, by five calls."""
        super()._serialize(update_dependency_chunk_lookup=True)
        self._is_stored = True

    def finalize(self, **kwargs: Any) -> bool:
        """End the version."""
        if not self._is_stored:
            self.store_state()
        for name, arguments in self._calls or ():
            super()._add_script_call(name, **arguments)
        self._calls = None
        done = bool(super().finalize(**kwargs))
        if super().is_final():
            self._known[self.id] = self
        return done

    def _serialize(self, update_dependency_chunk_lookup: bool = False) -> None:
        """Leave it to `store_state`."""

    def _add_script_call(self, func_name: str, **kwargs: Any) -> None:
        if self._calls is None:
            super()._add_script_call(func_name, **kwargs)
        else:
            self._calls.append((func_name, kwargs))

    @classmethod
    def _set_project_system_tags(cls, task: Any) -> None:
        if task.project not in cls._projects:
            super()._set_project_system_tags(task)
            cls._projects.add(task.project)

    def _get_total_size_compressed_parents(self) -> int:
        sizes = [self.get(parent)._ds_total_size_compressed for parent in self._get_parents()]
        if None in sizes:
            return int(super()._get_total_size_compressed_parents())
        return sum(sizes)

    def fetch_own_archives(self, folder: Path) -> None:
        """Unpack what this version adds to its parents into a new folder.

        Raises:
            ValueError: An archive is not where the server says, or cannot be unpacked.
        """
        self._extract_dataset_archive(target_folder=folder)

    def _fix_dataset_files_parents(self) -> None:
        """Nothing to fix where files are only added."""

    def _build_dependency_chunk_lookup(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for parent in self._get_parents():
            found |= self.get(parent)._get_dependency_chunk_lookup()
        found[self.id] = self.get_num_chunks(include_parents=False)
        return {version: chunks for version, chunks in found.items() if version in self._dependency_graph}

    def _report_dataset_struct(self) -> None:
        """Write the lineage down: the parents' own, which is whole, and this version.

        The SDK asks for every ancestor and parses each one's lineage: hours for a dataset of 144 versions.
        """
        if not self._is_stored:  # `finalize` does it again, with all that is known then
            return
        try:
            lineage = merge_lineages(
                [self.get(parent)._task.get_configuration_object(LINEAGE) for parent in self._get_parents()]
            )
        except ValueError:  # a parent that something else made
            super()._report_dataset_struct()
            return
        lineage[self.id] = {
            "job_id": self.id,
            "status": str(self._task._status),
            "last_update": int(time.time()),
            "parents": list(self._get_parents()),
            "job_size": self._ds_total_size,
            "name": self.name,
            "version": str(self.version),
        }
        places = {version: str(place) for place, version in enumerate(lineage)}
        document = {
            places[version]: entry | {"parents": [places[parent] for parent in entry["parents"]]}
            for version, entry in lineage.items()
        }
        self._task.set_configuration_object(
            name=LINEAGE,
            description="Structure of the dataset",
            config_type="json",
            config_text=json.dumps(document, indent=2),
        )

    def _report_dataset_genealogy(self) -> None:
        if len(self._dependency_graph) <= GENEALOGY_VERSIONS:
            known = {version: dataset._task for version, dataset in self._known.items()}
            with version_task.knowing({**known, self.id: self._task}):
                super()._report_dataset_genealogy()


@contextlib.contextmanager
def cache_alone() -> Iterator[None]:
    """Keep the other processes that share the SDK's cache from fetching dataset files during the block.

    The SDK (2.1.12) removes an archive once it has unpacked it, also where another process has found it in the cache
    and is about to unpack it; and it removes a version's folder that another process has not yet filled.
    """
    # One lock for all versions: a version's files are fetched with those of its parents.
    with locks.alone(Path(get_cache_dir()) / "clearml-pods-datasets.lock", _say_waiting):
        yield


def _say_waiting() -> None:
    print("Waiting: another process of this machine is fetching a dataset", flush=True)


def merge_lineages(texts: Sequence[str | None]) -> dict[str, dict[str, Any]]:
    """Return the entries of lineages as the SDK writes them: version id → entry, its parents by id.

    Raises:
        ValueError: A text is not a lineage.
    """
    merged: dict[str, dict[str, Any]] = {}
    for text in texts:
        entries = json.loads(text or "")
        try:
            for entry in entries.values():
                parents = [entries[place]["job_id"] for place in entry["parents"]]
                merged[entry["job_id"]] = entry | {"parents": parents, "status": "completed"}
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"no lineage: {text}") from error
    return merged
