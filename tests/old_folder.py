"""The data folder that the server of commit af93724 wrote while `tests/sdk_world.py` ran."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

ARCHIVE = Path(__file__).parent / "data" / "old_folder.tar.gz"
FILES_URL = "http://127.0.0.1:28081"
"""Where its server told clients to find files."""


def unpack(data: Path) -> dict[str, str]:
    """Unpack it; return the ids of what is in it: task, model, parent, dataset, pipeline."""
    data.mkdir(mode=0o700, parents=True)
    with tarfile.open(ARCHIVE) as archive:
        # Not the argument `filter`: Debian 12's Python 3.11.2 has neither. The archive is our own.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(data)
    data.chmod(0o700)
    found: dict[str, str] = json.loads((data / "world.json").read_text())
    (data / "world.json").unlink()
    return found
