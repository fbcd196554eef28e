"""DataPrepare as data: its parameters, its steps, what goes from step to step. Pure."""

from __future__ import annotations

from pipeline.graph.definitions import Definition, FunctionStep, ShardedWork
from pipeline.graph.parameters import Parameter, a_seed, a_share, a_version, not_blank

PROJECT = "Amazon reviews"

_PARAMETERS = (
    Parameter("dataset_name", "Amazon reviews dataset", "Name of the input dataset", not_blank),
    Parameter("dataset_project", "Amazon reviews", "Project of the input dataset", not_blank),
    Parameter(
        "dataset_version",
        "1.2",
        "Version of the input dataset; outputs become <version>.1, .2 and so on",
        a_version,
    ),
    Parameter("test_size", 0.2, "Share of the reviews that goes into the test set, between 0 and 1", a_share),
    Parameter("random_state", 42, "Seed of the split: the same seed gives the same split", a_seed),
    Parameter("stratify", True, "Keep the share of each polarity equal in train and test set"),
)

_STEPS = "pipeline.amazon_reviews.steps"


def _processing(part: str) -> FunctionStep:
    frame, split = f"${{train_test_split.raw_{part}_dataframe}}", "${train_test_split.split_dataset_id}"
    return FunctionStep(
        f"{_STEPS}.{part}_processing",
        inputs={f"raw_{part}_dataframe": frame, "split_dataset_id": split},
        outputs=(f"processed_{part}_dataframe", "dataset_id"),
        sharded=ShardedWork(
            f"{_STEPS}.shard_processing",
            inputs={"part": part, "split_dataset_id": split},
            outputs=("facts",),
            join=f"{_STEPS}.shard_joining",
            join_inputs={"part": part},
            file=f"processed_{part}_dataframe",
        ),
    )


DATA_PREPARE = Definition(
    name="DataPrepare",
    project=PROJECT,
    parameters=_PARAMETERS,
    module="pipeline.amazon_reviews.data_prepare",
    functions={
        "train_test_split": FunctionStep(
            f"{_STEPS}.train_test_split",
            inputs={parameter.name: f"${{pipeline.{parameter.name}}}" for parameter in _PARAMETERS},
            outputs=("raw_train_dataframe", "raw_test_dataframe", "split_dataset_id"),
        ),
        "train_processing": _processing("train"),
        "test_processing": _processing("test"),
    },
    results={"train": "train_processing", "test": "test_processing"},
)
