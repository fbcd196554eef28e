"""The DataPrepare pipeline: which function each step calls, and what goes from step to step.

The controller's process runs `main` (its script is `DATA_PREPARE.entry_script`). How it runs, `pipeline.controller`
says; what the steps do, `pipeline.stages`.
"""

from __future__ import annotations

from pipeline.controller import Controller, Launch, run_controller
from pipeline.definitions import DATA_PREPARE
from pipeline.steps.test_processing import test_processing
from pipeline.steps.train_processing import train_processing
from pipeline.steps.train_test_split import train_test_split


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
        pipe.add_function(
            f"{part}_processing",
            function,
            inputs={
                f"raw_{part}_dataframe": f"${{train_test_split.raw_{part}_dataframe}}",
                "split_dataset_id": "${train_test_split.split_dataset_id}",
            },
            outputs=[f"processed_{part}_dataframe", "dataset_id"],
        )
    return pipe
