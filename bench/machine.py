"""Facts of a run beside its figures: machine, versions, commit, date.

The machine's come from pyperf; its name and paths are left out, since results are kept in public. Outside systems:
the kernel through pyperf and psutil, git.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
import pyperf

ROOT = Path(__file__).resolve().parents[1]
FROM_PYPERF = ("cpu_model_name", "cpu_count", "cpu_freq", "platform", "python_version", "load_avg_1min")
PACKAGES = ("clearml", "polars", "pyarrow", "scikit-learn", "nltk", "pyperf")
GIT_TIMEOUT_S = 30


def facts() -> dict[str, Any]:
    """Return the facts of this moment, JSON types only."""
    known = pyperf.Run([1.0], collect_metadata=True).get_metadata()
    machine = {name: known[name] for name in FROM_PYPERF if name in known}
    machine["niceness"] = os.getpriority(os.PRIO_PROCESS, 0)
    machine["memory_gib"] = round(psutil.virtual_memory().total / 2**30, 1)
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": machine | {"packages": versions()},
    }


def commit() -> str:
    """Return the commit, with a plus where the sources differ from it; empty outside of a clone."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        found = _git("rev-parse", "--short=10", "HEAD").strip()
        return found + (
            "+" if _git("status", "--porcelain", "--", "pipeline", "localserver", "deploy", "bench") else ""
        )
    return ""


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True, timeout=GIT_TIMEOUT_S)
    return done.stdout


def versions() -> dict[str, str]:
    """Return the versions of the packages that the figures depend on."""
    found = {}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found
