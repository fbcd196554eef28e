"""`projects.*` over HTTP: finding projects, their figures, and what they hold."""

from __future__ import annotations

from hashlib import md5
from typing import Any

import pytest

from tests.api_client import ApiClient
from tests.integration.project_calls import model, project, task, unique

pytestmark = pytest.mark.integration


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
    both = api("projects.get_all_ex", id=[id, kid], include_stats=True, stats_with_children=False)["projects"]
    counts = api("projects.get_all_ex", id=[id, kid], include_stats=True, stats_counts_only=True)["projects"]
    assert [project["stats"]["active"] for project in counts] == [
        {"status_count": project["stats"]["active"]["status_count"]} for project in both
    ]
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
