"""Asks `pipeline` to make a model a version of the service, and which models a service has.

clearml-serving's own commands change the service, in an environment of their own. Nothing here imports `pipeline`, so
it is a process. Outside system: `python -m pipeline serve register` and `models`.
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

COMMAND = (sys.executable, "-m", "pipeline", "serve")
TIMEOUT_S = 1_200.0
"""The first call on a machine fetches the packages of clearml-serving."""


MODELS_TIMEOUT_S = 60.0
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
    done = _ask(session, "register", *words, timeout_s=TIMEOUT_S)
    found = _last_object(done.stdout)
    if done.returncode == 0 and found:
        for line in done.stderr.splitlines():
            session.say(line)
        return Registered.from_json(found)
    raise _error(done, found, "the model was not registered")


def models(session: Session, service: str, address: str) -> dict[str, Any]:
    """Return the models of a service at an address, and whether it follows the tag `best`.

    Raises:
        RegistrationError: With what `pipeline` says.
        DeadlineError: It does not end.
    """
    done = _ask(session, "models", "--service", service, "--address", address, timeout_s=MODELS_TIMEOUT_S)
    found = _last_object(done.stdout)
    if done.returncode == 0 and found:
        return found
    raise _error(done, found, "which models are served is not known")


def _ask(session: Session, *words: str, timeout_s: float) -> subprocess.CompletedProcess[str]:
    try:
        return children.run([*COMMAND, *words, "--json"], env=session.environ, timeout_s=timeout_s, grace_s=GRACE_S)
    except subprocess.TimeoutExpired as error:
        raise DeadlineError(
            f".venv/bin/python -m pipeline serve {words[0]} did not end within {timeout_s:.0f} s", hint="./task doctor"
        ) from error


def _error(done: subprocess.CompletedProcess[str], found: dict[str, Any], what: str) -> RegistrationError:
    failed = RegistrationError(
        str(found.get("error") or f"{what}: exit code {done.returncode}"),
        hint=str(found.get("hint") or "").replace("./task serve-model", "./task deploy-serve") or None,
        evidence=tuple(found.get("evidence") or ()) or tuple(done.stderr.splitlines()[-5:] if not found else ()),
    )
    failed.exit_code = int(found.get("exit_code") or UserFacingError.exit_code)
    return failed


def _last_object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text.strip().splitlines()[-1])
    except (ValueError, IndexError):
        return {}
    return found if isinstance(found, dict) else {}
