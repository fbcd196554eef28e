"""The facts in `helm/values-serving.yaml`: what is put into a cluster to serve models.

In a clone it is read where it lives; an installed wheel carries a copy, as of `helm/values-agent.yaml`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from clearml_access.agent_values import values_file as agent_values_file
from clearml_access.errors import ConfigurationError, parse_error


def values_file() -> Path:
    """Return the file: beside that of the agent's values."""
    return agent_values_file().with_name("values-serving.yaml")


def load() -> dict[str, Any]:
    """Read the file.

    Raises:
        ConfigurationError: It is missing, is not YAML, or names no image.
    """
    path = values_file()
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}", hint="git checkout helm") from error
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path} is not YAML: {parse_error(error)}", hint="git diff helm") from None
    if not isinstance(found, dict) or not isinstance(found.get("image"), str) or not found["image"].strip():
        raise ConfigurationError(f"{path} names no image", hint="see helm/values-serving.yaml in git")
    return found


def image() -> str:
    """Return the image that serves models."""
    return str(load()["image"]).strip()
