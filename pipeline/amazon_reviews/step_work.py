"""What the steps do, as plain functions: read a dataset version, work, publish a dataset version, hand on the frame.

Runs inside a step's process (its logger and its inputs are the running task's) and must not know the graph, queues or
caching (`pipeline.controllers.controller`). Outside system: none of its own; datasets through
`pipeline.datasets.datasets`, the step's plots through the SDK's logger.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
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
from pipeline.clearml_server import ClearmlServer
from pipeline.datasets import datasets
from pipeline.datasets.lookup import require_version
from pipeline.errors import DataError
from pipeline.graph import sharding
from pipeline.step_runtime.scratch import scratch_folder

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


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
    frame = frames.read_reviews(source.local_folder())
    train, test = frames.split_rows(frame[POLARITY], test_size=test_size, random_state=random_state, stratify=stratify)
    print(f"{len(frame)} reviews of {name} {version}: {len(train)} for training, {len(test)} for testing")

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
            draft.add(_write_part(frame, rows, folder, part))
            figure = plots.class_distribution({part: frame[[POLARITY]][rows]}, title=f"Classes of the {part} set")
            draft.report_plot("Class distribution", part, figure)
            Logger.current_logger().report_plotly("Class distribution", part, figure, iteration=0)
    return folder / "raw_train_dataframe.parquet", folder / "raw_test_dataframe.parquet", draft.id


def _write_part(frame: pl.DataFrame, rows: npt.NDArray[np.int64], folder: Path, part: str) -> Path:
    """Write some rows of a frame as CSV and as parquet, piece by piece: all at once they would be in memory twice."""
    csv = folder / f"raw_{part}.csv"
    parquet = folder / f"raw_{part}_dataframe.parquet"
    lines = Lines(f"{part} set")
    start = time.perf_counter()
    with tables.csv_sink(csv) as write_csv, tables.parquet_sink(parquet) as write_parquet:
        for place in range(0, len(rows), tables.BATCH_ROWS):
            piece = frame[rows[place : place + tables.BATCH_ROWS]]
            write_csv(piece)
            write_parquet(tables.to_arrow(piece))
            done = place + len(piece)
            lines(Pace(done, done / len(rows), time.perf_counter() - start))
    return csv


def process_part(part: str, raw: Path, split_id: str) -> tuple[Path, str]:
    """Preprocess the texts of one part (`train` or `test`), published as `<version>.2` or `<version>.3`.

    Returns:
        The processed frame as a parquet file, and the id of the new version.
    """
    processed = _processed(part)
    # The SDK hands artifacts over as paths of pathlib2, which other libraries do not take for paths.
    counts = preprocess_file(Path(str(raw)), processed, column="Review", progress=Lines(f"{part} set"))
    print(f"{counts.rows} reviews of the {part} set preprocessed ({counts.rows_per_s:,.0f} rows/s)")
    return processed, _publish(part, processed, split_id, words=counts.words)


def process_shard(part: str, raw: Path, split_id: str, number: int, shards: int) -> tuple[Path, str]:
    """Preprocess the texts of one shard of a part; nothing is published before all of them are joined.

    Args:
        part: `train` or `test`.
        raw: The frame of the whole part.
        split_id: Id of the dataset version that it is from.
        number: The shard, from 1 on.
        shards: How many there are.

    Returns:
        The shard's processed frame as a parquet file, and what `sharding.Shard` says of it.
    """
    file = Path(str(raw))
    rows = tables.row_count(file)
    sharding.require_rows(part, rows, shards)
    start, stop = sharding.rows_of(number, shards, rows)
    processed = scratch_folder() / f"processed_{part}_{number:03}_of_{shards:03}.parquet"
    counts = preprocess_file(
        file,
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
    facts = sharding.Shard(
        part=part, split=split_id, number=number, shards=shards, rows=rows, start=start, stop=stop, words=counts.words
    )
    return processed, facts.to_json()


def join_shards(part: str, given: Mapping[str, object]) -> tuple[Path, str]:
    """Join the shards of one part (`train` or `test`), published as `process_part` does.

    Args:
        part: `train` or `test`.
        given: `frame_<number>` and `facts_<number>` → what that shard returned.

    Returns:
        As `process_part`: the same frame, byte for byte.

    Raises:
        DataError: A row is missing, comes twice, or belongs to something else.
    """
    numbers = sorted(int(name.removeprefix("facts_")) for name in given if name.startswith("facts_"))
    shards = [sharding.Shard.from_json(given[f"facts_{number}"]) for number in numbers]
    files = [Path(str(given[f"frame_{number}"])) for number in numbers]
    sharding.require_whole(part, shards, [tables.row_count(file) for file in files])
    processed = _processed(part)
    tables.join_parquet(files, processed)
    print(f"{shards[0].rows} reviews of the {part} set joined from {len(shards)} shards")
    return processed, _publish(part, processed, shards[0].split, words=sum(shard.words for shard in shards))


def _processed(part: str) -> Path:
    return scratch_folder() / f"processed_{part}.parquet"


def _publish(part: str, processed: Path, split_id: str, *, words: int) -> str:
    """Make a part's processed frame a dataset version and return its id.

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
        draft.add(processed)
        draft.report_table("Preview", processed.name, frames.preview(pl.read_parquet(processed, n_rows=10)))
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
