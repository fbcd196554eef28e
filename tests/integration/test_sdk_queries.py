"""Queries, models and dataset lists as the unmodified SDK sends them."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from clearml_localserver.pytest_plugin import ClearmlServer

from tests.api_client import ApiClient

pytestmark = pytest.mark.integration


@pytest.fixture
def sdk(clearml_server: ClearmlServer) -> Any:
    """The SDK in this process; imported only once its environment is set."""
    import clearml

    return clearml


@pytest.fixture
def client(sdk: Any) -> Any:
    """The SDK's client of the bare API."""
    from clearml.backend_api.session.client import APIClient

    return APIClient()


@pytest.fixture
def name() -> str:
    return f"sdk queries {uuid4().hex[:8]}"


@pytest.fixture
def world(api: ApiClient, name: str) -> dict[str, str]:
    """A project with a child and a hidden one, and a few tasks in them."""
    project = api("projects.create", name=name)["id"]
    kid = api("projects.create", name=f"{name}/kid (1)")["id"]
    hidden = api("projects.create", name=f"{name}/.hidden", system_tags=["hidden"])["id"]
    specs = {
        "one": {"project": project, "tags": ["a", "b"], "comment": "a comment"},
        "two": {"project": project, "tags": ["b"], "type": "testing"},
        "archived": {"project": project, "tags": ["a"], "system_tags": ["archived"]},
        "kid": {"project": kid, "tags": ["c"]},
        "hidden": {"project": hidden, "tags": ["a"]},
    }
    tasks = {
        key: str(api("tasks.create", **{"name": f"{name} task {key}", "type": "training"} | spec)["id"])
        for key, spec in specs.items()
    }
    api("tasks.edit_hyper_params", task=tasks["one"], hyperparams=[{"section": "Args", "name": "lr", "value": "0.1"}])
    return {"project": str(project), "kid project": str(kid), **tasks}


def test_query_tasks(sdk: Any, world: dict[str, str], name: str) -> None:
    def find(task_filter: dict[str, Any] | None = None, **query: Any) -> set[str]:
        return set(sdk.Task.query_tasks(task_filter=dict(task_filter or {}), **query))  # the SDK writes into it

    every = {world[key] for key in ("one", "two", "archived")}
    assert find(project_name=name) == every
    here = {"project": [world["project"]]}
    assert find(task_filter=here) == every
    assert find(task_filter=here, tags=["a", "-b"]) == {world["archived"]}
    assert find(task_filter=here, tags=["__$all", "a", "b"]) == {world["one"]}
    assert find(task_filter=here, tags=["__$all", "b", "__$not", "a"]) == {world["two"]}
    assert find(task_filter=here | {"type": ["testing"]}) == {world["two"]}
    assert find(task_filter=here | {"system_tags": ["-archived"]}) == {world["one"], world["two"]}
    assert find(task_filter=here | {"_any_": {"fields": ["name", "comment"], "pattern": "COMMENT"}}) == {world["one"]}
    assert find(task_filter=here | {"status": ["queued"]}) == set()
    assert find(task_name=f"{name} task tw") == {world["two"]}
    found = sdk.Task.query_tasks(
        task_filter=here | {"order_by": ["-name"]}, additional_return_fields=["tags", "project"]
    )
    assert [(item["id"], item["tags"]) for item in found] == [
        (world["two"], ["b"]),
        (world["one"], ["a", "b"]),
        (world["archived"], ["a"]),
    ]


def test_get_tasks(sdk: Any, world: dict[str, str], name: str) -> None:
    def find(**query: Any) -> set[str]:
        return {task.id for task in sdk.Task.get_tasks(**query)}

    assert find(project_name=name) == {world[key] for key in ("one", "two", "archived")}
    assert find(project_name=f"{name}/kid (1)") == {world["kid"]}
    assert find(project_name=name, allow_archived=False) == {world["one"], world["two"]}
    assert find(project_name=name, task_name="task one") == {world["one"]}
    assert find(project_name=name, tags=["a", "-archived"], task_filter={"system_tags": ["archived"]}) == {
        world["archived"]
    }
    assert sdk.Task.get_task(project_name=name, task_name=f"{name} task two").id == world["two"]
    assert sdk.Task.get_task(project_name=name, task_name="nothing") is None
    assert [child.id for child in sdk.Task.get_tasks(task_filter={"parent": world["one"]})] == []


def test_projects(sdk: Any, world: dict[str, str], name: str) -> None:
    assert sdk.Task.get_project_id(name) == world["project"]
    assert sdk.Task.get_project_id(f"{name}/.hidden", search_hidden=True) is not None
    assert name in [project.name for project in sdk.Task.get_projects()]
    task = sdk.Task.get_task(task_id=world["one"])
    assert task.get_project_name() == name
    assert task.move_to_project(new_project_name=f"{name}/moved here") in (True, None)
    assert task.get_project_name() == f"{name}/moved here"


def test_bare_api(client: Any, world: dict[str, str], name: str) -> None:
    ids = [task.id for task in client.tasks.get_all(project=[world["project"]], order_by=["name"])]
    assert ids == [world["archived"], world["one"], world["two"]]
    found = client.projects.get_all(name=f"^{name}", only_fields=["name"], order_by=["-name"])
    assert [project.name for project in found] == [f"{name}/kid (1)", name]
    assert client.projects.get_by_id(project=world["kid project"]).basename == "kid (1)"
    first = client.tasks.get_all(project=[world["project"]], page=0, page_size=2, order_by=["name"], only_fields=["id"])
    assert [task.id for task in first] == ids[:2]
    assert client.queues.get_all(name="^default$")[0].name == "default"


def test_models(sdk: Any, api: ApiClient, name: str) -> None:
    project = api("projects.create", name=name)["id"]
    specs: list[dict[str, Any]] = [
        {"name": f"{name} one", "tags": ["a", "b"]},
        {"name": f"{name} two", "tags": ["b"], "ready": False},
        {"name": f"{name} archived", "tags": ["a"], "system_tags": ["archived"]},
    ]
    one, two, archived = (api("models.create", uri="file:///x", project=project, **spec)["id"] for spec in specs)
    api("models.add_or_update_metadata", model=one, metadata=[{"key": "size", "type": "int", "value": "3"}])

    def find(**query: Any) -> list[str]:
        return [model.id for model in sdk.Model.query_models(project_name=name, **query)]

    assert find() == [two, one]
    assert find(include_archived=True) == [archived, two, one]
    assert find(tags=["a"]) == [one]
    assert find(tags=["__$all", "a", "b"]) == [one]
    assert find(only_published=True) == [one]
    assert find(model_name=f"{name} two") == [two]
    assert find(metadata={"size": "3"}) == [one]
    assert find(max_results=1) == [two]
    model = sdk.Model(model_id=one)
    assert model.project == project
    assert model.get_metadata("size") == "3"
    assert model.set_metadata("note", "text", "str")
    assert sdk.Model(model_id=one).get_all_metadata()["note"]["value"] == "text"
    sdk.Model(model_id=two).publish()
    assert sdk.Model(model_id=two).published
    sdk.Model(model_id=one).archive()
    assert find() == [two]
    sdk.Model(model_id=one).unarchive()
    assert find() == [two, one]
    assert sdk.Model.remove(archived, delete_weights_file=False)
    assert find(include_archived=True) == [two, one]


def test_an_input_model_is_made_once_per_file(sdk: Any, name: str, tmp_path: Path) -> None:
    weights = tmp_path / "weights.bin"
    weights.write_text(name)
    first = sdk.InputModel.import_model(weights_url=weights.as_uri(), name=name, framework="Custom")
    again = sdk.InputModel.import_model(weights_url=weights.as_uri(), name=name)
    assert again.id == first.id


def test_dataset_lists(sdk: Any, name: str, tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_text(name)
    versions: list[Any] = []
    for version in ("1.0", "1.1"):
        dataset = sdk.Dataset.create(
            dataset_name="the data",
            dataset_project=name,
            dataset_version=version,
            parent_datasets=[versions[-1].id] if versions else None,
        )
        if not versions:
            dataset.add_files(tmp_path / "file.txt")
        dataset.upload(show_progress=False)
        dataset.finalize()
        versions.append(dataset)
    listed = sdk.Dataset.list_datasets(dataset_project=name)
    assert {(item["version"], item["id"], item["project"]) for item in listed} == {
        (dataset.version, dataset.id, name) for dataset in versions
    }
    assert sdk.Dataset.list_datasets(dataset_project=name, partial_name="the d", only_completed=False)
    assert sdk.Dataset.list_datasets(dataset_project=name, partial_name="other") == []
    assert sdk.Dataset.get(dataset_project=name, dataset_name="the data").id == versions[1].id
    older = sdk.Dataset.get(dataset_project=name, dataset_name="the data", dataset_version="1.0")
    assert older.id == versions[0].id
    sdk.Dataset.delete(dataset_id=versions[1].id)
    assert [item["version"] for item in sdk.Dataset.list_datasets(dataset_project=name)] == ["1.0"]
