"""What a task is whose script only calls `main` of an installed module. Pure.

A person declares one (`ModuleTask`); how its draft is made `pipeline.module_tasks.drafts` knows, how it is run and
stopped `pipeline.module_tasks.execution`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.errors import RunError
from pipeline.graph.parameters import Parameter, ParameterValue

SECTION = "Args"
"""Section of a task's parameters."""

_MARK = 'from pipeline.step_runtime.timeline import mark\n\nmark("process")\n\n'


@dataclass(frozen=True)
class ModuleTask:
    """One kind of task."""

    name: str
    project: str
    task_type: str
    """ClearML's type of it."""

    module: str
    """Its `main` is the task's process."""

    parameters: tuple[Parameter, ...]
    is_step: bool = False
    """Whether it is a step of pipelines: then its script says when it begins, and has a digest of the package's code in
    it, since ClearML finds a step in the cache by its script."""

    failure: type[RunError] = RunError
    """The error of a command that runs it, if it fails."""

    starts: str = ""
    """ClearML's type of the tasks that it starts, which end with it; nothing if it starts none, or none that do."""

    draft_suffix: str = ""
    """Behind the name of the draft that is cloned."""

    system_tags: tuple[str, ...] = ()
    folder_tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Project → its system tags, for the project and folders around it that are not plain ones."""

    configuration: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)
    """User properties."""

    @property
    def entry_name(self) -> str:
        """Name of its script."""
        return f"{self.module.rpartition('.')[2]}.py"

    @property
    def entry_script(self) -> str:
        """Its script, stored on the task: an agent needs no repository."""
        return (
            f'"""{self.name}. The work is in the installed package `pipeline`."""\n\n'
            f"{_MARK if self.is_step else ''}from {self.module} import main\n\nmain()\n"
        )

    def arguments(self, values: Mapping[str, ParameterValue] | None = None) -> list[dict[str, str]]:
        """Return its parameters as the server stores them, at their defaults where no value is given."""
        given = values or {}
        return [
            {
                "section": SECTION,
                "name": parameter.name,
                "value": str(given.get(parameter.name, parameter.default)),
                "type": parameter.type.__name__,
                "description": parameter.description,
            }
            for parameter in self.parameters
        ]

    def read(self, stored: Mapping[str, Any]) -> dict[str, ParameterValue]:
        """Return a task's parameters, checked; one that it does not have is at its default.

        Args:
            stored: What the SDK says of the task: `section/name` → value.

        Raises:
            SettingsError: One is of the wrong type or out of range.
        """
        return {
            parameter.name: parameter.parse(str(stored[key])) if key in stored else parameter.default
            for parameter in self.parameters
            for key in [f"{SECTION}/{parameter.name}"]
        }
