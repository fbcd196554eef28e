"""The fake cluster as a test holds it: switched on, broken in one place, looked at."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from tests.fakes.helm.fake_helm import FakeHelm
from tests.fakes.kubernetes.agent import FakeAgent, FakeTaskPods
from tests.fakes.kubernetes.controllers import end_namespaces, is_ready, run_deployments
from tests.fakes.kubernetes.faults import Faults, RequestFault
from tests.fakes.kubernetes.http import FakeApiServer
from tests.fakes.kubernetes.kubelet import GLUE, NODE, TASK_POD, Container, FakeKubelet, ended
from tests.fakes.kubernetes.store import FakeStore, Json, merged, now

PODS_ONLY = ".pods.fake"
"""Host names ending so are known to pods alone, and lead to this machine."""

AGENT_EVERY = 3
"""Ticks. A round of an agent is two calls to the server, by far the dearest part of a tick."""


AT_REST = 3
"""Ticks without a change after which there is none to come: an agent looks twice before it clears up."""


class FakeCluster:
    """An API server, a node, the usual controllers and helm, all of them fakes."""

    def __init__(self) -> None:
        self.version = "v1.34.2"
        self.faults = Faults()
        self.store = FakeStore()
        self.dns = {f"clearml{PODS_ONLY}": "127.0.0.1", f"nowhere{PODS_ONLY}": "127.0.0.1"}
        self.kubelet = FakeKubelet(self.store, self.faults, self.dns)
        self.fake_helm = FakeHelm(self.store, self.faults)
        self.requests: list[tuple[str, str]] = []
        self._agents: dict[str, FakeAgent] = {}
        self._task_pods = FakeTaskPods(self.store, self.kubelet)
        self._recorders: dict[str, Any] = {}
        self._recorded = 0
        self._ticks = 0
        ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}, "spec": {}}
        self.store.create("nodes", "", {"metadata": {"name": NODE}, **ready})
        self._server = FakeApiServer(self)

    @property
    def port(self) -> int:
        return int(self._server.port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        self._server.close()
        self.kubelet.close()

    def write_kubeconfig(self, path: Path, url: str = "") -> Path:
        """Write a kubeconfig with the one context `fake`."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "fake",
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "somebody"}}],
            "clusters": [{"name": "fake", "cluster": {"server": url or self.url}}],
            "users": [{"name": "somebody", "user": {}}],
        }
        path.write_text(json.dumps(config))
        return path

    # -- what runs in it

    def tick(self, *, agents: bool = False) -> None:
        """Take everything one step further. Called for each request, so that a test waits for nothing.

        Args:
            agents: Let every agent do a round, however lately it did one.
        """
        self._ticks += 1
        self._nodes()
        end_namespaces(self.store, self.faults)
        run_deployments(self.store, self.faults)
        self.kubelet.run_pods()
        self._run_agents(everyone=agents or self._ticks % AGENT_EVERY == 0)
        self._task_pods.run()
        self._record()

    def settle(self, ticks: int = 8) -> None:
        """Let some time pass: enough for a pod to start and for a short task to end, or until nothing happens."""
        at_rest = 0
        while ticks > 0 and at_rest < AT_REST:
            with self.store.lock:
                before = len(self.store.history)
                self.tick(agents=True)
                at_rest = at_rest + 1 if len(self.store.history) == before else 0
            ticks -= 1

    def _nodes(self) -> None:
        conditions = [{"type": "Ready", "status": "True"}]
        conditions += [{"type": kind, "status": status} for kind, status in self.faults.node_conditions.items()]
        node = self.store.objects["nodes", "", NODE]
        node["status"]["conditions"] = conditions
        node["spec"]["unschedulable"] = self.faults.cordoned

    def _run_agents(self, *, everyone: bool) -> None:
        alive = {}
        for pod in self.store.look("pods", ""):
            if pod["spec"]["containers"][0]["name"] == GLUE and is_ready(pod):
                uid = pod["metadata"]["uid"]
                known = self._agents.get(uid)
                alive[uid] = known or FakeAgent(self.store, self.kubelet, self.faults, pod)
                if everyone or known is None:
                    alive[uid].run()
        self._agents = alive

    def _record(self) -> None:
        """Show the agents' recorders what happened to pods."""
        fresh, self._recorded = self.store.history[self._recorded :], len(self.store.history)
        for uid, agent in self._agents.items():
            recorder = self._recorders.setdefault(uid, agent.recorder())
            for _, event, kind, _, item in fresh:
                if kind == "pods":
                    recorder.look({"type": event, "object": item})

    # -- what is asked of it

    def log(self, namespace: str, pod: str, query: Json) -> list[str]:
        return self.kubelet.log(self.store.get("pods", namespace, pod)["metadata"]["uid"], query)

    def helm(self, asked: str) -> str:
        with self.store.lock:
            return self.fake_helm.answer(asked)

    # -- what tests look at and do

    def pods(self, namespace: str) -> list[str]:
        return [pod["metadata"]["name"] for pod in self.store.select("pods", namespace)]

    def agent_pod(self, namespace: str) -> Json:
        """Return the one agent pod."""
        pods = self.store.select("pods", namespace)
        (found,) = [pod for pod in pods if pod["spec"]["containers"][0]["name"] == GLUE]
        return found

    def container(self, namespace: str, pod: str) -> Container:
        return self.kubelet.containers[self.store.get("pods", namespace, pod)["metadata"]["uid"]]

    def change(self, kind: str, namespace: str, name: str, patch: Json) -> None:
        """Change an object as somebody else would."""
        with self.store.lock:
            found = self.store.get(kind, namespace, name)
            self.store.objects[kind, namespace, name] = merged(found, patch)

    def fail(self, method: str, path: str, *, status: int, times: float = float("inf"), delay_s: float = 0.0) -> None:
        """Answer requests with an error from now on; status 0: with a closed connection."""
        self.faults.requests.append(RequestFault(method, path, status, times=times, delay_s=delay_s))

    def hold_lease(self, holder: str, age_s: float = 0.0) -> None:
        """Let somebody work on the release since `age_s` ago, and never renew its lease."""
        spec = {"holderIdentity": holder, "acquireTime": now(age_s), "renewTime": now(age_s)}
        self.store.create("leases", "clearml", {"metadata": {"name": "clearml-agent"}, "spec": spec})

    def end_task_pod(self, namespace: str, task: str, reason: str, code: int = 0) -> None:
        """End a task's container as the kernel would; a task pod's script ends in `exit 0`."""
        with self.store.lock:
            pod = self.store.get("pods", namespace, TASK_POD + task)
            status = {**pod["status"], **ended(pod, code, reason)}
            if reason == "Evicted":  # by the kubelet, which says so of the whole pod
                status |= {"phase": "Failed", "reason": reason, "message": "the node was low on memory"}
            self.store.set_status("pods", namespace, TASK_POD + task, status)

    def vanish(self, namespace: str, pod: str) -> None:
        """Delete a pod at once, unseen by the agent's recorder."""
        with self.store.lock:
            self.store.remove("pods", namespace, pod)
            self._recorded = len(self.store.history)

    def snapshot(self) -> tuple[Json, Json]:
        """Return all objects and logs, to begin a later cluster with."""
        return copy.deepcopy(self.store.objects), {uid: list(c.lines) for uid, c in self.kubelet.containers.items()}  # type: ignore[return-value]

    def restore(self, snapshot: tuple[Json, Json]) -> None:
        objects, lines = snapshot
        self.store.objects.update(copy.deepcopy(objects))  # type: ignore[arg-type]
        self.kubelet.containers = {uid: Container(list(text), looks=1) for uid, text in lines.items()}
