"""A limit on failed log-ins, per address and per access key.

Each of them may fail a few times at once, and then once every few seconds. One number is kept for each, up to a
limit: what failed longest ago is forgotten first.

Who has logged in with a key from an address before is counted by this pair alone: what others try with that key, or
from that address (a proxy's, a cluster node's), does not shut them out.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable

from clearml_localserver.rules.addresses import counted_as

Name = str | tuple[str, str]
KEY_CHARACTERS = 64
"""Characters that are kept of a longer key."""


class LoginThrottle:
    """Counts failures and returns how long to wait.

    Args:
        burst: Failures allowed at once.
        refill_s: Seconds after which one more is.
        most: Names and pairs to keep.
        clock: Seconds that never go back.
    """

    def __init__(
        self, burst: int, refill_s: float, most: int = 10_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._room_s = (burst - 1) * refill_s
        self._refill_s = refill_s
        self._most = most
        self._clock = clock
        self._busy_until: OrderedDict[Name, float] = OrderedDict()
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._lock = threading.Lock()  # asked on the event loop and on the store's threads

    def wait_s(self, address: str, key: str) -> int:
        """Return after how many whole seconds the key may be tried from the address; 0 is now."""
        pair = _pair(address, key)
        now = self._clock()
        with self._lock:
            names: Iterable[Name] = (pair,) if pair in self._known else pair
            waits = [self._busy_until.get(name, now) - self._room_s - now for name in names]
        return max(0, math.ceil(max(waits)))

    def failed(self, address: str, key: str) -> None:
        """Count a failure."""
        pair = _pair(address, key)
        now = self._clock()
        with self._lock:
            for name in (*pair, pair):
                self._busy_until[name] = max(now, self._busy_until.get(name, now)) + self._refill_s
                self._busy_until.move_to_end(name)
            while len(self._busy_until) > self._most:
                self._busy_until.popitem(last=False)

    def passed(self, address: str, key: str) -> None:
        """Record a successful log-in with the key from the address."""
        pair = _pair(address, key)
        with self._lock:
            self._known[pair] = None
            self._known.move_to_end(pair)
            if len(self._known) > self._most:
                self._known.popitem(last=False)

    def __len__(self) -> int:
        return len(self._busy_until) + len(self._known)


def _pair(address: str, key: str) -> tuple[str, str]:
    return f"from {counted_as(address)}", key[:KEY_CHARACTERS]
