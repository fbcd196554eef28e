"""One run as asked for: its pipeline, its parameters, its options (`pipeline.run_options`), its time. All checked.

Pure: it must not read the environment, import the SDK or talk to a server. Which parameters and steps there are:
`pipeline.graph.definitions`.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.errors import SettingsError
from pipeline.graph.definitions import Definition
from pipeline.graph.parameters import ParameterValue, parse_assignments
from pipeline.run_options import RunOptions

DEFAULT_TIMEOUT_S = 3600.0

STEP_PACKAGES = ("clearml", "polars", "scikit-learn", "pyarrow", "plotly", "pyyaml")
"""What a step imports; pinned to the versions of this environment, which the lock file fixed."""


@dataclass(frozen=True)
class Settings:
    """One run, as asked for."""

    definition: Definition
    """The pipeline, split into the shards that the options say."""

    parameters: Mapping[str, ParameterValue]
    options: RunOptions = field(default_factory=RunOptions)
    timeout_s: float = DEFAULT_TIMEOUT_S
    """Longest duration of the whole run, waits in queues included."""

    @classmethod
    def of(
        cls,
        *,
        definition: Definition,
        assignments: Iterable[str] = (),
        timeout_s: float = DEFAULT_TIMEOUT_S,
        base: RunOptions | None = None,
        **given: Any,
    ) -> Settings:
        """Build the settings of a run from what the command line says.

        Args:
            definition: The pipeline, without shards.
            assignments: `name=value` texts for its parameters.
            timeout_s: Longest duration.
            base: The options that count where none are given; by default the defaults.
            **given: Options as the command line has them; see `RunOptions.told`.

        Raises:
            UsageError: The command line makes no sense.
            SettingsError: A parameter, an option, a step or a time is not possible.
        """
        if not timeout_s > 0:  # NaN is not, either
            raise SettingsError(f"--timeout {timeout_s:g}: a run needs more than 0 seconds", hint="--timeout 3600")
        options = (base or RunOptions()).told(given, definition)
        return cls(
            options=options,
            definition=definition.with_shards(options.shards),
            parameters=parse_assignments(definition.parameters, assignments),
            timeout_s=timeout_s,
        )


def step_requirements() -> list[str]:
    """Return what a step needs as pip requirements, pinned to the versions installed here."""
    return [f"{name}=={importlib.metadata.version(name)}" for name in STEP_PACKAGES]
