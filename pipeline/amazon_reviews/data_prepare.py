"""The DataPrepare pipeline: which function each step calls, and what goes from step to step.

The controller's process runs `main` (its script is `DATA_PREPARE.entry_script`). How it runs,
`pipeline.controllers.controller` says; what the steps do, `pipeline.amazon_reviews.step_work`.
"""

from __future__ import annotations

from pipeline.amazon_reviews.steps.shard_joining import shard_joining
from pipeline.amazon_reviews.steps.shard_processing import shard_processing
from pipeline.amazon_reviews.steps.test_processing import test_processing
from pipeline.amazon_reviews.steps.train_processing import train_processing
from pipeline.amazon_reviews.steps.train_test_split import train_test_split
from pipeline.controllers.controller import Controller, run_controller
from pipeline.controllers.options import Launch
from pipeline.graph import sharding
from pipeline.graph.definitions import DATA_PREPARE


def main(arguments: list[str] | None = None) -> None:
    """Run the controller."""
    run_controller(build, arguments)


def build(launch: Launch) -> Controller:
    """Return the pipeline, ready to start in any mode."""
    pipe = Controller(DATA_PREPARE, launch)
    pipe.add_function(
        "train_test_split",
        train_test_split,
        inputs={parameter.name: f"${{pipeline.{parameter.name}}}" for parameter in DATA_PREPARE.parameters},
        outputs=["raw_train_dataframe", "raw_test_dataframe", "split_dataset_id"],
    )
    for part, function in (("train", train_processing), ("test", test_processing)):
        split = {
            f"raw_{part}_dataframe": f"${{train_test_split.raw_{part}_dataframe}}",
            "split_dataset_id": "${train_test_split.split_dataset_id}",
        }
        outputs = [f"processed_{part}_dataframe", "dataset_id"]
        shards = sharding.shard_names(f"{part}_processing", pipe.fan_out.shards)
        if not shards:
            pipe.add_function(f"{part}_processing", function, inputs=split, outputs=outputs)
            continue
        for number, name in enumerate(shards, 1):
            pipe.add_function(
                name,
                shard_processing,
                inputs={
                    "part": part,
                    "shard": number,
                    "shards": len(shards),
                    "raw_dataframe": split[f"raw_{part}_dataframe"],
                    "split_dataset_id": split["split_dataset_id"],
                },
                outputs=["frame", "facts"],
            )
        frames = {
            f"{output}_{number}": f"${{{name}.{output}}}"
            for number, name in enumerate(shards, 1)
            for output in ("frame", "facts")
        }
        pipe.add_function(f"{part}_processing", shard_joining, inputs={"part": part, **frames}, outputs=outputs)
    return pipe
