"""Use case "run again from a failure": which run, what it was told, which of its steps are there and which are missing.

It only looks. The new run (`pipeline.runs.run`) finds the steps that are there in the cache, where those of that very
run come first. Outside system: the ClearML server, through its adapter.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from clearml_access import run_records
from clearml_access.run_records import RunState
from clearml_access.tasks import CONTROLLER_TYPE
from pipeline.clearml_server import ClearmlServer
from pipeline.controllers.step_scripts import code_lines
from pipeline.errors import SettingsError
from pipeline.graph.definitions import Definition
from pipeline.run_options import MODE_PROPERTY, QUEUE, SECTION, RunOptions
from pipeline.runs.states import fetch
from pipeline.settings import Settings

RUN_AGAIN_WITHOUT_CACHE = "to run every step again: ./task run-pipeline -- --no-cache"


@dataclass(frozen=True)
class Rerun:
    """A run that failed, and what is left of it."""

    run: RunState
    options: RunOptions
    """What it was told."""
    same_code: bool
    """Whether its steps are of the code that is installed here: if not, the cache does not have them."""

    @property
    def reused(self) -> tuple[str, ...]:
        """The steps that it completed and whose tasks are still there."""
        done = [step.name for step in self._work if step.task_id and step.status in run_records.GOOD]
        return tuple(done) if self.same_code else ()

    @property
    def missing(self) -> tuple[str, ...]:
        """The steps that are run."""
        return tuple(step.name for step in self._work if step.name not in self.reused)

    @property
    def _work(self) -> list[run_records.StepState]:
        return [step for step in self.run.all_steps if not step.inner]

    def settings(
        self,
        definition: Definition,
        *,
        timeout_s: float,
        changes: Mapping[str, Any],
    ) -> Settings:
        """Return the settings of the new run: that run's, where nothing else is said.

        Args:
            definition: The pipeline, without shards.
            timeout_s: Longest duration.
            changes: Options that are other ones, as the command line has them.

        Raises:
            SettingsError: That run had a parameter that no longer exists, or a change is not possible.
        """
        queue = self.options.controllers_queue if self.options.mode == QUEUE else ""
        return Settings.of(
            definition=definition,
            assignments=[f"{name}={value}" for name, value in self.run.parameters.items()],
            timeout_s=timeout_s,
            base=replace(self.options, from_run=self.run.run_id, from_step="", controllers_queue=queue),
            **changes,
        )


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
    if controller.get("type") != CONTROLLER_TYPE or not _named(definition).fullmatch(run.name):
        raise SettingsError(
            f"task {run_id} ({run.name}) is not a run of {definition.name}",
            hint="--from-failed without an id takes the last run that failed",
        )
    if not run.ended:
        raise SettingsError(
            f"run {run_id} is still running", hint=f"wait for it, or: .venv/bin/python -m pipeline abort {run_id}"
        )
    if run.outcome == run_records.COMPLETED:
        raise SettingsError(f"run {run_id} did not fail: nothing of it is missing", hint=RUN_AGAIN_WITHOUT_CACHE)
    sections = controller.get("hyperparams") or {}
    texts = {name: str(item.get("value") or "") for name, item in (sections.get(SECTION) or {}).items()}
    started = str(((sections.get("properties") or {}).get(MODE_PROPERTY) or {}).get("value") or QUEUE)
    try:
        options = RunOptions.read(texts | {"mode": started})
    except SettingsError as error:
        raise SettingsError(
            f"run {run_id} has an option that is not possible: {error.message}", hint=RUN_AGAIN_WITHOUT_CACHE
        ) from error
    return Rerun(run, options, same_code=_is_same_code(server, run))


def _named(definition: Definition) -> re.Pattern[str]:
    """Return what the SDK calls the runs of a pipeline."""
    return re.compile(rf"{re.escape(definition.name)}( #\d+)?")


def _last_failed(server: ClearmlServer, definition: Definition) -> str:
    """Return the newest run that failed and from which no later one has gone on to the end."""
    found = server.tasks(
        ["created", "status", f"hyperparams.{SECTION}.from_run"],
        type=[CONTROLLER_TYPE],
        name=f"^{_named(definition).pattern}$",
        status=["failed", "stopped", "completed"],
        order_by=["-created"],
    )
    repaired: set[str] = set()
    for task in found:
        options = (task.get("hyperparams") or {}).get(SECTION) or {}
        if task["status"] == run_records.COMPLETED or task["id"] in repaired:
            repaired.add(str((options.get("from_run") or {}).get("value") or ""))
        elif fetch(server, task["id"], definition).outcome in (run_records.FAILED, run_records.ABORTED):
            return str(task["id"])
    raise SettingsError(
        f"no run of {definition.name} on {server.api_url} has failed, or later runs have completed all that failed",
        hint="without --from-failed a run is a new one; to continue a certain run: --from-failed RUN_ID",
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
