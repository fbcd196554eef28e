"""A data folder of an older version: brought up to date, and all of it still answers, on the API and the pages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import httpx
import pytest
from clearml_localserver.pytest_plugin import ClearmlServer, running_server
from clearml_localserver.upkeep.check import check

from tests.api_client import ApiClient
from tests.old_folder import unpack

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def ids(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return unpack(tmp_path_factory.mktemp("old") / "data")


@pytest.fixture(scope="module")
def server(ids: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClearmlServer]:
    data = tmp_path_factory.mktemp("migrated") / "data"
    unpack(data)
    with running_server(data) as running:
        yield running


@pytest.fixture
def api(server: ClearmlServer) -> Iterator[ApiClient]:
    with closing(ApiClient(server.api_url, server.credentials)) as client:
        yield client


def test_nothing_is_damaged_and_no_copy_is_left(server: ClearmlServer) -> None:
    assert [finding for finding in check(server.data, lambda text: None) if finding.level == "damage"] == []
    assert not list(server.data.glob("server.sqlite.before-*"))


def test_the_api_answers_for_all_of_it(api: ApiClient, ids: dict[str, str], server: ClearmlServer) -> None:
    task = api("tasks.get_by_id", task=ids["task"])["task"]
    assert (task["name"], task["status"], set(task["tags"])) == ("trained", "published", {"kept", "über"})
    assert task["hyperparams"]["Args"]["name"]["value"] == 'a "quoted" name'
    assert {artifact["key"] for artifact in task["execution"]["artifacts"]} == {"numbers", 'odd "name" 100%'}
    curves = api("events.scalar_metrics_iter_histogram", task=task["id"])
    assert curves["loss"]["train"]["x"] == [0, 1, 2, 3, 4]
    assert "the task's own line" in str(api("events.get_task_log", task=task["id"])["events"])
    assert api("events.get_task_plots", task=task["id"])["plots"]
    images = api("events.debug_images", metrics=[{"task": task["id"]}], _version="v2.14")
    assert images["metrics"][0]["iterations"]
    model = api("models.get_by_id", model=ids["model"])["model"]
    assert (model["name"], model["labels"], model["task"]) == ("a model", {"cat": 1}, task["id"])
    (queue,) = api("queues.get_all", name="^world queue$")["queues"]
    assert len(queue["entries"]) == 1
    child = api("tasks.get_by_id", task=ids["dataset"])["task"]
    assert child["runtime"] and child["status"] == "completed"
    steps = api("tasks.get_all", parent=[ids["pipeline"]], search_hidden=True)["tasks"]
    assert {step["name"] for step in steps} == {"first", "second"}
    for artifact in task["execution"]["artifacts"]:
        path = artifact["uri"].split("/", 3)[3]
        assert api.http.get(f"{server.files_url}/{path}").status_code == 200


def test_the_pages_show_all_of_it(server: ClearmlServer, api: ApiClient, ids: dict[str, str]) -> None:
    project = api("tasks.get_by_id", task=ids["task"])["task"]["project"]
    paths = ["/", "/projects", f"/projects/{project}", "/pipelines", "/datasets", "/queues"]
    paths += [f"/tasks/{ids[name]}" for name in ("task", "dataset", "pipeline")]
    with httpx.Client(base_url=server.web_url, trust_env=False, follow_redirects=True) as pages:
        for path in paths:
            assert pages.get(path).status_code == 200, path
        assert "trained" in pages.get(f"/tasks/{ids['task']}").text
        assert "Doubling" in pages.get("/pipelines").text


def test_it_goes_on_working(api: ApiClient, ids: dict[str, str]) -> None:
    (queue,) = api("queues.get_all", name="^world queue$")["queues"]
    taken = api("queues.get_next_task", queue=queue["id"])["entry"]["task"]
    api("tasks.started", task=taken)
    assert api("tasks.completed", task=taken)["fields"]["status"] == "completed"
    clone = api("tasks.clone", task=ids["task"])["id"]
    assert api("tasks.get_by_id", task=clone)["task"]["parent"] == ids["task"]


def test_lists_and_counts_of_old_tasks_agree_with_the_documents(api: ApiClient) -> None:
    tasks = api("tasks.get_all", search_hidden=True)["tasks"]
    assert tasks
    for project in {task["project"] for task in tasks if task.get("project")}:
        own = [task for task in tasks if task.get("project") == project]
        active = [task for task in own if "archived" not in task["system_tags"]]
        query = {"project": [project], "system_tags": ["-archived"]}
        found = api("tasks.get_all", **query, search_hidden=True, page=0, page_size=50, order_by=["-last_update"])
        assert {task["id"] for task in found["tasks"]} == {task["id"] for task in active}
        counted = api("organization.get_entities_count", tasks=query, search_hidden=True)
        assert counted["tasks"] == len(active)
        assert api("tasks.get_types", projects=[project])["types"] == sorted({task["type"] for task in own})
