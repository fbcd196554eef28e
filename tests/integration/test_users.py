"""`users.*`, `organization.*` and `pipelines.*` over HTTP."""

from __future__ import annotations

import csv
import io
from itertools import count
from typing import Any
from uuid import uuid4

import pytest
from clearml_localserver.pytest_plugin import ClearmlServer

from tests.api_client import ApiClient

pytestmark = pytest.mark.integration

NUMBER = count()


def unique(text: str = "thing") -> str:
    return f"{text}{next(NUMBER)}{uuid4().hex[:8]}"


def task(api: ApiClient, **fields: Any) -> str:
    return str(api("tasks.create", **{"name": unique("task"), "type": "training"} | fields)["id"])


def get(api: ApiClient, id: str) -> dict[str, Any]:
    found: dict[str, Any] = api("tasks.get_by_id", task=id)["task"]
    return found


def me(api: ApiClient) -> dict[str, Any]:
    found: dict[str, Any] = api("users.get_current_user")["user"]
    return found


def test_current_user(api: ApiClient) -> None:
    reply = api("users.get_current_user", get_supported_features=True)
    assert reply["user"].keys() >= {"id", "name", "company", "role", "created"}
    assert reply["user"]["company"].keys() == {"id", "name"}
    assert reply["getting_started"]["packageName"] == "clearml"
    assert reply["settings"] == {"max_download_items": 50000}


def test_finding_users(api: ApiClient) -> None:
    own = me(api)
    names = {name: value for name, value in own.items() if name not in ("company", "role")}
    assert names.keys() >= {"id", "name", "created"}
    assert api("users.get_all", id=[own["id"]])["users"] == [names | {"company": own["company"]["id"]}]
    found = api("users.get_all_ex", name=f"^{own['name']}$", only_fields=["name"])["users"]
    assert {"id": own["id"], "name": own["name"]} in found
    assert api("users.get_all_ex", id=[own["id"]])["users"][0]["company"] == {"id": own["company"]["id"]}
    project = api("projects.create", name=unique("proj"))["id"]
    assert api("users.get_all_ex", active_in_projects=[project])["users"] == []
    task(api, project=project)
    assert [user["id"] for user in api("users.get_all_ex", active_in_projects=[project])["users"]] == [own["id"]]
    shown = api("users.get_by_id", user=own["id"])["user"]
    assert shown.keys() >= {"id", "company", "name", "preferences", "created_in_version", "created"}
    error = (400, 301, f"Invalid user id: id=zz, company={own['company']['id']}")
    assert api.send("users.get_by_id", user="zz").error == error


def test_preferences(api: ApiClient) -> None:
    reply = api("users.set_preferences", preferences={"a": {"b": 1}, "x.y": 2})
    assert reply == {"updated": 1, "fields": {"preferences": {"a": {"b": 1}, "x": {"y": 2}}}}
    api("users.set_preferences", preferences={"a": None, "x.z": 3})
    assert api("users.get_preferences") == {"preferences": {"a": None, "x": {"y": 2, "z": 3}}}
    assert api.send("users.set_preferences", preferences="x").error[:2] == (400, 12)


def test_preferences_are_bounded(api: ApiClient) -> None:
    """Whoever may read may set them: without a bound a guest fills the disk, or makes a document that nothing reads."""
    before = api("users.get_preferences")
    half = "x" * 600_000
    api("users.set_preferences", preferences={"half": half})
    assert api.send("users.set_preferences", preferences={"more": half}).error[:2] == (400, 12)
    for parts in (51, 1_000, 100_000):
        assert api.send("users.set_preferences", preferences={"a." * parts + "a": 1}).error[:2] == (400, 12)
    assert api("users.get_preferences") == {"preferences": before["preferences"] | {"half": half}}
    api("users.set_preferences", preferences={"half": None, "b." * 49 + "b": 1})


def test_making_changing_and_deleting_users(api: ApiClient) -> None:
    company, id = me(api)["company"]["id"], unique("user")
    assert api("users.create", id=id, name="fuser one", company=company) == {}
    assert api.send("users.create", id=id, name="abc", company=company).error == (
        400,
        302,
        f"User id already exists: id={id}",
    )
    assert api("users.update", user=id, name="fuser two") == {"updated": 1, "fields": {"name": "fuser two"}}
    assert api("users.get_by_id", user=id)["user"]["name"] == "fuser two"
    assert api("users.update", user="nobody", name="x") == {"updated": 0, "fields": {}}
    assert api.send("users.update").error[:2] == (400, 12)
    assert api("users.delete", user=id) == {}
    assert api.send("users.delete", user=id).error == (400, 301, f"Invalid user id: id={id}")
    assert api.send("users.delete", user=me(api)["id"]).error[:2] == (400, 12)


def test_a_new_name_is_in_the_next_token(api: ApiClient, clearml_server: ClearmlServer) -> None:
    own = me(api)
    api("users.update", user=own["id"], name="Ann", given_name="A")
    later = ApiClient(clearml_server.api_url, clearml_server.credentials)
    assert me(later)["name"] == "Ann"
    assert me(later)["given_name"] == "A"
    later("users.update", user=own["id"], name=own["name"])
    later.close()


def test_company(api: ApiClient) -> None:
    (company,) = api("organization.get_user_companies")["companies"]
    assert company["id"] == me(api)["company"]["id"]
    assert me(api)["id"] in [owner["id"] for owner in company["owners"]]
    assert company["allocated"] == len(company["owners"])


def test_counts(api: ApiClient) -> None:
    before = api("organization.get_entities_count", tasks={"type": ["training"]}, projects={}, models={}, pipelines={})
    project = api("projects.create", name=unique("proj"), system_tags=["hidden", "pipeline"])["id"]
    task(api, project=project)
    task(api, project=project, type="testing")
    after = api(
        "organization.get_entities_count",
        tasks={"type": ["training"]},
        projects={},
        models={},
        pipelines={},
        queues={},
        dataviews={},
    )
    grown = {name: n - before[name] for name, n in after.items()}
    assert grown == {"tasks": 1, "projects": 0, "models": 0, "pipelines": 1}
    assert api.send("organization.get_entities_count", tasks=[1]).error[:2] == (400, 12)
    own = me(api)["id"]
    tasks = {"project": [project], "search_hidden": True}
    assert api("organization.get_entities_count", tasks=tasks, active_users=[own], limit=1) == {"tasks": 1}
    assert api("organization.get_entities_count", tasks=tasks, active_users=["nobody"]) == {"tasks": 0}
    assert api("organization.get_entities_count", tasks={"project": [project]}, search_hidden=True) == {"tasks": 2}
    task(api, project=project, type="controller", system_tags=["pipeline"])
    assert api("organization.get_entities_count", pipeline_runs={"project": [project]}) == {"pipeline_runs": 1}


def test_a_list_as_a_file(api: ApiClient) -> None:
    project = api("projects.create", name=unique("proj"))["id"]
    first = task(api, project=project, name='=1+"1", x', tags=["a", "b"])
    second = task(api, project=project, name="zwei ä")
    columns = [
        {"field": "id", "name": "ID"},
        {"field": "name", "name": "Name"},
        {"field": "status", "name": "Status", "values": [{"key": "created", "value": "Draft"}]},
        {"field": "tags"},
        {"field": "project.name", "name": "Project"},
    ]
    query = {"entity_type": "task", "project": [project], "order_by": ["name"], "field_mappings": columns}
    id = api("organization.prepare_download_for_get_all", **query, only_fields=["id"])["prepare_id"]
    reply = api.http.get(f"/v2.23/organization.download_for_get_all?prepare_id={id}")
    assert reply.headers["content-type"].startswith("text/csv")
    assert reply.content.startswith(b"\xef\xbb\xbf")
    rows = list(csv.reader(io.StringIO(reply.content.decode("utf-8-sig"))))
    name = api("projects.get_by_id", project=project)["project"]["name"]
    assert rows == [
        ["ID", "Name", "Status", "tags", "Project"],
        [first, '\'=1+"1", x', "Draft", "a, b", name],
        [second, "zwei ä", "Draft", "", name],
    ]
    bad = query | {"field_mappings": [{"field": "bogus"}]}
    assert api.send("organization.prepare_download_for_get_all", **bad).error[:2] == (400, 14)
    assert api.send("organization.prepare_download_for_get_all", **query | {"entity_type": "x"}).error[1] == 12
    large = query | {"id": ["x" * 1_000] * 300}
    assert api.send("organization.prepare_download_for_get_all", **large).error[:2] == (400, 12)
    assert api.send("organization.download_for_get_all", prepare_id="nope").error[:2] == (400, 12)
    assert api.send("organization.get_project_usages", projects=[project]).error[:2] == (404, 0)


# --- pipelines --------------------------------------------------------------------------------------------------------


def pipeline(api: ApiClient) -> tuple[str, str]:
    """Return a pipeline's project and its first run."""
    project = api("projects.create", name=f"{unique('proj')}/.pipelines/pipe", system_tags=["hidden", "pipeline"])["id"]
    return project, task(api, project=project, type="controller", system_tags=["pipeline"], name="pipe #1")


def test_starting_a_pipeline_again(api: ApiClient) -> None:
    project, run = pipeline(api)
    queue = api("queues.create", name=unique("queue"))["id"]
    known = [
        {"section": "Args", "name": "a", "value": "1", "type": "int"},
        {"section": "Args", "name": "b", "value": "2"},
    ]
    api("tasks.edit_hyper_params", task=run, hyperparams=known)
    args = [{"name": "a", "value": "7"}, {"name": "new", "value": "8"}]
    reply = api("pipelines.start_pipeline", task=run, queue=queue, args=args, verify_watched_queue=True)
    assert reply == {"pipeline": reply["pipeline"], "enqueued": True, "queue_watched": False}
    again = get(api, reply["pipeline"])
    assert (again["status"], again["parent"], again["name"], again["project"]) == ("queued", run, "pipe", project)
    parameters = again["hyperparams"]["Args"]
    assert {name: item["value"] for name, item in parameters.items()} == {"a": "7", "b": "2", "new": "8"}
    assert parameters["a"]["type"] == "int"
    assert api("queues.get_by_id", queue=queue)["queue"]["entries"][0]["task"] == again["id"]
    worker = unique("worker")
    api("workers.register", worker=worker, queues=[queue])
    watched = api("pipelines.start_pipeline", task=run, queue=queue, verify_watched_queue=True)
    api("workers.unregister", worker=worker)
    assert watched["queue_watched"] is True
    assert "queue_watched" not in api("pipelines.start_pipeline", task=run, queue=queue)


def test_a_pipeline_that_cannot_start_leaves_nothing(api: ApiClient) -> None:
    project, run = pipeline(api)
    assert api.send("pipelines.start_pipeline", task=run, queue="0" * 32).error[:2] == (400, 701)
    assert api.send("pipelines.start_pipeline", task=run).error[:2] == (400, 12)
    assert api.send("pipelines.start_pipeline", task="nope", queue="0" * 32).error[:2] == (400, 101)
    assert [found["id"] for found in api("tasks.get_all", project=[project])["tasks"]] == [run]


def test_deleting_runs(api: ApiClient) -> None:
    project, first = pipeline(api)
    step = task(api, parent=first, project=project)
    queue = api("queues.create", name=unique("queue"))["id"]
    later = api("pipelines.start_pipeline", task=first, queue=queue)["pipeline"]
    reply = api("pipelines.delete_runs", project=project, ids=[first, step, "nope"])
    assert [done["id"] for done in reply["succeeded"]] == [first]
    assert reply["succeeded"][0].keys() == {
        "id",
        "deleted",
        "updated_children",
        "updated_models",
        "deleted_models",
        "urls",
    }
    assert reply["failed"] == []
    assert api.send("tasks.get_by_id", task=step).error[1] == 101
    assert get(api, later)["status"] == "queued"
    text = f"At least one pipeline run should be left: project={project}"
    assert api.send("pipelines.delete_runs", project=project, ids=[later]).error == (400, 160, text)
    assert api.send("pipelines.delete_runs", project="nope", ids=["nope"]).error[:2] == (400, 160)
