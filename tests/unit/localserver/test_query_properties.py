"""What holds for every query: list filters mean what their grammar says, and nothing that a client sends is a crash."""

from __future__ import annotations

from typing import Any

import pytest
from clearml_localserver.errors import ApiError
from clearml_localserver.query import find_all, find_all_ex
from clearml_localserver.query.kinds import KINDS
from clearml_localserver.store import Tx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.localserver.query_world import Query, document, open_tx

TAGS = ["red", "blue", "green", 'quo"te', "ünï", ","]
DOCUMENTS = {
    f"t{n}": document(f"t{n}", tags=[tag for bit, tag in enumerate(TAGS) if n >> bit & 1], type=TAGS[n % len(TAGS)])
    for n in range(64)
}
SETTINGS = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture(scope="module")
def tx() -> Tx:
    world = open_tx()
    for item in DOCUMENTS.values():
        world.put("task", item)
        world.put("project", item)
        world.put("model", item)
    return world


def wanted(items: list[str | None], held: list[str]) -> bool:
    """Say what a list filter means, straight from its description."""
    operators = {"__$all": all, "__$and": all, "__$any": any, "__$or": any}
    join = next((operators[item] for item in items if item in operators), None)
    yes: list[bool] = []
    no: list[bool] = []
    negate = False
    for item in items:
        if item == "__$not":
            negate = True
            continue
        if item in operators:
            continue
        if item is None:
            yes.append(not held)
        elif item.startswith("-"):
            no.append(item[1:] not in held)
        elif negate:
            no.append(item not in held)
        else:
            yes.append(item in held)
        negate = False
    if join is not None:
        return join(yes + no) if yes + no else True
    return (any(yes) if yes else True) and all(no)


def spelled(tag: str) -> st.SearchStrategy[list[str | None]]:
    return st.sampled_from([[tag], [f"-{tag}"], ["__$not", tag]])


@SETTINGS
@given(
    operator=st.sampled_from([[], ["__$all"], ["__$any"], ["__$and"], ["__$or"]]),
    terms=st.lists(st.one_of(st.just([None]), *(spelled(tag) for tag in TAGS)), max_size=4),
    place=st.integers(0, 4),
    field=st.sampled_from(["tags", "type"]),
)
def test_list_filters_mean_what_they_say(
    tx: Tx, operator: list[str | None], terms: list[list[str | None]], place: int, field: str
) -> None:
    split = terms[:place], terms[place:]
    items = [item for part in (split[0], [operator], split[1]) for term in part for item in term]
    found = {item["id"] for item in find_all(tx, "task", Query({field: items}))}
    held = {id: item[field] if field == "tags" else [item[field]] for id, item in DOCUMENTS.items()}
    assert found == {id for id, tags in held.items() if wanted(items, tags)}


TEXTS = st.sampled_from([
    *("", "-", "a", "-a", "name", "project.name", "tags.x", "hyperparams.a.b.value", "last_metrics.x.y.value", "id"),
    *("__$all", "__$not", "__$nop", "__$zz", "[", "(?i)x", "^a$", "a" * 50, "2026-01-01", ">=2026-01-01", "<"),
    *("1", "1e999"),
    *("a'b", 'a"b', "a\\b", "$.x", "%2E", "hyperparams.%2E.%24.value", "models.input.model", "\x00", "\ud800"[:0]),
])  # fmt: skip
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False), TEXTS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["fields", "pattern", "datetime", "any", "all", "op", "include", "exclude", "tags", "x"]),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=6,
)
PARAMETERS = [
    *("page", "page_size", "size", "scroll_id", "refresh_scroll", "order_by", "only_fields", "search_hidden"),
    *("search_text", "filters", "_any_", "_all_", "include_subprojects", "shallow_search", "foo.bar", "configuration."),
    *("hyperparams.a.b.value", "hyperparams.a", "metadata.k.value", "runtime.x", "last_metrics.a.b.value", "."),
    *("execution.queue", "models.input.model", "id"),
]


@settings(SETTINGS, max_examples=400)
@given(data=st.data(), kind=st.sampled_from(["task", "model", "project", "queue", "user"]), extended=st.booleans())
def test_whatever_a_client_sends_is_answered_or_refused(tx: Tx, data: Any, kind: str, extended: bool) -> None:
    keys = st.sampled_from([*PARAMETERS, *KINDS[kind].fields])
    body = data.draw(st.dictionaries(keys, VALUES, max_size=4))
    try:
        page = (find_all_ex if extended else find_all)(tx, kind, Query(body))
    except ApiError as refusal:
        assert 400 <= refusal.code < 500
    else:
        assert all(isinstance(item, dict) for item in page)
