"""What every unit test is kept from: the settings and the home folder of the person or the CI that runs it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def home_folder() -> Iterator[Path]:
    """A folder that stands empty between tests: one for each test was a quarter of a short test's time."""
    with tempfile.TemporaryDirectory(prefix="home-") as folder:
        yield Path(folder)


@pytest.fixture(autouse=True)
def empty_home(home_folder: Path) -> Iterator[None]:
    """Give the test an empty home with a short path, and none of the variables that commands read.

    A long home once made a test fail in CI only: state folders below it were too long for sockets. A developer's own
    `~/clearml.conf` or `KUBECONFIG` would change what tests see in the same way.
    """
    home_folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("CLEARML_", "TRAINS_", "XDG_")) or name == "KUBECONFIG":
                patch.delenv(name)
        patch.setenv("HOME", str(home_folder))
        yield
    for left in home_folder.iterdir() if home_folder.is_dir() else ():
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left)
        else:
            left.unlink()
