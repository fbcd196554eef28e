"""A task's private git repository, cloned by ssh in a pod: the key and the host keys come from a Secret alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from clearml_access.agent_values import AgentValues
from tests.api_client import ApiClient
from tests.e2e.cluster_cli import ClusterCli, stage, until
from tests.e2e.deployer import QUEUE, Deployer, project, status
from tests.e2e.test_reasons import ENDED, console
from tests.git_by_ssh import GitServer, git_server, make_repository

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

SECRET = "git-ssh"
FILES = {"main.py": 'from rooms import ROOMS\nprint("rooms", ROOMS, flush=True)\n', "rooms.py": "ROOMS = 4\n"}


@pytest.fixture
def repository(cluster_with_images: ClusterCli, tmp_path: Path) -> Iterator[tuple[GitServer, str]]:
    """A server that pods reach, and a commit."""
    commit = make_repository(tmp_path / "house.git", FILES)
    with git_server(tmp_path, cluster_with_images.run("status")["host_address"]) as server:
        yield server, commit


@pytest.fixture
def with_key(deploy: Deployer, repository: tuple[GitServer, str], tmp_path: Path) -> Iterator[Deployer]:
    """An agent whose pods have the key of the Secret, as docs/your-pipelines.md has it."""
    server, _ = repository
    if deploy.namespace not in deploy.cluster.kubectl("get", "namespaces", "--output=name"):
        deploy.cluster.kubectl("create", "namespace", deploy.namespace)
    files = {"ssh-privatekey": server.private_key, "known_hosts": server.known_hosts}
    metadata = {"name": SECRET}
    secret = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/ssh-auth", "metadata": metadata}
    deploy.kubectl("create", "--filename=-", stdin=yaml.safe_dump(secret | {"stringData": files}))
    template = {
        "volumes": [{"name": "ssh", "secret": {"secretName": SECRET}}],
        "volumeMounts": [{"name": "ssh", "mountPath": "/etc/clearml-ssh", "readOnly": True}],
    }
    (tmp_path / "values.yaml").write_text(yaml.safe_dump({"agentk8sglue": {"basePodTemplate": template}}))
    with stage("agent with an ssh key installed"):
        deploy.run("install", "--no-canary", "--values", str(tmp_path / "values.yaml"))
    yield replace(deploy, values=(tmp_path / "values.yaml",))
    deploy.kubectl("delete", "secret", SECRET)


def enqueue(api: ApiClient, address: str, commit: str, arguments: str = "") -> str:
    script = {"repository": address, "version_num": commit, "entry_point": "main.py", "working_dir": "."}
    queue = api("queues.get_all", name=f"^{QUEUE}$")["queues"][0]["id"]
    task = api(
        "tasks.create", name="private", type="testing", project=project(api),
        script=script | {"requirements": {"pip": ""}}, container={"arguments": arguments},
    )["id"]  # fmt: skip
    api("tasks.enqueue", task=task, queue=queue)
    return str(task)


def test_pods_clone_a_private_repository_with_the_secrets_key_which_no_log_has(
    with_key: Deployer, repository: tuple[GitServer, str], api: ApiClient, tmp_path: Path
) -> None:
    server, commit = repository
    with git_server(tmp_path, server.host) as stranger:  # neither known to the pods, nor does it know their key
        good = enqueue(api, server.address("house.git"), commit)
        unknown = enqueue(api, stranger.address("house.git"), commit)
        refused = enqueue(api, stranger.address("house.git"), commit, "-e CLEARML_PODS_GIT_NEW_HOSTS=accept")
        tasks = (good, unknown, refused)
        with stage("three clones in pods"):
            until("all have ended", lambda: {status(api, task) for task in tasks} <= set(ENDED), timeout_s=420)
    # The agent's second process ends a task that it cannot clone; the first sends what was printed after that.
    for task, words in zip(
        tasks, ("rooms 4", "Host key verification failed", "Permission denied (publickey)"), strict=True
    ):
        until(f"the console has {words!r}", lambda task=task, words=words: words in "".join(console(api, task)))
    assert [status(api, task) for task in tasks] == ["completed", "failed", "failed"]
    said = {task: "\n".join(console(api, task)) for task in tasks}
    secret = server.private_key.splitlines()[1]
    records = [str(api("tasks.get_by_id", task=task)) for task in tasks]
    described = with_key.kubectl("get", "pods,events,configmaps", "--output=yaml") + with_key.run("render")
    logs = with_key.kubectl("logs", "deployment/clearml-agent") + with_key.run("logs", good, "--raw")
    assert secret not in "".join([*said.values(), *records, described, logs])


def test_a_pod_without_a_key_says_what_to_do(cluster_with_images: ClusterCli) -> None:
    image = AgentValues.load().default_image
    words = ("ssh", "-oBatchMode=yes", "git@127.0.0.1")
    phase, said = cluster_with_images.run_pod("no-key", image, *words, command=True)
    assert phase == "Failed" and "This pod has no ssh key: mount a Secret at /etc/clearml-ssh" in said
