"""Probes of a genuine server's behaviour, one test each: models and projects."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api_client import ApiClient
from tests.integration.tasks.world import create, get, unique

pytestmark = pytest.mark.integration


def model(api: ApiClient, **fields: Any) -> str:
    return str(api("models.create", **{"name": unique("model"), "uri": "file:///a", "labels": {}} | fields)["id"])


def project(api: ApiClient, name: str = "", **fields: Any) -> str:
    return str(api("projects.create", name=name or unique("project"), description="", **fields)["id"])


def with_output(api: ApiClient) -> tuple[str, str]:
    """Return a task and the draft model that it has made."""
    task = create(api)
    output = model(api, ready=False, task=task)
    api("tasks.started", task=task)
    api("tasks.add_or_update_model", task=task, name="o", type="output", model=output)
    return task, output


def test_a4_output_of_a_published_task(api: ApiClient) -> None:
    """A4: models.delete of a published task's output without force: 400/206; with force: entry __DELETED__<id>."""
    task, output = with_output(api)
    api("tasks.stopped", task=task)
    api("tasks.publish", task=task, publish_model=False)
    assert api.send("models.delete", model=output).error[:2] == (400, 206)
    (failed,) = api("models.delete_many", ids=[output])["failed"]
    assert failed["error"]["codes"] == [400, 206]
    api("models.delete", model=output, force=True)
    assert [entry["model"] for entry in get(api, task)["models"]["output"]] == [f"__DELETED__{output}"]


def test_a4_output_of_another_task(api: ApiClient) -> None:
    """A4: models.delete of an unpublished task's output takes the entry out of task.models.output."""
    task, output = with_output(api)
    api("models.delete", model=output)
    assert get(api, task)["models"]["output"] == []


def test_a14_completed_of_24_hours(api: ApiClient) -> None:
    """A14: projects.get_all_ex include_stats: completed_tasks_24h counts stopped tasks too, not failed ones."""
    id = project(api)
    stopped, failed, _ = (create(api, project=id) for _ in range(3))
    for task, end in ((stopped, "stopped"), (failed, "failed")):
        api("tasks.started", task=task)
        api(f"tasks.{end}", task=task)
    stats = api("projects.get_all_ex", id=[id], include_stats=True)["projects"][0]["stats"]["active"]
    assert (stats["completed_tasks_24h"], stats["total_tasks"]) == (1, 3)


def test_a15_stats_of_models(api: ApiClient) -> None:
    """A15: models.get_all_ex include_stats: stats {labels_count}."""
    id = model(api, labels={"a": 1, "b": 2})
    query = {"id": [id], "only_fields": ["name"]}
    assert api("models.get_all_ex", **query, include_stats=True)["models"][0]["stats"] == {"labels_count": 2}
    assert "stats" not in api("models.get_all_ex", **query)["models"][0]


def top_with(api: ApiClient, below: str, tag: str) -> tuple[str, str]:
    """Return a new project at the top, and one below it that the SDK would make for a dataset or a pipeline."""
    top = unique("top")
    made = project(api, f"{top}/{below}", system_tags=[tag, "hidden"])
    (found,) = api("projects.get_all_ex", name=f"^{top}$")["projects"]
    return str(found["id"]), made


@pytest.mark.parametrize(
    ("below", "tag", "type", "subcode"),
    [(".datasets/dset", "dataset", "data_processing", 406), (".pipelines/pipe", "pipeline", "controller", 413)],
)
def test_a18_datasets_and_pipelines_protect(api: ApiClient, below: str, tag: str, type: str, subcode: int) -> None:
    """A18: projects.delete: 400/406 for datasets, 400/413 for pipelines below."""
    top, holder = top_with(api, below, tag)
    create(api, project=holder, type=type, system_tags=[tag])
    assert api.send("projects.delete", project=top).error[:2] == (400, subcode)


def test_a18_steps_of_archived_controllers(api: ApiClient) -> None:
    """A18: projects.delete with archived controllers and unarchived steps goes through."""
    top, pipe = top_with(api, ".pipelines/pipe", "pipeline")
    controller = create(api, type="controller", project=pipe, system_tags=["pipeline", "archived"])
    create(api, project=pipe, parent=controller)
    assert api("projects.delete", project=top)["deleted"] == 3


def test_a18_what_a_deletion_would_meet(api: ApiClient) -> None:
    """A18: projects.validate_delete counts dataset and pipeline projects, and no tasks in them."""
    top, holder = top_with(api, ".datasets/dset", "dataset")
    for _ in range(3):
        create(api, project=holder, type="data_processing", system_tags=["dataset"])
    counts = api("projects.validate_delete", project=top)
    assert (counts["datasets"], counts["tasks"]) == (1, 0)


def test_a19_moved_projects(api: ApiClient) -> None:
    """A19: projects.move: moved counts the projects below as well."""
    top = unique("top")
    moved = project(api, f"{top}/aaa")
    project(api, f"{top}/aaa/bbb")
    assert api("projects.move", project=moved, new_location=unique("other")) == {"moved": 2}


def test_a20_parents(api: ApiClient) -> None:
    """A20: projects.get_task_parents without tasks_state: also parents of archived tasks; no empty project."""
    id, name = project(api), unique("parent")
    parent = create(api, name=name)
    create(api, project=id, parent=parent, system_tags=["archived"])
    assert api("projects.get_task_parents", projects=[id])["parents"] == [{"id": parent, "name": name}]
    assert api("projects.get_task_parents", projects=[id], tasks_state="active")["parents"] == []


def test_a21_metadata_keys(api: ApiClient) -> None:
    """A21: projects.get_model_metadata_keys include_subprojects=false without projects: only models of no project."""
    inside, outside = unique("in"), unique("out")
    for key, fields in ((inside, {"project": project(api)}), (outside, {})):
        model(api, metadata={key: {"key": key, "type": "str", "value": "v"}}, **fields)
    keys = api("projects.get_model_metadata_keys", include_subprojects=False)["keys"]
    assert (inside in keys, outside in keys) == (False, True)
    assert inside in api("projects.get_model_metadata_keys")["keys"]


def test_a24_iteration_of_a_task(api: ApiClient) -> None:
    """A24: models.update with task and iteration raises that task's last_iteration."""
    task, id = create(api), model(api)
    api("models.update", model=id, task=task, iteration=1000)
    assert get(api, task)["last_iteration"] == 1000
