"""The Python environment of clearml-serving, made when somebody serves a model: `uv` and a lock file of its own.

It has this package too, by its folder: a `.pth` file puts that last on the module path, so that no other package of
this environment hides one of that one's. Outside system: `uv`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from clearml_access.own_server import PROJECT
from pipeline.provenance import ROOT
from pipeline.serving.errors import ServingEnvironmentError
from pipeline.serving.settings import PYTHON_VARIABLE

FOLDER = PROJECT / "images" / "serving"
TIMEOUT_S = 900.0
OWN_CODE = "clearml_pods.pth"


def ensure(python: Path | None, environ: Mapping[str, str], say: Callable[[str], None]) -> Path:
    """Return an interpreter that has clearml-serving and this package; make its environment if need be.

    Args:
        python: The one that the settings name.
        environ: Environment of `uv`.
        say: Told that packages are fetched.

    Raises:
        ServingEnvironmentError: There is no lock file or no `uv`, or the packages cannot be fetched.
    """
    if python is not None:
        _check(python)
        return python
    if not (FOLDER / "uv.lock").is_file():
        raise ServingEnvironmentError(
            f"{FOLDER / 'uv.lock'} is missing: the environment of clearml-serving is made of it",
            hint=f"work in a clone of the repository, or set {PYTHON_VARIABLE} to a Python with clearml-serving",
        )
    uv = environ.get("UV") or shutil.which("uv", path=environ.get("PATH"))
    if not uv:
        raise ServingEnvironmentError(
            "uv is not on PATH: the environment of clearml-serving is made with it",
            hint="./task serve-model fetches uv; or install it: https://docs.astral.sh/uv",
        )
    found = FOLDER / ".venv" / "bin" / "python"
    if not found.exists():
        say("Fetching clearml-serving and what it needs (once, 660 MB on disk)")
    _sync(uv, environ)
    _add_own_code(found)
    return found


def _check(python: Path) -> None:
    command = [
        str(python),
        "-c",
        "import clearml_serving.version, prometheus_client, pipeline.amazon_reviews.training.predictor",
    ]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, cwd=python.parent
        )
        reason = done.stderr.strip().splitlines()[-1:] if done.returncode else []
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = [str(error)]
    if reason:
        raise ServingEnvironmentError(
            f"{PYTHON_VARIABLE}={python} cannot serve models: {reason[0]}",
            hint=f"install clearml-serving and this package there, or unset {PYTHON_VARIABLE}",
        )


def _sync(uv: str, environ: Mapping[str, str]) -> None:
    own = {name: value for name, value in environ.items() if name not in ("VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT")}
    own.setdefault("SSL_CERT_FILE", environ.get("PIP_CERT", ""))
    own = {name: value for name, value in own.items() if name != "SSL_CERT_FILE" or value}
    command = [uv, "sync", "--frozen", "--compile-bytecode", "--quiet", "--project", str(FOLDER)]
    try:
        done = subprocess.run(
            [*command, "--python", sys.executable],
            env=own, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServingEnvironmentError(f"the environment of clearml-serving could not be made: {error}") from error
    if done.returncode:
        raise ServingEnvironmentError(
            f"the environment of clearml-serving could not be made: uv sync ended with exit code {done.returncode}",
            hint="check the network and the free space; behind a proxy set HTTPS_PROXY and PIP_CERT",
            evidence=tuple(done.stderr.strip().splitlines()[-10:]),
        )


def _add_own_code(python: Path) -> None:
    """Put this package's folder last on the environment's module path."""
    site = next(python.parents[1].glob("lib/python*/site-packages"))
    path = site / OWN_CODE
    line = f"{ROOT}\n"
    if not path.is_file() or path.read_text(encoding="utf-8") != line:
        temporary = path.with_name(f"{OWN_CODE}.{os.getpid()}")
        temporary.write_text(line, encoding="utf-8")
        temporary.replace(path)
