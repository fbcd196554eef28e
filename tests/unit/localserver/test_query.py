from __future__ import annotations

from typing import Any

import pytest
from clearml_localserver.errors import ApiError
from clearml_localserver.query import by_id, count, find_all, find_all_ex, find_by_ids_ex, render
from clearml_localserver.store import Document, Tx

from tests.unit.localserver.query_world import COMPANY, Query, document, open_tx


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


@pytest.fixture(scope="module")
def tx() -> Tx:
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


@pytest.mark.parametrize(("body", "found"), FILTERS, ids=[str(body)[:90] for body, _ in FILTERS])
def test_tasks_found(tx: Tx, body: dict[str, Any], found: str) -> None:
    assert ids(tx, "task", body) == found
    assert sorted(item["id"] for item in found_all_ex(tx, "task", Query(body))) == sorted(found.split())


@pytest.mark.parametrize(
    ("kind", "body", "found"),
    [
        ("project", {}, "p kid deep amazon2"),
        ("project", {"name": r"^Amazon\ reviews$"}, "p"),
        ("project", {"name": r"^Amazon\ reviews/\.x$", "search_hidden": True}, "secret"),
        ("project", {"name": "^Amazon reviews/"}, "kid deep"),
        ("project", {"name": r"^/Amazon\ reviews$"}, "p"),
        ("project", {"name": r"^/Amazon\ reviews/\ //kid/\ $"}, "kid"),
        ("project", {"name": r"^//Amazon reviews/.*"}, "kid deep"),
        ("project", {"name": r"^/?Amazon reviews/kid"}, "kid deep"),
        ("project", {"name": "^/$"}, ""),
        ("queue", {"name": r"^\ default\ $"}, "q1"),
        ("model", {"name": r"^one\ $"}, "m1"),
        ("project", {"parent": ["p"]}, "kid deep"),
        ("project", {"parent": ["p"], "search_hidden": True}, "kid deep secret"),
        ("project", {"parent": ["p"], "shallow_search": True}, "kid"),
        ("project", {"parent": [None]}, "p amazon2"),
        ("project", {"parent": None}, "p kid deep amazon2"),
        ("project", {"shallow_search": True}, "p amazon2"),
        ("project", {"basename": "^kid$"}, "kid"),
        ("project", {"id": ["secret"], "search_hidden": False, "shallow_search": False}, "secret"),
        ("model", {"ready": True}, "m1"),
        ("model", {"ready": False}, "m2"),
        ("model", {"framework": ["__$not", "TF"]}, "m1"),
        ("model", {"uri": ["file:///b"]}, "m2"),
        ("model", {"uri": ["file"]}, ""),
        ("model", {"task": [None]}, "m2"),
        ("model", {"created": ["2020-01-01", None]}, "m1"),
        ("model", {"metadata.k%2E1.value": "v"}, "m2"),
        ("model", {"labels": {"a": 1}, "search_hidden": False}, "m1 m2"),
        ("queue", {"name": "^default$", "only_fields": ["id"], "search_hidden": False}, "q1"),
        ("user", {"name": "Ann"}, "u1"),
    ],
)
def test_other_kinds_found(tx: Tx, kind: str, body: dict[str, Any], found: str) -> None:
    assert ids(tx, kind, body) == found


@pytest.mark.parametrize(
    ("kind", "body", "code", "text"),
    [
        ("task", {"name": "["}, (400, 21), "err=unterminated character set at position 0, extra_info=None"),
        ("task", {"name": ["x"]}, (400, 12), "must be a string"),
        ("task", {"name": "x" * 1_001}, (400, 12), "at most 1000"),
        ("task", {"tags": ["__$op"]}, (400, 16), "(Unsupported operator): field=tags, operator=__$op"),
        ("task", {"tags": ["-"]}, (400, 16), "Missing value after the exclude prefix -"),
        ("task", {"id": [0]}, (400, 16), "(invalid value type, string expected): field=id, value=0"),
        ("task", {"filters": {"tags": {"any": ["x"]}}}, (400, 12), "include and exclude"),
        ("task", {"filters": {"tags": {"zz": {}}}}, (400, 12), "zz"),
        ("task", {"filters": {"tags": ["x"]}}, (400, 12), "must be an object"),
        ("task", {"filters": {"tags": {"op": "zz"}}}, (400, 12), "operator: zz. Should be one of ['and', 'or']"),
        ("task", {"_any_": {"fields": ["x"], "pattern": "p"}}, (400, 14), 'Cannot resolve field "x"'),
        ("task", {"_any_": {"fields": ["name"]}}, (400, 16), "error=incorrect field format: field=_any_"),
        ("task", {"_all_": {"fields": ["name"], "pattern": "("}}, (400, 21), "Malformed regular expression"),
        ("task", {"created": ["2020-01-01"]}, (400, 12), "specified for range field created)"),
        ("task", {"created": [None, None]}, (400, 12), "At least one of min or max"),
        ("task", {"last_iteration": [">=3", "<10"]}, (400, 12), "not a number"),
        ("task", {"status_changed": [None]}, (400, 16), "status_changed"),
        ("task", {"hyperparams.Args.x.y.value": ["2"]}, (400, 12), "(invalid task field): path=hyperparams.Args.x.y"),
        ("model", {"metadata.k.1.value": ["v"]}, (400, 12), "(invalid field): path=metadata.k.1.value"),
        ("task", {'hyperparams.Args.a"b.value': ["2"]}, (400, 12), "invalid field"),
        ("model", {"ready": "yes"}, (400, 12), "ready"),
        ("task", {"order_by": ["bogus"]}, (400, 14), 'Cannot resolve field "bogus"'),
        ("task", {"order_by": ["project.name"]}, (400, 14), 'Cannot resolve field "name"'),
        ("task", {"order_by": "name"}, (400, 14), 'Cannot resolve field "n"'),
        ("task", {"order_by": ["@text_score"]}, (400, 16), "search_text"),
        ("task", {"page": -1}, (400, 12), "Validation error (page must be >=0): field=page"),
        ("task", {"page_size": 0}, (400, 12), "Validation error (page_size must be >0): field=page_size"),
        ("task", {"page": "a"}, (400, 12), "whole number"),
        ("task", {"scroll_id": None}, (400, 12), "Integer size parameter greater than 1"),
        ("task", {"only_fields": ["bogus"]}, (400, 14), 'Cannot resolve field "bogus"'),
        ("task", {"only_fields": ["project.name"]}, (400, 14), 'Cannot resolve field "name"'),
        ("task", {"only_fields": "id"}, (400, 14), 'Cannot resolve field "i"'),
        ("task", {"only_fields": [1]}, (400, 12), "only_fields"),
        ("task", {"_any_": {"fields": ["last_update"], "datetime": [None]}}, (400, 16), "field=last_update"),
        ("task", {"_any_": {"fields": ["x"], "datetime": [">2026"]}}, (400, 14), 'Cannot resolve field "x"'),
        ("task", {"_any_": {"fields": ["name"] * 1_001, "pattern": "p"}}, (400, 12), "field=_any_.fields: 1001 items"),
        ("task", {"order_by": ["name"] * 2_100}, (400, 12), "field=order_by: 2100 items"),
        ("task", {"tags": ["__$all", *map(str, range(1_001))]}, (400, 12), "field=tags: 1001 items"),
        ("task", {"filters": {"tags": {"any": {"include": ["x"] * 1_001}}}}, (400, 12), "filters.any.include"),
        ("task", {"search_text": "a " * 101}, (400, 12), "field=search_text"),
        ("task", {"search_text": ["a"]}, (400, 12), "field=search_text"),
        ("task", {f"runtime.k{n}": ["v"] for n in range(1_001)}, (400, 12), "field=query: 1001 items"),
    ],
)
def test_malformed_queries_are_refused(
    tx: Tx, kind: str, body: dict[str, Any], code: tuple[int, int], text: str
) -> None:
    with pytest.raises(ApiError) as refused:
        found_all(tx, kind, Query(body))
    assert (refused.value.code, refused.value.subcode) == code
    assert text in refused.value.msg


@pytest.mark.parametrize("size", [1, 2, 100])
def test_digits_in_hyperparameters_and_metrics_order_as_numbers(size: int) -> None:
    ordered = ["-1", "0.05", "1", "2", "11", "1e3", "a2b", "a11", "b"]
    world = open_tx()
    for value in [*sorted(ordered, reverse=True), None]:
        params = param("Args", "p", value) if value is not None else {}
        world.put("task", document(f"v{value}", hyperparams=params))

    def order(key: str, **paging: Any) -> list[str]:
        page = found_all(world, "task", Query({"order_by": [key], "only_fields": ["id"], **paging}))
        return [item["id"] for item in page]

    for key, want in (
        ("hyperparams.Args.p.value", [*ordered, None]),
        ("-hyperparams.Args.p.value", [*ordered[::-1], None]),
    ):
        pages = [order(key, page=page, page_size=size) for page in range(-(-len(want) // size))]
        assert [id for page in pages for id in page] == [f"v{value}" for value in want]
        scroll = find_all(world, "task", Query({"order_by": [key], "scroll_id": None, "size": size}))
        scrolled = [item["id"] for item in scroll]
        while more := order(key, scroll_id=scroll.scroll_id, size=size):
            scrolled += more
        assert scrolled == [f"v{value}" for value in want]


def test_a_hundred_thousand_ids_are_looked_up(tx: Tx) -> None:
    assert ids(tx, "task", {"id": [*map(str, range(100_000)), "t1"]}) == "t1"
    assert ids(tx, "task", {"tags": [*map(str, range(100_000)), "-red", "green"]}) == "t3"


def test_unknown_field_in_get_all_ex(tx: Tx) -> None:
    with pytest.raises(ApiError) as refused:
        found_all_ex(tx, "model", Query({"only_fields": ["bogus", "name"]}))
    assert refused.value.msg == "Fields not defined for object: fields=(bogus), object=Model"


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


def test_scrolling(tx: Tx) -> None:
    first = find_all(
        tx, "task", Query({"scroll_id": None, "size": 3, "only_fields": ["id"], "page": 5, "page_size": 1})
    )
    assert first.scroll_id
    reply = first.reply("tasks")
    assert list(reply.pop("tasks")) == [{"id": "t1"}, {"id": "t2"}, {"id": "t3"}]
    assert reply == {"scroll_id": first.scroll_id}
    more = {"scroll_id": first.scroll_id, "size": 2}
    second = find_all(tx, "task", Query(more))
    assert [item["id"] for item in second] == ["t4", "t6"]
    assert second.scroll_id == first.scroll_id
    again = found_all(tx, "task", Query(more | {"refresh_scroll": True}))
    assert [item["id"] for item in again] == ["t1", "t2", "t3", "t4", "t6"]
    assert [item["id"] for item in found_all(tx, "task", Query(more))] == ["t7", "t9"]
    assert found_all(tx, "task", Query(more)) == []
    assert found_all(tx, "task", Query(more)) == []


def test_an_unknown_scroll_starts_anew(tx: Tx) -> None:
    page = find_all(tx, "task", Query({"scroll_id": "0" * 32, "size": 1}))
    assert [item["id"] for item in page] == ["t1"]
    assert page.scroll_id != "0" * 32


def test_size_alone_does_not_scroll(tx: Tx) -> None:
    page = find_all(tx, "task", Query({"size": 1}))
    assert (len(list(page)), page.scroll_id) == (7, None)


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


def test_documents_by_ids(tx: Tx) -> None:
    assert [item["id"] for item in find_by_ids_ex(tx, "task", Query({"id": ["t5", "nope"]}))] == ["t5"]
    with pytest.raises(ApiError) as refused:
        find_by_ids_ex(tx, "task", Query({"task": "t5"}))
    assert (refused.value.subcode, refused.value.msg) == (11, "Missing required fields: missing=(id)")


def test_counting(tx: Tx) -> None:
    assert count(tx, "task", {"type": ["training"]}, COMPANY) == 3
