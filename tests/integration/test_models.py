"""`models.*` over HTTP: making, changing, publishing, deleting; what older clients see."""

from __future__ import annotations

from itertools import count
from typing import Any
from uuid import uuid4

import pytest

from tests.api_client import ApiClient

pytestmark = pytest.mark.integration

NUMBER = count()
UNKNOWN = "0" * 32


def unique(text: str = "thing") -> str:
    return f"{text}{next(NUMBER)}{uuid4().hex[:8]}"


def model(api: ApiClient, **fields: Any) -> str:
    return str(api("models.create", **{"name": unique("model"), "uri": f"file:///{uuid4().hex}"} | fields)["id"])


def task(api: ApiClient, **fields: Any) -> str:
    return str(api("tasks.create", **{"name": unique("task"), "type": "training"} | fields)["id"])


def project(api: ApiClient) -> str:
    return str(api("projects.create", name=unique("project"))["id"])


def get(api: ApiClient, id: str, version: str = "v2.23") -> dict[str, Any]:
    found: dict[str, Any] = api("models.get_by_id", version, model=id)["model"]
    return found


def item(key: str, value: str = "v") -> dict[str, str]:
    return {"key": key, "type": "str", "value": value}


def test_a_new_model(api: ApiClient) -> None:
    home, maker = project(api), task(api)
    id = model(
        api, project=home, task=maker, labels={"a": 1}, parent="ignored", public=False, metadata={"k": item("k")}
    )
    found = get(api, id)
    assert found.keys() >= {"user", "company", "created", "last_update", "last_change", "last_changed_by"}
    assert {name: found[name] for name in ("ready", "tags", "system_tags", "design", "labels", "metadata")} == {
        "ready": True,
        "tags": [],
        "system_tags": [],
        "design": {},
        "labels": {"a": 1},
        "metadata": {"k": item("k")},
    }
    assert (found["project"], found["task"], found["last_iteration"], found["last_metrics"]) == (home, maker, 0, {})
    again = api.send("models.create", name=found["name"], uri=found["uri"])
    assert again.data["created"] is True
    assert api("models.create", name="no file", uri="")["created"] is True


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"name": "ab"}, (400, 800, "Data validation error: name=String value is too short")),
        ({"name": None}, (400, 12, "name")),
        ({"uri": None}, (400, 12, "uri")),
        ({"project": UNKNOWN}, (400, 12, UNKNOWN)),
        ({"task": UNKNOWN}, (400, 101, f"Invalid task id: id={UNKNOWN}, company=")),
        ({"labels": {"a": "x"}}, (400, 800, "labels.a")),
        ({"labels": {"a": 1.5}}, (400, 12, "labels")),
        ({"metadata": [item("k")]}, (400, 12, "metadata")),
        ({"metadata": {"k": {"value": 5}}}, (400, 12, "metadata")),
        ({"tags": "x"}, (400, 12, "tags")),
    ],
)
def test_refused_models(api: ApiClient, fields: dict[str, Any], error: tuple[int, int, str]) -> None:
    status, subcode, text = api.send("models.create", **{"name": "model", "uri": "file:///x"} | fields).error
    assert (status, subcode) == error[:2]
    assert error[2] in text


def test_edit_changes_everything(api: ApiClient) -> None:
    id, maker = model(api, ready=False), task(api)
    wanted = {
        "name": "other name",
        "uri": "file:///other",
        "comment": "c",
        "tags": ["t"],
        "system_tags": [],
        "framework": "PyTorch",
        "design": {"design": ""},
        "labels": {"cat": 0},
        "project": project(api),
        "task": maker,
    }
    reply = api("models.edit", model=id, iteration=4, **wanted)
    assert reply["updated"] == 1
    stamps = {"ui_cache", "last_change", "last_changed_by", "last_update"}
    assert reply["fields"].keys() == wanted.keys() | stamps
    assert wanted.items() <= get(api, id).items()
    assert api("tasks.get_by_id", task=maker)["task"]["last_iteration"] == 4
    api("models.edit", model=id, iteration=2)
    assert api("tasks.get_by_id", task=maker)["task"]["last_iteration"] == 4
    assert api("models.edit", model=id) == {"updated": 0, "fields": {}}
    assert api("models.edit", model=id, ready=True)["fields"]["ready"] is True
    assert api("models.edit", model=id, ready=False)["updated"] == 1
    for field, kind in (("project", "Project"), ("task", "Task")):
        text = f"Invalid value for fields (expecting {kind} id): id={UNKNOWN}, field={field}"
        assert api.send("models.edit", model=id, **{field: UNKNOWN}).error == (400, 16, text)


def test_update_changes_how_a_model_is_found(api: ApiClient) -> None:
    id = model(api)
    before = get(api, id)
    ignored = {"ready": False, "labels": {"a": 1}, "design": {"x": 1}, "framework": "x", "task": UNKNOWN}
    assert api("models.update", model=id, **ignored) == {"updated": 0, "fields": {}}
    reply = api("models.update", model=id, name="new name", tags=["t"], metadata={"k": item("k")}, **ignored)
    assert reply["fields"].keys() == {"name", "tags", "metadata", "last_change", "last_changed_by"}
    after = get(api, id)
    assert (after["name"], after["ready"], after["last_update"]) == ("new name", True, before["last_update"])
    assert api.send("models.update", model=id, metadata=[item("k")]).error[:2] == (400, 12)


@pytest.mark.parametrize(
    ("endpoint", "fields"),
    [
        ("edit", {"name": "abc"}),
        ("update", {"name": "abc"}),
        ("set_ready", {}),
        ("delete", {"force": True}),
        ("add_or_update_metadata", {"metadata": [item("k")]}),
        ("delete_metadata", {"keys": ["k"]}),
    ],
)
def test_unknown_model(api: ApiClient, endpoint: str, fields: dict[str, Any]) -> None:
    status, subcode, text = api.send(f"models.{endpoint}", model=UNKNOWN, **fields).error
    assert (status, subcode) == (400, 201)
    assert text.startswith("Invalid model id: company=")
    assert text.endswith(f", id={UNKNOWN}")


def test_unknown_model_to_read(api: ApiClient) -> None:
    status, subcode, text = api.send("models.get_by_id", model=UNKNOWN).error
    assert (status, subcode) == (400, 201)
    assert text.startswith(f"Invalid model id (no such public or company model): id={UNKNOWN}, company=")


def test_metadata(api: ApiClient) -> None:
    id = model(api)
    assert api("models.add_or_update_metadata", model=id, metadata=[item("a"), item("b.c")]) == {"updated": 1}
    api("models.add_or_update_metadata", model=id, metadata=[item("a", "2")], replace_metadata=False)
    assert get(api, id)["metadata"] == {"a": item("a", "2"), "b.c": item("b.c")}
    assert get(api, id, "v2.16")["metadata"] == [item("a", "2"), item("b.c")]
    assert api("models.get_all", **{"metadata.b%2Ec.value": "v", "id": [id], "only_fields": ["id"]}) == {
        "models": [{"id": id}]
    }
    assert api("models.delete_metadata", model=id, keys=["a", "zz"]) == {"updated": 1}
    assert api("models.delete_metadata", model=id, keys=["zz"]) == {"updated": 1}
    api("models.add_or_update_metadata", model=id, metadata=[item("z")], replace_metadata=True)
    assert get(api, id)["metadata"] == {"z": item("z")}
    for bad in ([], [{"key": "i", "type": "int", "value": 5}], [{"key": "i", "value": "5"}]):
        assert api.send("models.add_or_update_metadata", model=id, metadata=bad).error[:2] == (400, 12)


def test_publishing_publishes_the_task(api: ApiClient) -> None:
    maker = task(api)
    id = model(api, ready=False, task=maker)
    api("tasks.started", task=maker)
    assert api.send("models.set_ready", model=id).error[:2] == (400, 110)
    assert get(api, id)["ready"] is False
    reply = api("models.set_ready", model=id, force_publish_task=True)
    assert (reply["updated"], reply["fields"], reply["published_task"]["id"]) == (1, {}, maker)
    assert reply["published_task"]["data"]["fields"]["status"] == "published"
    assert get(api, id)["ready"] is True
    assert api("tasks.get_by_id", task=maker)["task"]["status"] == "published"
    status, subcode, text = api.send("models.set_ready", model=id).error
    assert (status, subcode) == (400, 203)
    assert text.startswith("Model is ready: company=")
    assert text.endswith(f", model={id}")


def test_publishing_alone(api: ApiClient) -> None:
    maker = task(api)
    id = model(api, ready=False, task=maker)
    assert api("models.set_ready", model=id, publish_task=False) == {"updated": 1, "fields": {}}
    assert api("tasks.get_by_id", task=maker)["task"]["status"] == "created"
    later = model(api, ready=False)
    assert api("models.set_ready", model=later) == {"updated": 1, "fields": {}}


def test_many_at_once(api: ApiClient) -> None:
    ready, draft = model(api), model(api, ready=False)
    reply = api("models.publish_many", ids=[ready, draft, UNKNOWN])
    assert [done["id"] for done in reply["succeeded"]] == [draft]
    assert [(failed["id"], failed["error"]["codes"]) for failed in reply["failed"]] == [
        (ready, [400, 203]),
        (UNKNOWN, [400, 201]),
    ]
    assert reply["failed"][1]["error"]["data"]["id"] == UNKNOWN
    reply = api("models.archive_many", ids=[ready, UNKNOWN])
    assert reply["succeeded"] == [{"id": ready, "archived": True}]
    assert get(api, ready)["system_tags"] == ["archived"]
    assert ready not in [found["id"] for found in api("models.get_all", system_tags=["-archived"])["models"]]
    assert api("models.unarchive_many", ids=[ready])["succeeded"] == [{"id": ready, "unarchived": True}]
    assert get(api, ready)["system_tags"] == []
    reply = api("models.delete_many", ids=[ready, UNKNOWN])
    assert [done.keys() for done in reply["succeeded"]] == [{"id", "deleted", "url"}]
    for endpoint in ("publish_many", "archive_many", "delete_many", "make_public"):
        assert api.send(f"models.{endpoint}", ids=[]).error[:2] == (400, 12)


def test_delete(api: ApiClient) -> None:
    user, id = task(api), model(api, uri="file:///gone")
    for type in ("input", "output"):
        api("tasks.add_or_update_model", task=user, name="it", model=id, type=type)
    assert api.send("models.delete", model=id).error[:2] == (400, 205)
    assert api("models.delete", model=id, force=True) == {"deleted": True, "url": "file:///gone"}
    models = api("tasks.get_by_id", task=user)["task"]["models"]
    assert [entry["model"] for entry in models["input"]] == [f"__DELETED__{id}"]
    assert models["output"] == []
    assert api.send("models.delete", model=id, force=True).error[1] == 201


def test_a_model_that_was_given_and_taken_back_can_be_deleted(api: ApiClient) -> None:
    user, id = task(api), model(api)
    api("tasks.add_or_update_model", task=user, name="it", model=id, type="input")
    api("tasks.delete_models", task=user, models=[{"name": "it", "type": "input"}])
    assert api("models.delete", model=id)["deleted"] is True


def test_move(api: ApiClient) -> None:
    id, name = model(api), unique("place")
    there = api("models.move", ids=[id], project_name=f"{name}/deep")["project_id"]
    assert get(api, id)["project"] == there
    assert api("models.move", ids=[id], project=None) == {"project_id": None}
    assert "project" not in get(api, id)
    home = project(api)
    assert api("models.move", ids=[id, UNKNOWN], project=home) == {"project_id": home}
    assert api.send("models.move", ids=[id], project=UNKNOWN).error == (400, 401, f"Invalid project id: id={UNKNOWN}")
    assert api.send("models.move", ids=[id], project_name="ab").error[:2] == (400, 12)
    assert api.send("models.move", ids=[id]).error[:2] == (400, 11)


def test_tags_and_frameworks(api: ApiClient) -> None:
    home = project(api)
    id = model(api, project=home, framework="pt")
    model(api, project=home, framework="tf")
    assert api("models.get_frameworks", projects=[home]) == {"frameworks": ["pt", "tf"]}
    assert {"pt", "tf"} <= set(api("models.get_frameworks")["frameworks"])
    assert api("models.update_tags", ids=[id], add_tags=["b", "a"]) == {"updated": 1}
    assert api("models.update_tags", ids=[id], remove_tags=["b"]) == {"updated": 1}
    assert get(api, id)["tags"] == ["a"]


def test_public_models(api: ApiClient) -> None:
    id = model(api)
    assert api("models.make_public", ids=[id]) == {"updated": 1}
    assert get(api, id)["company"] == ""
    assert api.send("models.edit", model=id, name="abc").error[1] == 201
    assert api("models.make_private", ids=[id]) == {"updated": 1}
    assert api("models.edit", model=id, name="abc")["updated"] == 1


def test_finding(api: ApiClient) -> None:
    home, maker = project(api), task(api, name="the maker")
    first = model(api, name="qa1", project=home, framework="pt", uri="file:///qa1", task=maker)
    second = model(api, name="qa2", project=home, framework="tf", ready=False)

    def find(**query: Any) -> list[str]:
        return [found["id"] for found in api("models.get_all", project=[home], order_by=["name"], **query)["models"]]

    assert find() == [first, second]
    assert find(ready=True) == [first]
    assert find(framework=["__$not", "pt"]) == [second]
    assert find(uri=["file:///qa1"]) == [first]
    assert find(uri=["qa1"]) == []
    assert find(task=[None]) == [second]
    assert find(name="QA") == []
    assert find(labels={"a": 1}) == [first, second]
    full = api("models.get_all_ex", id=[first], only_fields=["task.name", "project.name"])["models"][0]
    assert (full["id"], full["task"]) == (first, {"id": maker, "name": "the maker"})
    assert api("models.get_by_id_ex", id=[first, UNKNOWN])["models"][0]["project"] == {"id": home}
    assert api.send("models.get_all", only_fields=["task.name"]).error[:2] == (400, 14)
    assert api.send("models.get_all_ex", only_fields=["bogus"]).error == (
        400,
        14,
        "Fields not defined for object: fields=(bogus), object=Model",
    )


def test_clients_of_before_named_models(api: ApiClient) -> None:
    maker = task(api, name="maker")
    reply = api("models.update_for_task", "v2.12", task=maker, uri="file:///x", iteration=4)
    assert reply["created"] is True
    made = api("models.get_by_task_id", "v2.12", task=maker)["model"]
    assert (made["id"], made["name"], made["ready"], made["task"]) == (reply["id"], "maker", False, maker)
    assert made["metadata"] == []
    found = api("tasks.get_by_id", task=maker)["task"]
    assert found["last_iteration"] == 4
    assert [entry["name"] for entry in found["models"]["output"]] == ["Output Model"]
    again = api("models.update_for_task", "v2.12", task=maker, uri="file:///y")
    assert again == {"id": reply["id"], "created": False}
    assert get(api, reply["id"])["uri"] == "file:///y"
    other = model(api)
    assert api("models.update_for_task", "v2.12", task=maker, override_model_id=other)["id"] == other
    assert api.send("models.update_for_task", "v2.12", task=maker).error[:2] == (400, 11)
    for endpoint, text in (
        ("update_for_task", "use tasks.add_or_update_model"),
        ("get_by_task_id", "use models.get_by_id/get_all apis"),
    ):
        error = api.send(f"models.{endpoint}", task=maker, uri="file:///x").error
        assert error == (301, 1, f"This endpoint is no longer supported for the requested api version ({text})")
