"""Export and import: what SDKs made on one server works on another, through interruptions, and is there once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from clearml_localserver.cli import main
from clearml_localserver.commands.transfer import read_access
from clearml_localserver.pytest_plugin import ClearmlServer
from clearml_localserver.upkeep import remote_server as target_module
from clearml_localserver.upkeep.exporting import export
from clearml_localserver.upkeep.importing import Importer, Outcome
from clearml_localserver.upkeep.journal import Journal
from clearml_localserver.upkeep.remote_server import RemoteServer
from click.testing import CliRunner

from tests.api_client import ApiClient
from tests.old_folder import FILES_URL, unpack

pytestmark = pytest.mark.integration

USES = """
import json, sys
from pathlib import Path
from clearml import Dataset, Model, Task

ids = json.loads(sys.argv[1])
found = {}
task = Task.get_task(task_id=ids["task"])
found["numbers"] = task.artifacts["numbers"].get()
found["array"] = task.artifacts['odd "name" 100%'].get().tolist()
found["weights"] = Path(Model(ids["model"]).get_local_copy(raise_on_error=True)).read_text()
found["input"] = Task.get_task(task_id=ids["used"]).input_models_id
dataset = Dataset.get(dataset_id=ids["dataset"])
copy = Path(dataset.get_local_copy())
found["dataset"] = {path.name: path.read_text() for path in copy.iterdir() if path.suffix == ".csv"}
found["by name"] = Dataset.get(dataset_project="World/Data", dataset_name="numbers").id == ids["dataset"]
found["parents"] = dataset.get_dependency_graph()
found["scalars"] = task.get_reported_scalars()["loss"]["train"]["x"]
print("FOUND", json.dumps(found))
"""


def silent(text: str) -> None: ...


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A data folder that unmodified SDKs filled on another server, which no longer runs."""
    data = tmp_path_factory.mktemp("source") / "data"
    return data, unpack(data)


@pytest.fixture
def exported(old: tuple[Path, dict[str, str]], tmp_path: Path) -> Path:
    export(old[0], tmp_path / "exported", silent)
    return tmp_path / "exported"


@pytest.fixture
def server(clearml_server_factory: Callable[[], ClearmlServer]) -> Iterator[ClearmlServer]:
    server = clearml_server_factory()
    yield server
    server.stop()


@pytest.fixture
def api(server: ClearmlServer) -> Iterator[ApiClient]:
    with closing(ApiClient(server.api_url, server.credentials)) as client:
        yield client


def everything(api: ApiClient) -> dict[str, list[Any]]:
    tasks = api("tasks.get_all", search_hidden=True)["tasks"]
    lines = [event["msg"] for task in tasks for event in api("events.get_task_log", task=task["id"])["events"]]
    return {
        "projects": sorted(project["name"] for project in api("projects.get_all", search_hidden=True)["projects"]),
        "tasks": sorted((task["name"], task["status"], task["type"]) for task in tasks),
        "models": sorted(model["name"] for model in api("models.get_all")["models"]),
        "queues": sorted(queue["name"] for queue in api("queues.get_all")["queues"]),
        "lines": sorted(lines),
    }


EXPECTED_TASKS = [
    ("Doubling", "completed", "controller"),
    ("first", "completed", "training"),
    ("numbers", "completed", "data_processing"),
    ("numbers", "completed", "data_processing"),
    ("second", "completed", "training"),
    ("trained", "published", "training"),
    ("uses the model", "created", "training"),
]


def test_what_sdks_made_works_on_the_other_server(
    exported: Path, server: ClearmlServer, api: ApiClient, old: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    result = CliRunner().invoke(
        main, ["import", str(exported), "--config", str(server.data / "clearml.conf"), "--json"]
    )
    assert result.exit_code == 0, (result.output, result.exception)
    found = json.loads(result.stdout)
    assert found["problems"] == [] and len(found["lost"]) > 3
    assert everything(api)["tasks"] == EXPECTED_TASKS

    new = json.loads(Path(found["report"]).read_text())["ids"]
    ids = {name: new[id] for name, id in old[1].items()}
    (used,) = api("tasks.get_all", name="^uses the model$")["tasks"]
    assert used["hyperparams"]["Args"]["model"]["value"] == ids["model"]
    assert used["hyperparams"]["Args"]["from"]["value"] == ids["task"]
    task = api("tasks.get_by_id", task=ids["task"])["task"]
    assert json.loads(task["configuration"]["Network"]["value"])["task"] == ids["task"]
    assert task["models"]["output"][0]["model"] == ids["model"]
    assert (task["last_iteration"], set(task["tags"])) == (4, {"kept", "über"})
    model = api("models.get_by_id", model=ids["model"])["model"]
    assert (model["ready"], model["task"], model["labels"]) == (True, ids["task"], {"cat": 1})
    steps = api("tasks.get_all", parent=[ids["pipeline"]], search_hidden=True)["tasks"]
    assert {step["name"] for step in steps} == {"first", "second"}
    assert f"pipe: {ids['pipeline']}" in steps[0]["tags"]
    graph = str(api("tasks.get_by_id", task=ids["pipeline"])["task"]["configuration"])
    assert steps[0]["id"] in graph

    script = tmp_path / "uses.py"
    script.write_text(USES)
    environment = os.environ | server.environment
    command = [sys.executable, str(script), json.dumps(ids | {"used": used["id"]})]
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("FOUND ")]
    seen = json.loads(line.removeprefix("FOUND "))
    assert seen["numbers"] == {"a": 1} and seen["array"] == [0, 1, 2] and seen["weights"] == "weights"
    assert seen["dataset"] == {"part1.csv": "number\n1\n", "part2.csv": "number\n2\n"}
    assert seen["parents"] == {ids["dataset"]: [ids["parent"]], ids["parent"]: []}
    assert seen["by name"] is True
    assert list(seen["input"].values()) == [ids["model"]] and seen["scalars"] == [0, 1, 2, 3, 4]

    with closing(sqlite_text(server)) as text:
        left = [line for line in text if FILES_URL in line or any(id in line for id in old[1].values())]
    assert left == [], "no reference to the old server is left"

    before = everything(api)
    again = CliRunner().invoke(main, ["import", str(exported), "--config", str(server.data / "clearml.conf"), "--json"])
    assert (again.exit_code, json.loads(again.stdout)["made"]) == (0, {})
    assert everything(api) == before


def sqlite_text(server: ClearmlServer) -> Any:
    """Yield what the database holds, as SQL text."""
    import sqlite3

    connection = sqlite3.connect(server.data / "server.sqlite")
    return connection.iterdump()


class Interrupted(BaseException):
    """The import's process ends."""


class Flaky(httpx.BaseTransport):
    """Fails requests now and then: before they are sent, or after they were answered."""

    def __init__(self, every: int, error: BaseException, *, answered: bool) -> None:
        self._inner = httpx.HTTPTransport()
        self._left = self._every = every
        self._error, self._answered = error, answered

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self._left -= 1
        failing = self._left == 0
        if failing:
            self._left = self._every
        if failing and not self._answered:
            raise self._error
        response = self._inner.handle_request(request)
        if failing:
            response.read()
            raise self._error
        return response


def bring(exported: Path, server: ClearmlServer, transport: httpx.BaseTransport | None = None) -> Outcome:
    access = read_access(server.data / "clearml.conf")
    with closing(Journal(exported / "journal.jsonl")) as journal, closing(RemoteServer(access, transport)) as target:
        return Importer(exported, target, journal, silent).run()


@pytest.mark.parametrize("answered", [False, True])
def test_an_import_that_is_interrupted_again_and_again_ends_as_one_that_was_not(
    answered: bool, exported: Path, server: ClearmlServer, api: ApiClient
) -> None:
    rounds = 0
    while True:
        rounds += 1
        assert rounds < 60, "it does not get on"
        try:
            # One more request in each round, so that no place in the import is spared.
            outcome = bring(exported, server, Flaky(20 + 3 * rounds, Interrupted(), answered=answered))
            break
        except Interrupted:
            continue
    assert rounds > 2
    assert outcome.problems == []
    found = everything(api)
    assert found["tasks"] == EXPECTED_TASKS
    assert (found["models"], found["queues"]) == (["a model"], ["default", "world queue"])
    whole = [json.loads(line) for path in (exported / "events").iterdir() for line in path.read_text().splitlines()]
    assert len(found["lines"]) == len([event for event in whole if event["type"] == "log"])


def test_answers_that_get_lost_make_nothing_twice(
    exported: Path, server: ClearmlServer, api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target_module, "FIRST_PAUSE_S", 0.0)
    outcome = bring(exported, server, Flaky(4, httpx.ReadError("gone"), answered=True))
    assert outcome.problems == []
    found = everything(api)
    assert found["tasks"] == EXPECTED_TASKS and found["models"] == ["a model"]


def test_a_journal_of_another_server_is_refused(exported: Path, server: ClearmlServer) -> None:
    first = json.loads((exported / "projects.jsonl").read_text().splitlines()[0])["id"]
    (exported / "journal.jsonl").write_text(json.dumps(["made", first, "0" * 32]) + "\n")
    with pytest.raises(Exception, match="records an import into another server"):
        bring(exported, server)


def fill(api: ApiClient, files_url: str) -> None:
    """Make one of everything that an export may meet beside what SDKs make."""
    project = api("projects.create", name="every/kind", tags=["p"], description="of all")["id"]
    api("queues.create", name="tagged queue", tags=["q"])
    for status in ("stopped", "failed", "completed", "closed", "in_progress", "created"):
        task = api("tasks.create", name=f"is {status}", type="testing", project=project)["id"]
        if status != "created":
            api("tasks.started", task=task)
        if status not in ("created", "in_progress"):
            call = {"closed": "close"}.get(status, status)
            api(f"tasks.{call}", task=task, force=True, status_reason=f"why {status}", status_message="how")
    archived = api("tasks.create", name="archived", type="testing", project=project)["id"]
    api("tasks.archive", tasks=[archived])
    name = 'odd/"quoted" ü 100%.bin'
    api.http.post(f"{files_url}/", files={name: ("a", b"odd content")}).raise_for_status()
    stored = api.http.post(f"{files_url}/", files={"plain.bin": ("a", b"plain")}).json()[0]
    model = api("models.create", name="archived model", uri=f"{files_url}/{stored}", ready=True, project=project)["id"]
    event = {"type": "training_stats_scalar", "metric": "m", "variant": "v", "iter": 1, "value": 0.5}
    body = json.dumps(event | {"task": model, "model_event": True, "allow_locked": True})
    reply = api.http.post("/v2.23/events.add_batch", content=body, headers={"Content-Type": "application/json-lines"})
    assert reply.json()["data"]["added"] == 1
    api("models.archive_many", ids=[model])
    report = api("reports.create", name="a report", project=project, tags=["r"])["id"]
    api("reports.update", task=report, report=f"See {archived} and {files_url}/plain.bin", comment="about")
    api("reports.publish", task=report, message="done")


def test_every_kind_and_status_arrives_from_a_server_that_runs(
    server: ClearmlServer, api: ApiClient, clearml_server_factory: Callable[[], ClearmlServer], tmp_path: Path
) -> None:
    fill(api, server.files_url)
    exported = tmp_path / "exported"
    assert export(server.data, exported, silent).missing == []
    lines = (exported / "tasks.jsonl").read_text().splitlines()
    refused = json.loads(lines[0]) | {"id": "f" * 32, "type": "no such type", "name": "refused"}
    (exported / "tasks.jsonl").write_text("\n".join([*lines, json.dumps(refused)]) + "\n")
    other = clearml_server_factory()
    outcome = bring(exported, other)
    (problem,) = outcome.problems
    assert problem.startswith(f"task refused ({'f' * 32}): tasks.create was refused: 400/12")
    with closing(ApiClient(other.api_url, other.credentials)) as there:
        tasks = {task["name"]: task for task in there("tasks.get_all", search_hidden=True)["tasks"]}
        statuses = {name: task["status"] for name, task in tasks.items()}
        assert statuses == {
            "is stopped": "stopped",
            "is failed": "failed",
            "is completed": "completed",
            "is closed": "closed",
            "is in_progress": "stopped",
            "is created": "created",
            "archived": "created",
            "a report": "published",
        }
        assert (tasks["is failed"]["status_reason"], tasks["is failed"]["status_message"]) == ("why failed", "how")
        assert "archived" in tasks["archived"]["system_tags"]
        report = there("tasks.get_by_id", task=tasks["a report"]["id"])["task"]
        assert report["report"] == f"See {tasks['archived']['id']} and {other.files_url}/plain.bin"
        (visible,) = there("projects.get_all", name="^every/kind$")["projects"]
        assert (visible["tags"], visible["description"]) == (["p"], "of all")
        home = there("projects.get_all", id=[report["project"]], search_hidden=True)["projects"][0]
        assert home["name"] == "every/kind/.reports"
        (model,) = there("models.get_all", name="^archived model$")["models"]
        assert (model["ready"], model["system_tags"]) == (True, ["archived"])
        assert model["uri"] == f"{other.files_url}/plain.bin"
        assert there.http.get(model["uri"]).content == b"plain"
        curve = there("events.scalar_metrics_iter_histogram", task=model["id"], model_events=True)
        assert curve["m"]["v"]["y"] == [0.5]
        (queue,) = there("queues.get_all", name="^tagged queue$")["queues"]
        assert queue["tags"] == ["q"]
    other.stop()
