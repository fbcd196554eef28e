"""The fake API server's wire: paths, verbs, reviews, logs, watches, Status answers; one thread a connection."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

from tests.fakes.kubernetes import admission
from tests.fakes.kubernetes.faults import RESET, Faults
from tests.fakes.kubernetes.store import FakeStore, Json, Refusal

CORE = "Namespace Node Pod Secret ConfigMap ServiceAccount Service Event PersistentVolumeClaim ResourceQuota LimitRange"
KINDS_OF_GROUPS = {
    "v1": CORE.split(),
    "apps/v1": ["Deployment"],
    "rbac.authorization.k8s.io/v1": ["Role", "RoleBinding"],
    "coordination.k8s.io/v1": ["Lease"],
    "networking.k8s.io/v1": ["NetworkPolicy"],
}


def plural(kind: str) -> str:
    """Return a kind as paths have it."""
    return f"{kind.lower()}s".replace("ys", "ies")


KINDS = {plural(kind): kind for kinds in KINDS_OF_GROUPS.values() for kind in kinds}
GROUPS = {group: {plural(kind) for kind in kinds} for group, kinds in KINDS_OF_GROUPS.items()}
PATH = re.compile(
    r"/apis?/(?P<group>v1|[\w.]+/v1)(?:/namespaces/(?P<namespace>[^/]+))?/(?P<kind>\w+)(?:/(?P<rest>.+))?"
)
VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
PATCHES = ("application/merge-patch+json", "application/strategic-merge-patch+json")
APPLY = "application/apply-patch+yaml"
STREAM_S = 20.0
"""No stream outlives this, whatever a test forgets."""


class World(Protocol):
    """What the API server serves."""

    store: FakeStore
    faults: Faults
    version: str

    def tick(self) -> None: ...
    def log(self, namespace: str, pod: str, query: Json) -> list[str]: ...
    def helm(self, asked: str) -> str: ...


def discovery(path: str) -> Json:
    """Return what is served, as Kubernetes tells it since 1.30."""
    items = []
    for served, plurals in GROUPS.items():
        group, _, version = served.rpartition("/")
        if bool(group) == (path == "/apis"):
            resources = [{"resource": plural, "responseKind": {"kind": KINDS[plural]}} for plural in sorted(plurals)]
            versions = [{"version": version, "resources": resources}]
            items.append({"metadata": {"name": group} if group else {}, "versions": versions})
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


class FakeApiServer:
    """Serves a world on a free port until it is closed."""

    def __init__(self, world: World) -> None:
        handler = type("Handler", (_Handler,), {"world": world, "closing": threading.Event()})
        self._closing: threading.Event = handler.closing  # type: ignore[attr-defined]
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    world: World
    closing: threading.Event

    def handle(self) -> None:
        """Serve the requests of one connection until the client hangs up."""
        with suppress(BrokenPipeError, ConnectionResetError):
            super().handle()

    def finish(self) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):
            super().finish()

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length)
        url = urlsplit(self.path)
        try:
            if url.path == "/fake-helm":
                self._send(200, "text/plain", self.world.helm(raw.decode()).encode())
            elif self.world.faults.meet(self.command, url.path) == RESET:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
            else:
                self._route(url.path, dict(parse_qsl(url.query)), json.loads(raw or b"null"))
        except Refusal as refusal:
            status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": refusal.status}
            self._answer(refusal.status, {**status, "reason": refusal.reason, "message": refusal.message})

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

    def _route(self, path: str, query: Json, body: Any) -> None:
        world = self.world
        if path == "/version":
            return self._answer(200, {"gitVersion": world.version})
        if path == "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews":
            asked = body["spec"]["resourceAttributes"]
            allowed = world.faults.may(asked["verb"], asked["resource"])
            return self._answer(201, {**body, "status": {"allowed": allowed}})
        if path == "/apis/authentication.k8s.io/v1/selfsubjectreviews":
            return self._answer(201, {**body, "status": {"userInfo": {"username": world.faults.user}}})
        if path in ("/api", "/apis"):
            return self._answer(200, discovery(path))
        found = PATH.fullmatch(path)
        if found is None or found["kind"] not in GROUPS.get(found["group"], ()):
            raise Refusal(404, "NotFound", f"the fake does not serve {path}")
        kind, namespace = found["kind"], found["namespace"] or ""
        name, _, sub = (found["rest"] or "").partition("/")
        self._require_right(kind, name, query)
        with world.store.lock:
            if kind in ("pods", "deployments", "namespaces"):
                world.tick()
        if sub == "log":
            return self._log(namespace, name, query)
        if query.get("watch") == "true":
            return self._watch(kind, namespace, query)
        with world.store.lock:
            answer = self._object(kind, namespace, name, query, body)
        return self._answer(201 if self.command == "POST" else 200, answer)

    def _require_right(self, kind: str, name: str, query: Json) -> None:
        reading = "watch" if query.get("watch") else "get" if name else "list"
        verb = VERBS.get(self.command, reading)
        if not self.world.faults.may(verb, kind):
            raise Refusal(403, "Forbidden", f'{kind} is forbidden: User "fake" cannot {verb} resource "{kind}"')

    def _object(self, kind: str, namespace: str, name: str, query: Json, body: Any) -> Json:
        store = self.world.store
        if self.command == "POST":
            if kind == "pods":
                admission.require(store, self.world.faults, namespace, body)
            if query.get("dryRun") == "All":
                return dict(body)
            if kind == "namespaces":
                body = {**body, "status": {"phase": "Active"}}
            return store.create(kind, namespace, body)
        if self.command == "PUT":
            return store.replace(kind, namespace, name, body)
        if self.command == "PATCH" and self.headers.get("Content-Type") == APPLY:
            return store.apply(kind, namespace, name, body, dry_run=query.get("dryRun") == "All")
        if self.command == "PATCH":
            if self.headers.get("Content-Type") not in PATCHES:
                raise Refusal(415, "UnsupportedMediaType", f"no patch of type {self.headers.get('Content-Type')}")
            return store.patch(kind, namespace, name, body)
        if self.command == "DELETE":
            return store.delete(kind, namespace, name, body)
        if name:
            return store.get(kind, namespace, name)
        items = store.select(kind, namespace, query.get("labelSelector", ""), query.get("fieldSelector", ""))
        return {"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items}

    # -- streams

    def _log(self, namespace: str, name: str, query: Json) -> None:
        with self.world.store.lock:
            pod = self.world.store.get("pods", namespace, name)
            lines = self.world.log(namespace, name, query)
        if query.get("follow") != "true":
            return self._send(200, "text/plain", "".join(f"{line}\n" for line in lines).encode())
        self._begin_stream("text/plain")
        sent = 0
        deadline = time.monotonic() + STREAM_S
        while time.monotonic() < deadline and not self.closing.is_set():
            with self.world.store.lock:
                self.world.tick()
                latest = self.world.store.find("pods", namespace, name)
                lines = self.world.log(namespace, name, query) if latest else lines
                if latest and latest["metadata"]["uid"] != pod["metadata"]["uid"]:
                    latest = None
            for line in lines[sent:]:
                self._chunk(f"{line}\n".encode())
            sent = len(lines)
            limit = self.world.faults.break_logs_after
            if limit is not None and sent >= limit:
                self.world.faults.break_logs_after = None
                self.close_connection = True  # in mid-stream: the last chunk never comes
                return None
            if latest is None or latest["status"].get("phase") in ("Succeeded", "Failed"):
                break
            time.sleep(0.01)
        self._chunk(b"")
        return None

    def _watch(self, kind: str, namespace: str, query: Json) -> None:
        store = self.world.store
        self._begin_stream("application/json")
        with store.lock:
            seen = store.history[-1][0] if store.history else 0
            for item in store.select(kind, namespace):
                self._event("ADDED", item)
        deadline = time.monotonic() + min(float(query.get("timeoutSeconds", STREAM_S)), STREAM_S)
        while time.monotonic() < deadline and not self.closing.is_set():
            with store.lock:
                self.world.tick()
                fresh = [entry for entry in store.history if entry[0] > seen and entry[2:4] == (kind, namespace)]
            for version, event, _, _, item in fresh:
                self._event(event, item)
                seen = version
            time.sleep(0.01)
        self._chunk(b"")

    def _event(self, event: str, item: Json) -> None:
        self._chunk(json.dumps({"type": event, "object": item}).encode() + b"\n")

    # -- answers

    def _answer(self, status: int, body: Any) -> None:
        self._send(status, "application/json", json.dumps(body).encode())

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _begin_stream(self, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the tests' output is the account."""
