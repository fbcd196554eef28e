"""What `up` decided about a cluster, written down for `status`, `down` and the node process."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from cluster.layout import Addresses


@dataclass(frozen=True)
class Facts:
    """Decisions that must outlive the process that made them."""

    name: str
    provider: str
    range: str = ""
    """The addresses' /16; a cluster in Docker has none."""
    programs: str = ""
    mtu: int = 1500
    resolvers: list[str] = field(default_factory=list)
    forwarding_before: str | None = None
    """This machine's forwarding switch as `up` found it."""

    @classmethod
    def read(cls, path: Path) -> Facts | None:
        """Return the facts in `path`; None where there are none or they are damaged."""
        try:
            data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return cls(**data)
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def write(self, path: Path) -> None:
        """Put the facts into `path`, never half of them."""
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        temporary.replace(path)

    @property
    def addresses(self) -> Addresses:
        """The node's addresses."""
        return Addresses(IPv4Network(self.range))
