"""What a run is told besides its parameters: its shards and queues, whether it takes steps from the cache.

The command line tells the controller's process (`Launch`). The controller's task keeps it in a section of its own,
where an agent reads it, and whoever clones the run edits it. Outside system: that task, through the SDK.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline.graph import sharding
from pipeline.graph.definitions import Definition
from pipeline.graph.parameters import ParameterValue
from pipeline.settings import IN_PROCESS, QUEUE

SECTION = "Options"
MODE_PROPERTY = "mode"
"""How a run was started: to be seen, and for a run that goes on from its failure."""

PER_STEP = ("queues", "images")
"""Those that may be set for each step."""


@dataclass(frozen=True)
class Launch:
    """What the command line tells the controller's process. An agent tells nothing: it reads the controller's task."""

    mode: str = QUEUE
    parameters: Mapping[str, ParameterValue] = field(default_factory=dict)
    use_cache: bool = True
    shards: int = 1
    max_parallel: int = sharding.NO_LIMIT
    retries: int = sharding.RETRIES
    from_run: str = ""
    queue: str = "default"
    controllers_queue: str = "services"
    step_queues: Mapping[str, str] = field(default_factory=dict)
    step_images: Mapping[str, str] = field(default_factory=dict)
    announce: str = ""
    """File in which the id of the controller's task is left for the command line."""

    def to_json(self) -> str:
        """Return the text that `from_json` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Launch:
        """Read what `to_json` wrote."""
        return cls(**json.loads(text))


def connect(task: Any, launch: Launch, steps: Collection[str]) -> dict[str, Any]:
    """Put the options on the controller's task; under an agent, read them from there.

    Args:
        task: The controller's task.
        launch: What the command line says.
        steps: All steps of the pipeline, those of its parts included.
    """
    options = {
        "cache": launch.use_cache,
        # Texts, since the SDK would silently take the default for a number that somebody misspelt on the page.
        "shards": str(launch.shards),
        "max_parallel": str(launch.max_parallel),
        "retries": str(launch.retries),
        "from_run": launch.from_run,
        "mode": QUEUE,  # what an agent does with it, however this run was started
        "queue": launch.queue,
        "controllers_queue": launch.controllers_queue,
        "queues": dict.fromkeys(steps, "") | _stored(task, "queues") | dict(launch.step_queues),
        "images": dict.fromkeys(steps, "") | _stored(task, "images") | dict(launch.step_images),
    }
    connected: dict[str, Any] = task.connect(options, name=SECTION)
    return connected


def _stored(task: Any, option: str) -> dict[str, str]:
    """Return what is set per step on the controller's task: for shards, too, that this run may not have."""
    prefix = f"{SECTION}/{option}/"
    found: dict[str, str] = task.get_parameters() or {}
    return {name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)}


def of_part(options: Mapping[str, Any], name: str, part: Definition, *, mode: str) -> dict[str, str]:
    """Return the options of a step that is a pipeline, as parameters of its controller's task.

    Args:
        options: Those of the pipeline around it.
        name: The step.
        part: The pipeline that it is.
        mode: How the pipeline around it runs.
    """
    own = {
        **{option: options[option] for option in ("cache", "shards", "max_parallel", "retries", "from_run")},
        "mode": IN_PROCESS if mode == IN_PROCESS else QUEUE,
        "queue": options["queue"],
        "controllers_queue": options["controllers_queue"],
        **{
            f"{option}/{step}": options[option].get(f"{name}.{step}", "")
            for option in PER_STEP
            for step in part.all_steps
        },
    }
    return {f"{SECTION}/{option}": str(value) for option, value in own.items()}
