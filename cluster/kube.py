"""The few questions that a start asks the API server, by plain HTTPS with the administrator's certificate.

Outside system: the cluster's API server. Everything else talks to it through the kubeconfig and a real client.
"""

from __future__ import annotations

import http.client
import json
import ssl
import urllib.request
from pathlib import Path
from typing import Any

TIMEOUT_S = 3.0


class Api:
    """An API server that may not be there yet: what it does not answer, or refuses, counts as "not yet"."""

    def __init__(self, url: str, pki: Path) -> None:
        self._url = url
        context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
        # No proxy: the node is next door, whatever the environment says about the internet.
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )

    def is_ready(self) -> bool:
        """Return whether the server says that it is ready."""
        return self._get("/readyz") == "ok"

    def node_is_ready(self, name: str) -> bool:
        """Return whether node `name` takes pods."""
        node = self._object(f"/api/v1/nodes/{name}")
        conditions = node.get("status", {}).get("conditions", [])
        return any(row["type"] == "Ready" and row["status"] == "True" for row in conditions)

    def has_service_account(self, namespace: str = "default") -> bool:
        """Return whether pods of `namespace` can be made: without its account they are refused."""
        return bool(self._object(f"/api/v1/namespaces/{namespace}/serviceaccounts/default"))

    def items(self, path: str) -> list[dict[str, Any]] | None:
        """Return the objects of a list; None where the server does not answer."""
        return self._object(path).get("items")

    def version(self) -> str:
        """Return the server's version, or nothing."""
        return str(self._object("/version").get("gitVersion", ""))

    def _object(self, path: str) -> dict[str, Any]:
        text = self._get(path)
        found: dict[str, Any] = json.loads(text) if text else {}
        return found

    def _get(self, path: str) -> str:
        try:
            with self._opener.open(self._url + path, timeout=TIMEOUT_S) as reply:
                return str(reply.read().decode())
        except (OSError, http.client.HTTPException):  # refused, late, interrupted, or an HTTP error
            return ""


def says_ok(url: str) -> bool:
    """Return whether a plain HTTP address answers 200."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=TIMEOUT_S) as reply:
            return bool(reply.status == 200)
    except (OSError, http.client.HTTPException):
        return False
