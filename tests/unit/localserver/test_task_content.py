"""Hyperparameters, configuration, artifacts and models of a task: how lists of them join what is stored."""

from __future__ import annotations

from typing import Any

import pytest
from clearml_localserver.errors import ApiError
from clearml_localserver.rules import artifacts, hyperparams


def param(section: str, name: str, value: str = "1", **rest: Any) -> dict[str, Any]:
    return {"section": section, "name": name, "value": value, **rest}


STORED = hyperparams.merge(
    {}, [param("Args", "a", type="int", description="d"), param("Args", "b"), param("Other", "c")]
)


@pytest.mark.parametrize(
    ("replace", "left"),
    [
        ("none", [("Args", "a", "2"), ("Args", "b", "1"), ("Other", "c", "1")]),
        ("section", [("Args", "a", "2"), ("Other", "c", "1")]),
        ("all", [("Args", "a", "2")]),
    ],
)
def test_merging_hyperparameters(replace: str, left: list[tuple[str, str, str]]) -> None:
    merged = hyperparams.merge(STORED, [param("Args", "a", "2", bogus="dropped")], replace)
    assert [(item["section"], item["name"], item["value"]) for item in hyperparams.flat(merged)] == left
    assert merged["Args"]["a"] == param("Args", "a", "2"), "the whole item is replaced: type and description go"
    assert STORED["Args"]["a"]["value"] == "1", "what was stored is left alone"


@pytest.mark.parametrize("text", ["a.b", "$a", "a/b", "a b", "ä€😀", "a%2Eb", '"\\'])
def test_any_name_is_kept(text: str) -> None:
    merged = hyperparams.merge({}, [param(text, text)])
    assert merged == {text: {text: param(text, text)}}
    assert hyperparams.without(merged, [{"section": text, "name": text}]) == {text: {}}


@pytest.mark.parametrize(
    "items",
    [
        [],
        [{"name": "a", "value": "1"}],
        [{"section": "s", "value": "1"}],
        [{"section": "s", "name": "a"}],
        [param("", "a")],
        [param("s", "")],
        [{"section": "s", "name": "a", "value": 1}],
        [{"section": "s", "name": "a", "value": None}],
    ],
)
@pytest.mark.parametrize("replace", ["none", "all"])
def test_malformed_hyperparameters_are_refused(items: list[dict[str, Any]], replace: str) -> None:
    with pytest.raises(ApiError) as refusal:
        hyperparams.merge(STORED, items, replace)
    assert (refusal.value.code, refusal.value.subcode) == (400, 12)


def test_an_empty_value_is_a_value() -> None:
    assert hyperparams.merge({}, [param("s", "a", "")])["s"]["a"]["value"] == ""


@pytest.mark.parametrize(
    ("key", "left"),
    [
        ({"section": "Args", "name": "a"}, {"Args": ["b"], "Other": ["c"]}),
        ({"section": "Other", "name": "c"}, {"Args": ["a", "b"], "Other": []}),
        ({"section": "Args"}, {"Other": ["c"]}),
        ({"section": "Args", "name": "zz"}, {"Args": ["a", "b"], "Other": ["c"]}),
        ({"section": "zz", "name": "a"}, {"Args": ["a", "b"], "Other": ["c"]}),
    ],
)
def test_deleting_hyperparameters(key: dict[str, str], left: dict[str, list[str]]) -> None:
    assert {section: list(items) for section, items in hyperparams.without(STORED, [key]).items()} == left


def test_user_properties_are_known_from_a_mix() -> None:
    assert hyperparams.only_properties([param("properties", "a")])
    assert not hyperparams.only_properties([param("properties", "a"), param("Args", "b")])


def test_flat_list_is_sorted_by_section_and_name() -> None:
    merged = hyperparams.merge({}, [param("b", "x"), param("a", "z"), param("$", "y"), param("a", "a")])
    assert [(item["section"], item["name"]) for item in hyperparams.flat(merged)] == [
        ("$", "y"), ("a", "a"), ("a", "z"), ("b", "x"),
    ]  # fmt: skip


def test_nested_items_get_their_own_names() -> None:
    given: dict[str, Any] = {"S": {"k": {"value": "1", "type": None}, "l": {"section": "T", "name": "m", "value": "2"}}}
    assert hyperparams.nested(given) == {"S": {"k": param("S", "k"), "l": param("T", "m", "2")}}


def test_parameters_of_old_clients() -> None:
    assert hyperparams.from_legacy({"S/b": 1}) == {"Args": {"S/b": param("Args", "S/b", type="legacy")}}
    assert hyperparams.from_legacy({}) == {}
    assert hyperparams.configuration_from_legacy({"design": "x"}) == {
        "design": {"name": "design", "value": "x", "type": "legacy"}
    }


def test_merging_configuration() -> None:
    stored = hyperparams.merge_configuration(
        {}, [{"name": "a", "value": "1", "type": "dict"}, {"name": "b", "value": ""}]
    )
    merged = hyperparams.merge_configuration(stored, [{"name": "a", "value": "2", "bogus": 1}])
    assert merged == {"a": {"name": "a", "value": "2"}, "b": {"name": "b", "value": ""}}
    only = hyperparams.merge_configuration(stored, [{"name": "c", "value": "3"}], replace=True)
    assert list(only) == ["c"]
    assert list(hyperparams.configuration_without(merged, ["a", "zz"])) == ["b"]
    assert [item["name"] for item in hyperparams.configuration_items(merged, ["b", "zz"])] == ["b"]


@pytest.mark.parametrize("item", [{"value": "1"}, {"name": "", "value": "1"}, {"name": "a"}, {"name": "a", "value": 1}])
def test_malformed_configuration_is_refused(item: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as refusal:
        hyperparams.merge_configuration({}, [item])
    assert (refusal.value.code, refusal.value.subcode) == (400, 12)


def artifact(key: str, **rest: Any) -> dict[str, Any]:
    return {"key": key, "type": "custom", **rest}


def test_artifacts_are_known_by_key_and_mode_and_sorted() -> None:
    stored = artifacts.merge([], [artifact("b", uri="1"), artifact("a"), artifact("b", mode="input")])
    assert [(item["key"], item["mode"]) for item in stored] == [("a", "output"), ("b", "input"), ("b", "output")]
    assert stored[0] == artifact("a", mode="output", display_data=[])
    merged = artifacts.merge(stored, [artifact("b", uri="2", bogus=1), artifact("b", uri="3", hash=None)])
    assert merged[2] == artifact("b", mode="output", display_data=[], uri="3")
    assert [item["key"] for item in artifacts.without(merged, [{"key": "b"}, {"key": "zz"}])] == ["a", "b"]
    assert artifacts.inputs(merged) == [merged[1]]
    assert artifacts.output_urls(merged) == ["3"]


def test_models_are_known_by_type_and_name() -> None:
    models = artifacts.put_model({}, "output", "m", "id1", "t1")
    models = artifacts.put_model(models, "input", "m", "id2", "t2")
    models = artifacts.put_model(models, "output", "m", "id3", "t3")
    models = artifacts.put_model(models, "output", "n", "id3", "t4")
    assert models == {
        "input": [{"name": "m", "model": "id2", "updated": "t2"}],
        "output": [{"name": "m", "model": "id3", "updated": "t3"}, {"name": "n", "model": "id3", "updated": "t4"}],
    }
    left = artifacts.without_models(models, [{"type": "output", "name": "m"}, {"type": "input", "name": "zz"}])
    assert [item["name"] for item in left["output"]] == ["n"]
    assert len(left["input"]) == 1


def test_models_given_as_a_whole_keep_double_names() -> None:
    given = {"input": [{"name": "i", "model": "1"}, {"name": "i", "model": "2"}], "output": None}
    assert artifacts.listed_models(given, "t") == {
        "input": [{"name": "i", "model": "1", "updated": "t"}, {"name": "i", "model": "2", "updated": "t"}],
        "output": [],
    }
