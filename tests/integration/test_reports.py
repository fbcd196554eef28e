"""`reports.*` over HTTP."""

from __future__ import annotations

import json
import time
from itertools import count
from typing import Any
from uuid import uuid4

import pytest

from tests.api_client import ApiClient

pytestmark = pytest.mark.integration

NUMBER = count()


def unique(text: str = "thing") -> str:
    return f"{text} {next(NUMBER)} {uuid4().hex[:8]}"


@pytest.fixture
def project(api: ApiClient) -> str:
    return str(api("projects.create", name=f"{unique('alpha')}/beta")["id"])


def make(api: ApiClient, **fields: Any) -> str:
    return str(api("reports.create", **{"name": "a report"} | fields)["id"])


def get(api: ApiClient, id: str) -> dict[str, Any]:
    found: dict[str, Any] = api("tasks.get_by_id", task=id)["task"]
    return found


def path_of(api: ApiClient, project_id: str) -> str:
    return str(api("projects.get_by_id", project=project_id)["project"]["name"])


def found(api: ApiClient, **query: Any) -> list[str]:
    return [task["id"] for task in api("reports.get_all_ex", only_fields=["id"], **query)["tasks"]]


def test_a_report_lives_hidden_beside_its_project_and_keeps_its_text(api: ApiClient, project: str) -> None:
    reply = api("reports.create", name="First", project=project, comment="c", report="# Hi", report_assets=["u"],
                tags=["t"], status="published", system_tags=["x"])  # fmt: skip
    task = get(api, reply["id"])
    assert (task["type"], task["system_tags"], task["status"]) == ("report", ["hidden", "reports"], "created")
    assert (task["name"], task["comment"], task["tags"]) == ("First", "c", ["t"])
    assert (task["report"], task["report_assets"]) == ("# Hi", ["u"])
    folder = api("projects.get_by_id", project=reply["project_id"])["project"]
    assert (folder["name"], folder["description"]) == (f"{path_of(api, project)}/.reports", "Reports project")
    assert folder["system_tags"] == ["hidden", "reports"]
    assert api("reports.create", name="Second", project=project)["project_id"] == reply["project_id"]
    assert api("reports.create", name="Third", project=reply["project_id"])["project_id"] == reply["project_id"]
    assert path_of(api, api("reports.create", name="Rootless")["project_id"]) == ".reports"
    assert reply["id"] not in [task["id"] for task in api("tasks.get_all", project=[reply["project_id"]])["tasks"]]


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({}, (400, 12)),
        ({"name": "ab"}, (400, 12)),
        ({"name": "  ab  "}, (400, 800)),
        ({"name": "abc", "tags": "t"}, (400, 12)),
        ({"name": "abc", "report": 5}, (400, 12)),
        ({"name": "abc", "project": "nope"}, (400, 401)),
    ],
)
def test_which_reports_cannot_be_made(api: ApiClient, fields: dict[str, Any], error: tuple[int, int]) -> None:
    assert api.send("reports.create", **fields).error[:2] == error


def test_what_of_a_report_changes_and_when(api: ApiClient) -> None:
    id = make(api)
    assert api("reports.update", task=id) == {"updated": 0, "fields": {}}
    fields = {"name": "renamed", "comment": "c2", "report": "text", "tags": ["t2"], "report_assets": ["u1"]}
    assert api("reports.update", task=id, **fields) == {"updated": 1, "fields": fields}
    assert {name: get(api, id)[name] for name in fields} == fields
    assert api("reports.update", task=id, report="") == {"updated": 1, "fields": {"report": ""}}
    assert api("reports.update", task=id, report=None) == {"updated": 1, "fields": {"report": None}}
    assert "report" not in get(api, id)
    assert api("reports.update", task=id, project="nope", status="published") == {"updated": 0, "fields": {}}
    assert api.send("reports.update", task=id, name="ab").error[:2] == (400, 12)
    api("reports.publish", task=id)
    text = "Invalid task status: expected=created, status=published"
    assert api.send("reports.update", task=id, report="x").error == (400, 110, text)
    assert api("reports.update", task=id, name="published") == {"updated": 1, "fields": {"name": "published"}}


def test_moving_makes_folders_and_takes_empty_ones_away(api: ApiClient, project: str) -> None:
    first = api("reports.create", name="moved", project=project)
    name = unique("gamma") + "/delta"
    there = api("reports.move", task=first["id"], project_name=name, project=project)["project_id"]
    assert path_of(api, there) == f"{name}/.reports"
    assert api.send("projects.get_by_id", project=first["project_id"]).error[:2] == (400, 401)
    back = api("reports.move", task=first["id"], project=project)["project_id"]
    assert api.send("projects.get_by_id", project=there).error[:2] == (400, 401)
    assert api("reports.move", task=first["id"], project=back)["project_id"] == back
    assert path_of(api, api("reports.move", task=first["id"], project=None)["project_id"]) == ".reports"
    for data, error in (({}, (400, 11)), ({"project_name": ""}, (400, 11)), ({"project_name": "ab"}, (400, 12))):
        assert api.send("reports.move", task=first["id"], **data).error[:2] == error
    assert api.send("reports.move", task=first["id"], project="nope").error[:2] == (400, 401)


def test_a_folder_that_holds_more_stays(api: ApiClient, project: str) -> None:
    first, second = (api("reports.create", name="a report", project=project) for _ in range(2))
    api("reports.delete", task=first["id"])
    assert path_of(api, second["project_id"])
    api("reports.delete", task=second["id"])
    assert api.send("projects.get_by_id", project=second["project_id"]).error[:2] == (400, 401)
    assert path_of(api, project)


@pytest.mark.parametrize("status", ["created", "in_progress", "queued", "published"])
def test_publishing_archiving_and_deleting_work_in_any_status(api: ApiClient, status: str) -> None:
    id = make(api)
    if status == "in_progress":
        api("tasks.started", task=id)
    elif status == "queued":
        api("tasks.enqueue", task=id)
    elif status == "published":
        api("reports.publish", task=id)
    assert api("reports.archive", task=id, message="why") == {"archived": 1}
    assert api("reports.archive", task=id, message="why") == {"archived": 1}
    task = get(api, id)
    assert (task["status"], task["status_message"], task["status_reason"]) == (status, "why", "")
    assert task["system_tags"] == ["archived", "hidden", "reports"]
    assert api("reports.unarchive", task=id) == {"unarchived": 1}
    assert get(api, id)["system_tags"] == ["hidden", "reports"]
    reply = api("reports.publish", task=id, message="mm", comment="passed over")
    names = "status status_reason status_message status_changed last_update last_change last_changed_by published"
    assert reply["updated"] == 1 and reply["fields"].keys() == set(names.split())
    assert (reply["fields"]["status"], reply["fields"]["status_message"]) == ("published", "mm")
    assert "comment" not in get(api, id)
    assert api("reports.delete", task=id) == {"deleted": 1}
    assert api.send("reports.delete", task=id).error[:2] == (400, 101)


@pytest.mark.parametrize("name", ["update", "move", "publish", "archive", "unarchive", "delete"])
def test_only_reports_are_taken_for_reports(api: ApiClient, name: str) -> None:
    task = api("tasks.create", name="no report", type="training")["id"]
    data = {"project_name": "somewhere", "comment": "c"}
    assert api.send(f"reports.{name}", task=task, **data).error == (400, 150, f"Passed task is not report: id={task}")
    assert api.send(f"reports.{name}", task="nope", **data).error[:2] == (400, 101)
    assert api.send(f"reports.{name}", **data).error[:2] == (400, 12)
    report = api("tasks.clone", task=make(api))["id"]
    assert api.send(f"reports.{name}", task=report, **data).status == 200
    public = make(api)
    api("tasks.make_public", ids=[public])
    assert api.send(f"reports.{name}", task=public, **data).error[:2] == (403, 21)


def test_reports_are_found_by_project_and_as_tasks_are(api: ApiClient, project: str) -> None:
    mark = unique("mark")
    here = make(api, project=project, name=f"{mark} one", tags=["red"])
    gone = make(api, project=project, name=f"{mark} two")
    top = make(api, name=f"{mark} three")
    api("tasks.create", name=f"{mark} task", type="training", project=project)
    api("reports.archive", task=gone)
    folder = get(api, here)["project"]
    above = api("projects.get_by_id", project=project)["project"]["parent"]
    assert set(found(api, name=mark)) == {here, gone, top}
    assert set(found(api, project=[project])) == set(found(api, project=folder)) == {here, gone}
    assert found(api, project=[above]) == []
    assert set(found(api, project=[above], include_subprojects=True)) == {here, gone}
    assert found(api, name=mark, project=["-" + project]) == [top]
    assert found(api, project=[project], system_tags=["archived"]) == [gone]
    assert found(api, project=[project], tags=["red"], type=["training"]) == [here]
    shown = api("reports.get_all_ex", id=[here], only_fields=["name", "project.name"])["tasks"]
    assert shown == [{"id": here, "name": f"{mark} one", "project": {"id": folder, "name": path_of(api, folder)}}]
    page = api("reports.get_all_ex", name=mark, order_by=["-name"], size=2, scroll_id=None, only_fields=["id"])
    assert [task["id"] for task in page["tasks"]] == [gone, top]
    rest = api("reports.get_all_ex", name=mark, order_by=["-name"], size=2, scroll_id=page["scroll_id"])
    assert [task["id"] for task in rest["tasks"]] == [here]
    assert api.send("reports.get_all_ex", only_fields=["bogus"]).error[:2] == (400, 14)
    assert api.send("reports.get_all_ex", name="(").error[:2] == (400, 21)
    api("tasks.make_public", ids=[top])
    assert set(found(api, name=mark)) == {here, gone, top}
    assert set(found(api, name=mark, allow_public=False)) == {here, gone}


def test_reports_are_counted(api: ApiClient, project: str) -> None:
    make(api, project=project, name="Rep one")
    make(api, project=project, name="another")
    counts = api("organization.get_entities_count", reports={"project": [project]}, tasks={"project": [project]})
    assert counts == {"reports": 2, "tasks": 0}
    assert api("organization.get_entities_count", reports={"project": [project], "name": "Rep"}) == {"reports": 1}


def test_tags_of_reports_alone_are_listed(api: ApiClient) -> None:
    tag = unique("tag")
    make(api, tags=[tag])
    api("tasks.create", name="task", type="training", tags=[f"{tag} of a task"])
    for flags in ({}, {"include_system": True}, {"filter": {"tags": ["x"]}}):
        reply = api("reports.get_tags", **flags)
        assert reply.keys() == {"tags"} and tag in reply["tags"] and f"{tag} of a task" not in reply["tags"]


# ---- what tasks have reported ----------------------------------------------------------------------------------------


def reported(api: ApiClient, name: str, project: str) -> str:
    task = str(api("tasks.create", name=name, type="training", project=project)["id"])
    now = int(time.time() * 1000)
    base = {"task": task, "worker": "w", "timestamp": now}
    events = [
        *({"type": "training_stats_scalar", "metric": "loss", "variant": "train", "iter": i, "value": i} | base
          for i in range(4)),
        *({"type": "plot", "metric": "pm", "variant": "pv", "iter": i, "plot_str": "{}"} | base for i in range(3)),
        *({"type": "training_debug_image", "metric": "im", "variant": "iv", "iter": i, "url": f"u{i}"} | base
          for i in range(3)),
        {"type": "training_stats_scalar", "metric": "single", "variant": "acc", "iter": -(2**31), "value": 0.5} | base,
    ]  # fmt: skip
    lines = "\n".join(map(json.dumps, events))
    headers = {"Content-Type": "application/json-lines"}
    assert api.http.post("/events.add_batch", content=lines, headers=headers).status_code == 200
    return task


def test_data_of_tasks_block_by_block(api: ApiClient, project: str) -> None:
    first, second = (reported(api, f"data {n}", project) for n in range(2))
    empty = api("tasks.create", name="empty", type="training", project=project)["id"]
    ids = {"id": [first, second, empty, "nope"], "only_fields": ["name"], "order_by": ["name"]}
    names = [{"id": first, "name": "data 0"}, {"id": second, "name": "data 1"}, {"id": empty, "name": "empty"}]
    assert api("reports.get_task_data", **ids) == {"tasks": names}
    curves = api("reports.get_task_data", **ids, scalar_metrics_iter_histogram={"metrics": [{"metric": "loss"}]})
    curve = {"x": [0, 1, 2, 3], "y": [0, 1, 2, 3]}
    assert curves["scalar_metrics_iter_histogram"] == {
        "loss": {"train": {first: {"name": "data 0", **curve}, second: {"name": "data 1", **curve}}}
    }
    plots = api("reports.get_task_data", **ids, plots={"iters": 2})["plots"]["pm"]["pv"]
    assert plots.keys() == {first, second} and plots[first].keys() == {"1", "2"}
    assert plots[first]["2"]["name"] == "data 0" and plots[first]["2"]["plots"][0]["plot_str"] == "{}"
    images = api("reports.get_task_data", **ids, debug_images={"metrics": [{"metric": "im"}]})["debug_images"]
    assert [(row["task"], [at["iter"] for at in row["iterations"]]) for row in images] == [
        (first, [2]), (second, [2]), (empty, []),
    ]  # fmt: skip
    values = api("reports.get_task_data", **ids, single_value_metrics={})["single_value_metrics"]
    assert [(row["task"], row["task_name"], row["values"][0]["value"]) for row in values] == [
        (first, "data 0", 0.5), (second, "data 1", 0.5),
    ]  # fmt: skip
    whole = api("reports.get_task_data", project=[project], page=0, page_size=1, order_by=["-name"], plots={})
    assert [task["id"] for task in whole["tasks"]] == [empty] and whole["plots"] == {}
    nothing = api("reports.get_task_data", id=["nope"], plots={}, debug_images={}, model_events=True)
    assert nothing == {"tasks": [], "plots": {}, "debug_images": []}
    assert api("reports.get_task_data", "v2.0", id=[first], debug_images={})["debug_images"][0]["task"] == first


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ({"scalar_metrics_iter_histogram": {"key": "bogus"}}, (400, 12)),
        ({"scalar_metrics_iter_histogram": {"samples": 0}}, (400, 12)),
        ({"plots": {"iters": "x"}}, (400, 12)),
        ({"plots": []}, (400, 12)),
        ({"debug_images": {"metrics": [1]}}, (400, 12)),
        ({"only_fields": ["bogus"]}, (400, 14)),
    ],
)
def test_which_data_cannot_be_asked_for(api: ApiClient, data: dict[str, Any], error: tuple[int, int]) -> None:
    assert api.send("reports.get_task_data", id=["nope"], **data).error[:2] == error
