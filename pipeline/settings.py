"""What a run of the pipeline can be told: its parameters, its modes, its queues. Checked before anything is enqueued.

`PARAMETERS` is the one table of the pipeline's parameters: the controller declares them to ClearML from it, `--set`
checks against it, `--help` and the docs print it. Pure: it must not read the environment by itself, import the SDK or
talk to a server; `Settings.from_environ` gets the environment as an argument.
"""

from __future__ import annotations

import difflib
import importlib.metadata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.agent_values import AgentValues
from pipeline.errors import SettingsError, UsageError
from pipeline.versions import version_key

PIPELINE_NAME = "DataPrepare"
PIPELINE_PROJECT = "Amazon reviews"

GRAPH: Mapping[str, tuple[str, ...]] = {
    "train_test_split": (),
    "train_processing": ("train_test_split",),
    "test_processing": ("train_test_split",),
}
"""Step → the steps that it waits for."""

STEPS = tuple(GRAPH)

QUEUE, CONTROLLER, IN_PROCESS = "queue", "controller", "in-process"
MODES = {
    QUEUE: "controller and steps are taken from queues by agents",
    CONTROLLER: "the controller runs here, its steps are taken from a queue",
    IN_PROCESS: "controller and steps run here, one process each; no agent is needed",
}

DEFAULT_TIMEOUT_S = 3600.0

STEP_PACKAGES = ("clearml", "polars", "scikit-learn", "pyarrow", "plotly", "pyyaml")
"""What a step imports; pinned to the versions of this environment, which the lock file fixed."""

type_names = {str: "text", int: "whole number", float: "number", bool: "true or false"}

ParameterValue = str | int | float | bool


@dataclass(frozen=True)
class Parameter:
    """One parameter of the pipeline."""

    name: str
    default: ParameterValue
    description: str
    check: Callable[[ParameterValue], str | None] = lambda _: None
    """Returns what is wrong with a value of the right type, or nothing."""

    @property
    def type(self) -> type:
        """The type of its values."""
        return type(self.default)

    def parse(self, text: str) -> ParameterValue:
        """Return the value that `text` spells.

        Raises:
            SettingsError: It spells no value of this parameter's type, or one out of range.
        """
        try:
            value = _parsers[self.type](text)
        except ValueError:
            raise SettingsError(
                f"parameter {self.name}: {text!r} is not a {type_names[self.type]}",
                hint=f"--set {self.name}={self.default}",
            ) from None
        problem = self.check(value)
        if problem:
            raise SettingsError(f"parameter {self.name}: {problem}", hint=f"--set {self.name}={self.default}")
        return value


def _parse_bool(text: str) -> bool:
    known = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    try:
        return known[text.strip().lower()]
    except KeyError:
        raise ValueError(text) from None


_parsers: dict[type, Callable[[str], ParameterValue]] = {
    str: lambda text: text.strip(),
    int: lambda text: int(text),
    float: lambda text: float(text),
    bool: _parse_bool,
}


def _not_blank(value: ParameterValue) -> str | None:
    return None if str(value).strip() else "is empty"


def _a_version(value: ParameterValue) -> str | None:
    try:
        version_key(str(value))
    except SettingsError as error:
        return error.message
    return None


def _a_share(value: ParameterValue) -> str | None:
    return None if 0 < float(value) < 1 else f"{value} is not between 0 and 1 (both excluded)"


def _a_seed(value: ParameterValue) -> str | None:
    return None if 0 <= int(value) < 2**32 else f"{value} is not between 0 and {2**32 - 1}"


PARAMETERS: tuple[Parameter, ...] = (
    Parameter("dataset_name", "Amazon reviews dataset", "Name of the input dataset", _not_blank),
    Parameter("dataset_project", "Amazon reviews", "Project of the input dataset", _not_blank),
    Parameter("dataset_version", "1.2", "Version of the input dataset; outputs become <version>.1 to .3", _a_version),
    Parameter("test_size", 0.2, "Share of the reviews that goes into the test set, between 0 and 1", _a_share),
    Parameter("random_state", 42, "Seed of the split: the same seed gives the same split", _a_seed),
    Parameter("stratify", True, "Keep the share of each polarity equal in train and test set"),
)

DEFAULTS: Mapping[str, ParameterValue] = {parameter.name: parameter.default for parameter in PARAMETERS}


def parse_parameters(assignments: Iterable[str]) -> dict[str, ParameterValue]:
    """Return every parameter's value, with `name=value` assignments applied to the defaults.

    Raises:
        UsageError: An assignment has no `=`.
        SettingsError: An unknown parameter, or a value of the wrong type or out of range.
    """
    known = {parameter.name: parameter for parameter in PARAMETERS}
    values = dict(DEFAULTS)
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        name = name.strip()
        if not equals:
            raise UsageError(f"--set {assignment}: expected name=value", hint="--set dataset_version=1.1")
        values[name] = known[_known(name, known, "parameter")].parse(text)
    return values


def per_step(assignments: Iterable[str], option: str) -> dict[str, str]:
    """Return step name → value of `STEP=VALUE` assignments.

    Raises:
        UsageError: An assignment has no `=` or no value.
        SettingsError: There is no step of that name.
    """
    values = {}
    for assignment in assignments:
        step, _, value = assignment.partition("=")
        if not value.strip():
            raise UsageError(f"{option} {assignment}: expected STEP=VALUE", hint=f"{option} {STEPS[0]}=...")
        values[_known(step.strip(), STEPS, "step")] = value.strip()
    return values


def _known(name: str, names: Iterable[str], kind: str) -> str:
    """Return `name` if it is one of `names`, else fail naming the nearest."""
    names = list(names)
    if name in names:
        return name
    nearest = difflib.get_close_matches(name, names, n=1)
    meant = f"did you mean {nearest[0]}? " if nearest else ""
    raise SettingsError(f"unknown {kind} {name!r}", hint=f"{meant}{kind}s are: {', '.join(names)}")


@dataclass(frozen=True)
class Settings:
    """One run, as asked for."""

    queue: str
    """Queue of the steps."""

    controllers_queue: str | None = None
    """Queue of the controller; chosen among the server's queues if not given."""

    mode: str = QUEUE
    parameters: Mapping[str, ParameterValue] = field(default_factory=lambda: dict(DEFAULTS))
    use_cache: bool = True
    step_queues: Mapping[str, str] = field(default_factory=dict)
    """Step → its own queue instead of `queue`."""

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
        queue: str | None = None,
        controllers_queue: str | None = None,
        mode: str = QUEUE,
        assignments: Iterable[str] = (),
        use_cache: bool = True,
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
        return cls(
            queue=queue or AgentValues.load().queue,
            controllers_queue=controllers_queue,
            mode=_known(mode, MODES, "mode"),
            parameters=parse_parameters(assignments),
            use_cache=use_cache,
            step_queues=per_step(step_queues, "--step-queue"),
            step_images=per_step(step_images, "--step-image"),
            timeout_s=timeout_s,
            server_configured=server_configured(environ),
        )


def server_configured(environ: Mapping[str, str]) -> bool:
    """Return whether a ClearML server is configured, by the SDK's own names and places."""
    if environ.get("CLEARML_API_HOST") or environ.get("CLEARML_API_ACCESS_KEY"):
        return True
    named = environ.get("CLEARML_CONFIG_FILE")
    home = environ.get("HOME") or str(Path.home())
    return Path(named).expanduser().is_file() if named else (Path(home) / "clearml.conf").is_file()


def step_requirements() -> list[str]:
    """Return what a step needs as pip requirements, pinned to the versions installed here."""
    return [f"{name}=={importlib.metadata.version(name)}" for name in STEP_PACKAGES]
