"""Threads that do a request's blocking work, and the way of its result back to the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")


class Answer(Generic[Result]):
    """What a caller on the event loop waits for, and another thread gives."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Result] = self._loop.create_future()

    def give(self, result: Any, error: BaseException | None) -> None:
        """Answer, from any thread; a server that has ended meanwhile needs no answer."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._settle, result, error)

    def _settle(self, result: Any, error: BaseException | None) -> None:
        if self.future.done():  # the caller was cancelled
            return
        if error is None:
            self.future.set_result(result)
        else:
            self.future.set_exception(error)


class Lane:
    """Threads for reading. `ThreadPoolExecutor` does the same at twice the cost of a short read's way to its thread.

    Args:
        threads: How many requests run side by side.
        name: Of the threads.
    """

    def __init__(self, threads: int, name: str) -> None:
        self._waiting: queue.SimpleQueue[tuple[Callable[[], Any], Answer[Any]] | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}_{number}", daemon=True) for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    async def run(self, function: Callable[[], Result]) -> Result:
        """Run a function on one of the threads."""
        answer = Answer[Result]()
        self._waiting.put((function, answer))
        return await answer.future

    def close(self) -> None:
        """End the threads once they have done what waits; callers that are gone are passed over."""
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (item := self._waiting.get()) is not None:
            function, answer = item
            if answer.future.cancelled():
                continue
            result, error = None, None
            try:
                result = function()
            except BaseException as problem:  # whatever it is, it is the caller's
                error = problem
            answer.give(result, error)
            del item, function, answer, result, error  # a reply is not kept until the next request
