"""Where this machine's inference process lives: one frozen value, built from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.local_stack.settings import MachineSettings

PYTHON_VARIABLE = "CLEARML_PODS_SERVING_PYTHON"

ENDPOINT = "reviews"
"""`/serve/reviews` answers with the current version, `/serve/reviews/<version>` with a certain one."""

AUTO_UPDATE = "reviews-best"
"""The endpoint whose versions clearml-serving makes itself, one for each new model that has the tag `best`."""

PORT_OFFSET = 82
"""From the port base: the next after the file server's."""

SERVICE_NAME = "Serving"
HOST = "127.0.0.1"


@dataclass(frozen=True)
class ServingSettings:
    """Folder, port and interpreter of the inference process."""

    folder: Path
    port: int
    python: Path | None = None
    """An interpreter that has clearml-serving; by default one is made of `images/serving/uv.lock`."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> ServingSettings:
        """Return the settings.

        Raises:
            SettingsError: A variable is not a number, or out of range.
        """
        machine = MachineSettings.from_environ(environ)
        python = environ.get(PYTHON_VARIABLE)
        return cls(machine.state / "serving", machine.port_base + PORT_OFFSET, Path(python) if python else None)

    @property
    def pid_file(self) -> Path:
        """What says which process it is."""
        return self.folder / "serving.pid"

    @property
    def log(self) -> Path:
        """What it prints."""
        return self.folder / "serving.log"

    @property
    def address(self) -> str:
        """Where it answers."""
        return f"http://{HOST}:{self.port}/serve"
