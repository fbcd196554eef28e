"""Probes of a genuine server's behaviour, one test each: archiving, pipelines' steps, copies, publicity."""

from __future__ import annotations

import pytest

from tests.api_client import ApiClient
from tests.integration.tasks.world import create, entries, get, new_queue, report, unique

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(("endpoint", "key"), [("tasks.archive", "tasks"), ("tasks.archive_many", "ids")])
def test_a3_archiving_a_queued_task(api: ApiClient, endpoint: str, key: str) -> None:
    """A3: tasks.archive / archive_many of a queued task: out of its queue, status as before enqueueing."""
    queue, task = new_queue(api), create(api)
    api("tasks.started", task=task)
    api("tasks.stopped", task=task)
    for before in ("stopped", "created"):
        api("tasks.enqueue", task=task, queue=queue)
        api(endpoint, **{key: [task]}, status_reason="tidy", status_message="up")
        archived = get(api, task)
        assert (archived["status"], entries(api, queue)) == (before, [])
        assert (archived["status_reason"], archived["status_message"]) == ("tidy", "up")
        assert archived["system_tags"] == ["archived"]
        api("tasks.reset", task=task)


@pytest.mark.parametrize(("endpoint", "key"), [("tasks.archive", "tasks"), ("tasks.archive_many", "ids")])
def test_a3_archiving_a_running_task(api: ApiClient, endpoint: str, key: str) -> None:
    """A3: tasks.archive of a running task stops it (status stopped), also with a live worker."""
    task = create(api)
    api("tasks.started", task=task)
    report(api, task)
    api(endpoint, **{key: [task]})
    assert get(api, task)["status"] == "stopped"
    assert "completed" not in get(api, task)


def test_archiving_nothing_is_refused(api: ApiClient) -> None:
    assert api.send("tasks.archive", tasks=[]).error[:2] == (400, 12)


def test_a7_include_pipeline_steps(api: ApiClient) -> None:
    """A7: include_pipeline_steps of archive, unarchive_many, stop, delete acts on the controller's children too."""
    controller = create(api, type="controller", system_tags=["pipeline"])
    step = create(api, parent=controller)
    below = create(api, parent=step)
    api("tasks.archive", tasks=[controller], include_pipeline_steps=True)
    assert ["archived" in get(api, task)["system_tags"] for task in (step, below)] == [True, False]
    api("tasks.unarchive_many", ids=[controller], include_pipeline_steps=True)
    assert "archived" not in get(api, step)["system_tags"]
    api("tasks.archive_many", ids=[controller], include_pipeline_steps=True)
    assert "archived" in get(api, step)["system_tags"]
    reply = api("tasks.delete", task=controller, force=True, include_pipeline_steps=True)
    assert reply["updated_children"] == 0
    assert api.send("tasks.get_by_id", task=step).error[:2] == (400, 101)
    assert get(api, below)["parent"] == f"__DELETED__{step}"


@pytest.mark.parametrize(("endpoint", "key"), [("tasks.stop", "task"), ("tasks.stop_many", "ids")])
def test_a7_only_live_steps_are_stopped(api: ApiClient, endpoint: str, key: str) -> None:
    """A7: stop with include_pipeline_steps ends queued and running steps and leaves the others as they are."""
    queue = new_queue(api)
    controller = create(api, type="controller")
    running, queued, draft, done = (create(api, parent=controller) for _ in range(4))
    for task in (controller, running, done):
        api("tasks.started", task=task)
    api("tasks.completed", task=done)
    api("tasks.enqueue", task=queued, queue=queue)
    api(endpoint, **{key: controller if key == "task" else [controller]}, include_pipeline_steps=True)
    statuses = [get(api, task)["status"] for task in (controller, running, queued, draft, done)]
    assert statuses == ["stopped", "stopped", "stopped", "created", "completed"]
    assert entries(api, queue) == []


def test_a7_other_tasks_have_no_steps(api: ApiClient) -> None:
    """A7: the parent must be a controller; a later run that was copied from a run is no step of it."""
    project = str(api("projects.create", name=unique("runs"), description="")["id"])
    parent = create(api, system_tags=["pipeline"])
    child = create(api, parent=parent)
    run = create(api, type="controller", project=project, system_tags=["pipeline"])
    later = create(api, type="controller", project=project, system_tags=["pipeline"], parent=run)
    for task in (parent, run):
        api("tasks.delete_many", ids=[task], force=True, include_pipeline_steps=True)
    assert [get(api, task)["status"] for task in (child, later)] == ["created", "created"]


def test_a12_references_are_validated(api: ApiClient) -> None:
    """A12: tasks.clone with validate_references: 400/201 for an input model that is gone (without it: a copy)."""
    model = str(api("models.create", name="model", uri="file:///a")["id"])
    task = create(api, models={"input": [{"name": "i", "model": model}]})
    assert api("tasks.clone", task=task, validate_references=True)["id"]
    api("models.delete", model=model, force=True)
    assert api("tasks.clone", task=task)["id"]
    assert api.send("tasks.clone", task=task, validate_references=True).error[:2] == (400, 201)


def test_a13_output_models_are_not_looked_up(api: ApiClient) -> None:
    """A13: tasks.create/edit do not check output models' ids (input models: 400/201)."""
    task = create(api, models={"output": [{"name": "o", "model": "elsewhere"}]})
    api("tasks.edit", task=task, models={"output": [{"name": "o", "model": "elsewhere too"}]})
    assert get(api, task)["models"]["output"][0]["model"] == "elsewhere too"
    refused = api.send("tasks.edit", task=task, models={"input": [{"name": "i", "model": "elsewhere"}]})
    assert refused.error[:2] == (400, 201)


def test_a27_publicity(api: ApiClient) -> None:
    """A27: make_private of what is not public: 400/101|201|401; changing a public task or project: 403/21."""
    task, project = create(api), str(api("projects.create", name=unique("pub"), description="")["id"])
    model = str(api("models.create", name="model", uri="file:///a")["id"])
    ids = {"tasks": task, "models": model, "projects": project}
    refused = [api.send(f"{service}.make_private", ids=[id]).error[:2] for service, id in ids.items()]
    assert refused == [(400, 101), (400, 201), (400, 401)]
    api("tasks.make_public", ids=[task])
    api("projects.make_public", ids=[project])
    text = f"Forbidden (modification not allowed) (cannot modify public task(s), ids=('{task}',))"
    assert api.send("tasks.edit", task=task, name="other").error == (403, 21, text)
    for endpoint, request in (
        ("tasks.archive", {"tasks": [task]}),
        ("tasks.started", {"task": task}),
        ("tasks.delete", {"task": task, "force": True}),
        ("projects.update", {"project": project, "name": unique("other")}),
        ("projects.delete", {"project": project}),
    ):
        assert api.send(endpoint, **request).error[:2] == (403, 21), endpoint
