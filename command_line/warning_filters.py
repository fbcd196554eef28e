"""Warnings of libraries, where a person's shell makes errors of them."""

from __future__ import annotations

import os
import sys
import warnings

import click

VARIABLE = "PYTHONWARNINGS"


def let_libraries_warn() -> None:
    """Leave "error" out of PYTHONWARNINGS, in this process and in all that it starts, and say so.

    The SDK warns while it reads a `clearml.conf`, and so do others. As an error, such a warning ends a command or a
    step with a message about something else.
    """
    value = os.environ.get(VARIABLE, "")
    words = [word.strip() for word in value.split(",")]
    kept = [word for word in words if word and not _makes_errors(word)]
    if len(kept) == len([word for word in words if word]):
        return
    os.environ[VARIABLE] = ",".join(kept)
    sys.warnoptions[:] = [word for word in sys.warnoptions if not _makes_errors(word)]
    for found in [entry for entry in warnings.filters if entry[0] == "error"]:
        warnings.filters.remove(found)  # type: ignore[attr-defined]
    click.echo(f"{VARIABLE}={value}: warnings of libraries are not treated as errors", err=True)


def _makes_errors(word: str) -> bool:
    """Return whether a filter does; Python takes the first letters of an action, too."""
    action = word.partition(":")[0].strip()
    return bool(action) and "error".startswith(action)
