"""A request to an inference process of this machine. Outside system: HTTP, without proxies."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Answer:
    """What came back; of no answer at all, the status is 0."""

    status: int
    body: Mapping[str, Any]

    @property
    def reason(self) -> str:
        """Why there is no prediction in it."""
        return str(self.body.get("detail") or self.body)


def ask(url: str, request: Mapping[str, Any], *, timeout_s: float = TIMEOUT_S) -> Answer:
    """Send a request and return the answer."""
    data = json.dumps(request).encode()
    message = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310  # http, ours
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(message, timeout=timeout_s) as reply:
            return Answer(reply.status, _document(reply.read()))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, _document(error.read()))
    except (OSError, ValueError) as error:
        return Answer(0, {"detail": str(error)})


def _document(data: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"detail": data[:200].decode(errors="replace")}
