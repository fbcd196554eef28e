"""Plays clearml-agent's Kubernetes glue in a fake agent pod: a real worker of a real server, by the same calls.

It registers, looks at its queues, puts a task into the glue's own queue and makes its pod, runs the task's script there
and reports its console and its end. The recorder is the agent image's own (images/agent/recorder.py).
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from deploy.helm import documents
from tests.api_client import ApiClient
from tests.fakes import agent_image
from tests.fakes.kubernetes import admission
from tests.fakes.kubernetes.faults import Faults
from tests.fakes.kubernetes.kubelet import TASK_POD, Container, FakeKubelet
from tests.fakes.kubernetes.store import FakeStore, Json, Refusal

PENDING_QUEUE = "k8s_scheduler"


class FakeAgent:
    """The process in one agent pod."""

    def __init__(self, store: FakeStore, kubelet: FakeKubelet, faults: Faults, pod: Json) -> None:
        self._store, self._kubelet, self._faults = store, kubelet, faults
        self._namespace = pod["metadata"]["namespace"]
        self._env = kubelet.environment(pod)
        self._say = kubelet.containers[pod["metadata"]["uid"]].say
        self._api: ApiClient | None = None
        self._queues: dict[str, str] = {}
        self.max_pods = int(self._env.get("K8S_GLUE_MAX_PODS") or 0)
        """Of tasks at a time; 0: any number."""
        template = store.find("configmaps", self._namespace, f"{self._env['CLEARML_WORKER_ID']}-pt")
        self._template = documents.read(template["data"]["template.yaml"]) if template else {}
        self._ended: set[str] = set()
        self._worker = self._env.get("CLEARML_PODS_WORKER") or self._env["CLEARML_WORKER_ID"]
        digest = hashlib.md5(self._worker.encode()).hexdigest()
        self._label = {"CLEARML": f"agent-{digest[:8]}"}

    def run(self) -> None:
        """Do one round."""
        if self._faults.agent_silent:
            return
        try:
            api = self._connected()
            self._take(api)
            self._clean()
        except (AssertionError, KeyError, OSError) as error:  # refused, or no server: the glue logs it and goes on
            self._say(f"clearml_agent: ERROR: {error}")
        except Exception as error:  # httpx's own
            if not type(error).__module__.startswith("httpx"):
                raise
            self._say("clearml_agent: ERROR: Max retries exceeded: Connection refused")
        self._say("No tasks in Queues, sleeping for 5.0 seconds")

    def _connected(self) -> ApiClient:
        worker = self._worker
        if self._api is None:
            keys = (self._env["CLEARML_API_ACCESS_KEY"], self._env["CLEARML_API_SECRET_KEY"])
            try:
                self._api = ApiClient(self._env["CLEARML_API_HOST"], keys)
            except KeyError as error:  # no token in the answer
                raise AssertionError("Unauthorized (invalid credentials)") from error
            for name in self._env["K8S_GLUE_QUEUE"].split(","):
                found = self._api("queues.get_all", name=f"^{re.escape(name.strip())}$")["queues"]
                if not found:
                    self._api = None
                    raise AssertionError(f"Could not find queue with name {name}")
                self._queues[name.strip()] = found[0]["id"]
            self._api("workers.register", worker=worker, queues=[*self._queues.values()])
        now_ms = int(time.time() * 1000)
        self._api("workers.status_report", worker=worker, timestamp=now_ms, queues=[*self._queues.values()])
        if other := self._faults.same_name_serves:
            self._api("workers.status_report", worker=worker, timestamp=now_ms, queues=[other])
        return self._api

    def _take(self, api: ApiClient) -> None:
        if self._faults.agent_takes_nothing:
            return
        for name, queue in self._queues.items():
            reply = api.send("queues.get_by_id", queue=queue)
            if reply.status != 200:
                raise AssertionError(f"Invalid queue id (id={queue}, name={name})")
            if reply.data["queue"]["entries"] and (not self.max_pods or len(self._live()) < self.max_pods):
                entry = api("queues.get_next_task", queue=queue).get("entry")
                if entry:
                    self._make_pod(api, entry["task"])

    def _make_pod(self, api: ApiClient, task: str) -> None:
        found = api("queues.get_all", name=f"^{PENDING_QUEUE}$", search_hidden=True)["queues"]
        queue = found[0]["id"] if found else api("queues.create", name=PENDING_QUEUE, system_tags=["k8s-glue"])["id"]
        worker = self._worker
        line = f"task {task} pulled from {queue} by worker {worker}"
        api("events.add", type="log", task=task, worker=worker, timestamp=int(time.time() * 1000), msg=line)
        api("tasks.enqueue", task=task, queue=queue, status_reason="k8s pending scheduler")
        record = api("tasks.get_by_id", task=task)["task"]
        image = (record.get("container") or {}).get("image") or self._env["CLEARML_DOCKER_IMAGE"]
        template = (self._template.get("spec", {}).get("containers") or [{}])[0]
        container = {**template, "name": TASK_POD + task, "image": image}
        host = {"name": "CLEARML_API_HOST", "value": self._env["CLEARML_API_HOST"]}
        own = {"name": "CLEARML_WORKER_ID", "value": f"{worker}:{task}"}
        container["env"] = [*(template.get("env") or []), host, own]
        code = record["script"]["diff"]
        if self._faults.task_exit_code is not None:
            code = f"raise SystemExit({self._faults.task_exit_code})"
        container["command"] = ["python3", "-c", code]
        labels = {**(self._template.get("metadata", {}).get("labels") or {}), **self._label}
        spec = {**self._template.get("spec", {}), "restartPolicy": "Never", "containers": [container]}
        spec["serviceAccountName"] = self._env.get("K8S_GLUE_TASK_ACCOUNT") or spec.get("serviceAccountName")
        pod = {"metadata": {"name": TASK_POD + task, "labels": labels}, "spec": spec}
        try:
            admission.require(self._store, self._faults, self._namespace, pod)
        except Refusal as refusal:
            api("tasks.failed", task=task, force=True, status_message=refusal.message)
            return
        made = self._store.create("pods", self._namespace, pod)
        held = self._kubelet.containers.setdefault(made["metadata"]["uid"], Container())
        held.held = "hold" in (record.get("tags") or [])
        self._say(f"Pulling task {task} launching on kubernetes cluster")

    def _live(self) -> list[Json]:
        live = (None, "Pending", "Running")
        return [pod for pod in self._task_pods() if (pod.get("status") or {}).get("phase") in live]

    def _task_pods(self) -> list[Json]:
        pods = self._store.look("pods", self._namespace)
        ours = self._label.items()
        return [pod for pod in pods if ours <= (pod["metadata"].get("labels") or {}).items()]

    def _clean(self) -> None:
        """Delete the task pods that had ended when the last round came by."""
        for pod in self._task_pods():
            if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
                name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
                if uid in self._ended:
                    self._store.remove("pods", self._namespace, name)
                self._ended.add(uid)

    def recorder(self) -> Any:
        """Return the agent image's recorder, writing by this agent's session."""
        records = agent_image.module("task_records").TaskRecords
        pods = agent_image.module("known_pods").KnownPods()
        session = _Session(self._connected)
        recorder = agent_image.module("recorder").Recorder
        return recorder(records(session, self._worker), pods, lambda: None)


class FakeTaskPods:
    """The agents inside task pods: each says on its task's record that it runs, what it printed and how it ended."""

    def __init__(self, store: FakeStore, kubelet: FakeKubelet) -> None:
        self._store, self._kubelet = store, kubelet
        self._told: set[tuple[str, str]] = set()
        self._apis: dict[tuple[str, str, str], ApiClient] = {}

    def run(self) -> None:
        for pod in self._store.look("pods", ""):
            if pod["metadata"]["name"].startswith(TASK_POD):
                state = ((pod.get("status") or {}).get("containerStatuses") or [{}])[0].get("state") or {}
                if "running" in state:
                    self._tell(pod, "running")
                elif (state.get("terminated") or {}).get("reason") == "Completed":  # nobody killed it
                    self._tell(pod, "ended")

    def _tell(self, pod: Json, what: str) -> None:
        name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
        if (uid, what) in self._told or "CLEARML_API_HOST" not in self._kubelet.environment(pod):
            return  # or somebody else's pod
        self._told.add((uid, what))
        env = self._kubelet.environment(pod)
        host, *keys = (env[name] for name in ("CLEARML_API_HOST", "CLEARML_API_ACCESS_KEY", "CLEARML_API_SECRET_KEY"))
        if (host, *keys) not in self._apis:
            self._apis[host, *keys] = ApiClient(host, (keys[0], keys[1]))
        api = self._apis[host, *keys]
        task = name.removeprefix(TASK_POD)
        if what == "running":
            api("tasks.started", task=task, force=True)
        else:
            container = self._kubelet.containers[uid]
            lines = "\n".join(text for _, text in container.lines)
            api("events.add", type="log", task=task, worker=name, timestamp=int(time.time() * 1000), msg=lines)
            code = container.process.returncode if container.process else 0
            end = "tasks.completed" if code == 0 else "tasks.failed"
            api(end, task=task, force=True, status_message=f"exit code {code}")


@dataclass
class _Answer:
    ok: bool
    status_code: int
    body: dict[str, Any]

    def json(self) -> dict[str, Any]:
        return {"data": self.body}


@dataclass
class _Session:
    """What the recorder uses of the glue's session."""

    connected: Callable[[], ApiClient]

    def send_request(self, service: str, action: str, json: dict[str, Any], method: str) -> _Answer:
        reply = self.connected().send(f"{service}.{action}", **json)
        return _Answer(reply.status == 200, reply.status, reply.data)
