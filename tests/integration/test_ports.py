"""Ports that a test names before its server binds them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.ports import free_port_base

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
OTHER = "import os, sys; os.getpid = lambda: int(sys.argv[1]); from tests.ports import free_port_base as f; print(f())"


def test_a_port_base_is_given_out_once_although_nothing_listens_there_yet() -> None:
    first, second = free_port_base(), free_port_base()
    assert first != second
    for place in range(3):  # wherever another process begins to look
        done = subprocess.run(
            [sys.executable, "-c", OTHER, str((first - 20_000) // 100 - place)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        assert int(done.stdout) not in (first, second)
