from __future__ import annotations

from typing import Any

import pytest
from clearml_localserver.errors import ApiError
from clearml_localserver.rules import models as rules
from clearml_localserver.rules.preferences import merged

NOW = "2026-01-01T00:00:00.000000+00:00"
ITEM = {"key": "k", "type": "str", "value": "v"}


def test_a_new_model_is_ready_unless_said_otherwise() -> None:
    request = {"name": " a model ", "uri": "", "project": "p", "unknown": 1, "comment": None}
    made = rules.new_model("id", request, company="c", user="u", now=NOW)
    assert made == {
        "id": "id",
        "company": "c",
        "user": "u",
        "name": "a model",
        "uri": "",
        "project": "p",
        "ready": True,
        "tags": [],
        "system_tags": [],
        "design": {},
        "labels": {},
        "metadata": {},
        "last_metrics": {},
        "last_iteration": 0,
        "created": NOW,
        "last_update": NOW,
        "last_change": NOW,
        "last_changed_by": "u",
    }
    assert rules.new_model("id", request | {"ready": False}, company="c", user="u", now=NOW)["ready"] is False


@pytest.mark.parametrize(
    ("request_fields", "subcode"),
    [
        ({"name": "ab"}, 800),
        ({"labels": {"a": "x"}}, 800),
        ({"labels": {"a": True}}, 800),
        ({"metadata": [ITEM]}, 12),
        ({"metadata": {"k": "v"}}, 12),
        ({"metadata": {"k": ITEM | {"value": 1}}}, 12),
    ],
)
def test_refused_fields(request_fields: dict[str, Any], subcode: int) -> None:
    with pytest.raises(ApiError) as refused:
        rules.given(request_fields, rules.EDITABLE)
    assert refused.value.subcode == subcode


def test_updating_passes_over_what_is_edited() -> None:
    request = {"name": "new", "ready": False, "labels": {"a": 1}, "metadata": {"k": {"value": "v"}}}
    assert rules.given(request, rules.UPDATABLE) == {"name": "new", "metadata": {"k": {"key": "k", "value": "v"}}}


@pytest.mark.parametrize(
    ("fields", "of_content", "added"),
    [
        ({"name": "x"}, False, {"last_change", "last_changed_by"}),
        ({"name": "x"}, True, {"last_change", "last_changed_by", "last_update"}),
        ({"uri": "x"}, False, {"last_change", "last_changed_by", "ui_cache"}),
    ],
)
def test_what_a_change_leaves_behind(fields: dict[str, Any], of_content: bool, added: set[str]) -> None:
    changed = rules.changed(fields, user="u", now=NOW, of_content=of_content)
    assert changed.keys() - fields.keys() == added


@pytest.mark.parametrize(
    ("request_fields", "fine"),
    [
        ({"uri": "x"}, True),
        ({"override_model_id": "m"}, True),
        ({}, False),
        ({"uri": "x", "override_model_id": "m"}, False),
    ],
)
def test_a_task_model_has_one_source(request_fields: dict[str, Any], fine: bool) -> None:
    if fine:
        rules.require_one_source(request_fields)
        return
    with pytest.raises(ApiError) as refused:
        rules.require_one_source(request_fields)
    assert refused.value.subcode == 11


@pytest.mark.parametrize(
    ("current", "new", "expected"),
    [
        ({}, {"a": {"b": 1}, "x.y": 2}, {"a": {"b": 1}, "x": {"y": 2}}),
        ({"x": {"z": 1}}, {"x.y": 2}, {"x": {"z": 1, "y": 2}}),
        ({"x": {"z": 1}}, {"x": {"y": 2}}, {"x": {"y": 2}}),
        ({"x": 1}, {"x.y.z": None}, {"x": {"y": {"z": None}}}),
        ({"a": 1}, {}, {"a": 1}),
    ],
)
def test_preferences(current: dict[str, Any], new: dict[str, Any], expected: dict[str, Any]) -> None:
    before = {key: dict(value) if isinstance(value, dict) else value for key, value in current.items()}
    assert merged(current, new) == expected
    assert current == before
