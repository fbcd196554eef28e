"""Where this machine's own server (`./task server-up`) keeps its files: `pipeline` writes there, messages name it.

Outside system: the file system.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
"""The project's folder in a clone; the site-packages folder of an installed wheel."""

STATE_VARIABLE = "CLEARML_PODS_STATE"


def state_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder of all that the one-machine set-up writes."""
    in_clone = (PROJECT / "pyproject.toml").is_file()
    default = PROJECT / ".local" if in_clone else Path("~/.local/state/clearml-pods")
    return Path(environ.get(STATE_VARIABLE) or default).expanduser().resolve()


def configuration(state: Path) -> Path:
    """Return the `clearml.conf` that the server writes for its clients."""
    return state / "server" / "clearml.conf"
