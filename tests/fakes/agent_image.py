"""The modules of the agent's image, which has no package: they lie side by side there."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import yaml

FOLDER = Path(__file__).parents[2] / "images/agent"
SITE_PACKAGES = FOLDER / ".venv/lib/python3.11/site-packages"


def module(name: str, *, with_agent: bool = False) -> ModuleType:
    """Import one.

    Args:
        name: Its name in the image.
        with_agent: It needs clearml-agent, which comes from the agent's environment.
    """
    for path in [str(FOLDER), *([str(SITE_PACKAGES)] if with_agent else [])]:
        if path not in sys.path:
            sys.path.append(path)  # after all others: what this environment has, it keeps
    # clearml-agent has all YAML of its process read as OrderedDict, which other tests' code cannot write.
    constructors, representers = dict(yaml.SafeLoader.yaml_constructors), dict(yaml.SafeDumper.yaml_representers)
    try:
        return importlib.import_module(name)
    finally:
        yaml.SafeLoader.yaml_constructors = constructors
        yaml.SafeDumper.yaml_representers = representers
