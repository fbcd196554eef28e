"""`python -m pipeline run-full`: data preparation and training in one run. The work is in `pipeline.commands.run`."""

from __future__ import annotations

from typing import Any

import click

from pipeline.amazon_reviews.pipelines import FULL_PIPELINE
from pipeline.commands.run import start
from pipeline.commands.run_options import epilog_of, run_options


@click.command(epilog=epilog_of(FULL_PIPELINE))
@run_options
def run_full(**options: Any) -> int:
    """Run the FullPipeline: DataPrepare, then the task TF-IDF, which trains and publishes a model on what that made.

    Both are tasks on the server that are cloned (drafts of this package's version, made if they are missing). In the
    modes queue and controller, DataPrepare's controller goes to the controllers' queue while a worker is idle there;
    otherwise it runs beside the controller of the whole, so that the two never wait for each other.

    Uses the configured ClearML server; without one it starts its own with agents on this machine, and uploads a sample
    of real reviews. Exit code 0 only if every step completed.

    \b
    Examples:
      python -m pipeline run-full
      python -m pipeline run-full --set model=linear --set max_features=2000
      python -m pipeline run-full --shards 4 --step-queue data_prepare.train_processing=pods
      python -m pipeline run-full --from-failed
    """  # noqa: D301  # a real backspace: it keeps click from joining the lines
    return start(FULL_PIPELINE, **options)
