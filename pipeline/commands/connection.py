"""The server that a command talks to: the configured one, or this machine's own, started if need be.

The only place that changes the process as a whole. Its environment: the SDK reads there where its server is, once,
when it is imported. Its log: see `connect`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clearml_access import credentials
from pipeline.local_stack import Machine, MachineSettings, up

if TYPE_CHECKING:
    from pipeline.clearml_server import ClearmlServer


@dataclass(frozen=True)
class Connection:
    """A server that answers.

    Attributes:
        server: The server.
        machine: The one-machine set-up that it is part of, if it is ours.
        settings: Where that set-up lives.
    """

    server: ClearmlServer
    machine: Machine | None
    settings: MachineSettings

    @property
    def is_ours(self) -> bool:
        """Whether the server is this machine's own, however it was named."""
        named = os.environ.get("CLEARML_CONFIG_FILE")
        elsewhere = os.environ.get("CLEARML_API_HOST") or os.environ.get("CLEARML_API_ACCESS_KEY")
        return bool(named) and not elsewhere and Path(str(named)).expanduser().resolve() == self.settings.configuration

    def check_storage(self) -> None:
        """Find out whether this process can store files, where the configuration names S3 for them.

        Raises:
            StorageError: It cannot.
        """
        from pipeline.sdk import object_storage

        object_storage.check_default(os.environ)


def connect(say: Callable[[str], None]) -> Connection:
    """Return the configured server, or start this machine's own and use it from now on.

    Args:
        say: Told what is started.

    Raises:
        ServerError: The server does not answer, refuses the key, or does not start.
    """
    settings = MachineSettings.from_environ(os.environ)
    machine = None
    if not credentials.is_configured(os.environ):
        machine = up(settings, keep_workers=True)
        if machine.started:
            say(f"No ClearML server is configured: started this machine's own ({', '.join(machine.started)})")
        os.environ["CLEARML_CONFIG_FILE"] = str(machine.configuration)
        os.environ.setdefault("CLEARML_CACHE_DIR", str(settings.state / "cache" / "storage"))
    from pipeline.clearml_server import ClearmlServer

    # The SDK logs every refused call, its threads even after the end: what is wrong, our own errors say once.
    logging.disable(logging.CRITICAL)
    return Connection(ClearmlServer.connect(), machine, settings)
