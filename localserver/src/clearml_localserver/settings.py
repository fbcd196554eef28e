"""The server's settings: one frozen value, built once by the command line and passed down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

ENVIRONMENT_PREFIX = "LOCALSERVER_"


def boolean(text: str) -> bool:
    """Return what a text says: 1 or 0, true or false, yes or no.

    Raises:
        ValueError: It says neither.
    """
    if text.lower() in ("1", "true", "yes"):
        return True
    if text.lower() in ("0", "false", "no", ""):
        return False
    raise ValueError(text)


KINDS: dict[str, Any] = {"str": str, "str | None": str, "int": int, "float": float, "bool": boolean}
"""How the text of a variable becomes a setting, by the setting's type; `data` has no variable."""


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
    """How long `queues.get_next_task` waits for a task. The k8s glue checks its pods between two polls, so this
    is no longer than that can wait; on one machine `./task server-up` sets ten minutes."""

    sign_of_life_s: float = 10.0
    """How often a waiting request is sent white space. Below the agent's 30 s read timeout."""

    max_body_bytes: int = 64 * 2**20
    """Largest API request."""

    max_bodies_bytes: int = 512 * 2**20
    """Most bytes of large API requests in memory at once; further ones are told to try again (429)."""

    max_upload_bytes: int = 50 * 2**30
    """Largest upload to the file server."""

    max_header_bytes: int = 64 * 2**10
    """Largest address and headers of a request together; more is refused (414, 431)."""

    max_headers: int = 100
    """Most headers of a request."""

    max_connections: int = 4096
    """Most connections to the three services together; never more than the limit of open files allows."""

    max_connections_per_address: int = 1024
    """Most connections from one address. A NAT's clients, or all processes of this machine, share one."""

    header_timeout_s: float = 20.0
    """How long a new connection may take to send its first request's headers, and each later request's."""

    body_timeout_s: float = 60.0
    """How long a body may stall; in twice this time 64 KiB of it come, or all the rest."""

    write_timeout_s: float = 60.0
    """How long a client may take to read the next 64 KiB of an answer."""

    idle_timeout_s: float = 75.0
    """How long a connection is kept for another request; above the agent's pause between two polls."""

    max_unsent_bytes: int = 512 * 2**20
    """Most bytes of answers that wait for slow readers; beyond it the slowest ones are closed."""

    min_free_bytes: int = 256 * 2**20
    """Free space on the data folder's disk below which `/readyz` says "not ready"."""

    access_log: str | None = None
    """File to which a line of JSON is written for each request; `-` is standard output."""

    watchdog_threshold_s: float = 7200.0
    """Silence after which a running task is declared non-responsive (the genuine server's figure)."""

    worker_lost_s: float = 120.0
    """Silence of task *and* worker after which a running task of an agent is declared lost."""

    like_genuine: bool = False
    """Whether waits and connections are those of a genuine server: set by `as_genuine`."""

    def as_genuine(self) -> Settings:
        """Return these settings with the waits and connections of a genuine server, as its clients meet them.

        A poll of an empty queue is answered at once. Connections are kept open for every client, and closed after 2 s
        without a request, as gunicorn's threads do it. A worker is taken for dead after 600 s.
        """
        return replace(self, like_genuine=True, poll_wait_s=0.0, idle_timeout_s=2.0, worker_lost_s=600.0)

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

        A wait that is named itself wins over that of `like_genuine`.

        Raises:
            ValueError: A variable's text is not of the setting's type; the message names both.
        """
        changes: dict[str, Any] = {}
        for field in fields(self):
            text, kind = environ.get(ENVIRONMENT_PREFIX + field.name.upper()), KINDS.get(str(field.type))
            if text is None or kind is None:
                continue
            try:
                changes[field.name] = kind(text)
            except ValueError as error:
                raise ValueError(
                    f"{ENVIRONMENT_PREFIX}{field.name.upper()}={text!r} is not of type {kind.__name__}"
                ) from error
        return replace(self.as_genuine() if changes.get("like_genuine") else self, **changes)
