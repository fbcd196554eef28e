"""`python -m pipeline run-full`: data preparation and training in one run. The work is in `pipeline.commands.run`."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from command_line.options import examples
from pipeline.amazon_reviews.pipelines import FULL_PIPELINE
from pipeline.commands.run import start
from pipeline.commands.run_options import epilog_of, run_options
from pipeline.commands.serve import lines_of, make_environment, serve_model
from pipeline.serving import cluster

if TYPE_CHECKING:
    from pipeline.amazon_reviews.model.trained import TrainedModel


MACHINE, CLUSTER = "machine", "cluster"
"""Where the model of a run is served."""


@click.command(epilog=epilog_of(FULL_PIPELINE))
@run_options
@click.option(
    "--serve",
    is_flag=False,
    flag_value=MACHINE,
    type=click.Choice((MACHINE, CLUSTER)),
    metavar="[machine|cluster]",
    help="Serve the model of the run over HTTP: on this machine, as ./task serve-model does, or in the cluster of the "
    "kubeconfig, as ./task deploy-serve does.",
)
@examples(
    "./task run-full-pipeline",
    "python -m pipeline run-full --serve",
    "python -m pipeline run-full --serve cluster",
    "python -m pipeline run-full --set model=linear --set max_features=2000",
    "python -m pipeline run-full --shards 4 --step-queue data_prepare.train_processing=pods",
    "python -m pipeline run-full --from-failed",
)
def run_full(serve: str | None, **options: Any) -> int:
    """Run the FullPipeline: DataPrepare, then the task TF-IDF, which trains and publishes a model.

    Both are clones of draft tasks on the server, which are created for this version of the package where they are
    missing. In the modes queue and controller, DataPrepare's controller goes to the controllers' queue if a worker is
    idle there. Otherwise it runs beside the outer controller, so that the two never wait for each other.

    It runs on the configured ClearML server. Without one, the command starts a server and agents on this machine, and
    uploads a sample of real reviews. The exit code is 0 only if every step completes.
    """
    if serve and not options["dry_run"]:
        make_environment(lambda text: click.echo(text, err=True))  # what cannot be served is said before the run
    if serve == CLUSTER and not options["dry_run"]:
        cluster.check(os.environ)
    hand_over = {MACHINE: _serve, CLUSTER: _serve_in_cluster, None: None}[serve]
    return start(FULL_PIPELINE, hand_over=hand_over, **options)


def _serve(models: list[TrainedModel], say: Callable[[str], None]) -> dict[str, Any]:
    """Serve the model of a run."""
    done = serve_model(say, model_id=models[-1].id)
    for line in lines_of(done):
        say(line)
    return {"serving": asdict(done)}


def _serve_in_cluster(models: list[TrainedModel], say: Callable[[str], None]) -> dict[str, Any]:
    """Serve the model of a run in the cluster."""
    done = cluster.serve(os.environ, models[-1].id)
    path = done["paths"][0]
    say(f"Model {done['model_id']} is version {done['version']} in the cluster: {done['address']}/{path}")
    say(f"A pod was answered {done['label']}, probability {done['probability']:.4f}, as the model itself says")
    say(f"From here: kubectl -n {done['namespace']} port-forward service/{done['release']} {done['port']}")
    return {"serving": done}
