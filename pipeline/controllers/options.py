"""How the controller's process learns what the run is told (`pipeline.run_options`).

The command line tells it as its argument (`Launch`). The controller's task keeps the options in a section of its own,
where an agent reads them, and a person who clones the run edits them. Outside system: that task, through the SDK.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from clearml_access.agent_values import AgentValues
from pipeline.graph.parameters import ParameterValue
from pipeline.run_options import QUEUE, SECTION, SERVICES_QUEUE, RunOptions


@dataclass(frozen=True)
class Launch:
    """What the command line tells the controller's process. An agent tells nothing: it reads the controller's task."""

    options: RunOptions = field(default_factory=lambda: RunOptions(controllers_queue=SERVICES_QUEUE))
    parameters: Mapping[str, ParameterValue] = field(default_factory=dict)
    announce: str = ""
    """File in which the id of the controller's task is left for the command line."""
    command: int = 0
    """Process id of the command: the run is stopped when it is gone. 0 where nobody has to be there."""

    def to_json(self) -> str:
        """Return the text that `from_json` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Launch:
        """Read what `to_json` wrote."""
        told = json.loads(text)
        return cls(**told | {"options": RunOptions(**told["options"])})


def connect(task: Any, options: RunOptions, steps: Collection[str]) -> RunOptions:
    """Put the options on the controller's task; under an agent, read them from there.

    Args:
        task: The controller's task.
        options: What the command line says.
        steps: All steps of the pipeline, those of its parts included.

    Raises:
        SettingsError: What is on the task is not possible.
    """
    prefix = f"{SECTION}/"
    local = task.running_locally()
    stored = {} if local else task.get_parameters() or {}
    # The mode is what an agent does with the task, however this run was started. All are texts, since the SDK would
    # silently take the default for a number or a bool that was misspelt on the page. What is stored may name
    # shards that this run does not have, and options of another version: they stay.
    entries = replace(options, mode=QUEUE).texts(steps) | {
        name.removeprefix(prefix): value for name, value in stored.items() if name.startswith(prefix)
    }
    entries["queue"] = entries["queue"] or AgentValues.load().queue
    read = RunOptions.read(task.connect(entries, name=SECTION))
    return replace(read, mode=options.mode) if local else read
