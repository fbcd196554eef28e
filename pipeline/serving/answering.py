"""Which model answers the request that is being handled: an endpoint's code says so, the process's metrics read it.

Only the endpoint knows: clearml-serving draws a version for each request to `/serve/reviews`. Pure.
"""

from __future__ import annotations

import time
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass
class Answering:
    """What is known of a request; empty where no endpoint has taken it."""

    endpoint: str = ""
    version: str = ""
    model_id: str = ""
    texts: int = 0


CURRENT: ContextVar[Answering | None] = ContextVar("answering", default=None)
"""None where nobody measures, as in a process without `pipeline.serving.application`."""


def note(*, endpoint: str, version: str, model_id: str) -> None:
    """Say which model answers the current request."""
    found = CURRENT.get()
    if found is not None:
        found.endpoint, found.version, found.model_id = endpoint, version, model_id


_SINCE: dict[tuple[str, str], float] = {}


def served_since(address: str, model_id: str) -> float:
    """Return since when this process serves a model at an address, in seconds since 1970.

    clearml-serving reads an endpoint's code again, and loads its model again, whenever its configuration changes. This
    module stays, so what it notes is the first time.
    """
    return _SINCE.setdefault((address, model_id), time.time())


def note_texts(count: int) -> None:
    """Say how many texts the current request has."""
    found = CURRENT.get()
    if found is not None:
        found.texts = count
