"""What a run of a pipeline can be told: its parameters, its mode, its queues. Checked before anything is enqueued.

Pure: it must not read the environment by itself, import the SDK or talk to a server; `Settings.from_environ` gets the
environment as an argument. Which parameters and steps there are: `pipeline.graph.definitions`.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from clearml_access import credentials
from clearml_access.agent_values import AgentValues
from pipeline.errors import SettingsError, UsageError
from pipeline.graph import sharding
from pipeline.graph.definitions import DATA_PREPARE, Definition
from pipeline.graph.parameters import ParameterValue, parse_assignments, require_known

QUEUE, CONTROLLER, IN_PROCESS = "queue", "controller", "in-process"
MODES = {
    QUEUE: "controller and steps are taken from queues by agents",
    CONTROLLER: "the controller runs here, its steps are taken from a queue",
    IN_PROCESS: "controller and steps run here, one process each; no agent is needed",
}

DEFAULT_TIMEOUT_S = 3600.0

STEP_PACKAGES = ("clearml", "polars", "scikit-learn", "pyarrow", "plotly", "pyyaml")
"""What a step imports; pinned to the versions of this environment, which the lock file fixed."""


def per_step(assignments: Iterable[str], option: str, steps: Sequence[str]) -> dict[str, str]:
    """Return step name → value of `STEP=VALUE` assignments.

    Raises:
        UsageError: An assignment has no `=` or no value.
        SettingsError: There is no step of that name.
    """
    values = {}
    for assignment in assignments:
        step, _, value = assignment.partition("=")
        if not value.strip():
            raise UsageError(f"{option} {assignment}: expected STEP=VALUE", hint=f"{option} {steps[0]}=...")
        values[require_known(step.strip(), steps, "step")] = value.strip()
    return values


@dataclass(frozen=True)
class Settings:
    """One run, as asked for."""

    queue: str
    """Queue of the steps."""

    controllers_queue: str | None = None
    """Queue of the controller; chosen among the server's queues if not given."""

    definition: Definition = DATA_PREPARE
    mode: str = QUEUE
    parameters: Mapping[str, ParameterValue] = field(default_factory=lambda: DATA_PREPARE.defaults)
    use_cache: bool = True
    shards: int = 1
    """Into how many steps a step that can be split is split; `definition` is so already."""

    max_parallel: int = sharding.NO_LIMIT
    """Shards that are in queues or running at once."""

    retries: int = sharding.RETRIES
    """How often a shard that failed is run again."""

    from_run: str = ""
    """Run whose completed steps are taken before all others in the cache."""

    step_queues: Mapping[str, str] = field(default_factory=dict)
    """Step → its own queue instead of `queue`; what is set for a step counts for its shards."""

    step_images: Mapping[str, str] = field(default_factory=dict)
    """Step → container image, where its worker runs containers."""

    timeout_s: float = DEFAULT_TIMEOUT_S
    """Longest duration of the whole run, waits in queues included."""

    server_configured: bool = False
    """Whether a ClearML server is configured; otherwise the run brings its own."""

    @classmethod
    def from_environ(
        cls,
        environ: Mapping[str, str],
        *,
        definition: Definition = DATA_PREPARE,
        queue: str | None = None,
        controllers_queue: str | None = None,
        mode: str = QUEUE,
        assignments: Iterable[str] = (),
        use_cache: bool = True,
        shards: int = 1,
        max_parallel: int = sharding.NO_LIMIT,
        retries: int = sharding.RETRIES,
        from_run: str = "",
        step_queues: Iterable[str] = (),
        step_images: Iterable[str] = (),
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> Settings:
        """Build the settings of a run from the environment and the command line.

        Raises:
            UsageError: The command line makes no sense.
            SettingsError: A parameter, step, mode or time is not possible.
        """
        if timeout_s <= 0:
            raise SettingsError(f"--timeout {timeout_s:g}: a run needs more than 0 seconds", hint="--timeout 3600")
        shards = sharding.whole_number(shards, "--shards", 1, sharding.MOST_SHARDS)
        definition = definition.with_shards(shards)
        return cls(
            queue=queue or AgentValues.load().queue,
            controllers_queue=controllers_queue,
            definition=definition,
            mode=require_known(mode, MODES, "mode"),
            parameters=parse_assignments(definition.parameters, assignments),
            use_cache=use_cache,
            shards=shards,
            max_parallel=sharding.whole_number(max_parallel, "--max-parallel", 0, 2 * sharding.MOST_SHARDS),
            retries=sharding.whole_number(retries, "--retries", 0, sharding.MOST_RETRIES),
            from_run=from_run,
            step_queues=per_step(step_queues, "--step-queue", definition.all_steps),
            step_images=per_step(step_images, "--step-image", definition.all_steps),
            timeout_s=timeout_s,
            server_configured=credentials.is_configured(environ),
        )


def queue_of(settings: Settings, step: str) -> str:
    """Return the queue that a step goes to where steps go to queues."""
    return sharding.value_of(settings.step_queues, step) or settings.queue


def step_requirements() -> list[str]:
    """Return what a step needs as pip requirements, pinned to the versions installed here."""
    return [f"{name}=={importlib.metadata.version(name)}" for name in STEP_PACKAGES]
