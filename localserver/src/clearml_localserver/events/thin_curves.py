"""Thinned curves in memory: a curve of a million points is read once, and later only from where it has changed."""

from __future__ import annotations

import math
import threading
from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

Bucket = tuple[int, float | None, float | None, float | None]
"""Where a bucket starts; mean, least and greatest of its values."""

MOST_BUCKETS = 500_000
"""Buckets that are kept in all, 32 bytes each; the curves that were not asked for longest go first."""

Key = tuple[int, str, int, bool]
"""Series, axis, how many samples were asked for, and whether the width is a steady one."""


@dataclass
class ThinCurve:
    """A curve as averages of buckets of equal width, as of one commit."""

    width: int
    commit: int = 0
    outside: str = ""
    x: array[int] = field(default_factory=lambda: array("q"))
    columns: tuple[array[float], array[float], array[float]] = field(
        default_factory=lambda: (array("d"), array("d"), array("d"))
    )

    def up_to(self, end: int) -> ThinCurve:
        """Return the buckets that start before a place."""
        count = bisect_left(self.x, end)
        mean, low, high = (column[:count] for column in self.columns)
        return ThinCurve(self.width, self.commit, self.outside, self.x[:count], (mean, low, high))

    def extend(self, buckets: Iterable[Bucket]) -> None:
        """Add buckets at the end."""
        for start, *values in buckets:
            self.x.append(start)
            for column, value in zip(self.columns, values, strict=True):
                column.append(math.nan if value is None else value)

    def values(self) -> list[list[float | None]]:
        """Return the means, the least and the greatest values; SQLite keeps no NaN, so it stands for nothing."""
        return [[None if value != value else value for value in column] for column in self.columns]


class ThinCurves:
    """The thinned curves that a server keeps. A curve in it is never changed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._curves: OrderedDict[Key, ThinCurve] = OrderedDict()
        self._size = 0

    def get(self, key: Key) -> ThinCurve | None:
        """Return a curve."""
        with self._lock:
            if key in self._curves:
                self._curves.move_to_end(key)
            return self._curves.get(key)

    def keep(self, key: Key, curve: ThinCurve) -> None:
        """Keep a curve in the place of an older one."""
        with self._lock:
            self._drop(self._curves.pop(key, None))
            self._curves[key] = curve
            self._size += len(curve.x)
            while self._size > MOST_BUCKETS and len(self._curves) > 1:
                self._drop(self._curves.popitem(last=False)[1])

    def _drop(self, curve: ThinCurve | None) -> None:
        self._size -= len(curve.x) if curve else 0


def steady_width(width: int) -> int:
    """Return a width that is up to an eighth greater, and stays the same while a curve grows by an eighth."""
    shift = max(0, width.bit_length() - 4)
    return -(-width >> shift) << shift
