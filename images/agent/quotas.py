"""Tasks that wait because a quota is full: for how long, and whether there can ever be room for them. Pure."""

from __future__ import annotations

import re
import time

from clearml_access.quantities import parse_quantity

_REFUSAL = re.compile(r"exceeded quota: (?P<name>[^,]+), requested: (?P<asked>.+), used: .+, limited: (?P<all>.+)")


def beyond(refusal: str) -> str:
    """Return how a pod asks for more than a quota allows in all; nothing where there may be room later.

    Args:
        refusal: The API server's words.
    """
    found = _REFUSAL.search(refusal)
    if found is None:
        return ""
    allowed = _amounts(found["all"])
    over = [
        f"{of}={amount} of {allowed[of]}"
        for of, amount in _amounts(found["asked"]).items()
        if of in allowed and parse_quantity(amount) > parse_quantity(allowed[of])
    ]
    return f"it asks for more than quota {found['name']} allows in all: {', '.join(over)}" if over else ""


def _amounts(text: str) -> dict[str, str]:
    return {of: amount for of, _, amount in (part.strip().partition("=") for part in text.split(",")) if amount}


class Waits:
    """Since when the first task of each queue waits."""

    def __init__(self) -> None:
        self._since: dict[str, tuple[str, float]] = {}

    def seconds(self, queue: str, task: str) -> float:
        """Return for how long the task has waited at the front of its queue; the first time, begin to count."""
        first, since = self._since.get(queue, ("", 0.0))
        if first != task:
            since = time.monotonic()
            self._since[queue] = (task, since)
        return time.monotonic() - since

    def end(self, queue: str) -> None:
        """Forget it: the task has started, or is in the queue no more."""
        self._since.pop(queue, None)
