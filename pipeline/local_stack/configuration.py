"""What an unmodified agent is told, so that steps start and end fast: its `clearml.conf` and its environment.

Builds values, writes nothing. Each setting names what it saves; `./task bench-startup` shows the sum.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clearml_access import credentials
from clearml_access.credentials import Secret, Server
from clearml_access.errors import ServerError

WORKER_VARIABLE = "CLEARML_PODS_WORKER"
"""Carried by an agent and everything it starts: how `down` and `up` recognise them."""

SERVER_VARIABLE = "CLEARML_PODS_SERVER"

LIKE_GENUINE_VARIABLE = "LOCALSERVER_LIKE_GENUINE"
"""Set in tests: the server is to wait for nothing that a genuine one does not wait for."""

FOREIGN = ("CLEARML_", "TRAINS_")
"""Variables of the caller's shell that would speak to the agent behind its configuration's back."""

GIT_VARIABLES = {
    "CLEARML_AGENT_GIT_USER": "git_user",
    "CLEARML_AGENT_GIT_PASS": "git_pass",
    "CLEARML_AGENT_GIT_HOST": "git_host",
}
"""By these the agent knows who may clone a task's repository; it never gets them from the caller's shell itself."""

GIT_KEYS = (
    *GIT_VARIABLES.values(),
    *("translate_ssh", "enable_git_ask_pass", "force_git_ssh_protocol", "force_git_ssh_port", "force_git_ssh_user"),
)
"""What the section `agent` of a `clearml.conf` says of git."""

UV_VARIABLES = {
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_EXTRA_INDEX_URL": "UV_INDEX",
    "PIP_FIND_LINKS": "UV_FIND_LINKS",
}
"""What pip reads of the environment, and what uv calls it."""

UNWANTED = {
    "PYTHONDONTWRITEBYTECODE",  # every step would compile what it imports: 2-5 s each
    "PYTHONHOME",
    "PYTHONPATH",
    "VIRTUAL_ENV",
}


def read_access(configuration: Path) -> Server:
    """Read the `clearml.conf` that localserver writes, without the SDK's parser: `server status` answers at once.

    Raises:
        ServerError: The file is missing or lacks an entry.
    """
    try:
        text = configuration.read_text(encoding="utf-8")
    except OSError as error:
        raise ServerError(f"{configuration} cannot be read: {error.strerror}", hint="./task server-up") from error
    names = ("api_server", "web_server", "files_server", "access_key", "secret_key")
    found = {name: re.search(rf'^\s*{name}\s*[:=]\s*"?([^"\s]+)', text, re.MULTILINE) for name in names}
    missing = [name for name, match in found.items() if match is None]
    if missing:
        raise ServerError(f"{configuration} lacks {', '.join(missing)}", hint="./task server-down && ./task server-up")
    api, web, files, key, secret = (match[1] for match in found.values() if match is not None)
    return Server(api, web, files, Secret(key), Secret(secret), str(configuration))


def read_agent_access(configuration: Path) -> Server | None:
    """Read the server of a worker from what `agent_configuration` gave it; None if there is no such file."""
    try:
        api = json.loads(configuration.read_text(encoding="utf-8"))["api"]
    except (OSError, ValueError, KeyError):  # deleted, or made by an older version
        return None
    key, secret = (Secret(api["credentials"][name]) for name in ("access_key", "secret_key"))
    source = str(configuration)
    return Server(
        api["api_server"], api["web_server"], api["files_server"], key, secret, source, verify=api["verify_certificate"]
    )


def git_settings(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return how workers reach private git repositories: as the variables say, else as the caller's `clearml.conf`.

    Raises:
        ConfigurationError: That file cannot be read.
    """
    file = credentials.configuration_file(environ)
    # The SDK's parser takes 0.2 s, and most files say nothing of git.
    said = credentials.read_section(file, "agent") if file.is_file() and "git_" in _text(file) else {}
    found = {key: said[key] for key in GIT_KEYS if said.get(key) not in (None, "")}
    return found | {key: environ[name] for name, key in GIT_VARIABLES.items() if environ.get(name)}


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace")


def agent_configuration(
    access: Server,
    folder: Path,
    cache: Path,
    sdk: Mapping[str, Any] | None = None,
    git: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the `clearml.conf` of a worker.

    Args:
        access: Its server.
        folder: The worker's own.
        cache: Shared with the other workers.
        sdk: That section of the caller's `clearml.conf`: tasks reach the same object storage.
        git: Settings of the section `agent` by which it clones repositories.
    """
    ours = {
        "api": {
            "api_server": access.api,
            "web_server": access.web,
            "files_server": access.files,
            "credentials": {"access_key": access.access_key, "secret_key": access.secret_key},
            "verify_certificate": access.verify,
            # The default pauses grow to two minutes: a worker would notice only then that the server is back.
            "http": {"retries": {"backoff_max": 2.0}},
        },
        "agent": {
            "venvs_dir": str(folder / "venvs"),
            "venvs_cache": {"path": str(cache / "venvs")},
            "vcs_cache": {"path": str(cache / "vcs")},
            "pip_download_cache": {"path": str(cache / "pip-downloads")},
            **(git or {}),
        },
        "sdk": {
            # As a subprocess, reporting is looked at every 5 s, twice: 10 s more at the end of each step.
            "development": {"report_use_subprocess": False},
            "storage": {"cache": {"default_base_dir": str(cache / "storage")}},
        },
    }
    return _merged({"sdk": sdk or {}}, ours)


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return two configurations as one; `over` wins."""
    nested = {
        key: _merged(under[key], value)
        for key, value in over.items()
        if isinstance(value, Mapping) and isinstance(under.get(key), Mapping)
    }
    return {**under, **over, **nested}


def agent_environment(environ: Mapping[str, str], *, worker: str, folder: Path, interpreter: Path) -> dict[str, str]:
    """Return the environment of worker `worker`; what is not ClearML's comes from `environ`."""
    kept = {name: value for name, value in environ.items() if not name.startswith(FOREIGN) and name not in UNWANTED}
    for_uv = {name: environ[variable] for variable, name in UV_VARIABLES.items() if environ.get(variable)}
    if "UV_DEFAULT_INDEX" in for_uv or "UV_INDEX" in for_uv:
        for_uv["UV_INDEX_STRATEGY"] = "unsafe-best-match"  # as pip: the best version of all indexes
    inherited = for_uv | kept
    return inherited | {
        WORKER_VARIABLE: str(folder),
        "CLEARML_WORKER_ID": worker,
        # No virtual environment per step: this interpreter, after checking the step's pins against it.
        "CLEARML_AGENT_SKIP_PIP_VENV_INSTALL": str(interpreter),
        "CLEARML_AGENT_TEMP_STDOUT_FILE_DIR": str(folder / "tmp"),
        # The agent leaves its configuration (with the secret key) and its lock there; its own folder is private,
        # and agents with a folder of their own do not wait for each other's lock.
        "TMPDIR": str(folder / "tmp"),
        "PYTHONUNBUFFERED": "1",
    }


def server_environment(environ: Mapping[str, str], folder: Path, *, patient: bool = True) -> dict[str, str]:
    """Return the server's environment.

    Args:
        environ: What it inherits.
        folder: Its folder.
        patient: Its workers are daemons only. The k8s glue checks its pods between two answers.
    """
    kept = {name: value for name, value in environ.items() if name not in UNWANTED}
    # A daemon has nothing to do while it waits for a task; after an empty answer it would sleep for 5 s.
    waits = {"LOCALSERVER_POLL_WAIT_S": "600"} if patient and LIKE_GENUINE_VARIABLE not in environ else {}
    return waits | kept | {SERVER_VARIABLE: str(folder)}
