"""What the steps do, as plain functions: read a dataset version, work, publish a dataset version, hand on the frame.

Runs inside a step's process (its logger and its inputs are the running task's) and must not know the graph, queues or
caching (`pipeline.controllers.controller`). Outside system: none of its own; datasets through
`pipeline.datasets.datasets`, the step's plots through the SDK's logger.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from clearml import Logger, Task

from clearml_access.tasks import FINAL
from pipeline import provenance, versions
from pipeline.amazon_reviews.reviews import frames, plots, tables
from pipeline.amazon_reviews.reviews.pace import Lines, Pace
from pipeline.amazon_reviews.reviews.processing import preprocess_file
from pipeline.amazon_reviews.reviews.review_files import POLARITY
from pipeline.amazon_reviews.reviews.row_store import RowStore
from pipeline.clearml_server import ClearmlServer
from pipeline.datasets import datasets, parts
from pipeline.datasets.lookup import require_version
from pipeline.errors import DataError, InputFileError
from pipeline.graph import sharding
from pipeline.sdk.stored_files import StoredFile
from pipeline.step_runtime.scratch import scratch_folder

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

PREVIEW_ROWS = 10


def split_dataset(
    *, project: str, name: str, version: str, test_size: float, random_state: int, stratify: bool
) -> tuple[Path, Path, str]:
    """Split a dataset version into training and test set, published as `<version>.1`.

    Returns:
        The training frame and the test frame as parquet files, and the id of the new version.
    """
    server = ClearmlServer.of_task(Task.current_task())
    found = require_version(server, project, name, version)
    source = datasets.open_version(dataset_id=found.id, alias="input")
    store = RowStore(scratch_folder())
    with source.files(".csv") as files:
        for file in files:
            store.add(frames.read_file(file))
    if not store.pieces:
        raise InputFileError(f"there is no CSV file in version {version} of {name}")
    polarity = store.polarity()
    frames.require_polarities(polarity, f"version {version} of {name}")
    train, test = frames.split_rows(polarity, test_size=test_size, random_state=random_state, stratify=stratify)
    print(f"{store.rows} reviews of {name} {version}: {len(train)} for training, {len(test)} for testing")

    folder = scratch_folder()
    facts: dict[str, object] = {
        "Preparation/input_dataset": found.id,
        "Preparation/input_version": version,
        "Preparation/test_size": test_size,
        "Preparation/random_state": random_state,
        "Preparation/stratify": stratify,
    }
    with datasets.new_version(
        server,
        project=project,
        name=name,
        version=versions.child_version(version, "split"),
        parents=[found.id],
        description=f"Training and test set of version {version}",
        facts=facts | _made_by(),
    ) as draft:
        for part, rows in (("train", train), ("test", test)):
            draft.store(_write_part(store, rows, folder / raw_name(part)))
            classes = polarity[rows].to_frame(POLARITY)
            figure = plots.class_distribution({part: classes}, title=f"Classes of the {part} set")
            draft.report_plot("Class distribution", part, figure)
            Logger.current_logger().report_plotly("Class distribution", part, figure, iteration=0)
    return folder / raw_name("train"), folder / raw_name("test"), draft.id


def raw_name(part: str) -> str:
    """Return the name of a part's file in the version that the split makes."""
    return f"raw_{part}_dataframe.parquet"


def _write_part(store: RowStore, rows: npt.NDArray[np.int64], file: Path) -> Path:
    lines = Lines(f"{file.stem} set")
    start = time.perf_counter()
    store.write(rows, file, lambda done: lines(Pace(done, done / len(rows), time.perf_counter() - start)))
    return file


def process_part(part: str, raw: Path, split_id: str) -> tuple[Path, str]:
    """Preprocess the texts of one part (`train` or `test`), published as `<version>.2` or `<version>.3`.

    Returns:
        The processed frame as a parquet file, and the id of the new version.
    """
    processed = _processed(part)
    # The SDK hands artifacts over as paths of pathlib2, which other libraries do not take for paths.
    counts = preprocess_file(Path(str(raw)), processed, column="Review", progress=Lines(f"{part} set"))
    print(f"{counts.rows} reviews of the {part} set preprocessed ({counts.rows_per_s:,.0f} rows/s)")
    made = _publish(part, split_id, words=counts.words, fill=lambda draft: draft.store(processed), first=processed)
    return processed, made


def process_shard(part: str, split_id: str, number: int, shards: int) -> str:
    """Preprocess the texts of one shard of a part and store them; the version is published when all are there.

    Only the shard's rows of the split are fetched.

    Args:
        part: `train` or `test`.
        split_id: Id of the dataset version that the rows are from.
        number: The shard, from 1 on.
        shards: How many there are.

    Returns:
        What `sharding.Shard` says of it.
    """
    split = datasets.open_version(dataset_id=split_id, alias="split")
    folder = scratch_folder()
    (ends,) = split.own_files(folder / "ends", names=[raw_name(part)], columns=())
    rows = tables.row_count(ends)
    sharding.require_rows(part, rows, shards)
    start, stop = sharding.rows_of(number, shards, rows)
    (raw,) = split.own_files(folder / "raw", names=[raw_name(part)], rows=(start, stop))
    processed = folder / sharding.file_of(part, number, shards)
    counts = preprocess_file(
        raw,
        processed,
        column="Review",
        rows=(start, stop),
        progress=Lines(f"{part} set, shard {number} of {shards}"),
        require_texts=False,
    )
    print(
        f"Rows {start:,} to {stop:,} of {rows:,} of the {part} set preprocessed ({counts.rows_per_s:,.0f} rows/s): "
        f"shard {number} of {shards}"
    )
    stored = parts.store(Task.current_task(), processed)
    return sharding.Shard(
        part=part,
        split=split_id,
        number=number,
        shards=shards,
        rows=rows,
        start=start,
        stop=stop,
        words=counts.words,
        uri=stored.uri,
        sha256=stored.sha256,
        size=stored.size,
    ).to_json()


def join_shards(part: str, given: Mapping[str, object], *, one_file: bool) -> tuple[Path, str] | str:
    """Publish the shards of one part (`train` or `test`) as the parts of one dataset version; no row is copied.

    Args:
        part: `train` or `test`.
        given: `facts_<number>` → what that shard returned.
        one_file: Whether a step wants one file as well: the same as of `process_part`, byte for byte.

    Returns:
        That file if it is wanted, and the id of the version. Its files have the rows in the order of their names.

    Raises:
        DataError: A row is missing, comes twice, or belongs to something else; or a shard's file is not what the shard
            has stored.
    """
    numbers = sorted(int(name.removeprefix("facts_")) for name in given if name.startswith("facts_"))
    shards = [sharding.Shard.from_json(given[f"facts_{number}"]) for number in numbers]
    stored = [StoredFile(shard.uri, shard.sha256, shard.size) for shard in shards]
    folder = scratch_folder()
    ends = [folder / shard.file for shard in shards]
    try:
        parts.require_stored(stored)
        for file, end in zip(stored, ends, strict=True):
            parts.fetch_some(file, end, columns=())
    except ValueError as error:
        raise DataError(
            f"the shards of the {part} set cannot be joined: {error}",
            hint="run the shards again: ./task run-pipeline -- --no-cache",
        ) from error
    sharding.require_whole(part, shards, [tables.row_count(file) for file in ends])
    print(f"{shards[0].rows} reviews of the {part} set joined from {len(shards)} shards")

    def fill(draft: datasets.DatasetDraft) -> None:
        for shard, file in zip(shards, stored, strict=True):
            draft.refer(shard.file, file)

    first = folder / "first.parquet"
    parts.fetch_some(stored[0], first, rows=(0, PREVIEW_ROWS))
    words = sum(shard.words for shard in shards)
    dataset_id = _publish(part, shards[0].split, words=words, fill=fill, first=first)
    if not one_file:
        return dataset_id
    processed = _processed(part)
    version = datasets.open_version(dataset_id=dataset_id, alias="joined")
    tables.join_parquet(version.own_files(folder / "parts"), processed)
    return processed, dataset_id


def _processed(part: str) -> Path:
    return scratch_folder() / f"processed_{part}.parquet"


def _publish(
    part: str, split_id: str, *, words: int, fill: Callable[[datasets.DatasetDraft], object], first: Path
) -> str:
    """Make a part's processed frame a dataset version and return its id.

    Args:
        part: `train` or `test`.
        split_id: Id of the version that it is made of.
        words: Lemmas in it.
        fill: Adds the files to the version.
        first: A parquet file with its first rows.

    Raises:
        DataError: There is nothing in it to learn from.
    """
    if not words:
        raise DataError(f"no words are left in the reviews of the {part} set: nothing can be learned")
    server = ClearmlServer.of_task(Task.current_task())
    source = datasets.open_version(dataset_id=split_id, alias="split")
    wanted = versions.sibling_version(source.version, part)
    made_of = {"Preparation/split_dataset": split_id, "Preparation/source": provenance.source_digest()}
    left = _left_by_failed_attempt(server, source.project, source.name, wanted, made_of)
    if left:
        print(f"Version {wanted} was finished by an attempt that failed afterwards: it is reused")
        return left
    with datasets.new_version(
        server,
        project=source.project,
        name=source.name,
        version=wanted,
        parents=[split_id],
        description=f"Preprocessed {part} set of version {source.version}",
        facts={"Preparation/split_version": source.version, **_made_by(), **made_of},
    ) as draft:
        fill(draft)
        rows = pl.read_parquet(first, n_rows=PREVIEW_ROWS)
        draft.report_table("Preview", f"processed_{part}.parquet", frames.preview(rows, PREVIEW_ROWS))
    return draft.id


def _left_by_failed_attempt(
    server: ClearmlServer, project: str, name: str, wanted: str, made_of: Mapping[str, str]
) -> str:
    """Return the finished version of that number and content whose maker has not completed, if there is one.

    Another one of the same content would have another number than the rest of the run.
    """
    for version in server.dataset_versions(project, name):
        if version.final and version.version == wanted and made_of.items() <= version.facts.items():
            maker = server.task(version.parent, ["status"]) if version.parent else None
            if maker is None or maker["status"] not in FINAL:
                return version.id
    return ""


def _made_by() -> dict[str, object]:
    """Return what made a version: the step's task and the code that ran."""
    task = Task.current_task()
    return {
        "Preparation/step": task.id if task else "",
        "Preparation/package": provenance.PACKAGE_VERSION,
        "Preparation/source": provenance.source_digest(),
        "Preparation/commit": provenance.commit(),
    }
