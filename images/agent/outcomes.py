"""Why a task does not become a pod: never, or not now."""

from __future__ import annotations


class CannotStartError(Exception):
    """The task's own settings keep it from becoming a pod; the text says which."""


class TryLaterError(Exception):
    """The task cannot become a pod now, for a reason that is not its fault; the text says which."""


class NoRoomYetError(TryLaterError):
    """A quota is full."""
