"""Which model answers the request that is being handled: an endpoint's code says so, the process's metrics read it.

Only the endpoint knows: clearml-serving draws a version for each request to `/serve/reviews`. Pure.
"""

from __future__ import annotations

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


def note_texts(count: int) -> None:
    """Say how many texts the current request has."""
    found = CURRENT.get()
    if found is not None:
        found.texts = count
