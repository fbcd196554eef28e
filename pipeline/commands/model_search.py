"""`python -m pipeline tune`: search for a better model. Prints; the search is in `pipeline.automation.tuning`."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import click
from rich.markup import escape
from rich.table import Table

from clearml_access.agent_values import AgentValues
from command_line.console import Console
from command_line.options import as_json, examples
from pipeline.automation.search import PARAMETERS, SPACE, STRATEGIES, TUNE
from pipeline.commands.connection import connect
from pipeline.commands.outcome import end_interrupted
from pipeline.graph.parameters import help_text, parse_assignments

if TYPE_CHECKING:
    from pipeline.automation.search import Trial
    from pipeline.graph.parameters import ParameterValue

OWN_OPTIONS = ("jobs", "minutes", "strategy", "parallel", "queue")
"""Parameters of the search that have an option of their own beside --set."""


@click.command(epilog=help_text(parameter for parameter in PARAMETERS if parameter.name not in OWN_OPTIONS))
@click.option("--jobs", type=int, metavar="N", help="Try at most N combinations of the values.  [default: 6]")
@click.option("--minutes", type=float, metavar="M", help="End the search after M minutes.  [default: 10]")
@click.option(
    "--strategy",
    type=click.Choice(STRATEGIES),
    help="How to choose combinations: all in their order, or at random.  [default: random]",
)
@click.option(
    "--parallel",
    type=int,
    metavar="P",
    help="Run at most P trials at once.  [default: the number of workers on the queue]",
)
@click.option("--queue", metavar="QUEUE", help="Queue of the trials.  [default: the queue in helm/values-agent.yaml]")
@click.option("--set", "assignments", multiple=True, metavar="NAME=VALUE", help="Set a parameter; may be repeated.")
@click.option("--detach", is_flag=True, help="Put the search into the controllers' queue and return.")
@as_json
@examples(
    "python -m pipeline tune --jobs 10 --minutes 20",
    "python -m pipeline tune --strategy grid --jobs 8 --set max_features=500,1000 --set alpha=0.5,1",
    "python -m pipeline tune --set model=linear --set metric=auc",
)
def tune(
    jobs: int | None,
    minutes: float | None,
    strategy: str | None,
    parallel: int | None,
    queue: str | None,
    assignments: tuple[str, ...],
    detach: bool,
    as_json: bool,
) -> int:
    """Search for the best features and smoothing of the task TF-IDF, within a budget of trials and of time.

    Trials are clones of the task that run on the steps' queue. They need a processed dataset: ./task run-full-pipeline
    makes one. The best model is published and gets the tag "best"; the best model of an earlier search of the same
    dataset loses it. The search's page compares all trials. Ctrl-C stops the search and its trials.
    """
    options = {"jobs": jobs, "minutes": minutes, "strategy": strategy, "parallel": parallel, "queue": queue}
    given = {name: (f"--{name}", value) for name, value in options.items()}
    values = parse_assignments(PARAMETERS, assignments, given)
    values["queue"] = values["queue"] or AgentValues.load().queue
    console = Console(stderr=as_json, highlight=False)

    def say(text: str) -> None:
        console.print(escape(text), soft_wrap=True)

    connection = connect(say)
    server = connection.server
    from pipeline import preflight
    from pipeline.automation.search import trials_of, with_versions
    from pipeline.datasets.lookup import require_version
    from pipeline.module_tasks import drafts, execution

    preflight.require_queue(server, str(values["queue"]))
    values = with_versions(server, values)
    for part in ("train", "test"):
        require_version(
            server,
            str(values["dataset_project"]),
            str(values["dataset_name"]),
            str(values[f"{part}_dataset_version"]),
            stage=part,
        )
    search = drafts.create(server, TUNE, values)
    page = server.task_page("*", search)
    if detach:
        controllers = preflight.queue_for_controllers(server, str(values["queue"]))
        preflight.require_queue(server, controllers)
        execution.enqueue(server, search, controllers)
        say(f"Search {search} is in queue {controllers}: {page}")
        if as_json:
            click.echo(json.dumps({"status": "queued", "task_id": search}))
        return 0
    say(f"Search {search}: {page}")
    try:
        execution.run(server, TUNE, search, environ=os.environ, say=say)
    except KeyboardInterrupt:
        say(f"Interrupted. Search {search} and its trials were stopped.")
        return end_interrupted(as_json=as_json, task_id=search)
    trials = trials_of(server, search, str(values["metric"]))
    console.print(_table(trials, str(values["metric"])))
    best = str(trials[0].model_id)
    say(f'Best model: {best}, published and tagged "best": {server.model_page("*", best)}')
    say(f"Comparison: {page}")
    if as_json:
        click.echo(json.dumps(_document(search, values, trials)))
    return 0


def _table(trials: list[Trial], metric: str) -> Table:
    """Return the trials as a table, the best first."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    names = [metric, *(name for name in ("accuracy", "f1", "auc") if name != metric)]
    for heading in (*SPACE, *names, "seconds"):
        table.add_column(heading, justify="right")
    table.add_column("task", style="dim")
    for place, trial in enumerate(trials):
        table.add_row(
            *(trial.parameters.get(name, "") for name in SPACE),
            *(f"{trial.metrics[name]:.4f}" if name in trial.metrics else "–" for name in names),
            "–" if trial.seconds is None else f"{trial.seconds:.1f}",
            trial.task_id if trial.model_id else f"{trial.task_id} {trial.status}",
            style="bold green" if place == 0 else None,
        )
    return table


def _document(search: str, values: dict[str, ParameterValue], trials: list[Trial]) -> dict[str, object]:
    return {
        "status": "completed",
        "task_id": search,
        "metric": values["metric"],
        "best": trials[0].as_json(),
        "trials": [trial.as_json() for trial in trials],
    }
