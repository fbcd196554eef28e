"""Asks `pipeline` to make a model a version of the service: clearml-serving's own commands do it, in its environment.

A process of its own, since nothing here imports `pipeline`. Outside system: `python -m pipeline serve register`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from clearml_access.errors import UserFacingError
from clearml_access.registered import Registered
from command_line import children
from deploy.errors import DeadlineError, DeployError
from deploy.session import Session

COMMAND = (sys.executable, "-m", "pipeline", "serve", "register")
TIMEOUT_S = 1_200.0
"""The first call on a machine fetches the packages of clearml-serving."""


GRACE_S = 30.0
"""How long it may take to end after an interrupt: it lets a command of clearml-serving end."""


class RegistrationError(DeployError):
    """The model cannot be made a version of the service; the exit code is that of `python -m pipeline`."""


def register(session: Session, *words: str) -> Registered:
    """Make a model a version of the service.

    Args:
        session: The run.
        words: Which model, and whether requests without a version go to it.

    Raises:
        RegistrationError: With what `pipeline` says.
        DeadlineError: It does not end.
    """
    try:
        done = children.run([*COMMAND, *words, "--json"], env=session.environ, timeout_s=TIMEOUT_S, grace_s=GRACE_S)
    except subprocess.TimeoutExpired as error:
        raise DeadlineError(f"the model was not registered within {TIMEOUT_S:.0f} s", hint="./task doctor") from error
    found = _last_object(done.stdout)
    if done.returncode == 0 and found:
        for line in done.stderr.splitlines():
            session.say(line)
        return Registered.from_json(found)
    failed = RegistrationError(
        str(found.get("error") or f"the model was not registered: exit code {done.returncode}"),
        hint=str(found.get("hint") or "").replace("./task serve-model", "./task deploy-serve") or None,
        evidence=tuple(found.get("evidence") or ()) or tuple(done.stderr.splitlines()[-5:] if not found else ()),
    )
    failed.exit_code = int(found.get("exit_code") or UserFacingError.exit_code)
    raise failed


def _last_object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text.strip().splitlines()[-1])
    except (ValueError, IndexError):
        return {}
    return found if isinstance(found, dict) else {}
