"""Finds the ClearML server and the keys to it: environment first, then `clearml.conf`, as the SDK does.

Outside system: the file system; the file is read with the SDK's own parser.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy.errors import SettingsError
from deploy.settings import Secret, Server

FILES = ("~/clearml.conf",)

VARIABLES = {
    "api": ("CLEARML_API_HOST", "api_server"),
    "web": ("CLEARML_WEB_HOST", "web_server"),
    "files": ("CLEARML_FILES_HOST", "files_server"),
    "access_key": ("CLEARML_API_ACCESS_KEY", "credentials.access_key"),
    "secret_key": ("CLEARML_API_SECRET_KEY", "credentials.secret_key"),
}
"""Field → the SDK's variable, and the key in the file's section `api`."""


def find(environ: Mapping[str, str]) -> Server:
    """Return the server and keys.

    Raises:
        SettingsError: One of them is nowhere to be found; the message names all that are missing.
    """
    path = Path(environ.get("CLEARML_CONFIG_FILE") or FILES[0]).expanduser()
    section = _section(path) if path.is_file() else {}
    if environ.get("CLEARML_CONFIG_FILE") and not path.is_file():
        raise SettingsError(f"CLEARML_CONFIG_FILE={path} is not a file", hint="unset it, or: clearml-init")
    found = {field: environ.get(variable) or _text(section, key) for field, (variable, key) in VARIABLES.items()}
    missing = [VARIABLES[field][0] for field, value in found.items() if not value]
    if missing:
        raise SettingsError(
            f"the ClearML server is not known: {', '.join(missing)} not set, and not in {path}",
            hint="export CLEARML_CONFIG_FILE=…/clearml.conf (task server-up prints one), or set the variables",
        )
    return Server(
        api=found["api"].rstrip("/"),
        web=found["web"].rstrip("/"),
        files=found["files"].rstrip("/"),
        access_key=Secret(found["access_key"]),
        secret_key=Secret(found["secret_key"]),
        source="the environment" if environ.get("CLEARML_API_SECRET_KEY") else str(path),
    )


def _section(path: Path) -> Mapping[str, Any]:
    from clearml.utilities.pyhocon import ConfigFactory  # the SDK takes half a second to import

    try:
        return dict(ConfigFactory.parse_file(str(path)).get("api", {}))
    except Exception as error:  # pyparsing's errors differ by version and are no business of ours
        raise SettingsError(
            f"{path} cannot be read: {str(error)[:200]}", hint="clearml-init writes a good one"
        ) from error


def _text(section: Mapping[str, Any], key: str) -> str:
    found: Any = section
    for step in key.split("."):
        found = found.get(step) if hasattr(found, "get") else None
    return str(found or "").strip()
