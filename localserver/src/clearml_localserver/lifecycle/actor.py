"""Who changes a task: the caller of an endpoint, or the server itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from clearml_localserver.rules.tasks import Stamp


class Caller(Protocol):
    """The part of a `registry.Call` that says who calls and when."""

    @property
    def data(self) -> dict[str, Any]:
        """The request's body."""

    @property
    def user(self) -> str:
        """Id of the calling user."""

    @property
    def user_name(self) -> str:
        """Name of the calling user."""

    @property
    def company(self) -> str:
        """Id of the calling user's company."""

    @property
    def now(self) -> datetime:
        """Time of the request."""


@dataclass(frozen=True)
class Actor:
    """Who acts, when, and what they say about it (`status_reason`, `status_message` of the request)."""

    user: str
    user_name: str
    company: str
    now: datetime
    reason: str = ""
    message: str = ""

    @classmethod
    def of(cls, call: Caller) -> Actor:
        """Return the actor of a request."""
        said = call.data
        return cls(
            call.user,
            call.user_name,
            call.company,
            call.now,
            said.get("status_reason") or "",
            said.get("status_message") or "",
        )

    @property
    def stamp(self) -> Stamp:
        """What this actor leaves on a task."""
        return Stamp(self.user, self.now, self.reason, self.message)
