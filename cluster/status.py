"""A cluster as it is now: what every provider answers and the command line prints."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class ComponentStatus:
    """One program of the node."""

    name: str
    pid: int | None
    log: str


@dataclass(frozen=True)
class Status:
    """A cluster's state, and how to reach it when it runs."""

    name: str
    provider: str
    state: str
    """`running`, `broken` (something is missing) or `absent`."""

    kubeconfig: str = ""
    kubernetes: str = ""
    api_server: str = ""
    node_address: str = ""
    host_address: str = ""
    """Where pods reach what listens on this machine: bind a server to it."""

    node_pid: int | None = None
    components: tuple[ComponentStatus, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return asdict(self)
