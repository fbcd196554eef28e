"""The two questions that the stock glue asks for each pod and whose answers it knows or hardly uses, answered here.

The agent's client checks each request and answer against a schema, in Python. For these two that took a third of the
processor time that the glue spends on a pod, and on a busy node the tasks waited for it. All else goes to that client.
"""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

NAME_S = 60.0
"""A queue's name is asked for again after this time: it may have got another."""


class QueueNames:
    """The names of queues, each kept for a time."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, Any]] = {}

    def get(self, client: Any, queue: str) -> Any:
        """Return a queue as the agent's client gives it."""
        asked, found = self._known.get(queue, (0.0, None))
        if found is None or time.monotonic() - asked > NAME_S:
            found = client.queues.get_by_id(queue=queue)
            self._known[queue] = time.monotonic(), found
        return found


class QuickClient:
    """The agent's client, while one task becomes a pod."""

    def __init__(self, client: Any, names: QueueNames) -> None:
        self._client = client
        self.tasks = _Part(client, "tasks", get_all=_only_handed_on)
        self.queues = _Part(client, "queues", get_by_id=lambda queue: names.get(client, queue))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


class _Part:
    """One service of the client; some of its calls are answered by others."""

    def __init__(self, client: Any, service: str, **own: Any) -> None:
        self._client, self._service = client, service
        self.__dict__.update(own)

    def __getattr__(self, name: str) -> Any:
        return getattr(getattr(self._client, self._service), name)


def _only_handed_on(id: list[str]) -> list[SimpleNamespace]:
    """Return tasks without their fields: the stock glue hands the record to methods that do not look at it."""
    return [SimpleNamespace(id=task) for task in id]
