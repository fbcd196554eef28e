"""One step of a run, opened beside its graph: what it was given, what it made, what it measured and printed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from clearml_localserver.web import outcome, phases
from clearml_localserver.web.runs import Run, Step
from clearml_localserver.web.site import Json, Visit
from clearml_localserver.web.used import Use, uses_of
from clearml_localserver.web.views.failures import last_lines
from clearml_localserver.web.views.lists import find_tasks

FIELDS = ["name", "hyperparams", "last_metrics", "models", "execution.artifacts", "runtime.datasets"]
SHOWN = 12
"""Parameters, metrics, inputs and outputs that the panel shows of each; the step's own pages show all."""

LEFT_OUT = ("properties", "Datasets", "return")
"""Sections left out of the parameters: notes of the SDK, and what inputs and outputs show."""


@dataclass(frozen=True)
class Opened:
    """A step that is open beside the graph."""

    step: Step
    times: phases.Times | None
    parameters: list[tuple[str, str]]
    metrics: list[Json]
    inputs: list[Use]
    outputs: list[Use]
    left_out: dict[str, int]
    """Of `parameters`, `metrics`, `inputs` and `outputs`: how many more there are."""

    lines: list[str]
    """The end of its console."""

    cause: str = ""
    """Of a failed step, why, by its console; empty where that says nothing."""


def open_step(visit: Visit, run: Run, times: Mapping[str, phases.Times], causes: Mapping[str, str]) -> Opened | None:
    """Return the step that the address names; None where it names none of this run.

    Args:
        visit: The request.
        run: The run.
        times: The phases of its steps by name.
        causes: Why steps failed by name, as far as it was read already.
    """
    wanted = visit.query.get("step", "")
    step = next((step for step in run.steps if wanted and step.name == wanted), None)
    if step is None:
        return None
    found = find_tasks(visit, {"id": [step.task_id]}, size=1, fields=FIELDS) if step.task_id else []
    if not found:
        return Opened(step, None, [], [], [], [], {}, [])
    task = found[0]
    parameters = [
        (name if section == "kwargs" else f"{section}/{name}", str(item["value"]))
        for section, items in task["hyperparams"].items()
        if section not in LEFT_OUT
        for name, item in items.items()
        if item["value"]
    ]
    metrics = [value for variants in task["last_metrics"].values() for value in variants.values()]
    inputs, outputs = uses_of(task)
    lines, _ = last_lines(visit, task["id"])
    whole = {"parameters": parameters, "metrics": metrics, "inputs": inputs, "outputs": outputs}
    return Opened(
        step,
        times.get(step.name),
        parameters[:SHOWN],
        metrics[:SHOWN],
        inputs[:SHOWN],
        outputs[:SHOWN],
        {name: len(items) - SHOWN for name, items in whole.items() if len(items) > SHOWN},
        lines[-outcome.SHOWN_LINES :],
        causes.get(step.name) or (outcome.cause(lines) if step.status == "failed" else ""),
    )
