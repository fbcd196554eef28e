"""Where plotly.js lies."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

PLOTLY = "plotly.min.js"


def plotly_script() -> Path | None:
    """Return plotly.js as an installed plotly carries it (found without importing plotly, which is slow)."""
    spec = find_spec("plotly")
    path = Path(spec.origin).parent / "package_data" / "plotly.min.js" if spec and spec.origin else None
    return path if path and path.exists() else None
