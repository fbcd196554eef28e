"""Models of the SDK: what its public interface does not say. Outside system: the ClearML server, through the SDK."""

from __future__ import annotations

from typing import Any


def exists(model: Any) -> bool:
    """Return whether the server has the model that an SDK object stands for."""
    return model._get_model_data() is not None
