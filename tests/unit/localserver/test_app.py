"""The start of the server as a process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SERVER = """
import gc, os, signal, sys
from clearml_localserver import __main__, cli
def announce(settings):
    print(gc.get_freeze_count(), len(gc.get_objects()), flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
cli._announce = announce
sys.exit(__main__.main())
"""


def test_collections_of_garbage_leave_out_what_the_start_has_made(tmp_path: Path) -> None:
    ports = [word for name in ("api", "web", "files") for word in (f"--{name}-port", "0")]
    words = [sys.executable, "-c", SERVER, "--data", str(tmp_path / "data"), *ports]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    frozen, looked_at = map(int, done.stdout.split())
    assert frozen > 10 * looked_at
