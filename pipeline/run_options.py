"""What a run can be told besides its parameters. Declared once: a field of `RunOptions`.

From a field follow the command line's option (`pipeline.commands.run_options`), what the controller's process is told
(`pipeline.controllers.options`), the entry in the section `Options` of the controller's task, where an agent reads it
and who clones the run edits it, what a pipeline inside the pipeline is told, and what a rerun takes over from the
run that failed (`pipeline.runs.reruns`). Texts are read in one way, wherever they come from. Pure.
"""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from clearml_access.agent_values import AgentValues
from clearml_access.quantities import parse_quantity
from pipeline.errors import SettingsError, UsageError
from pipeline.graph import sharding
from pipeline.graph.definitions import Definition
from pipeline.graph.parameters import parse_as, require_known

SECTION = "Options"
MODE_PROPERTY = "mode"
"""User property of a controller's task: how the run was started. The option says what an agent does with the task."""

QUEUE, CONTROLLER, IN_PROCESS = "queue", "controller", "in-process"
MODES = {
    QUEUE: "controller and steps are taken from queues by agents",
    CONTROLLER: "the controller runs here, its steps are taken from a queue",
    IN_PROCESS: "controller and steps run here, one process each; no agent is needed",
}
SERVICES_QUEUE = "services"
"""ClearML's usual queue for controllers."""

OF_CAUSES = {"code": "retries", "lost": "lost_retries", "memory": "memory_retries", "memory-cap": "memory_cap"}
"""What a step's own numbers are called → the option of the run that they replace for that step."""


@dataclass(frozen=True)
class Option:
    """One option. Name, type and default are those of its field in `RunOptions`."""

    help: str
    flag: str = ""
    """On the command line; nothing if it cannot be given there. One for a bool sets the opposite of the default."""

    metavar: str | None = None
    shown_default: str = ""
    """What `--help` says of the default, where its value says little."""

    stored: str = ""
    """Its name in the section, where that is not its own; for each step `<stored>/<step>`."""

    choices: Collection[str] = ()
    least: int = 0
    most: int = 0
    """Bounds of a whole number."""

    check: Callable[[str], object] | None = None
    """Raises ValueError for a text that is not possible, or SettingsError that says more than `expected`."""

    expected: str = ""
    example: str = ""
    """What such a text must be."""

    kept_by_rerun: bool = False
    """Whether a rerun cannot change it: it would be another run."""

    name: str = ""
    type: type = str
    default: Any = None
    """Not there where it is made when it is asked for."""

    @property
    def per_step(self) -> bool:
        """Whether it has a value for each step."""
        return self.type not in (str, int, bool)

    def parse(self, value: object, called: str = "") -> Any:
        """Return the value that a text, or a value already read, spells.

        Args:
            value: From the command line, a task's section or a person's program.
            called: What it is called there; default: its name in the section. With a `=` at its end where the value
                follows without a space.

        Raises:
            SettingsError: It is not of the option's type, or is out of range.
        """
        called, text = called or self.stored, str(value).strip()
        before = called if called.endswith("=") else f"{called} "
        if self.choices:
            return require_known(text, self.choices, called.removeprefix("--"))
        expected, example = self.expected or "true or false", self.example or "true"
        if self.type is int:
            expected, example = (
                f"a whole number from {self.least} to {self.most}",
                str(max(self.least, min(self.most, self.default or 2))),
            )
        try:
            if self.check:
                self.check(text)
            parsed = parse_as(str if self.per_step else self.type, text)
        except ValueError:
            parsed = None
        except SettingsError as error:
            raise SettingsError(f"{before}{text}: {error.message}", hint=error.hint) from error
        if parsed is None or (self.type is int and not self.least <= int(parsed) <= self.most):
            raise SettingsError(f"{before}{text}: expected {expected}", hint=f"{before}{example}")
        return parsed


def option(default: Any = dataclasses.MISSING, *, factory: Callable[[], Any] | None = None, **facts: Any) -> Any:
    """Return the field of an option.

    Args:
        default: Its default; left out where `factory` makes it.
        factory: Called for the default.
        **facts: The attributes of `Option`.
    """
    metadata = {"option": Option(**facts)}
    return field(default_factory=factory, metadata=metadata) if factory else field(default=default, metadata=metadata)


def own_numbers(text: str) -> dict[str, Any]:
    """Return option → value of a step's `CAUSE:N` texts.

    Raises:
        SettingsError: A cause is unknown or comes twice, or its number is not possible.
    """
    options = {item.name: item for item in RunOptions.declared()}
    found: dict[str, Any] = {}
    for part in text.split(","):
        cause, _, number = (word.strip() for word in part.partition(":"))
        name = OF_CAUSES[require_known(cause, OF_CAUSES, "cause")]
        example = f"{cause}:{options[name].default or '16Gi'}"
        if name in found:
            raise SettingsError(f"{cause} comes twice", hint=f"give it once, such as {example}")
        try:
            found[name] = options[name].parse(number, cause)
        except SettingsError as error:
            raise SettingsError(error.message, hint=example) from error
    return found


@dataclass(frozen=True)
class RunOptions:
    """What one run is told. An option more is a field more."""

    mode: str = option(
        QUEUE,
        flag="--mode",
        metavar="MODE",
        choices=tuple(MODES),
        help="Where it runs; the results are the same. "
        + "; ".join(f"{mode}: {text}" for mode, text in MODES.items())
        + ".",
    )
    cache: bool = option(
        True,
        flag="--no-cache",
        kept_by_rerun=True,
        help="Run every step, even if the same step has been run before.",
    )
    shards: int = option(
        1,
        flag="--shards",
        metavar="N",
        least=1,
        most=sharding.MOST_SHARDS,
        kept_by_rerun=True,
        help="Split the preprocessing of each set into N steps, and join their results.",
    )
    max_parallel: int = option(
        sharding.NO_LIMIT,
        flag="--max-parallel",
        metavar="M",
        most=2 * sharding.MOST_SHARDS,
        help="Have at most M shards in queues or running at the same time.",
        shown_default="all in the queue, for any worker that is free; in process, as many as cores",
    )
    retries: int = option(
        sharding.RETRIES,
        flag="--retries",
        metavar="R",
        most=sharding.MOST_RETRIES,
        help="Run a shard that failed again up to R times, unless it refuses its data. What can never start "
        "(its image, its configuration) is not run again.",
    )
    lost_retries: int = option(
        3,
        flag="--lost-retries",
        metavar="N",
        most=20,
        help="Run a step again up to N times if the failure was not its own: its pod was evicted, preempted or "
        "deleted, or its node or worker was lost.",
    )
    memory_retries: int = option(
        2,
        flag="--memory-retries",
        metavar="N",
        most=10,
        help="Run a step again up to N times if its pod ran out of memory, each time with twice the memory limit.",
    )
    memory_cap: str = option(
        "",
        flag="--memory-cap",
        metavar="SIZE",
        check=parse_quantity,
        expected="memory such as 16Gi",
        example="16Gi",
        help="Give a step that ran out of memory at most this much.",
        shown_default="the queue's own cap, if its values have one",
    )
    from_run: str = option("", help="Run whose completed steps are taken before all others in the cache.")
    from_step: str = option(
        "",
        flag="--from-step",
        metavar="STEP",
        help="Run this step and all that follow it again, even if the same steps have been run before.",
        shown_default="a step that has been run before is reused",
    )
    queue: str = option(
        "",
        flag="--queue",
        metavar="QUEUE",
        help="Queue of the steps.",
        shown_default="the queue in helm/values-agent.yaml",
    )
    controllers_queue: str = option(
        "",
        flag="--controllers-queue",
        metavar="QUEUE",
        help="Queue of the controller.",
        shown_default="services if a worker serves it, else --queue",
    )
    step_queues: Mapping[str, str] = option(
        factory=dict,
        flag="--step-queue",
        metavar="STEP=QUEUE",
        stored="queues",
        help="Queue of one step and its shards; may be repeated.",
    )
    step_images: Mapping[str, str] = option(
        factory=dict,
        flag="--step-image",
        metavar="STEP=IMAGE",
        stored="images",
        kept_by_rerun=True,
        help="Container image of one step and its shards; may be repeated.",
    )
    step_retries: Mapping[str, str] = option(
        factory=dict,
        flag="--step-retries",
        metavar="STEP=CAUSE:N[,CAUSE:N]",
        check=own_numbers,
        expected="CAUSE:N",
        example="lost:10",
        help="Numbers of one step and its shards, in place of those of the run: code (--retries), lost "
        "(--lost-retries), memory (--memory-retries), memory-cap (--memory-cap). A step that is not a shard is run "
        "again after an error of its own only with a number here. May be repeated for other steps.",
    )

    @classmethod
    @functools.cache
    def declared(cls) -> tuple[Option, ...]:
        """Return all options."""
        types = typing.get_type_hints(cls)
        return tuple(
            replace(
                found.metadata["option"],
                name=found.name,
                type=types[found.name],
                default=found.default,
                stored=found.metadata["option"].stored or found.name,
            )
            for found in dataclasses.fields(cls)
        )

    @classmethod
    def read(cls, texts: Mapping[str, str]) -> RunOptions:
        """Return the options that a controller's task has in its section.

        One that is missing or empty is at its default, since earlier versions had fewer; an unknown one is left out.

        Args:
            texts: `name`, or `name/step`, → value.

        Raises:
            SettingsError: A value is not possible; the message names the option.
        """
        found: dict[str, Any] = {}
        for item in cls.declared():
            prefix = f"{item.stored}/"
            if item.per_step:
                found[item.name] = {
                    name.removeprefix(prefix): item.parse(text, name)
                    for name, text in texts.items()
                    if name.startswith(prefix) and text.strip()
                }
            elif texts.get(item.stored, "").strip():
                found[item.name] = item.parse(texts[item.stored])
        return cls(**found)

    def texts(self, steps: Iterable[str] = ()) -> dict[str, str]:
        """Return what `read` reads.

        Args:
            steps: Steps that get an empty entry where nothing is set for them, to be filled in on the web page.
        """
        found: dict[str, str] = {}
        for item in self.declared():
            value = getattr(self, item.name)
            if item.per_step:
                found |= {f"{item.stored}/{step}": text for step, text in (dict.fromkeys(steps, "") | value).items()}
            else:
                found[item.stored] = str(value)
        return found

    def told(self, given: Mapping[str, Any], definition: Definition) -> RunOptions:
        """Return these options with what the command line says in their place; step by step for those of each step.

        Args:
            given: Option → value; `STEP=VALUE` texts for those of each step. `None` or nothing: not given.
            definition: The pipeline, without shards.

        Raises:
            UsageError: A `STEP=VALUE` has no `=` or no value.
            SettingsError: A value is not possible, or there is no such step.
            ConfigurationError: No queue is given, and there are several of them in the values file.
        """
        given = {name: value for name, value in given.items() if value not in (None, "", (), [])}
        single = [item for item in self.declared() if not item.per_step and item.name in given]
        options = replace(self, **{item.name: item.parse(given[item.name], item.flag) for item in single})
        options = replace(options, queue=options.queue or AgentValues.load().queue)
        steps = definition.with_shards(options.shards).all_steps
        if "from_step" in given:
            require_known(options.from_step, steps, "step")
        changes: dict[str, Any] = {}
        for item in (item for item in self.declared() if item.per_step):
            stored = {step: text for step, text in getattr(self, item.name).items() if step in steps}
            changes[item.name] = stored | _per_step(given.get(item.name, ()), item, steps)
        return replace(options, **changes)

    def of_part(self, name: str) -> RunOptions:
        """Return what a step that is a pipeline is told: the same, and what is set for its steps (`name.step`)."""
        prefix = f"{name}."
        own: dict[str, Any] = {
            item.name: {
                step.removeprefix(prefix): text
                for step, text in getattr(self, item.name).items()
                if step.startswith(prefix)
            }
            for item in self.declared()
            if item.per_step
        }
        mode = IN_PROCESS if self.mode == IN_PROCESS else QUEUE
        inner = self.from_step.removeprefix(prefix) if self.from_step.startswith(prefix) else ""
        return replace(self, mode=mode, from_step=inner, **own)

    def queue_of(self, step: str) -> str:
        """Return the queue that a step goes to where steps go to queues."""
        return sharding.value_of(self.step_queues, step) or self.queue

    def own_numbers_of(self, step: str) -> dict[str, Any]:
        """Return option → value of what a step has in place of the run's numbers."""
        text = sharding.value_of(self.step_retries, step)
        return own_numbers(text) if text else {}


def _per_step(assignments: Iterable[str], item: Option, steps: Iterable[str]) -> dict[str, str]:
    """Return step → value of `STEP=VALUE` texts."""
    steps, values = list(steps), {}
    for assignment in assignments:
        step, _, value = assignment.partition("=")
        if not value.strip():
            hint = f"{item.flag} {steps[0]}={item.example or '...'}"
            raise UsageError(f"{item.flag} {assignment}: expected STEP=VALUE", hint=hint)
        step = require_known(step.strip(), steps, "step")
        values[step] = item.parse(value, f"{item.flag} {step}=")
    return values
