"""Both images on the real cluster: the task image alone, then the agent image by the small chart, serving a queue."""

from __future__ import annotations

import base64
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from clearml_localserver.pytest_plugin import ClearmlServer, running_server

from clearml_access.agent_values import AgentValues
from images import build
from tests.api_client import ApiClient
from tests.e2e.cluster_cli import ClusterCli, stage, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3_600)]

CHART = Path(__file__).parents[1] / "charts/clearml-agent"
VALUES = build.PROJECT / "helm/values-agent.yaml"
NAMESPACE = "agent"
SECRET = "clearml-credentials"
QUEUE = AgentValues.load().queue
TASK_TIMEOUT_S = 300.0

IN_A_STEP = """
set -e
[ "$(id -u)" = 1000 ] && touch ~/writable && echo "user is 1000"
python -c 'import clearml, sklearn, polars; print("clearml", clearml.__version__)'
(cd / && python -c 'from pipeline.amazon_reviews.reviews.text import *
import pipeline; print("project", pipeline.__file__)')
find /opt/step -name "*.pyc" -path "*/polars/*" | grep -q . && echo "bytecode is there"
diff <(python -m pip freeze) <(step-python -m pip freeze) && echo "the list is pip's"
step-python -m pip install --upgrade 'pip<22.3'
$LOCAL_PYTHON -c 'from importlib.metadata import version; print("agent", version("clearml-agent"))'
git --version
python -c 'import socket; print("service", socket.gethostbyname("kubernetes.default"))'
"""

HELLO = """
import time
print("first line", time.time(), flush=True)
from clearml import Task
task = Task.init()
task.upload_artifact("answer", {"is": 42}, wait_on_upload=True)
import six
print("six is", six.__version__, "from", six.__file__)
"""
PACKAGES = "/packages"
WRITABLE = """
apiVersion: v1
kind: Pod
metadata: {{name: writable}}
spec:
  restartPolicy: Never
  containers:
    - name: chmod
      image: {image}
      command: [chmod, "0777", /packages]
      securityContext: {{runAsUser: 0}}
      volumeMounts: [{{name: packages, mountPath: /packages}}]
  volumes: [{{name: packages, hostPath: {{path: {folder}, type: DirectoryOrCreate}}}}]
"""


def test_a_step_finds_its_environment_in_the_task_image(cluster_with_images):
    image = AgentValues.load().default_image
    phase, said = cluster_with_images.run_pod("step", image, "bash", "-c", IN_A_STEP, command=True)
    print(said)
    assert phase == "Succeeded", said
    for line in (
        "user is 1000",
        "bytecode is there",
        "the list is pip's",
        "already satisfied",
        f"agent {AgentValues.load().agent_pin.removeprefix('==')}",
        "git version",
        "service 10.",
    ):
        assert line in said
    assert "project /opt/step/" in said


@pytest.fixture(scope="module")
def server(cluster_with_images: ClusterCli, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClearmlServer]:
    """A server that pods reach: it listens on this machine's end of the node's link."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOCALSERVER_HOST", cluster_with_images.run("status")["host_address"])
        with running_server(tmp_path_factory.mktemp("server") / "data") as server:
            yield server


@pytest.fixture(scope="module")
def clearml(server: ClearmlServer) -> Iterator[ApiClient]:
    client = ApiClient(server.api_url, server.credentials)
    client("queues.create", name=QUEUE)
    yield client
    client.close()


@pytest.fixture(scope="module")
def shared_packages(cluster_with_images: ClusterCli) -> Iterator[str]:
    """A folder of the node that every pod may write to."""
    folder = f"/tmp/clearml-pods-packages-{os.getpid()}"
    manifest = WRITABLE.format(image=AgentValues.load().default_image, folder=folder)
    cluster_with_images.kubectl("apply", "--filename=-", stdin=manifest)
    until("the folder is writable", lambda: cluster_with_images.phase("writable") == "Succeeded")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)  # where the node is this machine; else it ends with the node


@pytest.fixture(scope="module")
def agent(
    cluster_with_images: ClusterCli,
    server: ClearmlServer,
    clearml: ApiClient,
    shared_packages: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> ClusterCli:
    """The agent's release, installed by helm; its worker serves the queue."""
    cluster = cluster_with_images
    access_key, secret_key = server.credentials
    keys = {"agentk8sglue_key": access_key, "agentk8sglue_secret": secret_key}
    cluster.kubectl("create", "namespace", NAMESPACE)
    cluster.kubectl(
        "apply",
        "--filename=-",
        stdin=yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": SECRET, "namespace": NAMESPACE},
                "stringData": keys,
            }
        ),
    )
    values = tmp_path_factory.mktemp("values") / "values.yaml"
    values.write_text(yaml.safe_dump(_values(server, shared_packages)))
    with stage("agent installed and ready"):
        cluster.helm("install", "agent", str(CHART), f"--namespace={NAMESPACE}", f"--values={VALUES}",
                     f"--values={values}", "--wait", "--timeout=120s")  # fmt: skip
    with stage("worker serves the queue"):
        until("a worker is there", lambda: bool(registered(clearml)))
    return cluster


def _values(server: ClearmlServer, shared_packages: str) -> dict[str, object]:
    """Return this test's own layer: servers, the Secret for the agent and for every task pod, and kept packages."""
    restricted = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True}
    pairs = (("CLEARML_API_ACCESS_KEY", "agentk8sglue_key"), ("CLEARML_API_SECRET_KEY", "agentk8sglue_secret"))
    env: list[dict[str, object]] = [{"name": "CLEARML_PODS_PACKAGES", "value": PACKAGES}]
    env += [{"name": name, "valueFrom": {"secretKeyRef": {"name": SECRET, "key": key}}} for name, key in pairs]
    glue = {
        "apiServerUrlReference": server.api_url,
        "fileServerUrlReference": server.files_url,
        "webServerUrlReference": server.web_url,
        "containerSecurityContext": restricted,
        "basePodTemplate": {
            "env": env,
            "containerSecurityContext": restricted,
            "volumes": [{"name": "packages", "hostPath": {"path": shared_packages}}],
            "volumeMounts": [{"name": "packages", "mountPath": PACKAGES}],
        },
    }
    return {"clearml": {"existingAgentk8sglueSecret": SECRET}, "agentk8sglue": glue}


def registered(clearml: ApiClient) -> list[str]:
    """Return when each worker that serves the queue was registered."""
    found = clearml("workers.get_all")["workers"]
    return [worker["register_time"] for worker in found if QUEUE in [queue["name"] for queue in worker["queues"]]]


def enqueue(clearml: ApiClient, requirements: str) -> str:
    script = {"binary": "python", "entry_point": "hello.py", "working_dir": ".", "diff": HELLO}
    task = clearml(
        "tasks.create", name="hello", type="testing", script=script | {"requirements": {"pip": requirements}}
    )["id"]
    (queue,) = clearml("queues.get_all", name=f"^{QUEUE}$")["queues"]
    clearml("tasks.enqueue", task=task, queue=queue["id"])
    return task


def status(clearml: ApiClient, task: str) -> str:
    return clearml("tasks.get_by_id", task=task)["task"]["status"]


def console(clearml: ApiClient, task: str) -> str:
    return "".join(event["msg"] for event in clearml("events.get_task_log", task=task, order="asc")["events"])


@pytest.mark.parametrize(
    ("requirements", "version"),
    [("clearml\npolars\n", None), ("six==1.16.0\n", "1.16.0")],
    ids=["already in the image", "pinned otherwise"],
)
def test_a_task_runs_as_a_pod(agent, server, clearml, requirements, version):
    begun = time.time()
    task = enqueue(clearml, requirements)
    pod = f"clearml-id-{task}"
    until(f"pod {pod} is there", lambda: pod in agent.kubectl("get", "pods", f"--namespace={NAMESPACE}"))
    manifest = agent.kubectl("get", "pod", pod, f"--namespace={NAMESPACE}", "--output=yaml")
    until("the task ended", lambda: status(clearml, task) in ("completed", "failed"), TASK_TIMEOUT_S)
    said = console(clearml, task)
    assert status(clearml, task) == "completed", said
    first = next(float(line.split()[-1]) for line in said.splitlines() if line.startswith("first line"))
    print(f"{first - begun:7.1f} s  enqueue to the first line of user code")
    assert f"image: {AgentValues.load().default_image}" in manifest
    # Nobody who may list pods reads the secret key, encoded or not: the pod refers to the Secret.
    assert "api.credentials" not in decoded(manifest)
    assert server.credentials[1] not in manifest
    if version:
        assert f"six is {version}" in said
    else:
        assert "Collecting" not in said  # no package was fetched, no index asked


def test_packages_that_two_pods_install_at_once_are_there_for_a_third(agent, clearml):
    pins = "six==1.15.0\n"
    at_once = [enqueue(clearml, pins) for _ in range(2)]
    until("both tasks ended", lambda: {status(clearml, task) for task in at_once} <= {"completed", "failed"})
    for task in at_once:
        said = console(clearml, task)
        assert status(clearml, task) == "completed" and "six is 1.15.0" in said, said
    third = enqueue(clearml, pins)
    until("the third ended", lambda: status(clearml, third) in ("completed", "failed"))
    said = console(clearml, third)
    assert status(clearml, third) == "completed", said
    (kept,) = re.findall(rf"what this step pins is there already: ({PACKAGES}/environments/\w+)", said)
    assert f"six is 1.15.0 from {kept}/site/six.py" in said
    assert "Installed" not in said and "Collecting" not in said


def decoded(manifest: str) -> str:
    return "".join(
        base64.b64decode(text).decode(errors="replace")
        for text in re.findall(r"echo\s+'([A-Za-z0-9+/=]{40,})'", manifest)
    )


def test_an_agent_that_is_told_to_end_leaves_at_once(agent, clearml):
    (before,) = registered(clearml)
    pods = f"--namespace={NAMESPACE}", "--selector=app.kubernetes.io/instance=agent"
    old = agent.kubectl("get", "pods", *pods, "--output=name")
    with stage("agent pod ended"):
        agent.kubectl("delete", "pods", *pods)
    until("the next agent serves the queue", lambda: registered(clearml) not in ([], [before]))
    assert len(registered(clearml)) == 1  # the old one has said goodbye
    assert agent.kubectl("get", "pods", *pods, "--output=name") not in ("", old)
