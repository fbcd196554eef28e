"""From nothing to a pipeline in pods and back, as a person without any account does it: by `task` commands alone.

The README's section "On Kubernetes" is this path. Cluster and images are the session's (they were made by the same
commands); server, agent and runs are this test's, and nothing of them is left at the end.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from clearml_access import processes
from pipeline.local_stack import LOOPBACK, MachineSettings
from pipeline.local_stack.configuration import SERVER_VARIABLE
from tests.e2e.cluster_cli import ClusterCli, go_task, stage, until
from tests.e2e.deployer import CHART, ROOT
from tests.ports import free_port_base

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2_400)]

NAMESPACE = "clearml"
"""Where `./task deploy-agent` puts the agent unless told otherwise."""

TASK_TIMEOUT_S = 900
STEPS = ("train_test_split", "train_processing", "test_processing")


class Person:
    """Types `task …` and reads what it prints."""

    def __init__(self, environ: dict[str, str]) -> None:
        self._task = go_task()
        self.environ = environ

    def types(self, name: str, *words: str, code: int = 0) -> str:
        """Run one task; return what it printed."""
        with stage(f"task {name} -- {' '.join(words)}"):
            done = subprocess.run(
                [self._task, "--exit-code", "--silent", name, "--", *words],
                cwd=ROOT,
                env=self.environ,
                capture_output=True,
                text=True,
                timeout=TASK_TIMEOUT_S,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        said = done.stdout + done.stderr
        print(f"$ task {name} -- {' '.join(words)}\n{done.stderr}{done.stdout[-6_000:]}")
        assert done.returncode == code, said[-20_000:]
        return said

    def exports(self, said: str) -> None:
        """Set the variables that a command says to export."""
        self.environ |= dict(re.findall(r"export (\w+)=(\S+)", said))


def objects(cluster: ClusterCli, kinds: str) -> str:
    return cluster.kubectl("get", kinds, f"--namespace={NAMESPACE}", "--output=name")


def test_from_a_cluster_to_a_pipeline_in_pods_and_back(cluster_with_images: ClusterCli, tmp_path: Path) -> None:
    cluster, state = cluster_with_images, tmp_path / "state"
    foreign = ("CLEARML_API", "CLEARML_WEB", "CLEARML_FILES", "CLEARML_CONFIG", "KUBECONFIG")
    environ = {name: value for name, value in cluster.env.items() if not name.startswith(foreign)}
    person = Person(environ | {"CLEARML_PODS_STATE": str(state), "AGENT_CHART": str(CHART)})

    said = person.types("cluster-up", "--name", cluster.name)
    person.exports(said)
    assert person.environ["KUBECONFIG"] == str(cluster.layout.kubeconfig)
    found = re.search(r"task (server-up) -- (--host (\S+) --no-workers)", said)
    assert found, said
    assert found[3] not in LOOPBACK
    person.environ["CLEARML_PODS_PORT_BASE"] = str(free_port_base(found[3]))
    assert "running" in person.types("cluster-status", "--name", cluster.name)

    try:
        said = person.types(found[1], *found[2].split())
        assert "all three ask for the key" in said
        person.exports(said)
        assert Path(person.environ["CLEARML_CONFIG_FILE"]).is_relative_to(state)

        # Before there is an agent, a run says what is missing.
        assert "./task deploy-agent" in person.types("run-pipeline", code=33)

        assert "canary task went through" in person.types("deploy-agent")
        assert "serves pods" in person.types("agent-status")

        # The sample of reviews comes by itself: the server is this machine's own, and empty.
        said = person.types("run-pipeline", "--follow", "--raw", "--report", str(tmp_path / "report.html"))
        assert "Uploaded 3,610 reviews" in said
        assert "Dataset versions: 1.2, 1.2.1, 1.2.2, 1.2.3" in said
        for label in ("controller", *STEPS):
            assert f"[{label}] Starting Task Execution:" in said
            assert re.search(rf"{label}: running \(pod clearml-id-[0-9a-f]{{32}}\)", said)
        assert "reviews of the train set preprocessed" in said

        said = person.types("run-pipeline", "--set", "dataset_version=1.1", "--report", str(tmp_path / "second.html"))
        assert "Dataset versions: 1.1, 1.1.1, 1.1.2, 1.1.3" in said
        run = re.search(r"Run ([0-9a-f]{32}) completed", said)
        assert run, said

        # By its name a pipeline is its newest run; its pods may be gone by now.
        said = person.types("logs", "DataPrepare", "--raw")
        assert f"Executing task id [{run[1]}]" in said
        for label in STEPS:
            assert f"[{label}] Starting Task Execution:" in said

        assert "✗" not in person.types("doctor")
        person.types("undeploy-agent", "--yes", "--delete-namespace")
    finally:
        person.types("server-down")

    until("the namespace is gone", lambda: objects(cluster, "all,secrets,configmaps,leases") == "")
    assert processes.family(SERVER_VARIABLE, str(MachineSettings.from_environ(person.environ).server_folder)) == []
    person.types("server-status", code=3)


def test_a_cluster_comes_and_goes_by_task(cluster_with_images: ClusterCli, tmp_path: Path) -> None:
    """Beside the session's own, which other tests still need."""
    person = Person(dict(cluster_with_images.env))
    name = f"journey-{os.getpid()}"
    try:
        assert "is ready after" in person.types("cluster-up", "--name", name)
    finally:
        assert "removed" in person.types("cluster-down", "--name", name)
    person.types("cluster-status", "--name", name, code=3)
