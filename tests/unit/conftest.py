"""What every unit test is kept from: the settings and the home folder of the person or the CI that runs it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def empty_home() -> Iterator[None]:
    """Give the test an empty home with a short path, and none of the variables that commands read.

    A long home once made a test fail in CI only: state folders below it were too long for sockets. A developer's own
    `~/clearml.conf` or `KUBECONFIG` would change what tests see in the same way.
    """
    with tempfile.TemporaryDirectory(prefix="home-") as home, pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("CLEARML_", "TRAINS_", "XDG_")) or name == "KUBECONFIG":
                patch.delenv(name)
        patch.setenv("HOME", home)
        yield
