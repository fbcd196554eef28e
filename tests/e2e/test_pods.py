"""DataPrepare as pods: what runs where and when, the same results as without a cluster, and ten pipelines at once."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from clearml_access import pod_records
from tests.api_client import ApiClient
from tests.e2e.cluster_cli import stage, until
from tests.e2e.deployer import NAMESPACE, QUEUE, Deployer, Pipeline
from tests.e2e.pod_watch import Life, watched
from tests.integration.pipeline_cli import BATCH_ROWS, NAME, PROJECT, review_file

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2_400)]

POD = "clearml-id-"
STEPS = ("train_test_split", "train_processing", "test_processing")
AT_ONCE = 10
ALL_TIMEOUT_S = 1_500
ONCE_A_RUN = "Starting Task Execution:"
"""What an agent writes to a task's console just before the task's own first line."""


@dataclass
class Run:
    """A run as its command told of it, and its tasks' pods."""

    document: dict[str, Any]
    followed: list[str]
    lives: dict[str, Life]

    @property
    def tasks(self) -> dict[str, str]:
        """Label → task id."""
        return {"controller": self.document["run_id"]} | {
            step["name"]: step["task_id"] for step in self.document["steps"]
        }


@pytest.fixture(scope="module")
def deployed(deploy: Deployer) -> Deployer:
    deploy.run("install", "--no-canary")
    return deploy


@pytest.fixture(scope="module")
def pipeline(deployed: Deployer, tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    folder = tmp_path_factory.mktemp("pods")
    pipeline = Pipeline(deployed, folder)
    csv = review_file(folder / "train.csv")
    pipeline("dataset", "upload", str(csv), "--batch-size", str(BATCH_ROWS))
    return pipeline


def until_no_task_pods(deployed: Deployer) -> None:
    """Wait for what ran before: a step completes itself some seconds before its pod ends and its agent deletes that."""

    left: list[str] = []

    def gone() -> bool:
        left[:] = [
            f"{pod['metadata']['name']} {pod['status']}"
            for pod in deployed.pods()
            if pod["metadata"]["name"].startswith(POD)
        ]
        return not left

    try:
        until("all task pods are gone", gone)
    except AssertionError as error:
        raise AssertionError(f"{error}: {left}") from error


@pytest.fixture(scope="module")
def first_run(deployed: Deployer, pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    until_no_task_pods(deployed)
    file = tmp_path_factory.mktemp("watch") / "first.json"
    with stage("first run as pods"), watched(deployed.cluster.layout.kubeconfig, NAMESPACE, file) as watch:
        document, said = pipeline("run", "--queue", QUEUE, "--no-cache", "--raw")
        until_no_task_pods(deployed)
    yield Run(document, said, watch.lives())


def steps_of(api: ApiClient, run: str) -> dict[str, dict[str, Any]]:
    """Return a run's steps by name, from the server."""
    children = api("tasks.get_all", parent=[run], search_hidden=True)["tasks"]
    return {task["name"]: task for task in children if task["name"] in STEPS}


def artifact_hashes(api: ApiClient, tasks: list[str]) -> dict[str, str]:
    found = [api("tasks.get_by_id", task=task)["task"] for task in tasks]
    return {f"{task['name']}/{item['key']}": item["hash"] for task in found for item in task["execution"]["artifacts"]}


def console(api: ApiClient, task: str) -> list[str]:
    """Return every line of a task's console that is not blank."""
    reply = api("events.get_task_log", task=task, batch_size=10_000, navigate_earlier=False, order="asc")
    assert reply["total"] == len(reply["events"])
    lines = (line for event in reply["events"] for line in event["msg"].split("\n"))
    return [line.rstrip() for line in lines if line.strip()]


def last_words(api: ApiClient, run: str) -> str:
    """Return how a run's tasks ended, and the last lines of those that did not end well."""
    said = []
    for task in (api("tasks.get_by_id", task=run)["task"], *steps_of(api, run).values()):
        said.append(f"{task['name']} {task['id']} {task['status']}: {task.get('status_reason')}")
        if task["status"] != "completed":
            said += console(api, task["id"])[-60:]
    return "\n".join(said)


def versions(api: ApiClient) -> dict[str, str]:
    """Return the dataset's versions, unfinished ones included: id → number."""
    projects = api("projects.get_all", name=f"^{PROJECT}/.datasets/{NAME}$", search_hidden=True)["projects"]
    tasks = api(
        "tasks.get_all",
        project=[project["id"] for project in projects],
        search_hidden=True,
        system_tags=["dataset"],
        only_fields=["id", "runtime"],
        page=0,
        page_size=500,
    )["tasks"]
    return {task["id"]: task["runtime"]["version"] for task in tasks}


def test_controller_and_steps_are_pods(api: ApiClient, first_run: Run) -> None:
    assert (first_run.document["status"], first_run.document["mode"]) == ("completed", "queue")
    lives = {name: life for name, life in first_run.lives.items() if name.startswith(POD)}
    assert set(lives) == {POD + task for task in first_run.tasks.values()}
    assert all(len(life.uids) == 1 and life.restarts == 0 for life in lives.values())
    named = {line.rpartition("(pod ")[2].rstrip(")") for line in first_run.followed if "running (pod " in line}
    assert named == set(lives)
    phases = pod_records.phases_of(api("tasks.get_by_id", task=first_run.document["run_id"])["task"])
    assert list(phases) == ["schedule", "start", "pull", "setup", "run"]


def test_the_two_processing_steps_are_pods_at_the_same_time(first_run: Run) -> None:
    split, train, test = (first_run.lives[POD + first_run.tasks[name]] for name in STEPS)
    assert train.started and test.started and train.finished and test.finished and split.started
    assert split.started < min(train.started, test.started)
    assert max(train.started, test.started) < min(train.finished, test.finished)


def test_follow_prints_every_line_of_every_pod_once(api: ApiClient, first_run: Run) -> None:
    for label, task in first_run.tasks.items():
        prefix = f"[{label}] "
        lines = [line.removeprefix(prefix) for line in first_run.followed if line.startswith(prefix)]
        # Of a progress bar, and of a coloured line, what a person would see.
        written = [line.rpartition("\r")[2] for line in console(api, task)]
        assert Counter(lines) == Counter(line for line in written if line.strip()), label
        assert lines.count(ONCE_A_RUN) == 1


def test_results_equal_those_of_a_run_without_pods(api: ApiClient, pipeline: Pipeline, first_run: Run) -> None:
    document, _ = pipeline("run", "--mode", "in-process", "--no-cache")
    found, expected = (
        artifact_hashes(api, [step["task_id"] for step in run["steps"]]) for run in (first_run.document, document)
    )
    assert len(expected) == 4
    assert found == expected


def test_a_rerun_with_another_version_reads_that_one(pipeline: Pipeline, first_run: Run) -> None:
    document, said = pipeline("run", "--queue", QUEUE, "--set", "dataset_version=1.1")
    assert document["status"] == "completed"
    assert list(document["datasets"]) == ["1.1", "1.1.1", "1.1.2", "1.1.3"]
    assert not any(step["cached"] for step in document["steps"])
    assert "\n".join(said).count("running (pod ") == 1 + len(STEPS)


def test_ten_pipelines_at_once_all_finish_none_lost_none_run_twice(
    api: ApiClient, deployed: Deployer, first_run: Run, tmp_path: Path
) -> None:
    """As ten presses of the web page's "New run": clones of a run that looks at no cache."""
    before = versions(api)
    runs = [str(api("tasks.clone", task=first_run.document["run_id"])["id"]) for _ in range(AT_ONCE)]

    def enqueue(run: str) -> None:
        client = ApiClient(deployed.server.api_url, deployed.server.credentials)
        client("tasks.enqueue", task=run, queue_name=QUEUE)
        client.close()

    def states() -> dict[str, str]:
        tasks = api("tasks.get_all", id=runs, only_fields=["id", "status", "status_reason"], search_hidden=True)[
            "tasks"
        ]
        return {task["id"]: task["status"] for task in tasks if "k8s" not in str(task.get("status_reason"))}

    until_no_task_pods(deployed)
    begun = time.monotonic()
    with watched(deployed.cluster.layout.kubeconfig, NAMESPACE, tmp_path / "ten.json") as watch:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(enqueue, runs))
        while not all(states().get(run) in ("completed", "failed", "stopped") for run in runs):
            assert time.monotonic() - begun < ALL_TIMEOUT_S, f"after {ALL_TIMEOUT_S} s: {states()}"
            time.sleep(2.0)
        seconds = time.monotonic() - begun
        until_no_task_pods(deployed)
    print(
        f"{AT_ONCE} pipelines of {1 + len(STEPS)} pods: {seconds:.0f} s to the last one's end, at most "
        f"{watch.most_at_once(POD)} pods at a time, load {os.getloadavg()[0]:.1f}"
    )

    bad = [run for run, status in states().items() if status != "completed"]
    assert not bad, "\n\n".join(last_words(api, run) for run in bad)
    steps = [(run, task) for run in runs for task in steps_of(api, run).values()]
    assert Counter(task["name"] for _, task in steps) == dict.fromkeys(STEPS, AT_ONCE)
    assert {task["status"] for _, task in steps} == {"completed"}
    tasks = [*runs, *(task["id"] for _, task in steps)]

    # None run twice: one pod each, and one start each on the consoles.
    lives = {name: life for name, life in watch.lives().items() if name.startswith(POD)}
    assert set(lives) == {POD + task for task in tasks}
    assert {name: (len(life.uids), life.restarts) for name, life in lives.items()} == dict.fromkeys(lives, (1, 0))
    assert {task: console(api, task).count(ONCE_A_RUN) for task in tasks} == dict.fromkeys(tasks, 1)

    # None lost: three new versions a run, all finished, no two with one number, with the first run's contents.
    made = [
        value["value"]
        for _, task in steps
        for name, value in task["hyperparams"]["return"].items()
        if name.endswith("dataset_id")
    ]
    new = {id: number for id, number in versions(api).items() if id not in before}
    assert len(new) == len(STEPS) * AT_ONCE
    assert Counter(made) == dict.fromkeys(new, 1)
    assert len(set(new.values())) == len(new)
    assert {api("tasks.get_by_id", task=id)["task"]["status"] for id in new} == {"completed"}
    expected = artifact_hashes(api, [step["task_id"] for step in first_run.document["steps"]])
    for run in runs:
        assert artifact_hashes(api, [task["id"] for task in steps_of(api, run).values()]) == expected
