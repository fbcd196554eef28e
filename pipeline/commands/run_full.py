"""`python -m pipeline run-full`: data preparation and training in one run. The work is in `pipeline.commands.run`."""

from __future__ import annotations

from typing import Any

import click

from pipeline.catalogue import FULL_PIPELINE
from pipeline.commands.run import start
from pipeline.commands.run_options import run_options
from pipeline.parameters import help_text


@click.command(epilog=help_text(FULL_PIPELINE.parameters))
@run_options
def run_full(**options: Any) -> int:
    """Run the FullPipeline: the DataPrepare pipeline, then the task TF-IDF on what that has made; publishes the model.

    Both are tasks on the server that are cloned (drafts of this package's version, made if they are missing). In the
    modes queue and controller, DataPrepare's controller goes to the controllers' queue while a worker is idle there;
    otherwise it runs beside the controller of the whole, so that the two never wait for each other.

    Uses the configured ClearML server; without one it starts its own with agents on this machine, and uploads a sample
    of real reviews. Exit code 0 only if every step completed.
    """
    return start(FULL_PIPELINE, **options)
