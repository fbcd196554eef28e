"""Writes why a task's pod died onto the task's record, while the pod can still be asked (helm-charts#319).

The stock glue deletes ended pods within seconds and says the same of all of them; a pod that somebody else deletes it
does not notice at all. This watches the pods and writes exit code, OOMKilled, evicted, image, node to the task's
console, its runtime section and, if nobody runs it any more, its status.

Outside systems: the cluster through kubectl, the ClearML server through the glue's session.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from deploy.kubernetes.pods import PostMortem, post_mortem, task_id

RUNTIME_KEY = "pod"
AGAIN_S = 2.0


class Recorder(threading.Thread):
    """Watches one namespace's task pods for ever."""

    def __init__(self, session: Any, worker: str, namespace: str) -> None:
        super().__init__(daemon=True, name="recorder")
        self._session = session
        self._worker = worker
        self._namespace = namespace
        self._written: set[str] = set()

    def run(self) -> None:
        """Watch; begin again whenever the API server ends the watch."""
        argv = ["kubectl", "get", "pods", "--namespace", self._namespace, "--watch", "--output-watch-events"]
        while True:
            with subprocess.Popen([*argv, "--output", "json"], stdout=subprocess.PIPE, text=True) as watch:
                for event in documents(watch.stdout or ()):
                    try:
                        self.look(event)
                    except Exception as error:  # one pod's record must not end the others'
                        print(f"Warning: a pod's end was not recorded: {error}", flush=True)
            time.sleep(AGAIN_S)

    def look(self, event: dict[str, Any]) -> None:
        """Write down a pod's end, if this event is it."""
        pod = event["object"]
        task, uid = task_id(pod), str(pod["metadata"].get("uid"))
        if task is None or uid in self._written:
            return
        found = post_mortem(pod, datetime.now(UTC), deleted=event["type"] == "DELETED")
        if found:
            self._written.add(uid)
            self._write(task, found)

    def _write(self, task: str, found: PostMortem) -> None:
        text = found.text()
        fields = ["runtime", "status"]
        records = self._call("tasks", "get_all", {"id": [task], "only_fields": fields}).get("tasks") or []
        if not records:
            return
        runtime = records[0].get("runtime") or {}
        if runtime.get(RUNTIME_KEY) == text:
            return
        now = int(time.time() * 1000)
        log = {"type": "log", "task": task, "worker": self._worker, "level": "error", "msg": text, "timestamp": now}
        self._call("events", "add", log)
        self._call("tasks", "edit", {"task": task, "force": True, "runtime": {**runtime, RUNTIME_KEY: text}})
        if records[0].get("status") in ("queued", "in_progress"):
            reason = {"status_reason": f"pod: {found.reason}", "status_message": text}
            self._call("tasks", "failed", {"task": task, "force": True, **reason})
        print(f"Task {task}: {text}", flush=True)

    def _call(self, service: str, action: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = self._session.send_request(service, action, json=body, method="post")
        if not answer.ok:
            raise RuntimeError(f"{service}.{action} answered {answer.status_code}")
        return dict(answer.json().get("data") or {})


def documents(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of a stream: each on a line of its own, or over several as some kubectl write them."""
    text = ""
    for line in lines:
        text += line
        if line.rstrip().endswith("}"):
            try:
                document = json.loads(text)
            except json.JSONDecodeError:
                continue  # an inner brace
            yield document
            text = ""
