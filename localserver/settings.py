"""The server's settings: one frozen value, built once by the command line and passed down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path

ENVIRONMENT_PREFIX = "LOCALSERVER_"


@dataclass(frozen=True)
class Settings:
    """Where the server listens and what it allows."""

    data: Path
    """Folder of the database, the uploaded files and `clearml.conf`."""

    host: str = "127.0.0.1"
    """Address to bind; anything but a loopback address makes the web pages ask for credentials."""

    api_port: int = 8008
    web_port: int = 8080
    files_port: int = 8081

    public_host: str | None = None
    """Host name written into `clearml.conf`; `host` unless that is a wildcard address."""

    poll_wait_s: float = 20.0
    """How long `queues.get_next_task` waits for a task. The k8s glue looks after its pods between two polls, so this
    is no longer than that can wait; on one machine `task server-up` sets ten minutes."""

    sign_of_life_s: float = 10.0
    """How often a waiting request is sent white space. Below the agent's 30 s read timeout."""

    max_body_bytes: int = 64 * 2**20
    """Largest API request."""

    max_upload_bytes: int = 50 * 2**30
    """Largest upload to the file server."""

    watchdog_threshold_s: float = 7200.0
    """Silence after which a running task is declared non-responsive (the genuine server's figure)."""

    worker_lost_s: float = 120.0
    """Silence of task *and* worker after which a running task of an agent is declared lost."""

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def advertised_host(self) -> str:
        """Host that clients are told to use."""
        if self.public_host:
            return self.public_host
        return "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104

    def url(self, port: int) -> str:
        """Return the address of one of the three services."""
        host = self.advertised_host
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def api_url(self) -> str:
        """Address of the API."""
        return self.url(self.api_port)

    @property
    def web_url(self) -> str:
        """Address of the web pages."""
        return self.url(self.web_port)

    @property
    def files_url(self) -> str:
        """Address of the file server."""
        return self.url(self.files_port)

    def with_environ(self, environ: Mapping[str, str]) -> Settings:
        """Return these settings with every `LOCALSERVER_<NAME>` of `environ` applied.

        Raises:
            ValueError: A variable's text is not of the setting's type; the message names both.
        """
        kinds = {
            "host": str,
            "public_host": str,
            "api_port": int,
            "web_port": int,
            "files_port": int,
            "poll_wait_s": float,
            "sign_of_life_s": float,
            "max_body_bytes": int,
            "max_upload_bytes": int,
            "watchdog_threshold_s": float,
            "worker_lost_s": float,
        }
        changes = {}
        for name, kind in kinds.items():
            text = environ.get(ENVIRONMENT_PREFIX + name.upper())
            if text is None:
                continue
            try:
                changes[name] = kind(text)
            except ValueError as error:
                raise ValueError(
                    f"{ENVIRONMENT_PREFIX}{name.upper()}={text!r} is not of type {kind.__name__}"
                ) from error
        return replace(self, **changes)
