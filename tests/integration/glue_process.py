"""The agent's glue as its image runs it, on a live server and a fake cluster: what its tests start and ask."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import yaml
from clearml_localserver.pytest_plugin import ClearmlServer

from tests.api_client import ApiClient
from tests.fakes.pod_server import PodServer, status

ROOT = Path(__file__).parents[2]
AGENT = ROOT / "images/agent"
WAIT_S = 60
TEMPLATE = {
    "apiVersion": "v1",
    "metadata": {"namespace": "clearml", "labels": {"team": "blue"}},
    "spec": {
        "restartPolicy": "OnFailure",
        "volumes": [{"name": "data", "emptyDir": {}}],
        "containers": [
            {
                "name": "mine",
                "env": [
                    {"name": "CLEARML_API_ACCESS_KEY", "value": "from-the-template"},
                    {"name": "CLEARML_API_SECRET_KEY", "value": "from-the-template"},
                    {"name": "CLEARML_AGENT_GIT_PASS", "valueFrom": {"secretKeyRef": {"name": "git", "key": "pass"}}},
                ],
            }
        ],
    },
}


def until(what: str, holds: Callable[[], Any]) -> Any:
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        if found := holds():
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {WAIT_S} s: {what}")


Refusal = tuple[int, str, str] | None

START = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv.pop(1))
import pod_api
pod_api.ACCOUNT = Path(sys.argv.pop(1))
import glue
glue.main()
"""
"""Runs the agent with another folder for its account's token and certificate than that of a pod."""


class Cluster:
    """The fake API server and its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = PodServer(folder)

    def _path(self, task: str) -> Path:
        return self.folder / f"pods/clearml-id-{task}.json"

    def pod(self, task: str) -> dict[str, Any] | None:
        try:
            return dict(json.loads(self._path(task).read_text()))
        except FileNotFoundError:
            return None

    def set_status(self, task: str, **status: Any) -> None:
        pod = self.pod(task)
        assert pod
        pod["status"] |= status
        fresh = self._path(task).with_suffix(".test")
        fresh.write_text(json.dumps(pod))
        fresh.rename(self._path(task))

    def remove(self, task: str) -> None:
        self._path(task).unlink()

    def refuse(self, verb: str, answer: Refusal = None) -> None:
        """Let calls fail: with a Status of this code, reason and message, or without an answer."""
        (self.folder / "refusals" / verb).write_text(json.dumps(status(*answer)) if answer else "")

    def clear(self) -> None:
        for path in [*self.folder.glob("refusals/*"), *self.folder.glob("pods/*"), *self.folder.glob("*")]:
            if path.is_file():
                path.unlink()

    def accept(self, verb: str) -> None:
        (self.folder / "refusals" / verb).unlink()


class Glue:
    """One agent with a queue of its own, and what a person sees of its tasks."""

    def __init__(
        self, folder: Path, server: ClearmlServer, api: ApiClient, *words: str, also: str = "", **env: str
    ) -> None:
        self.cluster = Cluster(folder / "cluster")
        self._api = api
        self._tag = uuid4().hex[:8]
        self.queue = str(api("queues.create", name=f"glue {self._tag}")["id"])
        template = folder / "template.yaml"
        template.write_text(yaml.safe_dump(TEMPLATE))
        self._argv = [
            *(str(AGENT / ".venv/bin/python"), "-u", "-c", START, str(AGENT), str(self.cluster.server.account)),
            *("--queue", f"glue {self._tag}, {also}" if also else f"glue {self._tag}"),
            *("--namespace", "clearml", "--template-yaml", str(template), *words),
        ]
        (folder / "home").mkdir()
        self._env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "HOME": str(folder / "home"),
            "TMPDIR": str(folder / "home"),
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(self.cluster.server.port),
            "HTTPS_PROXY": "http://127.0.0.1:9",  # nobody there: the cluster is asked directly
            "NO_PROXY": "",
            "CLEARML_WORKER_ID": f"glue-{self._tag}",
            "CLEARML_DOCKER_IMAGE": "the-default:1",
            "CLEARML_API_HOST": server.api_url,
            "CLEARML_WEB_HOST": server.api_url,
            "CLEARML_FILES_HOST": server.api_url,
            "CLEARML_API_ACCESS_KEY": server.credentials[0],
            "CLEARML_API_SECRET_KEY": server.credentials[1],
            **env,
        }
        self._log = (folder / "log.txt").open("w")
        self._log_path = folder / "log.txt"
        self._begun = 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(self._argv, env=self._env, cwd=ROOT, stdout=self._log, stderr=self._log)

    def kill(self) -> None:
        assert self._process
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        if self._process and self._process.poll() is None:
            self.kill()
        self.cluster.server.close()
        self._log.close()

    def begin(self) -> None:
        self._begun = self._log_path.stat().st_size

    def log(self) -> str:
        """Return what the agent has written since the test began."""
        return self._log_path.read_bytes()[self._begun :].decode()

    def enqueue(self, task: str) -> None:
        self._api("tasks.enqueue", task=task, queue=self.queue)

    def task(self, **container: str) -> str:
        fields = {"container": container} if container else {}
        task = str(self._api("tasks.create", name="glued", type="testing", script={"diff": "pass"}, **fields)["id"])
        self.enqueue(task)
        return task

    def record(self, task: str) -> dict[str, Any]:
        return dict(self._api("tasks.get_by_id", task=task)["task"])

    def status(self, task: str) -> str:
        return str(self.record(task)["status"])

    def console(self, task: str) -> list[str]:
        return [str(event["msg"]) for event in self._api("events.get_task_log", task=task, order="asc")["events"]]

    def pod(self, task: str) -> dict[str, Any]:
        return dict(until("a pod", lambda: self.cluster.pod(task)))

    def failed(self, task: str) -> str:
        """Wait for the task's failure; return its reason."""
        until("the task failed", lambda: self.status(task) == "failed")
        record = self.record(task)
        assert record["status_message"] in self.console(task)
        assert self.console(task).count(record["status_message"]) == 1
        return f"{record['status_reason']}; {record['status_message']}"

    def run(self, task: str) -> None:
        """Start the task's pod and the task, as the agent in the pod does."""
        self.cluster.set_status(task, phase="Running", containerStatuses=[{"name": "main", "state": {"running": {}}}])
        self._api("tasks.dequeue", task=task, new_status="in_progress")
        self._api("tasks.started", task=task, force=True)


def script_of(pod: dict[str, Any]) -> str:
    """Return what the pod's container runs, with the script that its arguments hold encoded."""
    words = pod["spec"]["containers"][0]["args"][1]
    packed = re.findall(r"echo '([A-Za-z0-9+/=]+)' \| base64", words)
    return str(words) + "\n".join(base64.b64decode(text).decode() for text in packed)
