"""Reporting events: what is stored or refused, what it does to the task, and that it lasts."""

from __future__ import annotations

from typing import Any

import pytest
from clearml_localserver.pytest_plugin import ClearmlServer
from clearml_localserver.rules.events import SINGLE, name_hash

from tests.api_client import ApiClient
from tests.integration.events.reporter import T0, UNKNOWN, Reporter, messages

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_batch_keeps_its_good_events_and_counts_the_bad(task: Reporter, method: str) -> None:
    status, reply = task.send(
        {"type": "log", "msg": "good"},
        {"type": "foo"},
        {"type": "foo"},
        {"type": "log", "task": UNKNOWN},
        {"type": "training_stats_scalar", "value": "NaN"},
        method=method,
    )
    assert status == 200
    assert reply["data"] == {
        "added": 1,
        "errors": 4,
        "errors_info": {
            "Invalid event type foo": 2,
            f"Invalid task id {UNKNOWN}": 1,
            "Invalid value NaN (a finite number is needed)": 1,
        },
    }


def test_a_batch_without_a_good_event_is_refused(task: Reporter) -> None:
    status, reply = task.send({"type": "foo"}, {"type": "foo"})
    assert (status, reply["meta"]["result_subcode"]) == (400, 131)
    assert reply["meta"]["result_msg"] == "Events not added: Invalid event type foo=2"


@pytest.mark.parametrize(
    ("body", "content_type", "error"),
    [
        ("", "application/json-lines", (400, 17)),
        ("", "application/json", (400, 17)),
        ("nonsense", "application/json-lines", (400, 0)),
        ('{"type": "log"}\n\n{"type": "log"}', "application/json-lines", (400, 0)),
        ("[]", "application/json-lines", (400, 0)),
        ('{"value": NaN}', "application/json-lines", (400, 131)),
        ('{"events": []}', "application/json", (400, 131)),
        ('{"type": "log"}\n{"type": "log"}', "application/json", (400, 0)),
    ],
)
def test_malformed_batches(api: ApiClient, body: str, content_type: str, error: tuple[int, int]) -> None:
    reply = api.http.post("/events.add_batch", content=body, headers={"Content-Type": content_type})
    assert (reply.status_code, reply.json()["meta"]["result_subcode"]) == error


def test_add_takes_the_bare_event(task: Reporter, api: ApiClient) -> None:
    reply = api("events.add", type="log", task=task.id, msg="one")
    assert reply == {"added": 1, "errors": 0, "errors_info": {}}
    assert api.send("events.add", event={"type": "log", "task": task.id}).error[:2] == (400, 131)


def test_a_published_task_takes_events_only_with_allow_locked(task: Reporter, api: ApiClient) -> None:
    api("tasks.publish", task=task.id, force=True)
    status, reply = task.send({"type": "log"})
    assert (status, reply["meta"]["result_msg"]) == (400, f"Events not added: Invalid task id {task.id}=1")
    task.add({"type": "log", "allow_locked": True})
    assert task.refused("clear_task_log") == (400, 101)
    assert task.refused("delete_for_task") == (400, 101)
    assert task("delete_for_task", allow_locked=True) == {"deleted": 1}


def test_models_have_events_of_their_own(api: ApiClient) -> None:
    draft, ready = (
        api("models.create", name="reported", uri="file:///m", ready=ready)["id"] for ready in (False, True)
    )
    model = Reporter(api, draft, model_event=True)
    model.scalars("loss", "train", {0: 1.0})
    assert model("scalar_metrics_iter_histogram", model_events=True)["loss"]["train"]["y"] == [1.0]
    assert model.refused("scalar_metrics_iter_histogram") == (400, 101)
    status, reply = Reporter(api, ready, model_event=True).send({"type": "plot"})
    assert (status, reply["meta"]["result_msg"]) == (400, f"Events not added: Invalid model id {ready}=1")
    assert api.send("events.delete_for_model", model=ready).error[:2] == (400, 201)
    assert api("events.delete_for_model", model=draft) == {"deleted": 1}


def test_a_batch_changes_the_tasks_document(task: Reporter) -> None:
    before = task.document
    task.scalars("loss", "train", {0: 4.0, 1: 2.0})
    task.plot("fig", "s", 7)
    task.add({"type": "training_stats_scalar", "metric": "Summary", "variant": "acc", "iter": SINGLE, "value": 0.9})
    after = task.document
    loss = after["last_metrics"][name_hash("loss")][name_hash("train")]
    assert (loss["value"], loss["min_value"], loss["max_value"], loss["count"], loss["mean_value"]) == (2, 2, 4, 2, 3)
    assert after["last_metrics"][name_hash("Summary")][name_hash("acc")]["value"] == 0.9
    assert after["last_iteration"] == 7
    assert list(after["metric_stats"]) == [name_hash("fig")]
    assert after["last_update"] == after["last_change"] > before["last_update"]
    assert (after["status"], after.get("unique_metrics", [])) == ("created", [])


def test_deleting_events_leaves_the_document_and_the_console_can_go_alone(task: Reporter) -> None:
    task.scalars("loss", "train", {0: 1.0})
    task.add({"type": "log", "msg": "old", "timestamp": T0}, {"type": "log", "msg": "new"})
    assert task("clear_task_log", threshold_sec=300) == {"deleted": 1}
    assert [line["msg"] for line in task("get_task_log")["events"]] == ["new"]
    assert task("clear_task_log") == {"deleted": 1}
    assert task("delete_for_task") == {"deleted": 1}
    assert task("get_task_events")["total"] == 0
    assert task.document["last_metrics"] != {}


def test_acknowledged_events_survive_a_killed_server(clearml_server_factory: Any) -> None:
    server: ClearmlServer = clearml_server_factory()
    client = ApiClient(server.api_url, server.credentials)
    task = Reporter(client, client("tasks.create", name="survivor", type="training")["id"])
    task.scalars("loss", "train", {i: float(i) for i in range(100)})
    task.add({"type": "log", "msg": "last words"})
    server.kill()
    server.restart()
    assert task("scalar_metrics_iter_histogram")["loss"]["train"]["x"] == list(range(100))
    assert messages(task("get_task_log")) == ["last words"]
    assert task.document["last_iteration"] == 99
    client.close()
