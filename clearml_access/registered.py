"""A model that a service serves, as `python -m pipeline serve register --json` prints it and `deploy` reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True)
class Registered:
    """A model as the service names it, for processes that run elsewhere."""

    service_id: str
    page: str
    version: str
    """Empty where clearml-serving gives it: with `--auto-update`."""

    paths: tuple[str, ...]
    """Below `/serve/`: where the model answers each request."""

    model_id: str
    changed: bool
    request: Mapping[str, Any]
    """A first request, and what the model itself says of it."""

    label: str
    probability: float
    previous_model_id: str | None
    """Of the version that answered most requests before."""

    @property
    def expected(self) -> tuple[str, float, str]:
        """What an answer to the request must say: label, probability, model."""
        return self.label, self.probability, self.model_id

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        """Read what `as_json` made.

        Raises:
            TypeError: It is something else.
        """
        return cls(**{**found, "paths": tuple(found.get("paths") or ())})
