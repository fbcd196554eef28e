"""Values: helm's merge rules, `--set`, and the keys that the chart would ignore in silence."""

from __future__ import annotations

import traceback
from functools import partial

import pytest
import yaml

from clearml_access.agent_values import IN_CLONE
from deploy.errors import ValuesError
from deploy.helm import values, values_schema

CHART = {"agentk8sglue": {"queue": "default", "resources": {}, "newKey": True, "newMap": {"a": 1}}, "sessions": {}}


@pytest.mark.parametrize(
    ("layers", "merged"),
    [
        ([{"a": 1}, {"b": 2}], {"a": 1, "b": 2}),
        ([{"a": {"x": 1, "y": 2}}, {"a": {"y": 3}}], {"a": {"x": 1, "y": 3}}),
        ([{"a": [1, 2]}, {"a": [3]}], {"a": [3]}),  # pyhelm3 would concatenate
        ([{"a": {"x": 1}}, {"a": None}], {"a": None}),  # null is handed on: helm deletes the chart's default by it
        ([{"a": None}, {"a": {"x": 1}}], {"a": {"x": 1}}),
        ([{"a": {"x": 1}}, {"a": 5}], {"a": 5}),
        ([{"a": 5}, {"a": {"x": 1}}], {"a": {"x": 1}}),
        ([], {}),
    ],
)
def test_layers_merge_as_helm_merges_them(layers, merged):
    assert values.merge(*layers) == merged


def test_a_merge_leaves_its_layers_alone():
    low, high = {"a": {"x": [1]}}, {"a": {"y": [2]}}
    result = values.merge(low, high)
    result["a"]["y"].append(3)
    assert (low, high) == ({"a": {"x": [1]}}, {"a": {"y": [2]}})


def test_a_null_deletes_the_charts_default():
    assert values.computed({"a": {"x": 1, "y": 2}}, {"a": {"x": None}}) == {"a": {"y": 2}}


@pytest.mark.parametrize(
    ("text", "layer"),
    [
        ("a=1", {"a": 1}),
        ("a.b.c=text", {"a": {"b": {"c": "text"}}}),
        ("a=", {"a": None}),
        ("a=true", {"a": True}),
        ('a="64"', {"a": "64"}),
        ("a=[x, y]", {"a": ["x", "y"]}),
        (r"a.b\.c/d=1", {"a": {"b.c/d": 1}}),
        ("a=b=c", {"a": "b=c"}),
    ],
)
def test_set_is_a_layer(text, layer):
    assert values.parse_set(text) == layer


@pytest.mark.parametrize("text", ["a", "=1", "a..b=1", "a[0].b=1", "a={", ".a=1"])
def test_a_set_that_is_none_is_refused(text):
    with pytest.raises(ValuesError):
        values.parse_set(text)


@pytest.mark.parametrize("text", ["[1]", "text", "a: [", "3"])
def test_a_values_file_must_be_a_mapping(text):
    with pytest.raises(ValuesError, match=r"values\.yaml"):
        values.parse(text, "values.yaml")


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (partial(values.parse, source="values.yaml"), "a: 'MYSECRET' MYSECRET"),
        (partial(values.parse, source="values.yaml"), "a: *MYSECRET"),
        (values.parse_set, "a='MYSECRET' MYSECRET"),
        (values.parse_set, "a[0].b=MYSECRET"),
        (values.parse_set, "a..b=MYSECRET"),
    ],
)
def test_malformed_values_are_not_shown(read, text):
    with pytest.raises(ValuesError) as refused:
        read(text)
    assert "MYSECRET" not in "".join(traceback.format_exception(refused.value))


def test_an_empty_values_file_is_no_values():
    assert values.parse("", "x") == values.parse("# nothing\n", "x") == {}


@pytest.mark.parametrize(
    ("given", "path", "suggestion"),
    [
        ({"agentk8sglue": {"ressources": {}}}, "agentk8sglue.ressources", "agentk8sglue.resources"),
        ({"agentk8sGlue": {"queue": "x"}}, "agentk8sGlue", "agentk8sglue"),
        ({"queue": "x"}, "queue", "agentk8sglue.queue"),
        ({"clearml": {"queue": "x"}}, "clearml.queue", "agentk8sglue.queue"),
        ({"agentk8sglueKey": "x"}, "agentk8sglueKey", "clearml.agentk8sglueKey"),
        (
            {"agentk8sglue": {"existingAgentk8sglueSecret": "x"}},
            "agentk8sglue.existingAgentk8sglueSecret",
            "clearml.existingAgentk8sglueSecret",
        ),
        (
            {"agentk8sglue": {"basePodTemplate": {"envs": []}}},
            "agentk8sglue.basePodTemplate.envs",
            "agentk8sglue.basePodTemplate.env",
        ),
        ({"agentk8sglue": {"image": {"xy": 1}}}, "agentk8sglue.image.xy", None),
        ({"agentk8sglue": {"frobnicate": 1}}, "agentk8sglue.frobnicate", None),
    ],
)
def test_a_key_that_the_chart_ignores_is_named_with_the_nearest_right_one(given, path, suggestion):
    (problem,) = values_schema.problems(given, CHART)
    assert problem.path == path
    if suggestion:
        assert problem.suggestion == suggestion
    assert not path.startswith(f"{problem.suggestion}."), "the key above it is right"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"agentk8sglue": {"replicaCount": "1"}}, "'1' is not a whole number"),
        ({"agentk8sglue": {"replicaCount": True}}, "True is not a whole number"),
        ({"agentk8sglue": {"queue": 3}}, "3 is not a text"),
        ({"agentk8sglue": {"createQueueIfNotExists": "yes"}}, "'yes' is not true or false"),
        ({"agentk8sglue": {"extraEnvs": {"A": "b"}}}, "is not a list"),
        ({"agentk8sglue": {"image": "x:1"}}, "'x:1' is not a mapping"),
        ({"agentk8sglue": ["queue"]}, "is not a mapping"),
        ({"agentk8sglue": {"extraEnvs": [{"name": "A", "value": 1}]}}, "1 is not a text; write it in quotes"),
        ({"agentk8sglue": {"extraEnvs": ["A=b"]}}, "is not {name: …, value: …}"),
        ({"agentk8sglue": {"extraEnvs": [{"name": "A"}, {"name": "A"}]}}, "A is listed twice"),
        ({"clearml": {"agentk8sglueSecret": "hush"}}, "a secret does not belong into values"),
    ],
)
def test_a_wrong_value_is_named(given, words):
    assert any(words in str(problem) for problem in values_schema.problems(given, CHART))


def test_no_problem_shows_a_secret():
    found = values_schema.problems({"clearml": {"agentk8sglueSecret": "hush-hush"}}, CHART)
    assert "hush-hush" not in " ".join(map(str, found))


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"agentk8sglue": None},
        {"agentk8sglue": {"podSecurityContext": None}},
        {"agentk8sglue": {"newKey": False, "newMap": {"a": 2}}},  # a newer chart knows more than we do
        {"agentk8sglue": {"resources": {"limits": {"nvidia.com/gpu": 1}}}},
        {"agentk8sglue": {"extraEnvs": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}]}},
    ],
)
def test_what_the_chart_knows_is_taken(given):
    assert values_schema.problems(given, CHART) == []


def test_the_projects_own_values_have_no_problem():
    assert values_schema.problems(yaml.safe_load(IN_CLONE.read_text())) == []


def test_require_names_all_problems_at_once():
    with pytest.raises(ValuesError, match="nope") as caught:
        values_schema.require({"nope": 1, "agentk8sglue": {"queue": 1}})
    assert "1 is not a text" in caught.value.message


def test_equal_values_have_one_digest():
    assert values.digest({"a": 1, "b": 2}) == values.digest({"b": 2, "a": 1}) != values.digest({"a": 1})
