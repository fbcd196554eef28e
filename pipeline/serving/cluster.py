"""Hands a model to `deploy`, which serves it in the cluster of the kubeconfig and proves it by a request from a pod.

A process of its own: nothing here knows Kubernetes. Outside system: `python -m deploy serve`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from command_line import children
from pipeline.serving.errors import ServingError

COMMAND = (sys.executable, "-m", "deploy", "serve")
TIMEOUT_S = 1_800.0
GRACE_S = 180.0
"""How long it may take to end after an interrupt: it goes back to what was there before."""

NEXT = "./task deploy-serve"


def check(environ: Mapping[str, str]) -> None:
    """Refuse a cluster in which nothing can be served, before a model is trained for it.

    Raises:
        ServingError: With what `deploy` says.
    """
    _deploy(environ, "--dry-run")


def serve(environ: Mapping[str, str], model_id: str) -> dict[str, Any]:
    """Serve a model in the cluster; return what was done.

    Raises:
        ServingError: With what `deploy` says; its exit code is that of `deploy`.
    """
    return _deploy(environ, "--model", model_id)


def _deploy(environ: Mapping[str, str], *words: str) -> dict[str, Any]:
    try:
        done = children.run(
            [*COMMAND, *words, "--json"], env=environ, timeout_s=TIMEOUT_S, grace_s=GRACE_S, stderr=None
        )
    except subprocess.TimeoutExpired as error:
        raise ServingError(f"the cluster did not serve the model within {TIMEOUT_S:.0f} s", hint=NEXT) from error
    try:
        found = json.loads(done.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        found = {}
    if done.returncode == 0 and found:
        return dict(found)
    failed = ServingError(
        f"not served in the cluster: {found.get('error') or f'deploy serve ended with exit code {done.returncode}'}",
        hint=found.get("hint") or NEXT,
    )
    failed.exit_code = int(found.get("exit_code") or done.returncode)
    raise failed
