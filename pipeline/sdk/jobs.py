"""The task of one step, as the SDK's controller handles it: launched, watched, found in the cache.

A step that the k8s glue moves to its pod, and stops for that, is not taken for an aborted one here; and the tasks of
the run that a new one continues come first in the cache. A step that is a process of this machine is forked, where that
is possible. It must not know the graph (`pipeline.sdk.controller`). Outside system: the ClearML server, through the SDK
and its adapter.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

from clearml import Task
from clearml.automation import job
from clearml.automation.job import BaseJob, ClearmlJob, LocalClearmlJob
from clearml.config import remote

from clearml_access import fork_server
from clearml_access.errors import UserFacingError
from clearml_access.fork_server import ForkedProcess, ForkServer, UnavailableError
from clearml_access.tasks import LAUNCHED_PROPERTY, awaits_its_reason
from pipeline.clearml_server import ClearmlServer
from pipeline.sdk.processes import variables_of
from pipeline.step_runtime.inherited import OF_A_TASK

OF_A_STEP = OF_A_TASK | variables_of("").keys()
"""Variables that differ from step to step. When it is imported, the SDK reads only the task's id of these."""


class StepJob:
    """A step's task: carries the moment at which it was launched, and may be found in the cache by later runs.

    Without caching the SDK would give it another hash (of its parameters as texts), under which it would not be found.
    """

    server: ClassVar[ClearmlServer | None] = None
    look_in_cache: ClassVar[bool] = True
    reuse: ClassVar[bool] = True
    """Whether the step that is launched now may be found in the cache, among `preferred` too."""

    has_model: ClassVar[bool] = False
    """Whether the step that is launched now makes a model: a task whose model was deleted is not reused."""

    preferred: ClassVar[frozenset[str]] = frozenset()
    """Tasks that are taken before all others in the cache, and in any case; needs the server."""

    def launch(self, queue_name: str | None = None) -> bool:
        """Enqueue the task, or start its process."""
        if not self.is_cached_task():  # type: ignore[attr-defined]
            self.task.set_user_properties(**{LAUNCHED_PROPERTY: f"{time.time():.3f}"})  # type: ignore[attr-defined]
        return bool(super().launch(queue_name))  # type: ignore[misc]

    @classmethod
    def _get_cached_task(cls, task_hash: str) -> Any:
        for found in cls._done_before(task_hash) if cls.reuse else ():
            server = cls.server or ClearmlServer.of_task(found)
            lost = server.lost_products(found.id, has_model=cls.has_model)
            if not lost:
                return found
            print(f"Task {found.id} did this step before. It is not reused: {', '.join(lost)} was deleted")
        return None

    @classmethod
    def _done_before(cls, task_hash: str) -> Iterator[Any]:
        """Yield the tasks that did the same before; the others are looked for only where the first is not taken."""
        same: dict[str, Any] = {
            "status": ["completed", "published"],
            "_all_": {"fields": [f"runtime.{BaseJob._job_hash_property}"], "pattern": f"^{task_hash}$"},
        }
        if cls.server and cls.preferred and task_hash:
            for row in cls.server.tasks(["id"], id=sorted(cls.preferred), **same):
                yield Task.get_task(task_id=row["id"])
        first = super()._get_cached_task(task_hash) if cls.look_in_cache else None  # type: ignore[misc]
        if first is not None:
            yield first
            server = cls.server or ClearmlServer.of_task(first)
            for row in server.tasks(["id"], system_tags=[f"-{Task.archived_tag}"], order_by=["-last_update"], **same):
                if row["id"] != first.id:
                    yield Task.get_task(task_id=row["id"])


class QueuedStep(StepJob, ClearmlJob):  # type: ignore[misc]
    """A step that an agent takes from a queue."""

    _checked: tuple[float, str] = (0.0, "")
    _is_explained = False

    def launch(self, queue_name: str | None = None) -> bool:
        """Enqueue the task."""
        self._is_explained = False
        return super().launch(queue_name)

    def status(self, force: bool = False) -> str:
        """Return the task's status.

        What looks aborted may only be on its way to a pod. What was killed in its pod is shown as running until its
        agent has written why: whether it is run again depends on that.
        """
        found = str(super().status(force))
        if found not in ("stopped", "failed") or (found == "failed" and self._is_explained):
            return found
        if self._checked[0] != self._last_status_ts:
            try:
                server = self.server or ClearmlServer.of_task(self.task)
                task = server.task(self.task_id(), ["status", "runtime"])
                if task and awaits_its_reason(task, time.time()):
                    return "in_progress"
                self._is_explained = True
                self._checked = (self._last_status_ts, str(task["status"]) if task else found)
            except UserFacingError as error:
                print(f"Could not check step {self.task_id()}: {error}")
                return "queued" if found == "stopped" else "in_progress"
        return self._checked[1]


class LocalStep(StepJob, LocalClearmlJob):  # type: ignore[misc]
    """A step that is a process on this machine."""

    def wait_for_process(self, timeout: float | None = None) -> int | None:
        """Return the exit code of the step's process; None while it runs.

        A process that a signal ended has told nobody, and the SDK marks its task as failed without a reason.
        """
        code: int | None = super().wait_for_process(timeout)
        if code is not None and code < 0:
            self.task.reload()
            data = self.task.data
            if data.status == Task.TaskStatusEnum.failed and not data.status_reason:
                self.task.mark_failed(force=True, status_reason=ended_by(-code))
        return code


def ended_by(number: int) -> str:
    """Return the reason of a task whose process was ended by this signal."""
    with contextlib.suppress(ValueError):
        name = signal.Signals(number).name
        why = ": somebody ended it, or the machine had no memory left" if number == signal.SIGKILL else ""
        return f"its process was ended by {name}{why}"
    return f"its process was ended by signal {number}"


COMM, COMM_BYTES = "step ", 15
"""How the name of a forked step's process begins (`ps -o comm`), before its task's id; what the kernel keeps of it."""


def fork_local_steps() -> None:
    """Let local steps be forked from this process as it is now: the SDK, a second of imports, is there already.

    To be called before this process has threads or a task. A step's process is a child of this one, as before. Where it
    cannot be forked, it is started as before.
    """
    if sys.orig_argv[1].startswith("-"):
        return  # a step would have to do without these options of Python
    try:
        forks = ForkServer(_run_step, OF_A_STEP.__contains__)
    except UnavailableError:
        return

    def start(args: Sequence[str], **options: Any) -> ForkedProcess | subprocess.Popen[bytes]:
        if args[0] == sys.executable and options.keys() == {"cwd", "env"}:
            try:
                return forks.start(args[1:], **options)
            except UnavailableError as error:
                print(f"A step is started, not forked: {error}")
        return subprocess.Popen(args, **options)

    job.subprocess = SimpleNamespace(Popen=start, TimeoutExpired=subprocess.TimeoutExpired)


def _run_step(words: list[str]) -> None:
    """Run a step's script in a forked process, where the SDK was imported as that of no task."""
    task_id = os.environ["CLEARML_TASK_ID"]
    remote.override_current_task_id(task_id)
    # A forked process keeps the environment of its parent in the process table: this tells whose it is.
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(COMM + task_id[: COMM_BYTES - len(COMM)], encoding="ascii")
    fork_server.run_script(words)
