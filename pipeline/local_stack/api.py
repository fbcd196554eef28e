"""The few API calls that starting and stopping needs, without the SDK.

Outside system: a ClearML server's HTTP API. The SDK is not used here because it reads its configuration once, when it
is imported, and because `server status` should answer at once.
"""

from __future__ import annotations

import base64
import json
import re
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clearml_access.errors import ServerError

ALREADY_EXISTS = 801

# Proxies are for the internet; these servers are on this machine.
_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


@dataclass(frozen=True)
class Access:
    """Addresses and access key of a server."""

    api: str
    web: str
    files: str
    access_key: str
    secret_key: str

    @classmethod
    def read(cls, configuration: Path) -> Access:
        """Read the `clearml.conf` that localserver writes.

        Raises:
            ServerError: The file is missing or lacks an entry.
        """
        try:
            text = configuration.read_text(encoding="utf-8")
        except OSError as error:
            raise ServerError(f"{configuration} cannot be read: {error.strerror}", hint="task server-up") from error
        names = ("api_server", "web_server", "files_server", "access_key", "secret_key")
        found = {name: re.search(rf'^\s*{name}\s*[:=]\s*"?([^"\s]+)', text, re.MULTILINE) for name in names}
        missing = [name for name, match in found.items() if match is None]
        if missing:
            raise ServerError(f"{configuration} lacks {', '.join(missing)}", hint="task server-down && task server-up")
        return cls(*(match[1] for match in found.values() if match is not None))


class ApiCallError(ServerError):
    """The server refused a call, or did not answer."""

    def __init__(self, message: str, *, subcode: int = 0, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.subcode = subcode


class Api:
    """Calls to one server."""

    def __init__(self, access: Access, timeout_s: float = 10.0) -> None:
        self._access = access
        self._timeout_s = timeout_s
        key = f"{access.access_key}:{access.secret_key}".encode()
        self._headers = {
            "Authorization": f"Basic {base64.b64encode(key).decode()}",
            "Content-Type": "application/json",
        }

    def call(self, endpoint: str, **data: Any) -> dict[str, Any]:
        """Return the reply's data.

        Raises:
            ApiCallError: The server refused the call or did not answer in time.
        """
        request = urllib.request.Request(  # noqa: S310  the address is the server's own
            f"{self._access.api}/{endpoint}", json.dumps(data).encode(), self._headers
        )
        try:
            with _open(request, timeout=self._timeout_s) as response:
                reply: dict[str, Any] = json.load(response)["data"]
                return reply
        except urllib.error.HTTPError as error:
            meta = _meta(error.read())
            raise ApiCallError(
                f"{endpoint} was refused by {self._access.api}: {meta.get('result_msg') or error.reason}",
                subcode=meta.get("result_subcode", 0),
            ) from error
        except (OSError, ValueError, KeyError) as error:
            raise ApiCallError(
                f"{self._access.api} does not answer {endpoint}: {error}", hint="task server-status"
            ) from error

    def ensure_queue(self, name: str) -> None:
        """Make the queue unless it exists.

        Agents could do it themselves (`--create-queue`), but two that start at once race, and the loser dies.
        """
        queues = self.call("queues.get_all", name=f"^{re.escape(name)}$", only_fields=["id"])["queues"]
        if queues:
            return
        try:
            self.call("queues.create", name=name)
        except ApiCallError as error:
            if error.subcode != ALREADY_EXISTS:
                raise

    def workers(self) -> dict[str, dict[str, Any]]:
        """Return the registered workers by id."""
        return {worker["id"]: worker for worker in self.call("workers.get_all", last_seen=120)["workers"]}

    def fail_running_tasks(self, worker: str, reason: str) -> list[str]:
        """Mark the tasks that `worker` was running as failed; return their ids.

        For a worker whose process is gone: nobody else would tell the server before its watchdog does.
        """
        running = self.call("tasks.get_all", status=["in_progress"], only_fields=["id", "last_worker"])["tasks"]
        lost = [task["id"] for task in running if task.get("last_worker") == worker]
        for task in lost:
            self.call("tasks.failed", task=task, status_reason=reason, status_message=reason)
        return lost


def pings(api_url: str, timeout_s: float = 1.0) -> bool:
    """Return whether a ClearML API answers at `api_url`."""
    try:
        with _open(f"{api_url}/debug.ping", timeout=timeout_s) as response:
            return bool(response.status == 200)
    except (OSError, ValueError):
        return False


def _meta(body: bytes) -> dict[str, Any]:
    try:
        meta = json.loads(body)["meta"]
        return meta if isinstance(meta, dict) else {}
    except (ValueError, KeyError, TypeError):
        return {}
