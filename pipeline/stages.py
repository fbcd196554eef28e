"""What the steps do, as plain functions: read a dataset version, work, publish a dataset version, hand on the frame.

Runs inside a step's process (its logger and its inputs are the running task's) and must not know the graph, queues or
caching (`pipeline.controller`). Outside system: none of its own; datasets through `pipeline.datasets`, the step's
plots through the SDK's logger.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl
from clearml import Logger, Task

from pipeline import datasets, frames, plots, provenance, tables, versions
from pipeline.clearml_server import ClearmlServer
from pipeline.errors import DataError
from pipeline.pace import Lines
from pipeline.processing import preprocess_file
from pipeline.timeline import scratch_folder


def split_dataset(
    *, project: str, name: str, version: str, test_size: float, random_state: int, stratify: bool
) -> tuple[Path, Path, str]:
    """Split a dataset version into training and test set, published as `<version>.1`.

    Returns:
        The training frame and the test frame as parquet files, and the id of the new version.
    """
    server = ClearmlServer.of_task(Task.current_task())
    found = datasets.require_version(server, project, name, version)
    source = datasets.open_version(dataset_id=found.id, alias="input")
    frame = frames.read_reviews(source.local_folder())
    train, test = frames.split(frame, test_size=test_size, random_state=random_state, stratify=stratify)
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
            csv = folder / f"raw_{part}.csv"
            rows.write_csv(csv)
            draft.add(csv)
            figure = plots.class_distribution({part: rows}, title=f"Classes of the {part} set")
            draft.report_plot("Class distribution", part, figure)
            Logger.current_logger().report_plotly("Class distribution", part, figure, iteration=0)
    return (
        _store(train, folder / "raw_train_dataframe.parquet"),
        _store(test, folder / "raw_test_dataframe.parquet"),
        draft.id,
    )


def process_part(part: str, raw: Path, split_id: str) -> tuple[Path, str]:
    """Preprocess the texts of one part (`train` or `test`), published as `<version>.2` or `<version>.3`.

    Returns:
        The processed frame as a parquet file, and the id of the new version.
    """
    server = ClearmlServer.of_task(Task.current_task())
    source = datasets.open_version(dataset_id=split_id, alias="split")
    processed = scratch_folder() / f"processed_{part}.parquet"
    # The SDK hands artifacts over as paths of pathlib2, which are no paths to anybody else.
    counts = preprocess_file(Path(str(raw)), processed, column="Review", progress=Lines(f"{part} set"))
    if not counts.words:
        raise DataError(f"no word is left of the {counts.texts:,} reviews of the {part} set: nothing can be learnt")
    print(f"{counts.rows} reviews of the {part} set preprocessed ({counts.rows_per_s:,.0f} rows/s)")
    with datasets.new_version(
        server,
        project=source.project,
        name=source.name,
        version=versions.sibling_version(source.version, part),
        parents=[split_id],
        description=f"Preprocessed {part} set of version {source.version}",
        facts={"Preparation/split_dataset": split_id, "Preparation/split_version": source.version, **_made_by()},
    ) as draft:
        draft.add(processed)
        draft.report_table("Preview", processed.name, frames.preview(pl.read_parquet(processed, n_rows=10)))
    return processed, draft.id


def _store(frame: pl.DataFrame, file: Path) -> Path:
    tables.write_parquet(file, tables.slices(frame))
    return file


def _made_by() -> dict[str, object]:
    """Return what made a version: the step's task and the code that ran."""
    task = Task.current_task()
    return {
        "Preparation/step": task.id if task else "",
        "Preparation/package": provenance.PACKAGE_VERSION,
        "Preparation/source": provenance.source_digest(),
        "Preparation/commit": provenance.commit(),
    }
