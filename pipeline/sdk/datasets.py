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
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from clearml import Dataset
from clearml.config import get_cache_dir
from clearml.utilities import parallel

from clearml_access import locks
from pipeline.sdk import steps
from pipeline.step_runtime import scratch

LINEAGE = "Dataset Struct"
"""The configuration object in which the SDK keeps a version's lineage, for the web page."""

GENEALOGY_VERSIONS = 30
"""The plot of a version's ancestors costs a call for each, and a longer one cannot be read."""


COMPRESSED = {".parquet", ".gz", ".zip", ".zst"}
"""Files that another compression only slows down."""


class _FastZipFile(zipfile.ZipFile):
    """zlib's default level takes most of an upload's time for a tenth less of the size."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"compresslevel": 1, **kwargs})


def _zip_in_scratch(prefix: str, suffix: str) -> tuple[int, str]:
    """Make the SDK's zip file where it goes with the process: a failed upload leaves it behind."""
    return tempfile.mkstemp(prefix=prefix, suffix=suffix, dir=scratch.own_folder())


def prepare() -> None:
    """Patch the SDK for reading and writing datasets; a second call changes nothing."""
    parallel.ZipFile = _FastZipFile
    parallel.mkstemp = _zip_in_scratch
    steps.prepare()


class FastDataset(Dataset):  # type: ignore[misc]
    """The SDK's dataset without the questions whose answers are known: half of its 280 calls for one version.

    A finished version never changes, so it is fetched once per process; and since files are only ever added here, no
    parent has to be searched for a file that came back.
    """

    _known: ClassVar[dict[str, Any]] = {}
    _making: ClassVar[bool] = False

    @classmethod
    def get(cls, dataset_id: str | None = None, **kwargs: Any) -> Any:
        """Return a dataset version."""
        if dataset_id not in cls._known or kwargs.get("alias"):
            dataset = super().get(dataset_id=dataset_id, **kwargs)
            if not dataset.is_final():
                return dataset
            cls._known[dataset.id] = dataset
            return dataset
        return cls._known[dataset_id]

    @classmethod
    def create(cls, **kwargs: Any) -> Any:
        """Make a version under construction."""
        cls._making = True
        try:
            return super().create(**kwargs)
        finally:
            cls._making = False

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
        if self._making:  # `finalize` does it again, with all that is known then
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
            "status": str(self._task.status),
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
