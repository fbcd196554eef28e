"""`python -m pipeline run-full`: data preparation and training in one run. The work is in `pipeline.commands.run`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from command_line.options import examples
from pipeline.amazon_reviews.pipelines import FULL_PIPELINE
from pipeline.commands.run import start
from pipeline.commands.run_options import epilog_of, run_options
from pipeline.commands.serve import lines_of, make_environment, serve_model

if TYPE_CHECKING:
    from pipeline.amazon_reviews.model.trained import TrainedModel


@click.command(epilog=epilog_of(FULL_PIPELINE))
@run_options
@click.option("--serve", is_flag=True, help="Serve the model of the run over HTTP, as ./task serve-model does.")
@examples(
    "./task run-full-pipeline",
    "python -m pipeline run-full --serve",
    "python -m pipeline run-full --set model=linear --set max_features=2000",
    "python -m pipeline run-full --shards 4 --step-queue data_prepare.train_processing=pods",
    "python -m pipeline run-full --from-failed",
)
def run_full(serve: bool, **options: Any) -> int:
    """Run the FullPipeline: DataPrepare, then the task TF-IDF, which trains and publishes a model.

    Both are clones of draft tasks on the server, which are created for this version of the package where they are
    missing. In the modes queue and controller, DataPrepare's controller goes to the controllers' queue if a worker is
    idle there. Otherwise it runs beside the outer controller, so that the two never wait for each other.

    It runs on the configured ClearML server. Without one, the command starts a server and agents on this machine, and
    uploads a sample of real reviews. The exit code is 0 only if every step completes.
    """
    if serve and not options["dry_run"]:
        make_environment(lambda text: click.echo(text, err=True))  # what cannot be served is said before the run
    return start(FULL_PIPELINE, hand_over=_serve if serve else None, **options)


def _serve(models: list[TrainedModel], say: Callable[[str], None]) -> dict[str, Any]:
    """Serve the model of a run."""
    done = serve_model(say, model_id=models[-1].id)
    for line in lines_of(done):
        say(line)
    return {"serving": asdict(done)}
