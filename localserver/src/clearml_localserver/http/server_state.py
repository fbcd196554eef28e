"""Figures of the server's state for `/metrics`: queues, workers, sizes."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from clearml_localserver.database import FILE_NAME
from clearml_localserver.rules import workers as worker_rules
from clearml_localserver.store import Tx
from clearml_localserver.tables.workers import all_workers
from clearml_localserver.times import parse

WALK_EVERY_S = 900.0
WALK_SHARE = 20
"""A folder is not walked again before so many times what the last walk took."""


@dataclass(frozen=True)
class Queue:
    """How a queue stands."""

    id: str
    name: str
    length: int
    longest_wait_s: float


@dataclass(frozen=True)
class ServerState:
    """What is read from the database at a scrape."""

    queues: list[Queue]
    workers: Counter[str]
    """Workers by state: working, idle, silent."""
    handed_out: int
    """Tasks that a worker has taken and not started yet."""


def read_state(tx: Tx, now: datetime) -> ServerState:
    """Read the figures; in time that grows with queues and workers alone."""
    workers: Counter[str] = Counter(working=0, idle=0, silent=0)
    for worker in all_workers(tx):
        alive = worker_rules.is_alive(worker, now)
        workers[("working" if worker.get("task") else "idle") if alive else "silent"] += 1
    ((handed_out,),) = tx.rows("SELECT count(*) FROM handed_out")
    queues = []
    for queue in tx.docs("SELECT doc FROM queue ORDER BY id"):
        added = [moment for entry in queue["entries"] if (moment := parse(entry["added"]))]
        longest = max(((now - moment).total_seconds() for moment in added), default=0.0)
        queues.append(Queue(queue["id"], queue["name"], len(queue["entries"]), max(0.0, longest)))
    return ServerState(queues, workers, handed_out)


def database_bytes(data: Path) -> int:
    """Return the size of the database with its log."""
    return sum(path.stat().st_size for path in data.glob(f"{FILE_NAME}*"))


class FolderSize:
    """How large a folder is, as of the last time it was walked through.

    Millions of files take minutes to walk: a scrape gets what is known, and starts another walk when that has aged.
    """

    def __init__(self, folder: Path) -> None:
        self.bytes = self.files = 0
        self._folder = folder
        self._next = 0.0
        self._walking: asyncio.Task[None] | None = None

    async def look(self) -> None:
        """Start a walk where one is due; wait for it a moment, since most folders are small."""
        if self._walking is None and time.monotonic() >= self._next:
            self._walking = asyncio.create_task(self._walk())
        if self._walking is not None:
            await asyncio.wait({self._walking}, timeout=0.5)

    async def _walk(self) -> None:
        began = time.monotonic()
        try:
            self.bytes, self.files = await asyncio.to_thread(_sum_up, self._folder)
        finally:
            now = time.monotonic()
            self._next = now + max(WALK_EVERY_S, WALK_SHARE * (now - began))
            self._walking = None


def _sum_up(folder: Path) -> tuple[int, int]:
    size = count = 0
    waiting = [os.fspath(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        size += entry.stat(follow_symlinks=False).st_size
                        count += 1
        except FileNotFoundError:  # deleted meanwhile
            continue
    return size, count
