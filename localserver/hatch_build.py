"""Puts plotly.js into the wheel: the plotly package that carries it takes ten times the space."""

from __future__ import annotations

from importlib import resources
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PlotlyScript(BuildHookInterface):
    """Adds `web/static/plotly.min.js`. A checkout, which is installed in place, takes it from its environment."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the file and its place, unless the install is one in place."""
        if version != "editable":
            script = resources.files("plotly") / "package_data" / "plotly.min.js"
            build_data["force_include"][str(script)] = "clearml_localserver/web/static/plotly.min.js"
