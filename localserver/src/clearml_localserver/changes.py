"""What has been written lately: what readers keep in memory is brought up to date, and not all read again.

Nothing is noted before somebody asks for the first time, and only so much is remembered: who asks for what has been
forgotten is told so, and reads everything. Pure: it knows neither the database nor documents.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Hashable, Iterable

Change = tuple[str, Iterable[tuple[Hashable, int]]]
"""Kind of what has changed, its keys, and from which place on each has."""

EVERYTHING = -(2**63)
"""The place before all others."""

MOST_KEYS = 10_000
MOST_PLACES = 8


class _Log:
    """Changes of one kind: for each key the commits that changed it, the latest key last."""

    def __init__(self) -> None:
        self.known_from = 0
        """Number of the commit after which all changes are remembered."""
        self.places: OrderedDict[Hashable, list[tuple[int, int]]] = OrderedDict()
        """Commit and lowest place that it, or a later commit, has changed: both grow."""

    def note(self, commit: int, key: Hashable, place: int) -> None:
        found = self.places.setdefault(key, [])
        while found and found[-1][1] >= place:
            found.pop()
        found.append((commit, place))
        if len(found) > MOST_PLACES:
            found[:2] = [(found[1][0], found[0][1])]
        self.places.move_to_end(key)
        if len(self.places) > MOST_KEYS:
            _, forgotten = self.places.popitem(last=False)
            self.known_from = forgotten[-1][0]


class Changes:
    """The changes of all commits, numbered in their order. One thread notes them, any may ask."""

    def __init__(self) -> None:
        self.commits = 0
        """How many commits there have been. Whoever takes it before a transaction begins sees at least those."""
        self._logs: dict[str, _Log] = {}
        self._lock = threading.Lock()

    def note(self, changes: Iterable[Change]) -> None:
        """Number a commit, which has happened, and note what it has changed."""
        with self._lock:
            self.commits += 1
            for kind, places in changes:
                if (log := self._logs.get(kind)) is not None:
                    lowest: dict[Hashable, int] = {}
                    for key, place in places:
                        if place < lowest.get(key, place + 1):
                            lowest[key] = place
                    for key, place in lowest.items():
                        log.note(self.commits, key, place)

    def since(self, kind: str, commit: int) -> list[Hashable] | None:
        """Return the keys that were changed after a commit; None where not all are remembered."""
        with self._lock:
            log = self._log(kind)
            if commit < log.known_from:
                return None
            found = []
            for key in reversed(log.places):
                if log.places[key][-1][0] <= commit:
                    break
                found.append(key)
            return found

    def lowest(self, kind: str, key: Hashable, commit: int) -> int | None:
        """Return the lowest place of a key that was changed after a commit; None where it is as it was.

        The place may be lower than that, and is `EVERYTHING` where not all changes are remembered.
        """
        with self._lock:
            log = self._log(kind)
            if commit < log.known_from:
                return EVERYTHING
            places = log.places.get(key, [])
            later = bisect_right(places, commit, key=lambda place: place[0])
            return places[later][1] if later < len(places) else None

    def _log(self, kind: str) -> _Log:
        if kind not in self._logs:
            log = _Log()
            log.known_from = self.commits
            self._logs[kind] = log
        return self._logs[kind]
