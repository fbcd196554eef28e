"""The documents that the tests of queries search, and short calls that search them."""

from __future__ import annotations

from typing import Any

from clearml_localserver.query import find_all, find_all_ex
from clearml_localserver.store import Document, Tx

from tests.unit.localserver.query_world import Query, document, open_tx


def found_all(tx: Tx, kind: str, query: Query) -> list[Document]:
    return list(find_all(tx, kind, query))


def found_all_ex(tx: Tx, kind: str, query: Query) -> list[Document]:
    return list(find_all_ex(tx, kind, query))


DAY = "2026-01-0{}T00:00:00.000000+00:00"


def param(section: str, name: str, value: str) -> dict[str, Any]:
    return {section: {name: {"section": section, "name": name, "value": value}}}


TASKS = [
    document(
        "t1",
        name="Alpha one",
        comment="First of All",
        status="created",
        type="training",
        project="p",
        tags=["red"],
        last_update=DAY.format(1),
        created=DAY.format(1),
        last_iteration=0,
        hyperparams=param("Args", "lr", "0.1"),
        execution={"queue": "q1", "artifacts": []},
        models={"input": [{"name": "in", "model": "m1"}], "output": []},
    ),
    document(
        "t2",
        name="beta two",
        status="queued",
        type="testing",
        project="p",
        parent="t1",
        tags=["red", "blue"],
        last_update=DAY.format(2),
        created=DAY.format(2),
        last_iteration=5,
        active_duration=7,
        hyperparams=param("Args", "x.y", "2"),
        models={"input": [], "output": [{"name": "out", "model": "m2"}]},
        runtime={"pipeline_job_hash": "AbC1"},
    ),
    document(
        "t3",
        name="gamma (three)",
        status="completed",
        type="training",
        project="kid",
        user="u2",
        tags=["green"],
        system_tags=["archived"],
        status_changed=DAY.format(3),
        last_update=DAY.format(3),
        created=DAY.format(3),
        last_iteration=10,
        last_metrics={"m": {"v": {"value": 0.5}}},
        enqueue_status="created",
        unique_metrics=["x"],
    ),
    document("t4", name="delta", status="failed", type="training", project="deep", last_update=DAY.format(4)),
    document("t5", name="hidden one", status="created", type="training", project="p", system_tags=["hidden"]),
    document("t6", name="in hidden project", status="created", project="secret", tags=["b,lue"]),
    document("t7", name="no project", status="created", tags=["a", "b"]),
    document("t8", name="someone else's", company="other", project="p"),
    document("t9", name="for everybody", company="", status="published"),
]
PROJECTS = [
    document("p", name="Amazon reviews", basename="Amazon reviews"),
    document("kid", name="Amazon reviews/kid", basename="kid", parent="p", path=["p"]),
    document("deep", name="Amazon reviews/kid/deep", basename="deep", parent="kid", path=["p", "kid"]),
    document("secret", name="Amazon reviews/.x", basename=".x", parent="p", system_tags=["hidden"], path=["p"]),
    document("amazon2", name="Amazon reviews 2", basename="Amazon reviews 2"),
]
MODELS = [
    document("m1", name="one", ready=True, framework="PyTorch", uri="file:///a", task="t1", created=DAY.format(1)),
    document("m2", name="two", ready=False, framework="TF", uri="file:///b", metadata={"k.1": {"value": "v"}}),
]
ALL = "t1 t2 t3 t4 t6 t7 t9"


def open_world() -> Tx:
    """Return a transaction on a database that holds the documents."""
    world = open_tx()
    for kind, documents in (("task", TASKS), ("project", PROJECTS), ("model", MODELS)):
        for item in documents:
            world.put(kind, item)
    world.put("queue", document("q1", name="default", entries=[{"task": "t2", "added": DAY.format(1)}], metadata={}))
    world.put("user", document("u1", name="Ann", role="admin"))
    return world


def ids(tx: Tx, kind: str, body: dict[str, Any]) -> str:
    return " ".join(item["id"] for item in found_all(tx, kind, Query(body)))


FILTERS: list[tuple[dict[str, Any], str]] = [
    ({}, ALL),
    # patterns
    ({"name": "a"}, "t1 t2 t3 t4"),
    ({"name": "Alpha"}, "t1"),
    ({"name": "alpha"}, ""),
    ({"name": "(?i)alpha"}, "t1"),
    ({"name": r"^gamma\ \(three\)$"}, "t3"),
    ({"name": "^gamma"}, "t3"),
    ({"name": f"^{'x' * 20_000}$"}, ""),
    ({"name": "^gamma$"}, ""),
    ({"name": r"\btwo$|delta"}, "t2 t4"),
    ({"name": ""}, ALL),
    ({"name": None}, ALL),
    ({"comment": "First"}, "t1"),
    # ids and the hidden filter
    ({"id": ["t4", "t1", "nope"]}, "t1 t4"),
    ({"id": "t4"}, "t4"),
    ({"id": ["-t1"]}, "t2 t3 t4 t5 t6 t7 t9"),
    ({"id": []}, ALL),
    ({"id": ["t5"]}, "t5"),
    ({"search_hidden": True, "name": "hidden"}, "t5 t6"),
    ({"system_tags": ["hidden"]}, ""),
    ({"system_tags": ["archived"]}, "t3"),
    # lists of values
    ({"status": ["created", "queued"]}, "t1 t2 t6 t7"),
    ({"status": "queued"}, "t2"),
    ({"status": ["Created"]}, ""),
    ({"status": []}, ALL),
    ({"tags": ["red", "green"]}, "t1 t2 t3"),
    ({"tags": ["-red", "-green"]}, "t4 t6 t7 t9"),
    ({"tags": ["red", "-blue"]}, "t1"),
    ({"tags": ["__$all", "red", "blue"]}, "t2"),
    ({"tags": ["red", "blue", "__$and"]}, "t2"),
    ({"tags": ["__$any", "blue", "__$not", "red"]}, "t2 t3 t4 t6 t7 t9"),
    ({"tags": ["__$or", "blue", "-red"]}, "t2 t3 t4 t6 t7 t9"),
    ({"tags": ["__$all", "red", "__$not", "blue"]}, "t1"),
    ({"tags": ["red", "__$not", "blue", "green"]}, "t1 t3"),
    ({"tags": ["__$all", "a", "__$or", "b", "__$not", "c", "__$and", "__$or", "b", "z"]}, "t7"),
    ({"tags": ["__$all", "red", "blue", "__$nop", "-green"]}, "t2"),
    ({"tags": ["__$all", "red", "__$nop", "blue", "green"]}, "t2"),
    ({"tags": ["__$nop", "red", "green"]}, "t1 t2 t3"),
    ({"tags": ["__$all", "a", "__$nop", "-c", "__$any", "b", "z"]}, "t7"),
    ({"tags": ["b,lue"]}, "t6"),
    ({"tags": [None]}, "t4 t9"),
    ({"tags": [None, "green"]}, "t3 t4 t9"),
    ({"tags": ["__$not", None]}, "t4 t9"),
    ({"parent": [None]}, "t1 t3 t4 t6 t7 t9"),
    ({"parent": "t1"}, "t2"),
    ({"project": [None]}, "t7 t9"),
    ({"project": ["-p"]}, "t3 t4 t6 t7 t9"),
    ({"user": ["u2"]}, "t3"),
    ({"type": ["testing"], "status": ["created"]}, ""),
    ({"execution.queue": ["q1"]}, "t1"),
    ({"models.input.model": ["m1"]}, "t1"),
    ({"models.output.model": ["m1"]}, ""),
    ({"models.output.model": [None, "m2"]}, ALL),
    # filters
    ({"filters": {"tags": {"any": {"include": ["blue"], "exclude": ["red"]}}}}, "t2 t3 t4 t6 t7 t9"),
    ({"filters": {"tags": {"all": {"include": ["red"], "exclude": ["blue"]}}}}, "t1"),
    ({"filters": {"tags": {"all": {"include": ["blue"]}, "any": {"include": ["green"]}, "op": "or"}}}, "t2 t3"),
    ({"filters": {"tags": {"all": {"include": ["blue"]}, "any": {"include": ["red"]}}}}, "t2"),
    ({"filters": {"status": {"any": {"include": ["queued"]}}, "tags": {"any": {"include": ["green"]}}}}, ""),
    ({"filters": {"bogus": {"any": {"include": ["x"]}}}}, ALL),
    ({"filters": {"tags": {}}}, ALL),
    # patterns on several fields
    ({"_any_": {"fields": ["name", "comment"], "pattern": "FIRST|beta"}}, "t1 t2"),
    ({"_all_": {"fields": ["name", "comment"], "pattern": "o"}}, "t1"),
    ({"_any_": {"fields": ["tags"], "pattern": "^RED$"}}, "t1 t2"),
    ({"_any_": {"fields": ["id"], "pattern": "t[12]"}}, "t1 t2"),
    ({"_all_": {"fields": ["runtime.pipeline_job_hash"], "pattern": "^abc1$"}}, "t2"),
    ({"_any_": {"fields": ["hyperparams.Args.x%2Ey.value"], "pattern": "2", "datetime": True}}, "t2"),
    ({"_any_": {"fields": ["models.input.model"], "pattern": "m1"}}, "t1"),
    ({"_any_": {"fields": ["last_update", "status_changed"], "datetime": ["2026-01-03", None]}}, "t3 t4"),
    ({"_all_": {"fields": ["last_update", "status_changed"], "datetime": [">=2026-01-03"]}}, "t3"),
    ({"_any_": {"fields": ["name"], "pattern": "", "datetime": [">=2026-01-03"]}}, ALL),
    ({"_any_": {"fields": ["name"] * 1_000, "pattern": "^alpha"}}, "t1"),
    ({"search_text": "ALL alpha"}, "t1"),
    # dates
    ({"last_update": [f">={DAY.format(2)}", f"<{DAY.format(4)}"]}, "t2 t3"),
    ({"last_update": ">2026-01-03"}, "t4"),
    ({"last_update": [f"<= {DAY.format(1)}"]}, "t1"),
    ({"last_update": ["2026-01-02", "2026-01-03T00:00:00Z"]}, "t2 t3"),
    ({"last_update": ["2026-01-03", None]}, "t3 t4"),
    ({"last_update": [None, "2026-01-02"]}, "t1 t2 t6 t7 t9"),
    ({"last_update": ["2026-01-02"]}, "t2"),
    ({"last_update": [">=rubbish"]}, ALL),
    ({"status_changed": [">=2026-01-01"]}, "t3"),
    ({"completed": [">=2026-01-01"]}, ALL),
    # ranges
    ({"created": ["2026-01-02", "2026-01-03"]}, "t2 t3"),
    ({"created": [None, "2026-01-02"]}, "t1 t2"),
    ({"last_iteration": [5, None]}, "t2 t3"),
    ({"last_iteration": ["1", "5"]}, "t2"),
    ({"active_duration": [0, 100]}, "t2"),
    ({"last_metrics.m.v.value": [0.1, 0.9]}, "t3"),
    # paths
    ({"hyperparams.Args.lr.value": ["0.1"]}, "t1"),
    ({"hyperparams.Args.lr.value": "0.1"}, "t1"),
    ({"hyperparams.Args.x%2Ey.value": ["2"]}, "t2"),
    ({"hyperparams.Args.lr.value": ["-0.1"]}, "t2 t3 t4 t6 t7 t9"),
    ({"hyperparams.Args.lr.value": [None]}, "t2 t3 t4 t6 t7 t9"),
    ({"runtime.pipeline_job_hash": ["AbC1"]}, "t2"),
    # unknown keys
    ({"foo": [1], "foo.bar": ["x"], "execution.queue.name": ["x"], "company": "z", "allow_public": False}, ALL),
    # projects
    ({"project": ["p"]}, "t1 t2"),
    ({"project": ["p"], "include_subprojects": True}, "t1 t2 t3 t4"),
    ({"project": ["p"], "include_subprojects": True, "search_hidden": True}, "t1 t2 t3 t4 t5 t6"),
    ({"project": ["-kid"], "include_subprojects": True}, "t1 t2 t6 t7 t9"),
    # order and paging
    ({"order_by": ["-last_update"], "page_size": 2}, "t4 t3"),
    ({"order_by": ["-last_update"], "page": 1, "page_size": 2}, "t2 t1"),
    ({"order_by": ["type", "-name"], "status": ["created", "completed", "failed"]}, "t3 t4 t1 t7 t6"),
    ({"order_by": ["last_iteration"]}, "t1 t2 t3 t4 t6 t7 t9"),
    ({"order_by": ["-last_iteration"]}, "t3 t2 t1 t9 t7 t6 t4"),
    ({"order_by": ["last_iteration"], "page": 1, "page_size": 3}, "t4 t6 t7"),
    ({"order_by": ["last_metrics.m.v.value"], "page_size": 1}, "t3"),
    ({"order_by": ["hyperparams.Args.lr.value"], "page_size": 1}, "t1"),
    ({"order_by": ["-last_metrics.m.v.value"], "page_size": 1}, "t3"),
    ({"order_by": ["-hyperparams.Args.lr.value"], "page_size": 1}, "t1"),
    ({"order_by": ["-bogus.x"]}, ALL),
    ({"page": 0}, ALL),
    ({"page": 1}, ""),
    ({"page": "0", "page_size": "1"}, "t1"),
]
