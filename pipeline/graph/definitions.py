"""The pipelines as data: what each is called, what it takes, its steps and their order. Pure.

One table serves everybody: the controller declares parameters and adds steps to ClearML from it, `--set` checks
against it, `--help` and the live view print it. The graph follows from what each step takes from others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pipeline.graph import sharding
from pipeline.graph.parameters import Parameter, ParameterValue, defaults_of, require_known

_REFERENCE = re.compile(r"\$\{(?P<step>\w+)\.")


@dataclass(frozen=True)
class ShardedWork:
    """How a step does its work where it is split: a function for each shard, and one that joins what they made."""

    function: str
    """Of each shard: the name of a module as in `FunctionStep`. Besides `inputs` it takes `shard`, its number from 1
    on, and `shards`, how many there are."""

    inputs: Mapping[str, str]
    outputs: tuple[str, ...]
    join: str
    """Of the step itself then. Besides `join_inputs` it takes each output of each shard as `<output>_<shard>`."""

    join_inputs: Mapping[str, str] = field(default_factory=dict)

    file: str = ""
    """Of the step's outputs, the one that is a single file of what the shards made. It is only made where another step
    takes it; whether, the join is told as `one_file`."""


@dataclass(frozen=True)
class FunctionStep:
    """A step that calls a function, which the SDK ships by source."""

    function: str
    """Name of a module; the function in it has the module's last name."""

    inputs: Mapping[str, str]
    """Argument → value, or a reference: `${pipeline.parameter}` or `${step.output}`."""

    outputs: tuple[str, ...]
    """Names of what it returns, in order."""

    sharded: ShardedWork | None = None
    """How it is split over workers, if it can be."""

    def parents(self, steps: Mapping[str, FunctionStep]) -> tuple[str, ...]:
        """Return those of `steps` that it takes something from, in order of their first mention."""
        named = (match["step"] for value in self.inputs.values() for match in _REFERENCE.finditer(value))
        return tuple(dict.fromkeys(step for step in named if step in steps))


def graph_of(steps: Mapping[str, FunctionStep]) -> dict[str, tuple[str, ...]]:
    """Return step → the steps that it waits for."""
    return {name: step.parents(steps) for name, step in steps.items()}


@dataclass(frozen=True)
class Definition:
    """One pipeline."""

    name: str
    project: str
    parameters: tuple[Parameter, ...]
    module: str
    """Its `main` is the controller's process."""

    functions: Mapping[str, FunctionStep] = field(default_factory=dict)
    """Its steps that call a function, by name."""

    graph: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Step → the steps that it waits for. Made of `functions` where it is not given."""

    results: Mapping[str, str] = field(default_factory=dict)
    """What it passes on to a pipeline around it: name → the step whose `dataset_id` it is. The controller leaves them
    on its own task as `return/<name>_dataset_id` and `return/<name>_dataset_version`."""

    parts: Mapping[str, Definition] = field(default_factory=dict)
    """Those of its steps that are pipelines themselves."""

    def __post_init__(self) -> None:
        if not self.graph:
            object.__setattr__(self, "graph", graph_of(self.functions))

    @property
    def shardable(self) -> tuple[str, ...]:
        """Those of its steps that can be split over workers."""
        return tuple(name for name, step in self.functions.items() if step.sharded)

    def with_shards(self, shards: int) -> Definition:
        """Return the pipeline with its shardable steps split into so many each, those of its parts included."""
        return replace(
            self,
            graph=sharding.spread(self.graph, self.shardable, shards),
            parts={step: part.with_shards(shards) for step, part in self.parts.items()},
        )

    @property
    def steps(self) -> tuple[str, ...]:
        """The names of its steps, in order."""
        return tuple(self.graph)

    @property
    def all_steps(self) -> tuple[str, ...]:
        """The names of its steps, those of its parts included as `part.step`."""
        return tuple(self.whole_graph)

    @property
    def whole_graph(self) -> dict[str, tuple[str, ...]]:
        """Step → the steps of the same pipeline that it waits for, those of its parts included as `part.step`."""
        whole = {}
        for step, parents in self.graph.items():
            whole[step] = parents
            inner = self.parts[step].whole_graph if step in self.parts else {}
            whole |= {f"{step}.{name}": tuple(f"{step}.{parent}" for parent in waits) for name, waits in inner.items()}
        return whole

    def from_step(self, step: str) -> frozenset[str]:
        """Return a step and all that follow it; of `part.step` in a pipeline inside this one, that part.

        Raises:
            SettingsError: There is no such step.
        """
        if not step:
            return frozenset()
        require_known(step, self.all_steps, "step")
        found = {step.partition(".")[0]}
        while more := {
            name for name, parents in self.graph.items() if name not in found and found.intersection(parents)
        }:
            found |= more
        return frozenset(found)

    @property
    def work_steps(self) -> tuple[str, ...]:
        """Those of `all_steps` that work, where a part only waits for its own."""
        return tuple(step for step in self.all_steps if step not in self.parts)

    @property
    def defaults(self) -> dict[str, ParameterValue]:
        """Every parameter's default."""
        return defaults_of(self.parameters)
