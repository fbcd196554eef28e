"""Which code this is: the package's version, a digest of its source, and the commit where there is a repository.

A step's generated source is ten lines that call this package; without the digest in it, ClearML would reuse a cached
step after the text code has changed. Outside system: `git`, asked for one commit id; a missing git is not an error.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import subprocess
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent

_STEP_CODE = (
    *("agent_values.py", "clearml_server.py", "errors.py", "files.py", "provenance.py", "run_records.py"),
    *("settings.py", "versions.py", "amazon_reviews/__init__.py", "amazon_reviews/step_work.py"),
    *(f"{folder}/*.py" for folder in ("datasets", "graph", "step_runtime")),
    *(f"amazon_reviews/{folder}/*.py" for folder in ("model", "reviews", "steps", "training")),
    "amazon_reviews/data/*.txt*",
)
"""What a step's process imports or reads. Starting, controlling and following runs is the business of others."""

PACKAGE_VERSION = importlib.metadata.version("clearml-pods")


@functools.cache
def source_digest() -> str:
    """Return a digest of the code and data that steps run."""
    digest = hashlib.sha256()
    for path in sorted(path for pattern in _STEP_CODE for path in PACKAGE.glob(pattern)):
        digest.update(path.relative_to(PACKAGE).as_posix().encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


@functools.cache
def commit() -> str:
    """Return the commit of the clone this package runs from, with `+` when files have changed since; or nothing."""
    head = _git("rev-parse", "--short=12", "HEAD")
    if not head:
        return ""
    return head + ("+" if _git("status", "--porcelain", "--untracked-files=no", "--", ".") else "")


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(PACKAGE), *arguments], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
