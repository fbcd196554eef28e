"""`tasks.*` over HTTP: the status table on a live server, every endpoint's effects, codes and texts."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any
from uuid import uuid4

import pytest

from localserver.pytest_plugin import ClearmlServer
from tests.api_client import ApiClient, Reply
from tests.unit.localserver.task_table import CASES, Case, text_of

pytestmark = pytest.mark.integration

Task = dict[str, Any]
NUMBER = count()


def unique(text: str = "thing") -> str:
    return f"{text} {next(NUMBER)} {uuid4().hex[:8]}"


def create(api: ApiClient, **fields: Any) -> str:
    return str(api("tasks.create", **{"name": unique("task"), "type": "training"} | fields)["id"])


def get(api: ApiClient, task: str) -> Task:
    found: Task = api("tasks.get_by_id", task=task)["task"]
    return found


def new_queue(api: ApiClient) -> str:
    return str(api("queues.create", name=unique("queue"))["id"])


def entries(api: ApiClient, queue: str) -> list[str]:
    return [entry["task"] for entry in api("queues.get_by_id", queue=queue)["queue"]["entries"]]


def report(api: ApiClient, task: str, worker: str | None = None) -> str:
    """Have a worker report that it runs the task."""
    worker = worker or unique("worker")
    api("workers.status_report", worker=worker, task=task, timestamp=0)
    return worker


def identity(api: ApiClient) -> dict[str, str]:
    """Return who the client is, as its token says."""
    payload = str(api.http.headers["Authorization"]).split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return dict(claims["identity"])


@pytest.fixture(scope="module")
def api(clearml_server: ClearmlServer) -> Iterator[ApiClient]:
    """One client for the hundreds of short tests here: making one costs more than most of them."""
    client = ApiClient(clearml_server.api_url, clearml_server.credentials)
    yield client
    client.close()


@pytest.fixture(scope="module")
def queue(api: ApiClient) -> str:
    return new_queue(api)


STEPS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "created": [],
    "queued": [("tasks.enqueue", {})],
    "in_progress": [("tasks.started", {})],
    "stopped": [("tasks.started", {}), ("tasks.stopped", {})],
    "closed": [("tasks.started", {}), ("tasks.close", {"force": True})],
    "failed": [("tasks.started", {}), ("tasks.failed", {})],
    "completed": [("tasks.started", {}), ("tasks.completed", {})],
    "published": [("tasks.started", {}), ("tasks.completed", {"publish": True})],
}


def task_in(api: ApiClient, status: str, queue: str, **fields: Any) -> str:
    task = create(api, **fields)
    for endpoint, arguments in STEPS[status]:
        api(endpoint, task=task, **({"queue": queue} if endpoint == "tasks.enqueue" else arguments))
    assert get(api, task)["status"] == status
    return task


def body_of(action: str, queue: str) -> dict[str, Any]:
    return {
        "enqueue": {"queue": queue},
        "edit": {"comment": "c"},
        "update": {"comment": "c"},
        "set_requirements": {"requirements": {"pip": "a"}},
        "edit_hyper_params": {"hyperparams": [{"section": "Args", "name": "a", "value": "1"}]},
        "delete_hyper_params": {"hyperparams": [{"section": "Args", "name": "a"}]},
        "edit_configuration": {"configuration": [{"name": "a", "value": "1"}]},
        "delete_configuration": {"configuration": ["a"]},
        "add_or_update_artifacts": {"artifacts": [{"key": "a", "type": "custom", "uri": "u"}]},
        "delete_artifacts": {"artifacts": [{"key": "a"}]},
        "add_or_update_model": {"name": "m", "type": "output", "model": "nope"},
        "delete_models": {"models": [{"name": "m", "type": "output"}]},
    }.get(action, {})


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.action}-{case.status}{'-force' * case.force}")
def test_every_cell_of_the_status_table(api: ApiClient, queue: str, case: Case) -> None:
    task = task_in(api, case.status, queue)
    force = {"force": True} if case.force else {}
    reply = api.send(f"tasks.{case.action}", task=task, **body_of(case.action, queue), **force)
    if case.outcome.isdigit():
        assert reply.error == (400, int(case.outcome), text_of(case.outcome, case.action, case.status, task))
        assert reply.data == {}
        assert get(api, task)["status"] == case.status
        return
    assert reply.status == 200, reply.error
    if case.outcome == "gone":
        assert api.send("tasks.get_by_id", task=task).error == (400, 101, f"Invalid task id: ids=({task})")
        return
    if case.outcome == "no-op":
        assert reply.data == {"dequeued": 1, "fields": {}, "updated": 0}
    if case.action == "ping":
        assert reply.data == {}
    after = {"same": case.status, "no-op": case.status, "enqueue_status": "created"}.get(case.outcome, case.outcome)
    assert get(api, task)["status"] == after


@pytest.mark.parametrize("action", ["edit_hyper_params", "delete_hyper_params"])
@pytest.mark.parametrize("status", ["in_progress", "stopped", "completed", "published"])
def test_user_properties_stay_editable(api: ApiClient, queue: str, action: str, status: str) -> None:
    task = task_in(api, status, queue)
    item = {"section": "properties", "name": "a", "value": "1"}
    assert api(f"tasks.{action}", task=task, hyperparams=[item])
    mixed = [item, {"section": "Args", "name": "a", "value": "1"}]
    refusal = (400, 110, f"Invalid task status: expected=created, status={status}")
    assert api.send(f"tasks.{action}", task=task, hyperparams=mixed).error == refusal


# Unknown ids


@pytest.mark.parametrize(
    ("endpoint", "body", "error"),
    [
        *(
            (f"tasks.{action}", {"task": "nope", **body_of(action, "q")}, "Invalid task id: id=nope, company={company}")
            for action in (
                "stop", "stopped", "failed", "completed", "close", "publish", "enqueue", "reset", "delete", "edit",
                "update", "set_requirements", "edit_hyper_params", "delete_hyper_params", "edit_configuration",
                "delete_configuration", "add_or_update_artifacts", "delete_artifacts", "add_or_update_model",
                "delete_models",
            )
        ),
        ("tasks.edit_runtime", {"task": "nope", "runtime": {}}, "Invalid task id: id=nope, company={company}"),
        ("tasks.clone", {"task": "nope"}, "Invalid task id: id=nope"),
        ("tasks.get_by_id", {"task": "nope"}, "Invalid task id: ids=(nope)"),
        ("tasks.archive", {"tasks": ["nope"]}, "Invalid task id: ids=(nope)"),
        ("tasks.move", {"ids": ["nope"], "project_name": "abc"}, "Invalid task id: ids=(nope)"),
        ("tasks.update_tags", {"ids": ["nope"], "add_tags": ["a"]}, "Invalid task id: ids=(nope)"),
        ("tasks.get_hyper_params", {"tasks": ["nope"]}, "Invalid task id: ids=(nope)"),
        ("tasks.get_configurations", {"tasks": ["nope"]}, "Invalid task id: ids=(nope)"),
        ("tasks.get_configuration_names", {"tasks": ["nope"]}, "Invalid task id: ids=(nope)"),
        ("tasks.make_public", {"ids": ["nope"]}, "Invalid task id: ids=(nope)"),
        ("tasks.make_private", {"ids": ["nope"]}, "Invalid task id: ids=(nope)"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.startswith("tasks.") else "",
)  # fmt: skip
def test_unknown_task(api: ApiClient, endpoint: str, body: dict[str, Any], error: str) -> None:
    company = identity(api)["company"]
    assert api.send(endpoint, **body).error == (400, 101, error.format(company=company))


def test_unknown_task_of_endpoints_that_agents_call_in_passing(api: ApiClient) -> None:
    assert api.send("tasks.started", task="nope").error == (400, 10, "Invalid object id: task=None")
    assert api("tasks.ping", task="nope") == {}
    assert api("tasks.dequeue", task="nope") == {"dequeued": 1, "fields": {}, "updated": 0}


# Making and describing


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
        (
            {"models": {"input": [{"name": "m", "model": "nope"}]}},
            (400, 201, "Invalid model id: models=(nope)"),
        ),
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
    assert api.send("tasks.edit", task=task, comment="c").error[:2] == (400, 101)
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


# Moving


def test_reply_of_a_move_is_what_was_stored(api: ApiClient) -> None:
    task = create(api)
    reply = api("tasks.started", task=task, status_reason="r", status_message="m")
    assert (reply["started"], reply["updated"]) == (1, 1)
    found = get(api, task)
    assert reply["fields"].items() <= found.items()
    assert found["started"] == found["status_changed"] == found["last_update"] == found["last_change"]
    assert (found["status_reason"], found["status_message"]) == ("r", "m")
    done = api("tasks.completed", task=task)
    assert (done["published"], done["fields"]["status_reason"]) == (0, "")
    published = api("tasks.publish", task=task)
    assert published["fields"]["output"] == {}
    assert api("tasks.started", task=task, force=True)["fields"]["status"] == "in_progress"


def test_completing_and_publishing_at_once(api: ApiClient) -> None:
    task = create(api)
    api("tasks.started", task=task)
    reply = api("tasks.completed", task=task, publish=True)
    assert (reply["published"], reply["fields"]["status"]) == (1, "published")
    found = get(api, task)
    assert found["status"] == "published"
    assert {"completed", "published"} <= found.keys()


def test_ping_counts_a_running_task_s_seconds(api: ApiClient) -> None:
    task = create(api)
    api("tasks.started", task=task)
    assert api("tasks.ping", task=task) == {}
    assert get(api, task)["active_duration"] >= 0
    api("tasks.started", task=task)
    assert "active_duration" in get(api, task), "telling a running task's start again changes nothing of it"


def test_stop_of_an_agents_task_asks_the_agent(api: ApiClient) -> None:
    task = create(api)
    api("tasks.started", task=task)
    worker = report(api, task)
    api("workers.unregister", worker=worker)
    for force in (False, True):
        reply = api("tasks.stop", task=task, status_reason="user abort", force=force)
        shown = {name: reply["fields"][name] for name in ("status", "status_reason", "status_message")}
        assert shown == {"status": "in_progress", "status_reason": "user abort", "status_message": "stopping"}
    assert api("tasks.stopped", task=task)["fields"]["status"] == "stopped"


def test_stop_of_other_tasks_stops_them(api: ApiClient) -> None:
    name = identity(api)["user_name"]
    by_hand = create(api, system_tags=["development"])
    api("tasks.started", task=by_hand)
    report(api, by_hand)
    queue = new_queue(api)
    waiting = create(api)
    api("tasks.enqueue", task=waiting, queue=queue)
    for task in (by_hand, waiting):
        fields = api("tasks.stop", task=task)["fields"]
        assert (fields["status"], fields["status_message"]) == ("stopped", f"Stopped by {name}")
        assert "completed" not in get(api, task)
    assert entries(api, queue) == []


@pytest.mark.parametrize(
    ("action", "force"), [("stopped", False), ("failed", True), ("completed", True), ("close", True), ("publish", True)]
)
def test_a_waiting_task_that_ends_leaves_its_queue(api: ApiClient, action: str, force: bool) -> None:
    """The genuine server leaves the entry, and the next agent runs a task that has ended."""
    queue, task = new_queue(api), create(api)
    api("tasks.enqueue", task=task, queue=queue)
    api(f"tasks.{action}", task=task, force=force)
    assert entries(api, queue) == []


def test_a_waiting_task_that_is_started_keeps_its_entry_until_it_is_dequeued(api: ApiClient) -> None:
    queue, task = new_queue(api), create(api)
    api("tasks.enqueue", task=task, queue=queue)
    api("tasks.started", task=task)
    assert entries(api, queue) == [task]
    reply = api("tasks.dequeue", task=task, new_status="in_progress")
    assert (reply["dequeued"], reply["updated"], reply["fields"]["status"]) == (1, 1, "in_progress")
    assert entries(api, queue) == []


def test_publishing_readies_the_task_s_models(api: ApiClient) -> None:
    for publish_model in (True, False):
        task = create(api)
        model = api("models.create", name="model", uri="u", task=task, ready=False)["id"]
        api("tasks.publish", task=task, force=True, publish_model=publish_model)
        assert api("models.get_by_id", model=model)["model"]["ready"] is publish_model


# Queues


def test_enqueue_and_dequeue(api: ApiClient) -> None:
    queue, task = new_queue(api), create(api, system_tags=["development", "x"])
    reply = api("tasks.enqueue", task=task, queue=queue, verify_watched_queue=True, status_reason="r")
    assert (reply["queued"], reply["updated"], reply["queue_watched"]) == (1, 1, False)
    assert reply["fields"]["execution.queue"] == queue
    assert reply["fields"]["enqueue_status"] == "created"
    found = get(api, task)
    assert (found["execution"]["queue"], found["system_tags"], found["status_reason"]) == (queue, ["x"], "r")
    assert "enqueue_status" not in found
    shown = api("tasks.get_all", id=[task], only_fields=["enqueue_status"])["tasks"]
    assert shown[0]["enqueue_status"] == "created"
    back = api("tasks.dequeue", task=task)
    assert (back["fields"]["status"], back["fields"]["enqueue_status"]) == ("created", None)
    assert get(api, task)["execution"]["queue"] == queue
    assert entries(api, queue) == []


def test_whether_a_worker_watches_the_queue(api: ApiClient) -> None:
    watched, unwatched, task = new_queue(api), new_queue(api), create(api)
    api("workers.register", worker=unique("worker"), queues=[watched])

    def asked(**body: Any) -> bool:
        return bool(api("tasks.enqueue", task=task, verify_watched_queue=True, **body)["queue_watched"])

    assert asked(queue=unwatched) is False
    assert asked(queue=watched) is True
    assert asked(queue=unwatched, update_execution_queue=False) is False
    many = api("tasks.enqueue_many", ids=[create(api), create(api)], queue=watched, verify_watched_queue=True)
    assert many["queue_watched"] is True
    assert "queue_watched" not in api("tasks.enqueue", task=create(api), queue=watched)


def test_enqueue_to_another_queue_moves_the_task(api: ApiClient) -> None:
    first, second, task = new_queue(api), new_queue(api), create(api)
    api("tasks.started", task=task)
    api("tasks.stopped", task=task)
    api("tasks.enqueue", task=task, queue=first)
    assert api("tasks.enqueue", task=task, queue=second)["fields"]["execution.queue"] == second
    assert (entries(api, first), entries(api, second)) == ([], [task])
    assert api("tasks.dequeue", task=task)["fields"]["status"] == "stopped"


def test_a_task_lost_between_queue_and_worker_can_be_enqueued_again(api: ApiClient) -> None:
    """An agent that dies after taking a task leaves it `queued` in no queue."""
    queue, task = new_queue(api), create(api)
    api("tasks.enqueue", task=task, queue=queue)
    api("queues.get_next_task", queue=queue)
    assert get(api, task)["status"] == "queued"
    api("tasks.enqueue", task=task, queue=queue)
    assert entries(api, queue) == [task]


def test_queues_by_name(api: ApiClient) -> None:
    name = unique("queue")
    made = api("tasks.enqueue", task=create(api), queue_name=name)["fields"]["execution.queue"]
    assert api("queues.get_by_id", queue=made)["queue"]["name"] == name
    assert api("tasks.enqueue", task=create(api), queue_name=name)["fields"]["execution.queue"] == made
    default = api("queues.get_default")["id"]
    assert api("tasks.enqueue", task=create(api))["fields"]["execution.queue"] == default


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"queue": "nope"}, (400, 701)),
        ({"queue_name": "ab"}, (400, 800)),
        (
            {"queue": "a", "queue_name": "b"},
            (400, 12, "Validation error (Either queue id or queue name should be provided)"),
        ),
    ],
)
def test_refused_enqueues_change_nothing(api: ApiClient, body: dict[str, Any], error: tuple[Any, ...]) -> None:
    task = create(api)
    assert api.send("tasks.enqueue", task=task, **body).error[: len(error)] == error
    assert get(api, task)["status"] == "created"


@pytest.mark.parametrize("status", ["created", "in_progress", "stopped"])
@pytest.mark.parametrize("force", [False, True])
def test_enqueue_of_agents_after_1_9_2_is_refused_with_the_text_of_clearml_agent_issue_223(
    api: ApiClient, queue: str, status: str, force: bool
) -> None:
    """Why the agent is pinned to 1.9.2: later ones dequeue a task and then make this call."""
    task = task_in(api, status, queue)
    reply = api.send("tasks.enqueue", task=task, queue=queue, update_execution_queue=False, force=force)
    assert reply.error == (
        400,
        12,
        "Validation error (Cannot skip setting execution queue for a task that is not enqueued or does not have "
        "execution queue set)",
    )
    assert get(api, task)["status"] == status


def test_a_waiting_task_can_change_queues_and_keep_its_execution_queue(api: ApiClient) -> None:
    first, second, task = new_queue(api), new_queue(api), create(api)
    api("tasks.enqueue", task=task, queue=first)
    api("tasks.enqueue", task=task, queue=second, update_execution_queue=False)
    assert get(api, task)["execution"]["queue"] == first
    assert (entries(api, first), entries(api, second)) == ([], [task])
    api("tasks.stop", task=task)
    assert entries(api, second) == []


def test_bad_status_of_a_dequeue(api: ApiClient) -> None:
    error = (400, 12, "Validation error (Invalid task status: bogus)")
    assert api.send("tasks.dequeue", task=create(api), new_status="bogus").error == error


def test_many(api: ApiClient) -> None:
    queue, task = new_queue(api), create(api)
    company = identity(api)["company"]
    unknown = {
        "id": "zz",
        "error": {
            "codes": [400, 101],
            "msg": f"Invalid task id: id=zz, company={company}",
            "data": {"id": "zz", "company": company},
        },
    }
    ids = [task, "zz"]

    def run(action: str, **body: Any) -> dict[str, Any]:
        reply = api(f"tasks.{action}", ids=ids, **body)
        assert reply["failed"] == [unknown]
        (succeeded,) = reply["succeeded"]
        assert succeeded.pop("id") == task
        return dict(succeeded)

    assert run("enqueue_many", queue=queue)["queued"] is True
    assert api("tasks.dequeue_many", ids=ids)["succeeded"][1] == {
        "id": "zz", "dequeued": True, "updated": 0, "fields": {},
    }  # fmt: skip
    api("tasks.started", task=task)
    assert run("stop_many")["fields"]["status"] == "stopped"
    assert run("publish_many")["fields"]["status"] == "published"
    reset = run("reset_many", force=True)
    assert (reset["dequeued"], reset["deleted_models"], reset["urls"]) == (False, 0, {})
    assert run("delete_many") == {
        "deleted": True, "updated_children": 0, "updated_models": 0, "deleted_models": 0, "urls": None,
    }  # fmt: skip
    for action in ("enqueue", "dequeue", "stop", "publish", "reset", "delete", "archive", "unarchive"):
        assert api.send(f"tasks.{action}_many", ids=[]).error[:2] == (400, 12)


def test_a_refused_one_of_many_leaves_no_trace(api: ApiClient) -> None:
    draft, published = create(api), create(api)
    api("tasks.publish", task=published, force=True)
    before = get(api, published)
    reply = api("tasks.reset_many", ids=[published, draft])
    assert [item["id"] for item in reply["succeeded"]] == [draft]
    assert reply["failed"][0]["error"]["data"] == {"task_id": published, "status": "published"}
    assert get(api, published) == before


# Cloning


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


# Resetting and deleting


def with_run(api: ApiClient, *, ready: bool = False) -> tuple[str, str]:
    """A stopped task with an artifact, an event with an address and an output model."""
    task = create(api)
    api("tasks.started", task=task)
    model = str(api("models.create", name="model", uri="http://f/model", task=task, ready=ready)["id"])
    api("tasks.add_or_update_model", task=task, name="m", type="output", model=model, iteration=4)
    artifacts = [{"key": "a", "type": "custom", "uri": "http://f/a"}, {"key": "i", "type": "x", "mode": "input"}]
    api("tasks.add_or_update_artifacts", task=task, artifacts=artifacts)
    image = {"type": "training_debug_image", "task": task, "metric": "m", "variant": "v", "iter": 1}
    api("events.add", **image, url="http://f/image", key="k")
    api("events.add", type="log", task=task, msg="hello")
    api("tasks.stopped", task=task)
    return task, model


URLS = {"model_urls": ["http://f/model"], "artifact_urls": ["http://f/a"], "event_urls": ["http://f/image"]}


def test_reset(api: ApiClient) -> None:
    task, model = with_run(api)
    reply = api("tasks.reset", task=task, return_file_urls=True)
    assert {name: reply[name] for name in ("deleted_models", "dequeued", "events", "updated", "urls")} == {
        "deleted_models": 1, "dequeued": {}, "events": {}, "updated": 1, "urls": URLS,
    }  # fmt: skip
    shown = {"status", "status_reason", "status_message", "status_changed", "last_update", "last_change"}
    assert reply["fields"].keys() == shown | {"last_changed_by"}
    found = get(api, task)
    assert (found["status"], found["status_reason"], found["last_iteration"]) == ("created", "reset", 0)
    assert [item["key"] for item in found["execution"]["artifacts"]] == ["i"]
    assert found["models"]["output"] == []
    assert api("events.get_task_log", task=task)["total"] == 0
    assert api.send("models.get_by_id", model=model).error[:2] == (400, 201)


def test_reset_of_a_waiting_task_takes_it_out_of_its_queue(api: ApiClient) -> None:
    queue, task = new_queue(api), create(api)
    api("tasks.enqueue", task=task, queue=queue)
    reply = api("tasks.reset", task=task)
    assert (reply["dequeued"], reply["urls"]) == ({"removed": 1}, {})
    assert entries(api, queue) == []
    assert "queue" not in get(api, task)["execution"]


def test_reset_keeps_models_that_it_is_told_to_keep(api: ApiClient) -> None:
    task, model = with_run(api)
    assert api("tasks.reset", task=task, delete_output_models=False)["deleted_models"] == 0
    assert get(api, task)["models"]["output"] == []
    assert api("models.get_by_id", model=model)


@pytest.mark.parametrize("action", ["reset", "delete"])
def test_ready_models_protect_their_task(api: ApiClient, action: str) -> None:
    task, model = with_run(api, ready=True)
    api("tasks.archive", tasks=[task])
    text = f"Task cannot be deleted (has output models, use force=True): task={task}, models=1"
    assert api.send(f"tasks.{action}", task=task).error == (400, 123, text)
    assert api(f"tasks.{action}", task=task, force=True)["deleted_models"] == 0
    assert api("models.get_by_id", model=model)


def test_delete(api: ApiClient) -> None:
    task, model = with_run(api)
    child = create(api, parent=task)
    reply = api("tasks.delete", task=task, force=True, return_file_urls=True, move_to_trash=True)
    assert reply == {"deleted": True, "updated_children": 1, "updated_models": 0, "deleted_models": 1, "urls": URLS}
    assert get(api, child)["parent"] == f"__DELETED__{task}"
    assert api.send("models.get_by_id", model=model).error[:2] == (400, 201)
    assert api.send("events.get_task_log", task=task).error[:2] == (400, 101)


def kept_by_request(api: ApiClient, model: str) -> dict[str, Any]:
    return {"delete_output_models": False}


def kept_as_input(api: ApiClient, model: str) -> dict[str, Any]:
    create(api, models={"input": [{"name": "i", "model": model}]})
    return {}


@pytest.mark.parametrize("keep", [kept_by_request, kept_as_input])
def test_models_that_outlive_their_task(api: ApiClient, keep: Callable[[ApiClient, str], dict[str, Any]]) -> None:
    task, model = with_run(api)
    reply = api("tasks.delete", task=task, force=True, **keep(api, model))
    assert (reply["deleted_models"], reply["updated_models"]) == (0, 1)
    assert api("models.get_by_id", model=model)["model"]["task"] == f"__DELETED__{task}"


def test_a_controller_does_not_take_its_steps_models_with_it(api: ApiClient) -> None:
    step, model = with_run(api)
    controller = create(api)
    api("tasks.add_or_update_model", task=controller, name="monitored", type="output", model=model)
    assert api("tasks.delete", task=controller, force=True)["deleted_models"] == 0
    assert api("models.get_by_id", model=model)["model"]["task"] == step


@pytest.mark.parametrize(("status", "refused"), [("created", False), ("in_progress", False), ("published", True)])
def test_published_children_protect_their_parent(api: ApiClient, queue: str, status: str, refused: bool) -> None:
    parent = create(api)
    task_in(api, status, queue, parent=parent)
    reply = api.send("tasks.delete", task=parent)
    if refused:
        text = f"Task cannot be deleted (has children, use force=True): task={parent}, children=1"
        assert reply.error == (400, 123, text)
    else:
        assert reply.data["updated_children"] == 1


def test_deleting_a_waiting_task_takes_it_out_of_its_queue(api: ApiClient) -> None:
    queue, task = new_queue(api), create(api)
    api("tasks.enqueue", task=task, queue=queue)
    api("tasks.delete", task=task, force=True)
    assert entries(api, queue) == []


# Content


def test_hyperparameters(api: ApiClient) -> None:
    task = create(api)
    items = [
        {"section": "Args", "name": "a.b", "value": "1", "type": "int"},
        {"section": "$sec", "name": "$n", "value": "2"},
    ]
    assert api("tasks.edit_hyper_params", task=task, hyperparams=items) == {"updated": 1}
    ordered = [items[1], items[0]]
    assert api("tasks.get_hyper_params", tasks=[task]) == {"params": [{"task": task, "hyperparams": ordered}]}
    assert get(api, task)["hyperparams"]["Args"]["a.b"] == items[0]
    gone = [{"section": "Args", "name": "a.b"}, {"section": "zz", "name": "zz"}]
    assert api("tasks.delete_hyper_params", task=task, hyperparams=gone) == {"deleted": 1}
    assert get(api, task)["hyperparams"] == {"Args": {}, "$sec": {"$n": items[1]}}
    only = [{"section": "S", "name": "n", "value": "v"}]
    api("tasks.edit_hyper_params", task=task, hyperparams=only, replace_hyperparams="all")
    assert get(api, task)["hyperparams"] == {"S": {"n": only[0]}}
    bad = api.send("tasks.edit_hyper_params", task=task, hyperparams=only, replace_hyperparams="some")
    assert bad.error[:2] == (400, 12)


def test_configuration(api: ApiClient) -> None:
    task, empty = create(api), create(api)
    items = [{"name": "b.c", "value": "1"}, {"name": "a", "value": ""}]
    assert api("tasks.edit_configuration", task=task, configuration=items) == {"updated": 1}
    found = api("tasks.get_configurations", tasks=[task])["configurations"]
    assert found == [{"task": task, "configuration": [items[1], items[0]]}]
    named = api("tasks.get_configurations", tasks=[task], names=["a", "zz"])["configurations"]
    assert named == [{"task": task, "configuration": [items[1]]}]
    names = api("tasks.get_configuration_names", tasks=[task, empty])["configurations"]
    assert names == [{"task": task, "names": ["b.c"]}]
    names = api("tasks.get_configuration_names", tasks=[task, empty], skip_empty=False)["configurations"]
    assert names == [{"task": task, "names": ["a", "b.c"]}]
    api("tasks.edit_configuration", task=task, configuration=[{"name": "x", "value": "y"}], replace_configuration=True)
    assert list(get(api, task)["configuration"]) == ["x"]
    assert api("tasks.delete_configuration", task=task, configuration=["x", "zz"]) == {"deleted": 1}
    assert get(api, task)["configuration"] == {}


def test_artifacts(api: ApiClient) -> None:
    task = create(api)
    given = [{"key": "b", "type": "custom", "uri": "u"}, {"key": "a", "type": "custom", "bogus": 1}]
    assert api("tasks.add_or_update_artifacts", task=task, artifacts=given) == {"updated": 1}
    stored = get(api, task)["execution"]["artifacts"]
    assert [item["key"] for item in stored] == ["a", "b"]
    assert stored[0] == {"key": "a", "type": "custom", "mode": "output", "display_data": []}
    assert api("tasks.delete_artifacts", task=task, artifacts=[{"key": "a"}, {"key": "zz"}]) == {"deleted": 1}
    assert [item["key"] for item in get(api, task)["execution"]["artifacts"]] == ["b"]
    assert api.send("tasks.add_or_update_artifacts", task=task, artifacts=[{"key": "a"}]).error[:2] == (400, 12)
    api("tasks.edit", task=task, execution={"artifacts": []})
    assert get(api, task)["execution"]["artifacts"] == []


def test_task_models(api: ApiClient) -> None:
    task = create(api)
    for model in ("nope", "other"):
        reply = api("tasks.add_or_update_model", task=task, name="m.a", type="input", model=model, iteration=5)
        assert reply == {"updated": 1}
    found = get(api, task)
    assert [(item["name"], item["model"]) for item in found["models"]["input"]] == [("m.a", "other")]
    assert found["last_iteration"] == 5
    reply = api(
        "tasks.delete_models", task=task, models=[{"name": "m.a", "type": "input"}, {"name": "z", "type": "output"}]
    )
    assert reply == {"updated": 1}
    assert get(api, task)["models"] == {"input": [], "output": []}
