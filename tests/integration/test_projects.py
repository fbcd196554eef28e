"""`projects.*` over HTTP: the tree of projects."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.api_client import ApiClient
from tests.integration.project_calls import get, model, named, project, task, unique

pytestmark = pytest.mark.integration


def test_a_project_is_made_with_those_above_it(api: ApiClient) -> None:
    top = unique()
    leaf = project(api, f"/{top}// mid /leaf/", tags=["t1"], default_output_destination="s3://b/x")
    assert named(api, top) == [top, f"{top}/mid", f"{top}/mid/leaf"]
    found = get(api, leaf)
    assert found["basename"] == "leaf"
    assert found["tags"] == ["t1"]
    assert found["featured"] == 9999
    assert found["default_output_destination"] == "s3://b/x"
    mid = get(api, found["parent"])
    assert found["path"] == [mid["parent"], mid["id"]]
    assert get(api, mid["parent"])["path"] == []


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("", (400, 407, "Invalid project name: name=")),
        (" / ", (400, 407, "Invalid project name: name= / ")),
        ("ab", (400, 12, "Validation error (Project name cannot be blank)")),
        ("abc/d", (400, 12, "Validation error (Project name cannot be blank)")),
    ],
)
def test_bad_names(api: ApiClient, name: str, error: tuple[int, int, str]) -> None:
    assert api.send("projects.create", name=name).error == error


def test_a_path_is_unique_and_case_sensitive(api: ApiClient) -> None:
    name = unique()
    project(api, name)
    status, subcode, text = api.send("projects.create", name=f"{name}/").error
    assert (status, subcode) == (400, 801)
    assert text.startswith(f"Project with the same name already exists: name={name}, company=")
    project(api, name.upper())


def test_unknown_project(api: ApiClient) -> None:
    for endpoint in ("get_by_id", "update", "move", "merge", "delete", "validate_delete"):
        reply = api.send(f"projects.{endpoint}", project="nope", new_location="abc")
        assert reply.error == (400, 401, "Invalid project id: id=nope")


def test_update_describes_and_renames_with_all_below(api: ApiClient) -> None:
    top, other = unique(), unique()
    id = project(api, f"{top}/old")
    project(api, f"{top}/old/kid/deep")
    neighbour = project(api, f"{top}/old2")
    assert api("projects.update", project=id, tags=["x"], description="d") == {
        "updated": 1,
        "fields": {"tags": ["x"], "description": "d"},
    }
    assert api("projects.update", project=id) == {"updated": 1, "fields": {}}
    assert api("projects.update", project=id, name=f"{top}/new")["fields"] == {"name": f"{top}/new"}
    assert named(api, top) == [top, f"{top}/new", f"{top}/new/kid", f"{top}/new/kid/deep", f"{top}/old2"]
    assert get(api, id)["basename"] == "new"
    assert get(api, id)["tags"] == ["x"]
    assert get(api, neighbour)["name"] == f"{top}/old2"
    moved = api.send("projects.update", project=id, name=f"{other}/new").error
    assert moved == (
        400,
        408,
        f"Cannot update project location. use projects.move instead: name={other}/new",
    )
    assert api.send("projects.update", project=id, name=f"{top}/old2").error[:2] == (400, 801)
    assert api.send("projects.update", project=id, name=f"{top}/x").error[:2] == (400, 12)


def test_move(api: ApiClient) -> None:
    top, place = unique(), unique()
    id = project(api, f"{top}/one")
    kid = project(api, f"{top}/one/kid")
    assert api("projects.move", project=id, new_location=f"{place}/new") == {"moved": 2}
    assert get(api, kid)["name"] == f"{place}/new/one/kid"
    assert get(api, get(api, id)["parent"])["name"] == f"{place}/new"
    assert api("projects.move", project=id, new_location="") == {"moved": 2}
    assert "parent" not in get(api, id)
    same = api.send("projects.move", project=id, new_location="").error
    assert same == (400, 410, "Project has the same source and destination paths: location=")
    assert api.send("projects.move", project=id, new_location="one/kid/deeper").error[:2] == (400, 411)
    assert named(api, "one") == ["one", "one/kid"]
    project(api, f"{top}/one")
    assert api.send("projects.move", project=id, new_location=top).error[:2] == (400, 801)
    assert api.send("projects.move", project=id).error[:2] == (400, 12)
    api("projects.delete", project=id)


def test_merge(api: ApiClient) -> None:
    top, target = unique(), unique()
    source, destination = project(api, f"{top}/source"), project(api, target)
    kid = project(api, f"{top}/source/source")
    inside = task(api, source)
    made = model(api, source)
    assert api.send("projects.merge", project=source, destination_project=source).error == (
        400,
        410,
        f"Project has the same source and destination paths: source={source}",
    )
    assert api.send("projects.merge", project=source, destination_project=kid).error[:2] == (400, 411)
    merged = api("projects.merge", project=source, destination_project=destination)
    assert merged == {"moved_entities": 2, "moved_projects": 1}
    assert named(api, top) == [top]
    assert get(api, kid)["name"] == f"{target}/source"
    assert api("tasks.get_by_id", task=inside)["task"]["project"] == destination
    assert api("models.get_by_id", model=made)["model"]["project"] == destination
    name = get(api, kid)["basename"]
    api("projects.merge", project=destination)
    assert "parent" not in get(api, kid)
    assert "project" not in api("tasks.get_by_id", task=inside)["task"]
    api("projects.update", project=kid, name=unique(name))


def test_delete_refuses_what_is_not_archived(api: ApiClient) -> None:
    id = project(api)
    kid = project(api, f"{get(api, id)['name']}/kid")
    inside = task(api, kid)
    text = f"Project has associated tasks (use force=true): id={id}"
    assert api.send("projects.delete", project=id).error == (400, 402, text)
    assert api.send("projects.delete", project=id, delete_contents=True).error == (400, 402, text)
    api("tasks.archive_many", ids=[inside])
    made = model(api, id)
    text = f"Project has associated models (use force=true): id={id}"
    assert api.send("projects.delete", project=id).error == (400, 405, text)
    api("models.archive_many", ids=[made])
    assert api("projects.delete", project=id) == {
        "deleted": 2,
        "disassociated_tasks": 1,
        "deleted_models": 0,
        "deleted_tasks": 0,
        "urls": None,
    }
    assert "project" not in api("tasks.get_by_id", task=inside)["task"]
    assert "project" not in api("models.get_by_id", model=made)["model"]
    assert api.send("projects.get_by_id", project=kid).error[1] == 401


def test_delete_with_contents(api: ApiClient) -> None:
    id = project(api)
    kid = project(api, f"{get(api, id)['name']}/kid")
    first, second = task(api, id), task(api, kid)
    outside = task(api, None)
    made = model(api, id, uri="file:///ready")
    draft = model(api, kid, uri="file:///draft", ready=False, task=first)
    artifact = {"key": "a", "type": "custom", "uri": "http://files/a"}
    api("tasks.add_or_update_artifacts", task=second, artifacts=[artifact])
    for type, of in (("input", made), ("output", draft)):
        api("tasks.add_or_update_model", task=outside, name=type, model=of, type=type)
    queue = api("queues.create", name=unique())["id"]
    api("tasks.enqueue", task=second, queue=queue)
    done = api("projects.delete", project=id, force=True, delete_contents=True)
    assert done["urls"] == {
        "model_urls": ["file:///draft", "file:///ready"],
        "artifact_urls": ["http://files/a"],
        "event_urls": [],
    }
    assert {name: done[name] for name in ("deleted", "deleted_models", "deleted_tasks", "disassociated_tasks")} == {
        "deleted": 2,
        "deleted_models": 2,
        "deleted_tasks": 2,
        "disassociated_tasks": 0,
    }
    for gone in (first, second):
        assert api.send("tasks.get_by_id", task=gone).error[1] == 101
    for gone in (made, draft):
        assert api.send("models.get_by_id", model=gone).error[1] == 201
    assert api("queues.get_by_id", queue=queue)["queue"]["entries"] == []
    assert api("tasks.get_by_id", task=outside)["task"]["models"]["input"][0]["model"] == f"__DELETED__{made}"


def test_validate_delete(api: ApiClient) -> None:
    id = project(api)
    kid = project(api, f"{get(api, id)['name']}/kid")
    task(api, id, type="controller", system_tags=["pipeline"])
    task(api, kid, type="data_processing", system_tags=["dataset"])
    task(api, kid, system_tags=["archived"])
    model(api, kid, system_tags=["archived"])
    assert api("projects.validate_delete", project=id) == {
        "pipelines": 0,
        "datasets": 0,
        "tasks": 3,
        "non_archived_tasks": 2,
        "models": 1,
        "non_archived_models": 0,
        "reports": 0,
        "non_archived_reports": 0,
    }


def test_public_projects_are_read_but_not_changed(api: ApiClient) -> None:
    id = project(api)
    assert api("projects.make_public", ids=[id]) == {"updated": 1}
    assert get(api, id)["company"] == ""
    assert api.send("projects.update", project=id, tags=["x"]).error[:2] == (403, 21)
    assert api("projects.make_private", ids=[id]) == {"updated": 1}
    assert api("projects.update", project=id, tags=["x"])["updated"] == 1
    assert api.send("projects.make_public", ids=[]).error[:2] == (400, 12)
    assert api.send("projects.make_public", ids=["nope"]).error[:2] == (400, 401)


UNTIDY = ["/{}/one", "{}/one/", "//{}//one", " {} / one ", "{}/ /one"]


@pytest.mark.parametrize("form", UNTIDY)
def test_untidy_names_mean_one_project(api: ApiClient, form: str) -> None:
    top = unique()
    id = project(api, f"{top}/one")
    name = form.format(top)
    (found,) = api("projects.get_all", name=f"^{re.escape(name)}$")["projects"]
    assert found["id"] == id
    assert api.send("projects.create", name=name, description="").error[:2] == (400, 801)
    held = task(api, id)
    assert api("tasks.move", ids=[held], project_name=name) == {"project_id": id}
    assert api("projects.update", project=id, name=name)["fields"]["name"] == f"{top}/one"
    other = project(api)
    assert api("projects.move", project=other, new_location=name) == {"moved": 1}
    assert get(api, other)["parent"] == id


def test_names_of_slashes_alone_are_refused(api: ApiClient) -> None:
    for name in ("/", " / / ", "//"):
        assert api.send("projects.create", name=name, description="").error == (
            400,
            407,
            f"Invalid project name: name={name}",
        )


@pytest.mark.parametrize(
    ("endpoint", "request_"),
    [
        ("projects.create", {"name": "a\0bc", "description": ""}),
        ("queues.create", {"name": "a\0bc"}),
        ("tasks.create", {"name": "a\0bc", "type": "training"}),
        ("models.create", {"name": "a\0bc", "uri": "u"}),
        ("models.move", {"ids": [], "project_name": "a\0bc"}),
    ],
)
def test_names_with_a_null_character_are_refused(api: ApiClient, endpoint: str, request_: dict[str, Any]) -> None:
    for _ in range(2):
        status, subcode, text = api.send(endpoint, **request_).error
        assert (status, subcode) == (400, 12)
        assert "field=name" in text
