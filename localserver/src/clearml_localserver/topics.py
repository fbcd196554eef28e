"""Wake requests that wait for a change: each commit names the topics that it touched."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from clearml_localserver.deadlines import timeout


class Topics:
    """Wakes requests that wait for a topic. All methods but `fire_from_thread` run on the event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._sequence = 0
        self._fired: dict[str, int] = {}
        self._changed = asyncio.Condition()
        self.closed = False

    @property
    def sequence(self) -> int:
        """A mark: later changes have a higher number."""
        return self._sequence

    def fire_from_thread(self, topics: set[str]) -> None:
        """Record that `topics` have changed (called on the store's writer thread, after a commit)."""
        self._loop.call_soon_threadsafe(lambda: self._loop.create_task(self._fire(topics)))

    async def _fire(self, topics: set[str]) -> None:
        async with self._changed:
            self._sequence += 1
            self._fired.update(dict.fromkeys(topics, self._sequence))
            self._changed.notify_all()

    async def close(self) -> None:
        """Make every waiting request answer at once: the server is about to stop."""
        async with self._changed:
            self.closed = True
            self._changed.notify_all()

    async def wait(self, topics: Iterable[str], since: int, timeout_s: float) -> bool:
        """Wait until one of `topics` has changed after mark `since`; return False on a timeout."""

        def done() -> bool:
            return self.closed or self.fired(topics, since)

        try:
            async with timeout(timeout_s), self._changed:
                await self._changed.wait_for(done)
        except asyncio.TimeoutError:
            pass
        return self.fired(topics, since)

    def fired(self, topics: Iterable[str], since: int) -> bool:
        """Return whether one of `topics` has changed after mark `since`."""
        return any(self._fired.get(topic, 0) > since for topic in topics)
