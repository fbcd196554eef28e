"""`python -m deploy` as a person runs it, on the session's cluster and server; and tasks to try it on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clearml_localserver.pytest_plugin import ClearmlServer

from tests.api_client import ApiClient
from tests.e2e.cluster_cli import ClusterCli

ROOT = Path(__file__).parents[2]
CHART = ROOT / "tests/charts/clearml-agent"
NAMESPACE = f"deploy-{os.getpid()}"
QUEUE = "deployed"
COMMAND_TIMEOUT_S = 420
RUN_TIMEOUT_S = 600


@dataclass
class Deployer:
    """`python -m deploy` against one cluster, one server, one namespace."""

    cluster: ClusterCli
    server: ClearmlServer
    namespace: str = NAMESPACE
    queue: str = QUEUE
    values: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        own = {
            "KUBECONFIG": str(self.cluster.layout.kubeconfig),
            "AGENT_CHART": str(CHART),
            "CLEARML_CONFIG_FILE": str(self.server.data / "clearml.conf"),
        }
        self.env = {**{key: value for key, value in os.environ.items() if not key.startswith("CLEARML_")}, **own}

    def argv(self, command: str, *words: str) -> list[str]:
        options = ["--namespace", self.namespace]
        if command not in ("status", "logs", "rollback", "serve", "unserve"):  # they have no queue of their own
            options += ["--set", f"agentk8sglue.queue={self.queue}"]
            options += [word for path in self.values for word in ("--values", str(path))]
        return [sys.executable, "-m", "deploy", command, *options, *words]

    def start(self, command: str, *words: str, **env: str) -> subprocess.Popen[str]:
        """Start a command and return at once; its account comes by `stderr`."""
        return subprocess.Popen(
            self.argv(command, *words),
            env=self.env | env,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, command: str, *words: str, code: int = 0, **env: str) -> str:
        done = subprocess.run(
            self.argv(command, *words),
            env=self.env | env,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        print(f"$ deploy {command} {' '.join(words)}: {done.returncode}\n{done.stderr}{done.stdout}")
        assert done.returncode == code, done.stderr + done.stdout
        return done.stdout + done.stderr

    def works(self) -> bool:
        """Return whether an agent is there and lives."""
        return (
            subprocess.run(self.argv("check"), env=self.env, cwd=ROOT, capture_output=True, timeout=120).returncode == 0
        )

    def json(self, command: str, *words: str, code: int = 0, **env: str) -> dict[str, Any]:
        done = self.run(command, *words, "--json", code=code, **env)
        return dict(json.loads(next(line for line in done.splitlines() if line.startswith("{"))))

    def kubectl(self, *words: str, stdin: str = "") -> str:
        return self.cluster.kubectl("--namespace", self.namespace, *words, stdin=stdin)

    def pods(self) -> list[dict[str, Any]]:
        return list(json.loads(self.kubectl("get", "pods", "--output=json"))["items"])

    def agents(self) -> list[dict[str, Any]]:
        return [pod for pod in self.pods() if pod["spec"]["containers"][0]["name"] == "k8s-glue"]

    def failed(self, results: dict[str, Any]) -> set[str]:
        return {check["id"] for check in results["checks"] if check["result"] == "fail"}


class Pipeline:
    """`python -m pipeline` on the session's server, the deployed agent's queue and a small dataset."""

    def __init__(self, deploy: Deployer, folder: Path) -> None:
        self._env = deploy.env | {"CLEARML_CACHE_DIR": str(folder / "cache")}
        self._folder = folder

    def __call__(self, *words: str) -> tuple[dict[str, Any], list[str]]:
        """Run a command; return its JSON object and what it told people."""
        done = subprocess.run(
            [sys.executable, "-m", "pipeline", *words, "--json"],
            env=self._env,
            cwd=self._folder,
            capture_output=True,
            text=True,
            timeout=RUN_TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, done.stderr[-20_000:] + done.stdout
        document: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return document, done.stderr.splitlines()


def run_task(api: ApiClient, code: str, name: str = "e2e", queue: str = QUEUE, **fields: Any) -> str:
    wanted = api("queues.get_all", name=f"^{queue}$")["queues"][0]["id"]
    script = {"entry_point": "main.py", "working_dir": ".", "diff": code, "requirements": {"pip": ""}}
    task = api("tasks.create", name=name, type="testing", project=project(api), script=script, **fields)["id"]
    api("tasks.enqueue", task=task, queue=wanted)
    return str(task)


def project(api: ApiClient) -> str:
    found = api("projects.get_all", name="^e2e$")["projects"]
    return str(found[0]["id"] if found else api("projects.create", name="e2e", description="")["id"])


def status(api: ApiClient, task: str) -> str:
    return str(api("tasks.get_by_id", task=task)["task"]["status"])
