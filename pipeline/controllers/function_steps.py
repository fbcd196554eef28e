"""Adds the steps that a definition declares to a controller: each a function, or its shards and what joins them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Protocol

from pipeline.graph import sharding
from pipeline.graph.definitions import FunctionStep


class TakesFunctions(Protocol):
    """What is asked of a controller."""

    def add_function(
        self, name: str, function: Callable[..., Any], *, inputs: Mapping[str, str | int], outputs: tuple[str, ...]
    ) -> None:
        """Add a step that calls a function."""


def add_function_steps(controller: TakesFunctions, steps: Mapping[str, FunctionStep], shards: int) -> None:
    """Add all steps, in order.

    Args:
        controller: Takes them.
        steps: By name.
        shards: Into how many steps each one that can be split is split.
    """
    for name, step in steps.items():
        names = sharding.shard_names(name, shards) if step.sharded else ()
        if step.sharded is None or not names:
            controller.add_function(name, load(step.function), inputs=step.inputs, outputs=step.outputs)
            continue
        work = step.sharded
        made: dict[str, str | int] = {}
        for number, shard in enumerate(names, 1):
            inputs: dict[str, str | int] = {**work.inputs, "shard": number, "shards": len(names)}
            controller.add_function(shard, load(work.function), inputs=inputs, outputs=work.outputs)
            made |= {f"{output}_{number}": f"${{{shard}.{output}}}" for output in work.outputs}
        outputs, joined = step.outputs, {**work.join_inputs, **made}
        if work.file:
            wanted = _is_taken(f"${{{name}.{work.file}}}", steps)
            outputs = tuple(output for output in outputs if wanted or output != work.file)
            joined |= {"one_file": int(wanted)}
        controller.add_function(name, load(work.join), inputs=joined, outputs=outputs)


def _is_taken(output: str, steps: Mapping[str, FunctionStep]) -> bool:
    return any(output in value for step in steps.values() for value in step.inputs.values())


def load(module: str) -> Callable[..., Any]:
    """Return the function of a step's module."""
    function: Callable[..., Any] = getattr(import_module(module), module.rpartition(".")[2])
    return function
