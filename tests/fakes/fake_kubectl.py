"""A fake kubectl: pods are files of a folder, which tests read and write. Runs as a program, with the standard library.

`refusals/<verb>` in that folder holds what such calls answer on stderr in place of their work, until it is removed;
`warning` holds what each `create` adds on stderr, `status` what it adds to a pod's status.
"""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FOLDER = Path(os.environ.get("FAKE_KUBECTL", "."))
WATCH_S = 0.02


def pods() -> dict[str, dict[str, Any]]:
    found = {}
    for path in sorted((FOLDER / "pods").glob("*.json")):
        try:
            found[path.stem] = json.loads(path.read_text())
        except FileNotFoundError:
            continue
    return found


def write(pod: dict[str, Any]) -> None:
    path = FOLDER / "pods" / f"{pod['metadata']['name']}.json"
    path.with_suffix(".new").write_text(json.dumps(pod))
    path.with_suffix(".new").rename(path)


def create(pod: dict[str, Any]) -> int:
    name = pod["metadata"]["name"]
    if name in pods():
        print(f'Error from server (AlreadyExists): pods "{name}" already exists', file=sys.stderr)
        return 1
    moment = datetime.now(UTC).isoformat()
    pod["metadata"] |= {"uid": uuid.uuid4().hex, "creationTimestamp": moment}
    first = FOLDER / "status"
    pod["status"] = {"phase": "Pending"} | (json.loads(first.read_text()) if first.exists() else {})
    write(pod)
    if (FOLDER / "warning").exists():
        print((FOLDER / "warning").read_text(), file=sys.stderr)
    print(json.dumps(pod))
    return 0


def delete(name: str, options: dict[str, Any]) -> int:
    pod = pods().get(name)
    if pod is None or pod["metadata"]["uid"] != options["preconditions"]["uid"]:
        print("Error from server (Conflict): the UID in the precondition does not match", file=sys.stderr)
        return 1
    if (FOLDER / "slow-end").exists():  # it ends when the test says so
        pod["metadata"]["deletionTimestamp"] = datetime.now(UTC).isoformat()
        write(pod)
    else:
        (FOLDER / "pods" / f"{name}.json").unlink()
    return 0


def watch() -> int:
    seen: dict[str, dict[str, Any]] = {}
    while not (FOLDER / "refusals/watch").exists():
        now = pods()
        for name, pod in now.items():
            if seen.get(name) != pod:
                print(json.dumps({"type": "MODIFIED" if name in seen else "ADDED", "object": pod}), flush=True)
        for name in seen.keys() - now.keys():
            print(json.dumps({"type": "DELETED", "object": seen[name]}), flush=True)
        seen = now
        time.sleep(WATCH_S)
    return 1


def main(words: list[str]) -> int:
    while words[0].startswith("--"):
        words = words[2:] if words[0] == "--namespace" else words[1:]
    verb = "watch" if "--watch" in words else words[0]
    refusal = FOLDER / "refusals" / verb
    if refusal.exists():
        print(refusal.read_text(), file=sys.stderr)
        return 1
    if verb == "create":
        return create(json.load(sys.stdin))
    if verb == "watch":
        return watch()
    if verb == "delete":
        return delete(words[1].rpartition("/")[2], json.load(sys.stdin))
    if verb == "logs":
        print((FOLDER / "log").read_text() if (FOLDER / "log").exists() else "")
    elif words[1] == "pod":
        found = pods().get(words[2])
        print(json.dumps(found) if found else "")
    else:
        print(json.dumps({"items": list(pods().values())}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
