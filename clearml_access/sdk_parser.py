"""The SDK's own parser of `clearml.conf`, without the rest of the SDK, which takes half a second to import.

Outside system: the installed SDK, of which one subpackage is loaded.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
from pathlib import Path
from typing import Any

_NAME = "clearml_access._sdk_pyhocon"


@functools.cache
def config_factory() -> Any:
    """Return the SDK's `ConfigFactory`: a file means here what it means to the SDK.

    The parser is a subpackage that imports nothing of the packages around it, so it is loaded under another name.

    Raises:
        ModuleNotFoundError: The SDK is not installed.
    """
    if "clearml" not in sys.modules:
        sdk = importlib.util.find_spec("clearml")
        for folder in (sdk and sdk.submodule_search_locations) or ():
            home = Path(folder, "utilities", "pyhocon")
            spec = importlib.util.spec_from_file_location(
                _NAME, home / "__init__.py", submodule_search_locations=[str(home)]
            )
            if spec and spec.loader and home.is_dir():
                sys.modules[_NAME] = package = importlib.util.module_from_spec(spec)
                spec.loader.exec_module(package)
                return package.ConfigFactory
    from clearml.utilities.pyhocon import ConfigFactory

    return ConfigFactory
