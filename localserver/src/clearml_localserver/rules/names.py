"""Names of tasks, models and queues."""

from __future__ import annotations

from clearml_localserver.errors import ApiError, validation_error

MIN_NAME = 3


def checked_name(name: str) -> str:
    """Return a name without the spaces around it.

    Raises:
        ApiError: 400/800, it is too short; 400/12, it holds a null character.
    """
    trimmed = name.strip()
    if len(trimmed) < MIN_NAME:
        raise ApiError(400, 800, "Data validation error: name=String value is too short")
    require_text(trimmed)
    return trimmed


def require_text(name: str) -> None:
    """Refuse a name with a null character: the database ends texts there, and would not find the name again.

    Raises:
        ApiError: 400/12.
    """
    if "\x00" in name:
        raise validation_error(f"field=name: {name!r} holds a null character")
