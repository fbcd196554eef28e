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

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "pipeline"

_STEP_CODE = (
    *(f"clearml_access/{name}.py" for name in ("__init__", "agent_values", "api", "credentials", "errors", "http")),
    *(
        f"clearml_access/{name}.py"
        for name in ("locks", "own_server", "pod_records", "run_records", "sdk_parser", "tasks", "url_credentials")
    ),
    *(f"pipeline/{name}.py" for name in ("clearml_server", "errors", "files", "parquet_parts", "provenance")),
    *(
        f"pipeline/{name}.py"
        for name in (
            *("versions", "amazon_reviews/__init__", "amazon_reviews/definitions", "amazon_reviews/step_work"),
            *("module_tasks/__init__", "module_tasks/declaration"),
        )
    ),
    *(f"pipeline/{folder}/*.py" for folder in ("datasets", "graph", "step_runtime")),
    *(
        f"pipeline/sdk/{name}.py"
        for name in ("__init__", "at_start/*", "datasets", "models", "steps", "stored_files", "version_task")
    ),
    *(f"pipeline/amazon_reviews/{folder}/*.py" for folder in ("model", "reviews", "steps", "training")),
    "pipeline/amazon_reviews/data/*.txt*",
)
"""What a step's process imports or reads. Starting, controlling and following runs is the business of others."""

PACKAGE_VERSION = importlib.metadata.version("clearml-pods")


@functools.cache
def source_digest() -> str:
    """Return a digest of the code and data that steps run."""
    digest = hashlib.sha256()
    for path in sorted(path for pattern in _STEP_CODE for path in ROOT.glob(pattern)):
        digest.update(path.relative_to(ROOT).as_posix().encode())
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
