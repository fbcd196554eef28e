"""What counts as a stall of the event loop."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from clearml_localserver.http.loop import LoopMonitor, RunQueues


def longest_while(work: Callable[[], object], monkeypatch: pytest.MonkeyPatch, waited: float = 0.0) -> float:
    """Return the longest stall that is noted while `work` runs on the loop; threads waited so long for processors."""
    monkeypatch.setattr(RunQueues, "waited_s", lambda self, now: waited)

    async def run() -> float:
        monitor = LoopMonitor()
        monitor.start()
        await asyncio.sleep(0.05)
        work()
        await asyncio.sleep(0.05)
        monitor.stop()
        return monitor.longest_s

    return asyncio.run(run())


def work_hard() -> None:
    end = time.thread_time() + 0.15
    while time.thread_time() < end:
        pass


def test_work_on_the_loop_is_a_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    assert longest_while(work_hard, monkeypatch, waited=10.0) > 0.1


def test_a_blocking_call_on_the_loop_is_a_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    assert longest_while(lambda: time.sleep(0.15), monkeypatch) > 0.1


def test_a_machine_that_runs_others_is_no_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    assert longest_while(lambda: time.sleep(0.15), monkeypatch, waited=10.0) < 0.1


def test_stalls_are_told_for_a_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monitor = LoopMonitor()
    monitor._stalls.extend([(time.monotonic() - 30, 0.5), (time.monotonic() - 5, 0.2)])
    assert [monitor.recent_s(window) for window in (60, 10, 1)] == [0.5, 0.2, 0.0]


def test_threads_that_come_and_go_are_followed() -> None:
    queues = RunQueues()
    assert queues.waited_s(0.0) >= 0
    ended = threading.Event()
    thread = threading.Thread(target=ended.wait)
    thread.start()
    assert queues.waited_s(2.0) >= 0
    ended.set()
    thread.join()
    for now in (3.0, 4.5, 6.0):
        assert queues.waited_s(now) >= 0
    queues.close()


def test_the_delays_are_read_with_the_interpreters_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """`os.pread` gives it up: with 40 threads beside 3 busy ones, one look took 130 ms at most, and the loop stood."""

    def refuse(*_: object) -> bytes:
        raise AssertionError("os.pread gives up the lock")

    monkeypatch.setattr(os, "pread", refuse)
    queues = RunQueues()
    queues.waited_s(0.0)
    assert queues._files or not Path("/proc/self/task").exists()
    queues.close()
