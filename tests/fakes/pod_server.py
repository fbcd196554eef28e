"""A fake API server for one agent's pods: TLS, the account's token, and files of a folder that tests read and write.

`refusals/<verb>` in that folder holds the Status that such calls answer in place of their work, until it is removed; an
empty file: the connection is dropped. With `unanswered`, each creation is made, and then the connection is dropped.
`warning` holds what each creation warns of, `status` what it adds to a pod's status, `log` what pods have written.
"""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import threading
import time
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

WATCH_S = 0.02
TOKEN = "the-token-of-the-agent"

Json = dict[str, Any]


def status(code: int, reason: str, message: str) -> Json:
    """Return a refusal as Kubernetes words it."""
    return {"kind": "Status", "apiVersion": "v1", "code": code, "reason": reason, "message": message}


class PodServer:
    """Serves a folder; `account` holds what a pod's account has mounted."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.account = folder, folder / "account"
        for name in ("pods", "refusals", "account"):
            (folder / name).mkdir(parents=True)
        (self.account / "token").write_text(TOKEN)
        _make_certificate(self.account / "ca.crt", folder / "server.key")
        handler = type("Handler", (_Handler,), {"folder": folder})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.account / "ca.crt", folder / "server.key")
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """Take no more calls."""
        self._server.shutdown()
        self._server.server_close()


def _make_certificate(certificate: Path, key: Path) -> None:
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    argv += ["-subj", "/CN=cluster", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    argv += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(argv, check=True, capture_output=True, timeout=60)


class _Handler(BaseHTTPRequestHandler):
    folder: Path
    protocol_version = "HTTP/1.1"

    def log_message(self, *words: object) -> None:
        """Keep the tests' output to themselves."""

    def do_GET(self) -> None:
        query, name = parse_qs(urlsplit(self.path).query), self._name()
        if "watch" in query:
            self._watch()
        elif self._is_refused("logs" if name.endswith("/log") else "get"):
            return
        elif name.endswith("/log"):
            self._reply(200, ((self.folder / "log").read_text() if (self.folder / "log").exists() else "").encode())
        elif not name:
            self._answer(200, {"kind": "PodList", "items": list(self._pods().values())})
        elif found := self._pods().get(name):
            self._answer(200, found)
        else:
            self._answer(404, status(404, "NotFound", f'pods "{name}" not found'))

    def do_POST(self) -> None:
        pod, name = self._body(), ""
        if self._is_refused("create"):
            return
        name = pod["metadata"]["name"]
        if name in self._pods():
            return self._answer(409, status(409, "AlreadyExists", f'pods "{name}" already exists'))
        pod["metadata"] |= {"uid": uuid.uuid4().hex, "creationTimestamp": datetime.now(UTC).isoformat()}
        first = self.folder / "status"
        pod["status"] = {"phase": "Pending"} | (json.loads(first.read_text()) if first.exists() else {})
        self._write(pod)
        if (self.folder / "unanswered").exists():
            return self._hang_up()
        warning = self.folder / "warning"
        return self._answer(201, pod, **({"Warning": f'299 - "{warning.read_text()}"'} if warning.exists() else {}))

    def do_DELETE(self) -> None:
        options, name = self._body(), self._name()
        pod = self._pods().get(name)
        if self._is_refused("delete"):
            return None
        if pod is None:
            return self._answer(404, status(404, "NotFound", f'pods "{name}" not found'))
        if pod["metadata"]["uid"] != options["preconditions"]["uid"]:
            return self._answer(409, status(409, "Conflict", "the UID in the precondition does not match"))
        if (self.folder / "slow-end").exists():  # it ends when the test says so
            pod["metadata"]["deletionTimestamp"] = datetime.now(UTC).isoformat()
            self._write(pod)
        else:
            (self.folder / "pods" / f"{name}.json").unlink()
        return self._answer(200, pod)

    def _watch(self) -> None:
        if self._is_refused("watch"):
            return
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        seen: dict[str, Json] = {}
        try:
            while not (self.folder / "refusals/watch").exists():
                now = self._pods()
                for name, pod in now.items():
                    if seen.get(name) != pod:
                        self._chunk({"type": "MODIFIED" if name in seen else "ADDED", "object": pod})
                for name in seen.keys() - now.keys():
                    self._chunk({"type": "DELETED", "object": seen[name]})
                seen = now
                time.sleep(WATCH_S)
        except OSError:
            pass  # the agent is gone
        self._hang_up()

    def _chunk(self, event: Json) -> None:
        line = json.dumps(event).encode() + b"\n"
        self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
        self.wfile.flush()

    def _is_refused(self, verb: str) -> bool:
        refusal = self.folder / "refusals" / verb
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._answer(401, status(401, "Unauthorized", "Unauthorized"))
        elif not refusal.exists():
            return False
        elif text := refusal.read_text():
            self._answer(json.loads(text)["code"], json.loads(text))
        else:
            self._hang_up()
        return True

    def _hang_up(self) -> None:
        self.close_connection = True
        with suppress(OSError):  # it is closed already
            self.connection.shutdown(socket.SHUT_RDWR)

    def _name(self) -> str:
        return urlsplit(self.path).path.partition("/pods")[2].strip("/")

    def _body(self) -> Json:
        return dict(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _answer(self, code: int, document: Json, **headers: str) -> None:
        self._reply(code, json.dumps(document).encode(), **headers)

    def _reply(self, code: int, body: bytes, **headers: str) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _pods(self) -> dict[str, Json]:
        found = {}
        for path in sorted((self.folder / "pods").glob("*.json")):
            try:
                found[path.stem] = json.loads(path.read_text())
            except FileNotFoundError:
                continue
        return found

    def _write(self, pod: Json) -> None:
        path = self.folder / "pods" / f"{pod['metadata']['name']}.json"
        path.with_suffix(".new").write_text(json.dumps(pod))
        path.with_suffix(".new").rename(path)
