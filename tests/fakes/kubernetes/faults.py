"""What the fake cluster can be told to do wrong. Everything is off until a test switches it on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.fakes.kubernetes.store import Refusal

RESET = 0
"""In place of an HTTP status: the connection is closed without an answer."""


@dataclass
class RequestFault:
    """How requests that match are answered, `times` times."""

    method: str
    path: str
    """Part of the path; empty: any."""

    status: int = 500
    message: str = "injected by a test"
    times: float = float("inf")
    delay_s: float = 0.0
    """With a status of 200: the answer is only late."""


@dataclass
class Faults:
    """Faults of the API server, of nodes and of images."""

    requests: list[RequestFault] = field(default_factory=list)
    forbidden: set[tuple[str, str]] = field(default_factory=set)
    """(verb, kind) that the user may not; a review says so too. `*` stands for every kind."""

    user: str = "system:serviceaccount:ci:deployer"
    """Who the kubeconfig's token is to the API server."""

    missing_images: set[str] = field(default_factory=set)
    crashing_images: dict[str, str] = field(default_factory=dict)
    """Image → its last words."""

    image_needs_mb: dict[str, int] = field(default_factory=dict)
    """Image → memory below which it is killed."""

    node_cpus: float = 4.0
    cordoned: bool = False
    node_conditions: dict[str, str] = field(default_factory=dict)
    pod_quota: int | None = None
    namespace_hangs: bool = False
    init_stuck: bool = False
    agent_silent: bool = False
    agent_takes_nothing: bool = False
    same_name_serves: str = ""
    """Id of the queue that an agent elsewhere serves which reports by the same worker's name."""

    task_exit_code: int | None = None
    """How every task ends, whatever its script says."""

    break_logs_after: int | None = None
    """The next log that is followed breaks off after so many lines."""
    before: Callable[[str, str], None] | None = None
    """Called with method and path before each request, for what a test wants to happen at that moment."""

    def meet(self, method: str, path: str) -> int | None:
        """Return how to answer instead of serving the request; nothing to serve it.

        Raises:
            Refusal: With a status of 400 and above.
        """
        if self.before is not None:
            self.before(method, path)
        for fault in self.requests:
            if fault.times > 0 and fault.method in ("*", method) and fault.path in path:
                fault.times -= 1
                time.sleep(fault.delay_s)
                if fault.status == RESET:
                    return RESET
                if fault.status >= 400:
                    raise Refusal(fault.status, "Injected", fault.message)
        return None

    def may(self, verb: str, kind: str) -> bool:
        """Return whether the user has a right."""
        return not {(verb, kind), (verb, "*"), ("*", "*")} & self.forbidden
