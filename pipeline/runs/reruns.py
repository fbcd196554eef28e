"""Use case "run again from a failure": which run, what it was told, which of its steps are there and which are missing.

It only looks. The new run (`pipeline.runs.run`) finds the steps that are there in the cache, where those of that very
run come first. Outside system: the ClearML server, through its adapter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pipeline import run_records
from pipeline.clearml_server import ClearmlServer
from pipeline.controllers.options import MODE_PROPERTY, SECTION
from pipeline.controllers.step_scripts import code_lines
from pipeline.errors import SettingsError
from pipeline.graph import sharding
from pipeline.graph.definitions import Definition
from pipeline.run_records import RunState
from pipeline.runs.run import fetch
from pipeline.settings import QUEUE, Settings

NEVER_MIND = "every step anew: task run-pipeline -- --no-cache"


@dataclass(frozen=True)
class Rerun:
    """A run that failed, and what is left of it."""

    run: RunState
    options: Mapping[str, str]
    """What stands in the section of its options."""
    mode: str
    same_code: bool
    """Whether its steps are of the code that is installed here: if not, the cache does not have them."""

    @property
    def reused(self) -> tuple[str, ...]:
        """The steps that it completed."""
        return tuple(step.name for step in self._work if self.same_code and step.status in run_records.GOOD)

    @property
    def missing(self) -> tuple[str, ...]:
        """The steps that are run."""
        return tuple(step.name for step in self._work if step.name not in self.reused)

    @property
    def _work(self) -> list[run_records.StepState]:
        return [step for step in self.run.all_steps if not step.inner]

    def settings(
        self,
        environ: Mapping[str, str],
        definition: Definition,
        *,
        timeout_s: float,
        mode: str | None = None,
        queue: str | None = None,
        controllers_queue: str | None = None,
        step_queues: Iterable[str] = (),
        max_parallel: int | None = None,
        retries: int | None = None,
    ) -> Settings:
        """Return the settings of the new run: that run's, where nothing else is said.

        Raises:
            SettingsError: That run had a parameter or an option that there is no more.
        """
        options = self.options
        return Settings.from_environ(
            environ,
            definition=definition,
            queue=queue or options.get("queue") or None,
            controllers_queue=controllers_queue or self._controllers_queue,
            mode=mode or self.mode,
            assignments=[f"{name}={value}" for name, value in self.run.parameters.items()],
            use_cache=options.get("cache", "True").lower() == "true",
            shards=_number(options.get("shards", "1")),
            max_parallel=_number(options.get("max_parallel", "0")) if max_parallel is None else max_parallel,
            retries=_number(options.get("retries", str(sharding.RETRIES))) if retries is None else retries,
            from_run=self.run.run_id,
            step_queues=[*self._per_step("queues"), *step_queues],
            step_images=self._per_step("images"),
            timeout_s=timeout_s,
        )

    @property
    def _controllers_queue(self) -> str | None:
        return (self.options.get("controllers_queue") or None) if self.mode == QUEUE else None

    def _per_step(self, option: str) -> list[str]:
        prefix = f"{option}/"
        return [
            f"{name.removeprefix(prefix)}={value}"
            for name, value in self.options.items()
            if name.startswith(prefix) and value
        ]


def _number(text: str) -> int:
    return sharding.whole_number(text, "option of that run", 0, 2 * sharding.MOST_SHARDS)


def find(server: ClearmlServer, definition: Definition, run_id: str | None = None) -> Rerun:
    """Return what there is to run again.

    Args:
        server: The server.
        definition: The pipeline.
        run_id: The run; by default the last one that failed or was aborted.

    Raises:
        RunError: There is no such run.
        SettingsError: It did not fail, or there is none that did.
    """
    run_id = run_id or _last_failed(server, definition)
    run = fetch(server, run_id, definition)
    controller = server.tasks(["type", "name", "hyperparams", "status", "script.entry_point"], id=[run_id])[0]
    if controller.get("type") != run_records.CONTROLLER_TYPE or not _named(definition).fullmatch(run.name):
        raise SettingsError(
            f"task {run_id} ({run.name}) is not a run of {definition.name}",
            hint="--from-failed without an id takes the last run that failed",
        )
    if not run.ended:
        raise SettingsError(
            f"run {run_id} is still going on", hint=f"wait for it, or: python -m pipeline abort {run_id}"
        )
    if run.outcome == run_records.COMPLETED:
        raise SettingsError(f"run {run_id} did not fail: nothing of it is missing", hint=NEVER_MIND)
    options = {
        name: str(item.get("value") or "")
        for name, item in ((controller.get("hyperparams") or {}).get(SECTION) or {}).items()
    }
    properties = (controller.get("hyperparams") or {}).get("properties") or {}
    mode = str((properties.get(MODE_PROPERTY) or {}).get("value") or QUEUE)
    return Rerun(run, options, mode, same_code=_is_same_code(server, run))


def _named(definition: Definition) -> re.Pattern[str]:
    """Return what the SDK calls the runs of a pipeline."""
    return re.compile(rf"{re.escape(definition.name)}( #\d+)?")


def _last_failed(server: ClearmlServer, definition: Definition) -> str:
    """Return the newest run that failed and from which no later one has gone on to the end."""
    found = server.tasks(
        ["created", "status", f"hyperparams.{SECTION}.from_run"],
        type=[run_records.CONTROLLER_TYPE],
        name=f"^{_named(definition).pattern}$",
        status=["failed", "stopped", "completed"],
        order_by=["-created"],
    )
    made_good: set[str] = set()
    for task in found:
        options = (task.get("hyperparams") or {}).get(SECTION) or {}
        if task["status"] == run_records.COMPLETED or task["id"] in made_good:
            made_good.add(str((options.get("from_run") or {}).get("value") or ""))
        elif fetch(server, task["id"], definition).outcome in (run_records.FAILED, run_records.ABORTED):
            return str(task["id"])
    raise SettingsError(
        f"no run of {definition.name} on {server.api_url} has failed, or later runs have completed all that failed",
        hint="without --from-failed a run is a new one; to go on from a certain run: --from-failed RUN_ID",
    )


def _is_same_code(server: ClearmlServer, run: RunState) -> bool:
    """Return whether the run's completed steps say that they are of the code installed here."""
    done = [
        step.task_id for step in run.all_steps if step.task_id and step.status in run_records.GOOD and not step.inner
    ]
    if not done:
        return True
    wanted = "\n".join(code_lines())
    scripts = server.tasks(["script.diff", "type"], id=done)
    return all(
        wanted in str((task.get("script") or {}).get("diff") or "")
        for task in scripts
        if task.get("type") == "data_processing"
    )
