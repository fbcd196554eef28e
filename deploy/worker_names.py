"""What a release's agent calls itself on the ClearML server: two agents of one name are one worker there.

The chart names the worker after the release. Where a first install finds that name in use, by a release of the same
name in another namespace or cluster, the values give it a name with the namespace. A release keeps its name: the label
of its task pods follows from it, so a new one would lose sight of those that run.

Pure.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from clearml_access.api import Worker
from deploy.kubernetes.ownership import Owner

ALIVE_S = 60.0
"""A worker silent for longer is dead: the glue asks for a task every 5 s, and reports at least twice a minute."""


def live(agent: Owner, workers: Iterable[Worker], now: datetime) -> list[Worker]:
    """Return the live ones of a server's workers that have the name of an agent."""
    return [worker for worker in workers if agent.is_agent(worker.id) and worker.age_s(now) < ALIVE_S]


def free(owner: Owner, namespace: str, workers: Iterable[Worker], now: datetime) -> str:
    """Return a name that no live worker has for an agent that is to be installed; nothing where the chart's will do."""
    listed = list(workers)
    if not live(owner, listed, now):
        return ""
    name = f"{owner.fullname}.{namespace}"
    return f"{name}.{secrets.token_hex(3)}" if live(replace(owner, worker=name), listed, now) else name
