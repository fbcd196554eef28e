"""`python -m pipeline fit-model`: features and a model from processed reviews. Prints; the work is in `fit_run`."""

from __future__ import annotations

import json
import os

import click

from clearml_access.agent_values import AgentValues
from command_line.options import Number, as_json, examples
from pipeline.amazon_reviews.model.fit_model import FIT_MODEL, METRICS, PARAMETERS
from pipeline.commands.connection import connect
from pipeline.commands.outcome import end_interrupted
from pipeline.graph.parameters import help_text, parse_assignments
from pipeline.run_options import IN_PROCESS, QUEUE
from pipeline.settings import DEFAULT_TIMEOUT_S


@click.command(epilog=help_text(PARAMETERS))
@click.option(
    "--mode",
    type=click.Choice([QUEUE, IN_PROCESS]),
    default=QUEUE,
    show_default=True,
    help="Where it runs: on an agent that takes it from a queue, or in a process on this machine.",
)
@click.option("--set", "assignments", multiple=True, metavar="NAME=VALUE", help="Set a parameter; may be repeated.")
@click.option("--queue", metavar="QUEUE", help="Queue of the task.  [default: the queue in helm/values-agent.yaml]")
@click.option(
    "--timeout",
    "timeout_s",
    type=Number(0, min_open=True),
    default=DEFAULT_TIMEOUT_S,
    show_default=True,
    metavar="SECONDS",
    help="Time limit, with the wait in the queue; then the task is stopped.",
)
@as_json
@examples("./task fit-model", "python -m pipeline fit-model --set model=linear --mode in-process")
def fit_model(mode: str, assignments: tuple[str, ...], queue: str | None, timeout_s: float, as_json: bool) -> int:
    """Run the task TF-IDF: train a model on a processed dataset version, and measure it on another.

    The task's page shows the classification report, the confusion matrix and the ROC curve. The model and a dataset
    version with the features are published. The exit code is 0 only if the task completes.
    """

    def say(text: str) -> None:
        click.echo(text, err=as_json)

    parameters = parse_assignments(PARAMETERS, assignments)
    queue = "" if mode == IN_PROCESS else queue or AgentValues.load().queue
    connection = connect(say)
    if mode == IN_PROCESS:
        connection.check_storage()
    from pipeline.amazon_reviews import fit_run
    from pipeline.module_tasks.drafts import clone

    fit_run.check(connection.server, parameters, queue)
    task = clone(connection.server, FIT_MODEL, parameters)
    try:
        result = fit_run.run(connection.server, task, queue=queue, timeout_s=timeout_s, environ=os.environ, say=say)
    except KeyboardInterrupt:
        say(f"Interrupted. Task {task} was stopped, and its unfinished results were removed.")
        return end_interrupted(as_json=as_json, task_id=task)
    say(", ".join(f"{name} {result['metrics'][name]:.4f}" for name in METRICS))
    published = result.get("dataset_version")
    say(f"Model {result['model_id']}" + (f", published; features: dataset version {published}" if published else ""))
    say(f"On the server: {connection.server.task_page('*', task)}")
    if as_json:
        click.echo(json.dumps({"status": "completed", "task_id": task, "mode": mode, **result}))
    return 0
