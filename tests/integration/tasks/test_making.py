"""Making and describing tasks, and copies of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.api_client import ApiClient, Reply
from tests.integration.tasks.world import create, get, unique

pytestmark = pytest.mark.integration


def test_new_task_as_clients_find_it(api: ApiClient) -> None:
    project = api("projects.create", name=unique("project"), description="")["id"]
    task = get(api, create(api, name="  trimmed  ", project=project, id="given", status="failed"))
    assert (task["name"], task["status"], task["project"]) == ("trimmed", "created", project)
    assert task["id"] != "given"
    assert task["created"] == task["last_update"] == task["last_change"]
    hidden = {"enqueue_status", "status_reason", "status_message", "status_changed", "started", "parent", "comment"}
    assert not hidden & task.keys()
    assert {name: task[name] for name in ("tags", "system_tags", "report_assets", "last_iteration")} == {
        "tags": [], "system_tags": [], "report_assets": [], "last_iteration": 0,
    }  # fmt: skip
    for name in ("output", "runtime", "container", "hyperparams", "configuration", "last_metrics", "metric_stats"):
        assert task[name] == {}
    assert task["models"] == {"input": [], "output": []}


@pytest.mark.parametrize("endpoint", ["tasks.create", "tasks.validate"])
@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"type": "bogus"}, (400, 12)),
        ({"name": None}, (400, 12)),
        ({"script": {"bogus": "x"}}, (400, 12)),
        ({"project": "nope"}, (400, 16, "Invalid value for fields (expecting Project id): id=nope, field=project")),
        ({"parent": "nope"}, (400, 16, "Invalid value for fields (expecting Task id): id=nope, field=parent")),
        ({"models": {"input": [{"name": "m", "model": "nope"}]}}, (400, 201, "Invalid model id: models=(nope)")),
    ],
)
def test_what_no_task_is_made_of(
    api: ApiClient, endpoint: str, body: dict[str, Any], error: tuple[int, int] | tuple[int, int, str]
) -> None:
    reply = api.send(endpoint, **{"name": "abc", "type": "training"} | body)
    assert reply.error[: len(error)] == error


def test_only_create_looks_at_the_length_of_a_name(api: ApiClient) -> None:
    error = (400, 800, "Data validation error: name=String value is too short")
    assert api.send("tasks.create", name="ab", type="training").error == error
    assert api("tasks.validate", name="ab", type="training") == {}


def test_everything_a_task_can_be_made_of(api: ApiClient) -> None:
    task = create(
        api,
        tags=["a", "b"],
        system_tags=["development"],
        comment="cc",
        hyperparams={"Args": {"lr": {"section": "Args", "name": "lr", "value": "0.1", "type": "float"}}},
        configuration={"General": {"name": "General", "value": "x=1", "type": "dict"}},
        script={"repository": "https://x/y.git", "branch": "main", "requirements": {"pip": "a==1"}},
        container={"image": "img", "arguments": "-e X=1", "bogus": "stored"},
        execution={"queue": None, "model_labels": {"a": 1}, "parameters": {"p/q": "1"}, "model_desc": {"design": "x"}},
    )
    found = get(api, task)
    assert found["hyperparams"]["Args"]["p/q"]["type"] == "legacy"
    assert found["configuration"].keys() == {"General", "design"}
    assert found["script"]["binary"] == "python"
    assert found["container"]["bogus"] == "stored"
    assert (found["tags"], found["system_tags"], found["comment"]) == (["a", "b"], ["development"], "cc")


def test_edit(api: ApiClient) -> None:
    task = create(api)
    reply = api("tasks.edit", task=task, name="new name", script={"branch": "b"}, output_dest="http://f", bogus=1)
    assert reply["updated"] == 1
    assert reply["fields"].keys() == {"name", "script", "output", "last_change", "last_update", "last_changed_by"}
    assert reply["fields"]["script"]["binary"] == "python"
    assert api("tasks.edit", task=task, bogus=1, started="2020-01-01", last_iteration=5) == {"updated": 0, "fields": {}}
    assert api("tasks.edit", task=task, name=None, comment="c")["fields"]["comment"] == "c"
    found = get(api, task)
    assert (found["name"], found["output"], found["last_iteration"]) == ("new name", {"destination": "http://f"}, 0)


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"status": "completed"}, 12),
        ({"status": "bogus"}, 12),
        ({"type": "bogus"}, 12),
        ({"hyperparams": {"S": {"a": "text"}}}, 12),
        ({"name": "ab"}, 800),
        ({"project": "nope"}, 16),
        ({"models": {"input": [{"name": "m", "model": "nope"}]}}, 201),
    ],
)
def test_refused_edits_change_nothing(api: ApiClient, body: dict[str, Any], code: int, force: bool) -> None:
    task = create(api)
    before = get(api, task)
    reply = api.send("tasks.edit", task=task, force=force, comment="never", **body)
    assert reply.error[:2] == (400, code)
    assert get(api, task) == before


def test_update_touches_neither_the_run_nor_its_times(api: ApiClient) -> None:
    task = create(api)
    before = get(api, task)
    reply = api("tasks.update", task=task, name="nn-up", comment="c", status="failed", runtime={"a": 1})
    assert reply["fields"].keys() == {"name", "comment", "last_change", "last_changed_by"}
    after = get(api, task)
    assert (after["status"], after["runtime"], after["last_update"]) == ("created", {}, before["last_update"])
    assert api("tasks.update", task=task, output__error="x", created="2020-01-01")["updated"] == 0
    project = "Invalid value for fields (expecting Project id): id=nope, field=project"
    assert api.send("tasks.update", task=task, project="nope").error == (400, 16, project)


def batch(api: ApiClient, lines: list[dict[str, Any]]) -> Reply:
    body = "\n".join(json.dumps(line) for line in lines)
    headers = {"Content-Type": "application/json-lines"}
    response = api.http.request("POST", "/v2.23/tasks.update_batch", content=body, headers=headers)
    return Reply(response.status_code, response.json()["meta"], response.json()["data"])


def test_update_batch(api: ApiClient) -> None:
    first, second = create(api), create(api)
    lines = [
        {"task": first, "comment": "1", "name": "abc"},
        {"task": second, "comment": "2"},
        {"task": first, "comment": "3"},
    ]
    assert batch(api, lines).data == {"updated": 2}
    assert (get(api, first)["comment"], get(api, first)["name"], get(api, second)["comment"]) == ("3", "abc", "2")
    refused = batch(api, [{"task": first, "comment": "never"}, {"task": "nope", "comment": "x"}])
    assert refused.error == (400, 101, "Invalid task id: ids=(nope)")
    assert batch(api, [{"comment": "x"}]).error[:2] == (400, 12)
    assert get(api, first)["comment"] == "3"


def test_tags_runtime_requirements(api: ApiClient) -> None:
    task = create(api, tags=["old", "zz"])
    assert api("tasks.update_tags", ids=[task], add_tags=["n1", "old"], remove_tags=["zz"]) == {"updated": 2}
    assert get(api, task)["tags"] == ["old", "n1"]
    assert api("tasks.edit_runtime", task=task, runtime={"a": 1, "b.c": "x"})["updated"] == 1
    assert api("tasks.edit_runtime", task=task, runtime={"a": 2})["updated"] == 1
    assert get(api, task)["runtime"] == {"a": 2, "b.c": "x"}
    reply = api("tasks.set_requirements", task=task, requirements={"pip": ["a==1"], "org_pip": "b"})
    assert reply == {"updated": 1, "fields": {}}
    assert get(api, task)["script"]["requirements"] == {"pip": ["a==1"], "org_pip": "b"}


def test_move(api: ApiClient) -> None:
    task, name = create(api), unique("parent")
    child = api("tasks.move", ids=[task], project_name=f"/{name}//child/")["project_id"]
    assert get(api, task)["project"] == child
    parent = api("projects.get_all", name=f"^{name}$")["projects"][0]
    assert api("tasks.move", ids=[task], project=parent["id"]) == {"project_id": parent["id"]}
    assert api.send("tasks.move", ids=[task], project="nope").error == (400, 401, "Invalid project id: id=nope")
    assert api.send("tasks.move", ids=[task]).error[:2] == (400, 11)
    too_short = (400, 12, "Validation error (Project name cannot be blank)")
    assert api.send("tasks.move", ids=[task], project_name="abc/d").error == too_short
    assert api("tasks.move", ids=[task], project=None) == {"project_id": None}
    assert "project" not in get(api, task)


def test_archive(api: ApiClient) -> None:
    task = create(api, system_tags=["x"])
    before = get(api, task)
    for _ in range(2):
        assert api("tasks.archive", tasks=[task], status_reason="ar") == {"archived": 1}
    archived = get(api, task)
    assert (archived["system_tags"], archived["status_reason"], archived["status_message"]) == (
        ["x", "archived"],
        "ar",
        "",
    )
    assert archived["last_update"] == before["last_update"]
    many = api("tasks.unarchive_many", ids=[task, "zz"])
    assert many["succeeded"] == [{"id": task, "unarchived": True}]
    assert many["failed"][0]["id"] == "zz"
    assert get(api, task)["system_tags"] == ["x"]
    assert api("tasks.archive_many", ids=[task]) == {"succeeded": [{"id": task, "archived": True}], "failed": []}


def test_types_in_use(api: ApiClient) -> None:
    name = unique("project")
    top = api("projects.create", name=name, description="")["id"]
    below = api("projects.create", name=f"{name}/below", description="")["id"]
    create(api, project=top, type="training")
    create(api, project=below, type="testing")
    assert api("tasks.get_types", projects=[top]) == {"types": ["testing", "training"]}
    assert api("tasks.get_types", projects=[below]) == {"types": ["testing"]}
    assert {"testing", "training"} <= set(api("tasks.get_types")["types"])


def test_public_tasks_are_read_but_not_changed(api: ApiClient) -> None:
    task = create(api)
    assert api("tasks.make_public", ids=[task]) == {"updated": 1}
    assert api.send("tasks.make_public", ids=[task]).error == (400, 101, f"Invalid task id: ids=({task})")
    assert get(api, task)["company"] == ""
    assert api("tasks.clone", task=task)["id"]
    assert api.send("tasks.edit", task=task, comment="c").error[:2] == (403, 21)
    assert api("tasks.make_private", ids=[task]) == {"updated": 1}
    assert api.send("tasks.make_private", ids=[task]).error == (400, 101, f"Invalid task id: ids=({task})")
    assert api("tasks.edit", task=task, comment="c")["updated"] == 1


def test_sharing_is_not_part_of_the_open_source_server(api: ApiClient) -> None:
    assert api.send("tasks.share", tasks=["x"]).error[:2] == (404, 0)


def test_empty_references_are_none_and_gone_ones_may_be_named_again(api: ApiClient) -> None:
    parent = create(api)
    task = create(api, parent=parent, project="")
    assert "project" not in get(api, task)
    assert api("tasks.update", task=task, project="") == {"updated": 0, "fields": {}}
    api("tasks.delete", task=parent)
    gone = get(api, task)["parent"]
    assert api("tasks.edit", task=task, parent=gone)["fields"]["parent"] == gone


def test_clone(api: ApiClient) -> None:
    source = create(api, tags=["t"], system_tags=["development"], hyperparams={"A": {"b": {"value": "1"}}})
    api("tasks.started", task=source)
    clone = get(api, api("tasks.clone", task=source)["id"])
    assert (clone["status"], clone["parent"], clone["tags"], clone["system_tags"]) == ("created", source, ["t"], [])
    assert clone["hyperparams"]["A"]["b"]["value"] == "1"
    assert clone["name"] == get(api, source)["name"]


def test_clone_into_a_new_project(api: ApiClient) -> None:
    name = f"{unique('project')}/kid"
    reply = api("tasks.clone", task=create(api), new_project_name=name, new_task_name="clone")
    assert reply["new_project"]["name"] == name
    clone = get(api, reply["id"])
    assert (clone["project"], clone["name"]) == (reply["new_project"]["id"], "clone")


@pytest.mark.parametrize(
    ("override", "error"),
    [
        ({"new_task_project": "nope"}, (400, 16)),
        ({"new_task_parent": "nope"}, (400, 16)),
        ({"new_task_name": "ab"}, (400, 800)),
        ({"new_task_input_models": [{"name": "m", "model": "nope"}]}, (400, 201)),
    ],
)
def test_refused_clones(api: ApiClient, override: dict[str, Any], error: tuple[int, int]) -> None:
    assert api.send("tasks.clone", task=create(api), **override).error[:2] == error
