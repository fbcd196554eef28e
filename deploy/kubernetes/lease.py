"""One at a time: a Lease says who works on the release, so that two installs do not meet in the middle.

Outside systems: the Kubernetes API server, through api.py; this machine's process table.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta

from clearml_access import processes
from deploy.errors import ClusterError, ReleaseBusyError
from deploy.kubernetes.api import ConflictError, Json, KubernetesApi

GROUP = "coordination.k8s.io/v1"
LEASE_S = 30
"""How long a holder that was killed keeps others out."""

JOIN_S = 15.0


@contextmanager
def held(api: KubernetesApi, name: str, holder: str, labels: dict[str, str]) -> Iterator[None]:
    """Hold the Lease `name`, and renew it until the end.

    Raises:
        ReleaseBusyError: Somebody else holds it; the message names them.
    """
    _take(api, name, holder, labels)
    stop = threading.Event()
    renewer = threading.Thread(target=_renew, args=(api, name, holder, stop), daemon=True)
    renewer.start()
    try:
        yield
    finally:
        stop.set()
        renewer.join(timeout=JOIN_S)
        with suppress(ClusterError):
            _give_back(api, name, holder)


def _take(api: KubernetesApi, name: str, holder: str, labels: dict[str, str]) -> None:
    path = api.path("leases", name, group=GROUP)
    found = api.get(path)
    if found:
        spec = found["spec"]
        renewed = datetime.fromisoformat(spec["renewTime"].replace("Z", "+00:00"))
        fresh = datetime.now(UTC) - renewed < timedelta(seconds=LEASE_S)
        if fresh and spec["holderIdentity"] != holder and not _has_died(spec["holderIdentity"]):
            raise ReleaseBusyError(
                f"{spec['holderIdentity']} has been changing release {name} since {spec['acquireTime']}",
                hint="wait until it ends (its lease runs out by itself when it was killed)",
            )
    now = _now()
    spec = {"holderIdentity": holder, "leaseDurationSeconds": LEASE_S, "acquireTime": now, "renewTime": now}
    metadata: Json = {"name": name, "namespace": api.namespace, "labels": labels}
    body: Json = {"apiVersion": GROUP, "kind": "Lease", "metadata": metadata, "spec": spec}
    try:
        if found:
            metadata["resourceVersion"] = found["metadata"]["resourceVersion"]
            api.call("PUT", path, body)
        else:
            api.call("POST", api.path("leases", group=GROUP), body)
    except ConflictError as error:
        raise ReleaseBusyError(f"another process is changing release {name}", hint="wait until it ends") from error


def _renew(api: KubernetesApi, name: str, holder: str, stop: threading.Event) -> None:
    path = api.path("leases", name, group=GROUP)
    while not stop.wait(LEASE_S / 3):
        with suppress(ClusterError):  # the API server may be restarting
            found = api.get(path)
            if not _is_ours(found, holder):
                return  # it ran out meanwhile, and somebody else works
            api.call("PATCH", path, {"spec": {"renewTime": _now()}})


def _give_back(api: KubernetesApi, name: str, holder: str) -> None:
    """Delete the Lease, unless it ran out and is somebody else's by now."""
    path = api.path("leases", name, group=GROUP)
    found = api.get(path)
    if found and _is_ours(found, holder):
        version = found["metadata"]["resourceVersion"]
        api.call("DELETE", path, {"preconditions": {"resourceVersion": version}})


def _is_ours(lease: Json | None, holder: str) -> bool:
    return lease is not None and lease["spec"].get("holderIdentity") == holder


def this_process() -> str:
    """Return what we call ourselves as a holder."""
    return f"{socket.gethostname()}:{os.getpid()}"


def _has_died(holder: str) -> bool:
    """Return whether a holder was a process of this machine that has ended: then nobody needs to wait for its Lease."""
    host, _, pid = holder.rpartition(":")
    if host != socket.gethostname() or not pid.isdigit():
        return False
    return not processes.is_alive(int(pid))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
