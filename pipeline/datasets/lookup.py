"""Which versions a dataset has: found by their numbers, without the SDK, which takes half a second to import.

Outside system: the ClearML server, through its adapter.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.clearml_server import ClearmlServer, DatasetVersion
from pipeline.errors import DataError
from pipeline.versions import in_order, is_of_stage

FEW = 8
"""How many of a dataset's versions a message lists."""


class DatasetNotFoundError(DataError):
    """There is no such dataset, or no such version of it."""

    exit_code = 26


class DatasetStateError(DataError):
    """A dataset version is not what it should be: unfinished, or made of other data."""

    exit_code = 27


def require_version(server: ClearmlServer, project: str, name: str, version: str, *, stage: str = "") -> DatasetVersion:
    """Return the finished version, without reading it.

    Args:
        server: The server.
        project: The dataset's project.
        name: The dataset.
        version: The version.
        stage: The stage of a run that has made it, where the parameter that names it is `<stage>_dataset_version`.

    Raises:
        DatasetNotFoundError: It does not exist; the message lists what does.
        DatasetStateError: It exists, but was never finished.
    """
    versions = server.dataset_versions(project, name)
    if not versions:
        others = server.datasets(project)
        raise DatasetNotFoundError(
            f"dataset {name!r} does not exist in project {project!r}"
            + (f"; datasets there: {', '.join(others)}" if others else ", which has no datasets"),
            hint="./task upload-dataset -- train.csv (or, to try it: ./task upload-dataset -- --sample); "
            "another one: --set dataset_name=... --set dataset_project=...",
        )
    found = [item for item in versions if item.version == version]
    final = [item for item in found if item.final]
    if final:
        return final[-1]
    finished = [item.version for item in versions if item.final]
    existing = ", ".join(in_order(finished[-FEW:])) or "none is finished"
    existing += f" (the newest {FEW} of {len(finished)})" if len(finished) > FEW else ""
    if found:
        raise DatasetStateError(
            f"version {version} of dataset {name!r} was never finished; finished versions: {existing}",
            hint="run its upload again: ./task upload-dataset",
        )
    raise DatasetNotFoundError(
        f"dataset {name!r} in project {project!r} has no version {version}; versions: {existing}",
        hint=f"--set {f'{stage}_' if stage else ''}dataset_version={_nearest(version, finished, stage)}",
    )


def _nearest(wanted: str, finished: Sequence[str], stage: str) -> str:
    """Return the newest version of the same depth: who asks for batch 1.7 does not want a split of batch 1.2."""
    alike = [item for item in finished if item.count(".") == wanted.count(".") and not stage]
    fitting = alike or [item for item in finished if is_of_stage(item, stage)] or finished
    return fitting[-1] if fitting else "1.0"
