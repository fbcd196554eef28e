"""The models that a run has brought forth, with the numbers that say how good they are.

Read from the server: the output models of the steps' tasks, and the last value of each of those tasks' scalars. It
must not change a model (`pipeline.amazon_reviews.model.registry` does). Outside system: the ClearML server, through its
adapter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from clearml_access.run_records import RunState
from pipeline.amazon_reviews.model.fit_model import METRICS
from pipeline.clearml_server import ClearmlServer


@dataclass(frozen=True)
class TrainedModel:
    """A model, the step that made it, and that step's scalars."""

    id: str
    name: str
    step: str
    task_id: str
    published: bool
    page: str
    tags: tuple[str, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return what `--json` prints of it."""
        return {
            "id": self.id,
            "name": self.name,
            "step": self.step,
            "task_id": self.task_id,
            "published": self.published,
            "tags": list(self.tags),
            "metrics": {name: round(value, 6) for name, value in self.metrics.items()},
            "page": self.page,
        }


def models_of(server: ClearmlServer, state: RunState) -> list[TrainedModel]:
    """Return the models of a run's steps, in the order of the steps."""
    return models_of_tasks(
        server, {step.task_id: step.name for step in state.all_steps if step.task_id and not step.inner}
    )


def models_of_tasks(server: ClearmlServer, names: Mapping[str, str]) -> list[TrainedModel]:
    """Return the output models of tasks.

    Args:
        server: The server.
        names: Task → what it is called.
    """
    if not names:
        return []
    tasks = {task["id"]: task for task in server.tasks(["models.output", "last_metrics"], id=list(names))}
    makers = {
        entry["model"]: task_id
        for task_id in names
        for entry in ((tasks.get(task_id) or {}).get("models") or {}).get("output") or []
    }
    found = {row["id"]: row for row in server.models(list(makers))} if makers else {}
    return [
        TrainedModel(
            id=model,
            name=str(found[model].get("name") or ""),
            step=names[task_id],
            task_id=task_id,
            published=bool(found[model].get("ready")),
            page=server.model_page(str(found[model].get("project") or "*"), model),
            tags=tuple(found[model].get("tags") or ()),
            metrics=read_metrics(tasks[task_id].get("last_metrics") or {}),
        )
        for model, task_id in makers.items()
        if model in found
    ]


def read_metrics(last_metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the last value of each of the task's metrics by its name, in the order of `fit_model.METRICS`."""
    values = {
        str(variant["variant"]): float(variant["value"])
        for variants in last_metrics.values()
        for variant in variants.values()
        if isinstance(variant.get("value"), int | float)
    }
    return {name: values[name] for name in METRICS if name in values}
