"""`python -m pipeline run-full`: data preparation and training in one run. The work is in `pipeline.commands.run`."""

from __future__ import annotations

from typing import Any

import click

from command_line.options import examples
from pipeline.amazon_reviews.pipelines import FULL_PIPELINE
from pipeline.commands.run import start
from pipeline.commands.run_options import epilog_of, run_options


@click.command(epilog=epilog_of(FULL_PIPELINE))
@run_options
@examples(
    "./task run-full-pipeline",
    "python -m pipeline run-full --set model=linear --set max_features=2000",
    "python -m pipeline run-full --shards 4 --step-queue data_prepare.train_processing=pods",
    "python -m pipeline run-full --from-failed",
)
def run_full(**options: Any) -> int:
    """Run the FullPipeline: DataPrepare, then the task TF-IDF, which trains and publishes a model.

    Both are clones of draft tasks on the server, which are created for this version of the package where they are
    missing. In the modes queue and controller, DataPrepare's controller goes to the controllers' queue if a worker is
    idle there. Otherwise it runs beside the outer controller, so that the two never wait for each other.

    It runs on the configured ClearML server. Without one, the command starts a server and agents on this machine, and
    uploads a sample of real reviews. The exit code is 0 only if every step completes.
    """
    return start(FULL_PIPELINE, **options)
