"""A client of any ClearML server: public API calls and uploads over HTTP, with deadlines and retries."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import orjson

from clearml_localserver.upkeep.data_folder import UpkeepError

VERSION = "v2.23"
"""Old enough for every server of the last years."""

TIMEOUT_S = 60.0
UPLOAD_TIMEOUT_S = 900.0
"""A server may need long to put a large file on its disk before it answers."""

DEADLINE_S = 300.0
"""How long a call is repeated while the server does not answer, e.g. because it is being restarted."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 15.0
BUSY = (429, 502, 503, 504)


@dataclass(frozen=True)
class Access:
    """Addresses and key of a server."""

    api: str
    files: str
    web: str
    key: str
    secret: str
    verify: bool = True


class RefusedError(UpkeepError):
    """A call that the server answered with an error.

    Attributes:
        subcode: ClearML's number, e.g. 801 for a name that is taken.
    """

    def __init__(self, endpoint: str, status: int, subcode: int, text: str) -> None:
        super().__init__(f"{endpoint} was refused: {status}/{subcode} {text}")
        self.status = status
        self.subcode = subcode


class UnansweredError(UpkeepError):
    """A call whose answer never came: it may have been done."""


class RemoteServer:
    """A server that is written to."""

    def __init__(self, access: Access, transport: httpx.BaseTransport | None = None) -> None:
        self.access = access
        self._http = httpx.Client(timeout=TIMEOUT_S, verify=access.verify, transport=transport)
        self._login()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __call__(self, endpoint: str, /, **data: Any) -> dict[str, Any]:
        """Call an endpoint that may be called twice, until it answers; return its data.

        Raises:
            RefusedError: The server refused it.
            UpkeepError: It did not answer within the deadline.
        """
        return self._repeat(endpoint, lambda: self.once(endpoint, **data))

    def once(self, endpoint: str, /, **data: Any) -> dict[str, Any]:
        """Call an endpoint once.

        Raises:
            RefusedError: The server refused it.
            UnansweredError: There was no answer.
        """
        return self._post(endpoint, orjson.dumps(data), "application/json")

    def add_events(self, events: list[dict[str, Any]]) -> dict[str, Any]:
        """Send events; a batch of which some were refused is an answer, too."""
        body = b"\n".join(orjson.dumps(event) for event in events)
        return self._repeat("events.add_batch", lambda: self._post("events.add_batch", body, "application/json-lines"))

    def upload(self, source: Path, name: str) -> str:
        """Store a file on the file server; return its address."""

        def send() -> dict[str, Any]:
            with source.open("rb") as file:
                try:
                    reply = self._http.post(
                        f"{self.access.files}/", files={f"/{name}": (source.name, file)}, timeout=UPLOAD_TIMEOUT_S
                    )
                except httpx.TransportError as error:
                    raise UnansweredError(f"{self.access.files} did not answer: {error}") from error
            if reply.status_code in BUSY:
                raise UnansweredError(f"{self.access.files} answered {reply.status_code}")
            if reply.status_code != 200:
                raise RefusedError(f"upload of {name}", reply.status_code, 0, reply.text[:200])
            return {"stored": orjson.loads(reply.content)}

        stored = self._repeat(f"upload of {name}", send)["stored"]
        return f"{self.access.files}/{quote(stored[0].lstrip('/'))}"

    def _repeat(self, what: str, send: Any) -> dict[str, Any]:
        deadline, pause = time.monotonic() + DEADLINE_S, FIRST_PAUSE_S
        while True:
            try:
                found: dict[str, Any] = send()
                return found
            except UnansweredError as error:
                if time.monotonic() + pause > deadline:
                    raise UpkeepError(
                        f"{what}: no answer for {DEADLINE_S:.0f} s ({error})\n"
                        "Hint: repeat the command once the server is back; it continues where it stopped"
                    ) from error
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)

    def _post(self, endpoint: str, body: bytes, media_type: str) -> dict[str, Any]:
        reply = self._send(endpoint, body, media_type)
        if reply.status_code == 401:  # the token has run out
            self._login()
            reply = self._send(endpoint, body, media_type)
        if reply.status_code in BUSY:
            raise UnansweredError(f"{endpoint} answered {reply.status_code}")
        try:
            envelope = orjson.loads(reply.content)
            meta, data = envelope["meta"], envelope["data"]
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            text = f"not an answer of a ClearML server: {reply.text[:100]!r}"
            raise RefusedError(endpoint, reply.status_code, 0, text) from error
        if reply.status_code != 200:
            raise RefusedError(endpoint, reply.status_code, meta.get("result_subcode", 0), meta.get("result_msg", ""))
        return dict(data)

    def _send(self, endpoint: str, body: bytes, media_type: str) -> httpx.Response:
        try:
            return self._http.post(
                f"{self.access.api}/{VERSION}/{endpoint}", content=body, headers={"Content-Type": media_type}
            )
        except httpx.TransportError as error:
            raise UnansweredError(f"{self.access.api} did not answer: {error}") from error

    def _login(self) -> None:
        self._http.headers.pop("Authorization", None)
        try:
            reply = self._http.post(f"{self.access.api}/auth.login", auth=(self.access.key, self.access.secret))
        except httpx.TransportError as error:
            raise UpkeepError(f"{self.access.api} does not answer: {error}\nHint: is api_server right?") from error
        if reply.status_code != 200:
            raise UpkeepError(f"{self.access.api} refused the access key ({reply.status_code})")
        token = reply.json()["data"]["token"]
        self._http.cookies.clear()
        self._http.headers["Authorization"] = f"Bearer {token}"


def exactly(name: str) -> str:
    """Return the pattern that finds a name and no other."""
    return f"^{re.escape(name)}$"
