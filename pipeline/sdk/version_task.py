"""The task of a dataset version, with fewer of the SDK's calls: while it is made, and once it is finished.

Only the process that makes a version writes to its task. So the task is read once, what is set is kept and sent
together, and nothing is read again to learn what this process has just written. A finished version stays finished.
Outside system: the ClearML server, through the SDK.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from clearml import Task

from clearml_access.tasks import FINAL

KEPT = ("comment", "configuration", "parent", "runtime", "script", "system_tags", "tags")
"""Fields of an edit that are fields of the task's document, too; it says of them what will be sent."""


class VersionTask(Task):  # type: ignore[misc]
    """The SDK's task, until it is completed."""

    _unsent: dict[str, Any]

    @classmethod
    def of(cls, task: Any) -> Any:
        """Make a task that has just been created one of this class, and return it."""
        task.__class__ = cls
        task._unsent = {}
        return task

    def reload(self) -> None:
        """Read the task's document, once."""
        if self._data is None:
            super().reload()

    def _edit(self, **fields: Any) -> Any:
        fields.pop("force", None)
        for name in KEPT:
            if name in fields:
                setattr(self._data, name, fields[name])
        self._unsent.update(fields)
        return None

    def send_edits(self) -> None:
        """Send what was set since the last time.

        Raises:
            ValueError: The server does not take it.
        """
        fields = self._unsent
        self._unsent = {}
        if not fields:
            return
        result = super()._edit(**fields)
        if not result or not result.ok():
            refusal = getattr(getattr(result, "meta", None), "result_msg", "") or "the server did not take it"
            raise ValueError(f"task {self.id} cannot be edited: {refusal}")

    def mark_started(self, force: bool = False) -> None:
        """Say that the version is begun; by then it is known for a dataset's."""
        self.send_edits()
        super().mark_started(force=force)

    def mark_completed(self, *args: Any, **kwargs: Any) -> Any:
        """End the version; from then on this is the SDK's task again."""
        self.send_edits()
        result = super().mark_completed(*args, **kwargs)
        self._data.status = self.TaskStatusEnum.completed
        self.__class__ = Task
        return result

    def _add_artifacts(self, artifacts_list: Any) -> Any:
        added = super()._add_artifacts(artifacts_list)
        if added is None:
            return None
        execution = self.data.execution
        names = {artifact.key for artifact in artifacts_list}
        others = [artifact for artifact in execution.artifacts or [] if artifact.key not in names]
        execution.artifacts = others + list(artifacts_list)
        return execution.artifacts


class FinalTask(Task):  # type: ignore[misc]
    """The task of a finished version, which is not asked for its status again: that stays final."""

    def get_status_message(self) -> tuple[str, str | None]:
        """Return the status that the document says."""
        return str(self.data.status), self.data.status_message


@contextlib.contextmanager
def reading() -> Iterator[None]:
    """Let a task that the SDK reads in the block be one of a finished version, where it is one."""

    def get_task(plain: Any, task_id: str | None = None, **kwargs: Any) -> Any:
        task = plain(task_id=task_id, **kwargs)
        if type(task) is Task and str(task.data.status) in FINAL:
            task.__class__ = FinalTask
        return task

    with _replaced("get_task", get_task):
        yield


@contextlib.contextmanager
def creating() -> Iterator[None]:
    """Let a task that the SDK creates in the block be one of a version."""

    def create(plain: Any, **kwargs: Any) -> Any:
        return VersionTask.of(plain(**kwargs))

    with _replaced("create", create):
        yield


@contextlib.contextmanager
def knowing(tasks: Mapping[str, Any]) -> Iterator[None]:
    """Let the SDK take the tasks that are known, in place of asking the server for them again."""

    def get_task(plain: Any, task_id: str | None = None, **kwargs: Any) -> Any:
        return tasks.get(task_id or "") or plain(task_id=task_id, **kwargs)

    with _replaced("get_task", get_task):
        yield


@contextlib.contextmanager
def _replaced(name: str, function: Callable[..., Any]) -> Iterator[None]:
    plain = Task.__dict__[name]
    setattr(Task, name, functools.partial(function, plain.__get__(None, Task)))
    try:
        yield
    finally:
        setattr(Task, name, plain)
