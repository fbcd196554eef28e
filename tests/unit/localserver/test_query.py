"""Which documents a query finds, and which queries are refused."""

from __future__ import annotations

from typing import Any

import pytest
from clearml_localserver.errors import ApiError
from clearml_localserver.query import count, find_all, find_by_ids_ex
from clearml_localserver.store import Tx

from tests.unit.localserver.query_documents import FILTERS, found_all, found_all_ex, ids, open_world, param
from tests.unit.localserver.query_world import COMPANY, Query, document, open_tx


@pytest.fixture(scope="module")
def tx() -> Tx:
    return open_world()


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


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_pages_of_a_projects_latest_tasks_have_the_archived_ones_in_their_place(size: int) -> None:
    world = open_tx()
    moments = ["2026-01-02", "2026-01-01", "2026-01-02", None, "2026-01-03", "2026-01-01", None, "2026-01-02"]
    for number, moment in enumerate(moments):
        tags = [["archived"], [], ["archived", "x"], ["hidden"]][number % 4]
        world.put("task", document(f"t{number}", project="p", last_update=moment, system_tags=tags))
    world.put("task", document("other", project="q", last_update="2026-01-04"))
    latest = {"project": ["p"], "order_by": ["-last_update"]}
    for more in ({}, {"search_hidden": True}):
        everything = [item["id"] for item in found_all(world, "task", Query(latest | more))]
        assert everything == (["t4", "t2", "t0", "t5", "t1", "t6"] if not more else
                              ["t4", "t7", "t2", "t0", "t5", "t1", "t6", "t3"])  # fmt: skip
        pages = [
            [item["id"] for item in found_all(world, "task", Query(latest | more | {"page": page, "page_size": size}))]
            for page in range(-(-len(everything) // size) + 1)
        ]
        assert [id for page in pages for id in page] == everything
        assert pages[-1] == []


def test_a_hundred_thousand_ids_are_looked_up(tx: Tx) -> None:
    assert ids(tx, "task", {"id": [*map(str, range(100_000)), "t1"]}) == "t1"
    assert ids(tx, "task", {"tags": [*map(str, range(100_000)), "-red", "green"]}) == "t3"


def test_unknown_field_in_get_all_ex(tx: Tx) -> None:
    with pytest.raises(ApiError) as refused:
        found_all_ex(tx, "model", Query({"only_fields": ["bogus", "name"]}))
    assert refused.value.msg == "Fields not defined for object: fields=(bogus), object=Model"


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


def test_documents_by_ids(tx: Tx) -> None:
    assert [item["id"] for item in find_by_ids_ex(tx, "task", Query({"id": ["t5", "nope"]}))] == ["t5"]
    with pytest.raises(ApiError) as refused:
        find_by_ids_ex(tx, "task", Query({"task": "t5"}))
    assert (refused.value.subcode, refused.value.msg) == (11, "Missing required fields: missing=(id)")


def test_counting(tx: Tx) -> None:
    assert count(tx, "task", {"type": ["training"]}, COMPANY) == 3
