"""Where this repository keeps what it can make again. Outside system: none; pure but for the home folder's name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Return `clearml-pods` in the user's cache folder, as the XDG base directory specification places that."""
    named = environ.get("XDG_CACHE_HOME", "")
    return (Path(named) if named.startswith("/") else Path.home() / ".cache") / "clearml-pods"
