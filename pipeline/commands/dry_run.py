"""`--dry-run`: the graph, and what would run where. Prints; touches nothing."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from command_line.console import Console
from pipeline.graph.sharding import value_of
from pipeline.run_options import IN_PROCESS, MODES
from pipeline.settings import Settings, step_requirements


def dry_run_of(settings: Settings, console: Console, *, as_json: bool) -> int:
    """Print what a run with these settings would be; return the exit code."""
    options = settings.options
    steps = [
        {
            "name": step,
            "parents": list(parents),
            "queue": None
            if options.mode == IN_PROCESS or step in settings.definition.parts
            else options.queue_of(step),
            "image": value_of(options.step_images, step) or None,
        }
        for step, parents in settings.definition.whole_graph.items()
    ]
    if as_json:
        document = {
            "pipeline": settings.definition.name,
            "parameters": dict(settings.parameters),
            **{name: None if value == "" else value for name, value in asdict(options).items()},
            "steps": steps,
            "requirements": step_requirements(),
        }
        click.echo(json.dumps(document))
        return 0
    console.print(f"{settings.definition.name}, mode {options.mode}: {MODES[options.mode]}")
    for step in steps:
        behind = f" after {', '.join(step['parents'])}" if step["parents"] else ""
        where = f"queue {step['queue']}" if step["queue"] else "a process of this machine"
        if step["name"] in settings.definition.parts and options.mode != IN_PROCESS:
            where = "the controllers' queue, or beside the controller of the whole"
        image = f", image {step['image']}" if step["image"] else ""
        retries = value_of(options.step_retries, str(step["name"]))
        own = f", retries {retries}" if retries else ""
        console.print(f"  {step['name']}{behind}  [{where}{image}{own}]", markup=False, soft_wrap=True)
    console.print("Parameters")
    for name, value in settings.parameters.items():
        console.print(f"  {name} = {value}", markup=False, soft_wrap=True)
    console.print(f"Steps that were run before with the same inputs are {'reused' if options.cache else 'run again'}")
    console.print(f"Requirements of a step: {', '.join(step_requirements())}", soft_wrap=True)
    console.print("Nothing was enqueued, and no server was asked whether these queues exist (--dry-run).")
    return 0
