"""How found documents are shown: fields, references, public ones."""

from __future__ import annotations

from typing import Any

import pytest
from clearml_localserver.errors import ApiError
from clearml_localserver.query import by_id, render
from clearml_localserver.store import Tx

from tests.unit.localserver.query_documents import DAY, TASKS, found_all, found_all_ex, open_world
from tests.unit.localserver.query_world import COMPANY, Query


@pytest.fixture(scope="module")
def tx() -> Tx:
    return open_world()


FIELDS: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    (
        {"id": ["t1"], "only_fields": ["name", "hyperparams.Args.lr.value"]},
        {"name": "Alpha one", "hyperparams": {"Args": {"lr": {"value": "0.1"}}}},
        {"id": "t1", "name": "Alpha one", "hyperparams": {"Args": {"lr": {"value": "0.1"}}}},
    ),
    (
        {"id": ["t1"], "only_fields": ["project", "user", "company"]},
        {"project": "p", "user": "u1", "company": COMPANY},
        {"id": "t1", "project": {"id": "p"}, "user": {"id": "u1"}, "company": {"id": COMPANY}},
    ),
    (
        {"id": ["t3"], "only_fields": ["enqueue_status"]},
        {"enqueue_status": "created"},
        {"id": "t3", "enqueue_status": "created"},
    ),
    ({"id": ["t2"], "only_fields": ["status", "-name"]}, {"status": "queued"}, {"id": "t2", "status": "queued"}),
    (
        {"id": ["t2"], "only_fields": ["runtime.pipeline_job_hash"]},
        {"runtime": {"pipeline_job_hash": "AbC1"}},
        {"id": "t2", "runtime": {"pipeline_job_hash": "AbC1"}},
    ),
    ({"id": ["t4"], "only_fields": ["started"]}, {}, {"id": "t4"}),
]


@pytest.mark.parametrize(("body", "plain", "extended"), FIELDS)
def test_only_fields(tx: Tx, body: dict[str, Any], plain: dict[str, Any], extended: dict[str, Any]) -> None:
    assert found_all(tx, "task", Query(body)) == [plain]
    assert found_all_ex(tx, "task", Query(body)) == [extended]


@pytest.mark.parametrize(
    ("kind", "id", "fields", "shown"),
    [
        ("task", "t1", ["project.name"], {"project": {"id": "p", "name": "Amazon reviews"}}),
        ("task", "t1", ["project", "project.name"], {"project": {"id": "p", "name": "Amazon reviews"}}),
        (
            "task",
            "t2",
            ["parent.name", "parent.status"],
            {"parent": {"id": "t1", "name": "Alpha one", "status": "created"}},
        ),
        ("task", "t1", ["company.name"], {"company": {"id": COMPANY, "name": "clearml"}}),
        ("task", "t1", ["execution.queue.name"], {"execution": {"queue": {"id": "q1", "name": "default"}}}),
        ("task", "t1", ["models.input.model.name"], {"models": {"input": [{"model": {"id": "m1", "name": "one"}}]}}),
        ("task", "t3", ["user.name"], {"user": {"id": "u2"}}),
        ("model", "m1", ["task.name"], {"task": {"id": "t1", "name": "Alpha one"}}),
    ],
)
def test_references_as_objects(tx: Tx, kind: str, id: str, fields: list[str], shown: dict[str, Any]) -> None:
    assert found_all_ex(tx, kind, Query({"id": [id], "only_fields": fields})) == [{"id": id, **shown}]


def test_everything_but_what_is_concealed_is_shown(tx: Tx) -> None:
    plain = found_all(tx, "task", Query({"id": ["t3"]}))[0]
    extended = found_all_ex(tx, "task", Query({"id": ["t3"]}))[0]
    assert plain.keys() == extended.keys() == TASKS[2].keys() - {"enqueue_status", "unique_metrics"}
    assert extended["project"] == {"id": "kid"}
    without = found_all(tx, "task", Query({"id": ["t3"], "only_fields": ["-name", "-last_metrics.m"]}))[0]
    assert "name" not in without
    assert without["last_metrics"] == {}


def test_queues_are_always_shown_whole(tx: Tx) -> None:
    queue = found_all_ex(tx, "queue", Query({"only_fields": ["id"]}))[0]
    assert queue["entries"] == [{"task": {"id": "t2", "name": "beta two"}, "added": DAY.format(1)}]
    assert queue["metadata"] == {}


@pytest.mark.parametrize(("version", "metadata"), [((2, 23), {"k.1": {"value": "v"}}), ((2, 12), [{"value": "v"}])])
def test_metadata_has_the_shape_of_the_version(tx: Tx, version: tuple[int, int], metadata: Any) -> None:
    assert found_all(tx, "model", Query({"id": ["m2"]}, version))[0]["metadata"] == metadata
    assert render("model", by_id(tx, "model", "m2", COMPANY), version)["metadata"] == metadata


@pytest.mark.parametrize(
    ("kind", "subcode", "message"),
    [
        ("task", 101, f"Invalid task id: id=nope, company={COMPANY}"),
        ("model", 201, f"Invalid model id: company={COMPANY}, id=nope"),
        ("project", 401, "Invalid project id: id=nope"),
        ("queue", 701, f"Invalid queue id: id=nope, company={COMPANY}"),
        ("user", 301, f"Invalid user id: id=nope, company={COMPANY}"),
    ],
)
def test_unknown_ids(tx: Tx, kind: str, subcode: int, message: str) -> None:
    with pytest.raises(ApiError) as refused:
        by_id(tx, kind, "nope", COMPANY)
    assert (refused.value.code, refused.value.subcode, refused.value.msg) == (400, subcode, message)


def test_public_documents_are_read_but_not_changed(tx: Tx) -> None:
    assert by_id(tx, "task", "t9", COMPANY, public=True)["id"] == "t9"
    for id, public in (("t9", False), ("t8", True)):
        with pytest.raises(ApiError):
            by_id(tx, "task", id, COMPANY, public=public)
