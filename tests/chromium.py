"""Where the browser of the browser tests is.

Debian's headless shell is Chromium without its window: a page of its own costs a fifth of the processor time. Where it
is not installed, Chromium itself is used.
"""

from __future__ import annotations

import os
from pathlib import Path

PLACES = (Path("/usr/lib/chromium/chromium-headless-shell"), Path("/usr/bin/chromium"))


def program() -> Path:
    """Return the browser that `CHROMIUM` names, or the first that is installed; it may be missing."""
    named = os.environ.get("CHROMIUM")
    return Path(named) if named else next((place for place in PLACES if place.is_file()), PLACES[-1])
