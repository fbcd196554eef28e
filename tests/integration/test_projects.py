"""`projects.*` over HTTP: the tree of projects, what deleting, moving and merging do, figures and look-ups."""

from __future__ import annotations

import re
from hashlib import md5
from itertools import count
from typing import Any
from uuid import uuid4

import pytest

from tests.api_client import ApiClient

pytestmark = pytest.mark.integration

NUMBER = count()


def unique(text: str = "proj") -> str:
    return f"{text}{next(NUMBER)}{uuid4().hex[:8]}"


def project(api: ApiClient, name: str | None = None, **fields: Any) -> str:
    return str(api("projects.create", name=name or unique(), description="", **fields)["id"])


def task(api: ApiClient, project_id: str | None, **fields: Any) -> str:
    wanted = {"name": unique("task"), "type": "training"} | ({"project": project_id} if project_id else {})
    return str(api("tasks.create", **wanted | fields)["id"])


def model(api: ApiClient, project_id: str, **fields: Any) -> str:
    wanted = {"name": unique("model"), "uri": f"file:///{uuid4().hex}", "project": project_id}
    return str(api("models.create", **wanted | fields)["id"])


def get(api: ApiClient, id: str) -> dict[str, Any]:
    found: dict[str, Any] = api("projects.get_by_id", project=id)["project"]
    return found


def named(api: ApiClient, name: str) -> list[str]:
    found = api("projects.get_all", name=f"^{name}", search_hidden=True, order_by=["name"])["projects"]
    return [item["name"] for item in found]


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


def test_finding_in_the_tree(api: ApiClient) -> None:
    top = unique()
    id = project(api, top)
    kid = project(api, f"{top}/kid")
    deep = project(api, f"{top}/kid/deep")
    hidden = project(api, f"{top}/.pipelines", system_tags=["hidden", "pipeline"])

    def find(**query: Any) -> list[str]:
        return [item["id"] for item in api("projects.get_all_ex", order_by=["name"], **query)["projects"]]

    assert find(parent=[id]) == [kid, deep]
    assert find(parent=[id], search_hidden=True) == [hidden, kid, deep]
    assert find(parent=[id], shallow_search=True) == [kid]
    assert id in find(shallow_search=True)
    assert kid not in find(shallow_search=True)
    assert id in find(parent=[None])
    assert find(name=f"^{top}$") == [id]
    assert find(name=top, children_type="pipeline") == [id]
    assert find(name=top, children_type="pipeline", search_hidden=True) == [id, hidden]
    task(api, deep, type="data_processing", system_tags=["dataset"])
    assert find(name=top, children_type="dataset") == [id, kid, deep]
    assert find(name=top, children_type="report") == []
    assert api.send("projects.get_all_ex", children_type="bogus").error[:2] == (400, 12)
    found = api("projects.get_all_ex", id=[hidden, id])["projects"]
    assert [item.get("hidden") for item in found] == [None, True]


def test_stats(api: ApiClient) -> None:
    top = unique()
    id = project(api, top)
    kid = project(api, f"{top}/kid")
    running, done, gone = task(api, id), task(api, kid), task(api, kid)
    task(api, kid, system_tags=["hidden"])
    api("tasks.archive_many", ids=[gone])
    api("tasks.started", task=running)
    api("tasks.started", task=done)
    api("tasks.completed", task=done)
    model(api, kid)

    def find(**query: Any) -> dict[str, Any]:
        found: dict[str, Any] = api("projects.get_all_ex", id=[id], include_stats=True, **query)["projects"][0]
        return found

    stats = find()["stats"]["active"]
    assert {name: n for name, n in stats["status_count"].items() if n} == {
        "created": 1,
        "completed": 1,
        "in_progress": 1,
    }
    assert len(stats["status_count"]) == 10
    assert (stats["total_tasks"], stats["completed_tasks_24h"], stats["total_runtime"]) == (3, 1, 0)
    assert stats["last_task_run"] == api("tasks.get_by_id", task=done)["task"]["started"]
    assert find()["sub_projects"] == [{"id": kid, "name": f"{top}/kid"}]
    assert find(stats_with_children=False)["stats"]["active"]["total_tasks"] == 1
    assert find(stats_for_state="archived").keys() == find().keys()
    assert api.send("projects.get_all_ex", include_stats=True, stats_for_state="zz").error[:2] == (400, 12)
    contents = api("projects.get_all_ex", id=[id, kid], check_own_contents=True, only_fields=["name"])["projects"]
    assert contents == [
        {"id": id, "name": top, "own_tasks": 1, "own_models": 0},
        {"id": kid, "name": f"{top}/kid", "own_tasks": 2, "own_models": 1},
    ]


def test_active_users(api: ApiClient) -> None:
    top = unique()
    id = project(api, f"{top}/kid")
    user = api("tasks.get_by_id", task=task(api, id))["task"]["user"]
    empty = project(api, f"{top}/empty")

    def find(users: list[str]) -> list[str]:
        found = api("projects.get_all_ex", name=top, active_users=users, order_by=["name"])["projects"]
        return [item["name"] for item in found]

    assert find([user]) == [top, f"{top}/kid"]
    assert find(["nobody"]) == []
    assert api("projects.get_user_names", projects=[id])["users"][0]["id"] == user
    assert api("projects.get_user_names", projects=[empty])["users"] == []


def test_dataset_stats(api: ApiClient) -> None:
    id = project(api)
    version = task(api, id, type="data_processing", system_tags=["dataset"])
    found = api("projects.get_all_ex", id=[id], include_dataset_stats=True)["projects"][0]
    assert found["dataset_stats"] == {"file_count": 0, "total_size": 0}
    api("tasks.edit", task=version, runtime={"ds_file_count": 3, "ds_total_size": 10})
    found = api("projects.get_all_ex", id=[id], include_dataset_stats=True)["projects"][0]
    assert found["dataset_stats"] == {"file_count": 3, "total_size": 10}
    empty = project(api)
    assert api("projects.get_all_ex", id=[empty], include_dataset_stats=True)["projects"][0]["dataset_stats"] is None


def test_only_fields_of_a_list_knows_no_figures(api: ApiClient) -> None:
    assert api.send("projects.get_all_ex", only_fields=["stats"]).error == (
        400,
        14,
        "Fields not defined for object: fields=(stats), object=Project",
    )


def parameter(name: str, value: str) -> dict[str, str]:
    return {"section": "Args", "name": name, "value": value}


def test_lookups(api: ApiClient) -> None:
    top = unique()
    id = project(api, top, tags=["own"], system_tags=["sys"])
    kid = project(api, f"{top}/kid")
    parent = task(api, id, name="the parent")
    first = task(api, kid, tags=["tt", "a"], parent=parent)
    for of, values in ((first, ("lr", "0.1")), (parent, ("x.y", "1"))):
        api("tasks.edit_hyper_params", task=of, hyperparams=[parameter(*values)])
    made = model(api, kid, tags=["mt"], metadata={"k1": {"key": "k1", "type": "str", "value": "v1"}})

    names = [{"section": "Args", "name": "lr"}, {"section": "Args", "name": "x.y"}]
    assert api("projects.get_hyper_parameters", project=id) == {"total": 2, "remaining": 0, "parameters": names}
    assert api("projects.get_hyper_parameters", project=id, page=0, page_size=1) == {
        "total": 1,
        "remaining": 1,
        "parameters": names[:1],
    }
    assert api("projects.get_hyper_parameters", project=id, include_subprojects=False)["parameters"] == names[1:]
    assert api.send("projects.get_hyper_parameters").status == 200

    wanted = {"section": "Args", "name": "lr", "projects": [id]}
    assert api("projects.get_hyperparam_values", **wanted) == {"total": 1, "values": ["0.1"]}
    assert api("projects.get_hyperparam_values", **wanted, pattern="9") == {"total": 0, "values": []}
    assert api.send("projects.get_hyperparam_values", **wanted, pattern="(").error[:2] == (400, 21)

    assert api("projects.get_model_metadata_keys", project=id) == {"total": 1, "remaining": 0, "keys": ["k1"]}
    assert api("projects.get_model_metadata_values", projects=[id], key="k1") == {"total": 1, "values": ["v1"]}
    assert api("projects.get_model_metadata_values", projects=[id], key="k2") == {"total": 0, "values": []}

    assert api("projects.get_task_tags", projects=[id]) == {"tags": ["a", "tt"]}
    assert api("projects.get_task_tags", projects=[id], filter={"tags": ["tt"]}) == {"tags": ["a", "tt"]}
    assert api("projects.get_task_tags", projects=[id], filter={"tags": ["zz"]}) == {"tags": []}
    assert api("projects.get_model_tags", projects=[id], include_system=True) == {"tags": ["mt"], "system_tags": []}
    assert api("projects.get_project_tags", projects=[id], include_system=True) == {
        "tags": ["own"],
        "system_tags": ["sys"],
    }
    everywhere = api("organization.get_tags", include_system=True)
    assert {"tt", "mt", "own"} <= set(everywhere["tags"])
    assert everywhere["tags"] == sorted(everywhere["tags"])
    assert "sys" in everywhere["system_tags"]
    assert set(api("organization.get_tags", filter={"tags": ["tt"], "system_tags": []})["tags"]) == {"tt", "a"}

    parents = [{"id": parent, "name": "the parent", "project": {"id": id, "name": top}}]
    assert api("projects.get_task_parents", projects=[id]) == {"parents": parents}
    assert api("projects.get_task_parents", projects=[id], tasks_state="archived") == {"parents": []}
    assert api("projects.get_task_parents", projects=[id], tasks_state=None) == {"parents": parents}
    assert api("projects.get_task_parents", projects=[id], include_subprojects=False) == {"parents": []}

    event = {"type": "training_stats_scalar", "metric": "lo.ss", "variant": "v $", "iter": 1, "value": 1.0}
    api("events.add", task=first, **event)
    metric = {
        "metric": "lo.ss",
        "metric_hash": md5(b"lo.ss", usedforsecurity=False).hexdigest(),
        "variant": "v $",
        "variant_hash": md5(b"v $", usedforsecurity=False).hexdigest(),
    }
    assert api("projects.get_unique_metric_variants", project=id) == {"metrics": [metric]}
    assert api("projects.get_unique_metric_variants", ids=[first]) == {"metrics": [metric]}
    assert api("projects.get_unique_metric_variants", project=id, model_metrics=True) == {"metrics": []}
    assert made


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
