"""The controller's process of the DataPrepare pipeline: its script is that of `controller_task`.

Which steps there are and what goes from step to step, `DATA_PREPARE` declares; how the pipeline runs,
`pipeline.controllers.controller` says; what the steps do, `pipeline.amazon_reviews.step_work`.
"""

from __future__ import annotations

from pipeline.amazon_reviews.definitions import DATA_PREPARE
from pipeline.controllers.controller import Controller, run_controller
from pipeline.controllers.function_steps import add_function_steps
from pipeline.controllers.options import Launch


def main(arguments: list[str] | None = None) -> None:
    """Run the controller."""
    run_controller(build, arguments)


def build(launch: Launch) -> Controller:
    """Return the pipeline, ready to start in any mode."""
    pipe = Controller(DATA_PREPARE, launch)
    add_function_steps(pipe, DATA_PREPARE.functions, pipe.shard_scheduling.shards)
    return pipe
