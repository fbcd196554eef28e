"""Resetting and deleting tasks: what goes with them and what stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.api_client import ApiClient
from tests.integration.tasks.world import create, entries, get, new_queue, task_in

pytestmark = pytest.mark.integration


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
