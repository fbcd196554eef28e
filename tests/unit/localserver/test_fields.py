"""Every field that an endpoint reads has a schema: no function meets a value of another type."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from functools import cache
from types import FunctionType, ModuleType
from typing import Any

import pytest
from clearml_localserver import query, registry
from clearml_localserver.endpoints import events_reading, tasks_archive
from clearml_localserver.errors import ApiError
from clearml_localserver.registry import ENDPOINTS
from clearml_localserver.request_schemas import RequestSchemas

CONTAINER = dict.fromkeys(("container_id", "endpoint_name", "model_name"), "x")
OURS = f"{registry.__package__}."
BARE = {"lines", "method"}
"""Not fields of a request: what the dispatcher makes of JSON lines."""


@cache
def schemas() -> RequestSchemas:
    made = RequestSchemas.load()
    registry.add_endpoint_schemas(made)
    return made


@cache
def source_of(function: FunctionType) -> ast.FunctionDef:
    (node,) = ast.parse(inspect.getsource(function)).body
    assert isinstance(node, ast.FunctionDef)
    return node


def function_named(function: FunctionType, name: ast.expr) -> FunctionType | None:
    """Return the function of the server that `name` means inside of `function`, but for the query language's own."""
    match name:
        case ast.Name(id=id):
            found = function.__globals__.get(id)
        case ast.Attribute(value=ast.Name(id=id), attr=attribute):
            module = function.__globals__.get(id)
            found = getattr(module, attribute, None) if isinstance(module, ModuleType) else None
        case _:
            return None
    if not isinstance(found, FunctionType) or not found.__module__.startswith(OURS):
        return None
    return None if found.__module__.startswith(query.__name__) else found


def handed_on(call: ast.Call, target: FunctionType, texts: frozenset[str]) -> frozenset[str]:
    """Return how `target` names the body of the request, if it is called with the body or the whole request."""
    names = [argument.arg for argument in source_of(target).args.args]
    passed = [*zip(names, call.args, strict=False), *((item.arg, item.value) for item in call.keywords if item.arg)]
    bodies = {name for name, value in passed if ast.unparse(value) in texts}
    calls = {f"{name}.data" for name, value in passed if f"{ast.unparse(value)}.data" in texts}
    return frozenset(bodies | calls)


def read_fields(
    function: FunctionType,
    texts: frozenset[str] = frozenset({"call.data"}),
    seen: frozenset[FunctionType] = frozenset(),
) -> Iterator[str]:
    """Yield the fields that a function reads of a request, and those that its helpers read.

    Args:
        function: The function.
        texts: What stands for the body of the request in its source.
        seen: Functions that are being read.
    """
    for node in ast.walk(source_of(function)):
        match node:
            case ast.Subscript(value=value, slice=ast.Constant(value=str(field))) if ast.unparse(value) in texts:
                yield field
            case ast.Call(func=ast.Attribute(value=value, attr="get"), args=[ast.Constant(value=str(field)), *_]) if (
                ast.unparse(value) in texts
            ):
                yield field
            case ast.Call(func=name):
                target = function_named(function, name)
                if target and target not in seen and (inner := handed_on(node, target, texts)):
                    yield from read_fields(target, inner, seen | {function})


@pytest.mark.parametrize("name", sorted(ENDPOINTS))
def test_a_field_that_an_endpoint_reads_has_a_schema(name: str) -> None:
    function = ENDPOINTS[name].function
    assert isinstance(function, FunctionType)
    properties = schemas().enforced_schema(name)["properties"]
    assert {field for field in set(read_fields(function)) - BARE if not properties.get(field)} == set()


def test_fields_are_found() -> None:
    assert {"batch_size", "task", "metrics", "scroll_id"} <= set(read_fields(events_reading.get_task_log))
    assert "include_pipeline_steps" in set(read_fields(tasks_archive.archive)), "which a helper of a helper reads"


@pytest.mark.parametrize(
    ("endpoint", "body", "field"),
    [
        ("auth.validate_token", {"token": {}}, "token"),
        ("debug.ping", {"verbose": "yes"}, "verbose"),
        ("models.create", {"name": "m", "uri": "u", "public": "no"}, "public"),
        ("models.get_all_ex", {"include_stats": "no"}, "include_stats"),
        ("organization.download_for_get_all", {"prepare_id": 7}, "prepare_id"),
        (
            "organization.prepare_download_for_get_all",
            {"entity_type": ["task"], "field_mappings": [{"field": "id"}]},
            "entity_type",
        ),
        (
            "organization.prepare_download_for_get_all",
            {"entity_type": "task", "field_mappings": [{"field": "status", "values": [{"key": [], "value": "x"}]}]},
            "field_mappings.0.values.0.key",
        ),
        ("projects.get_all_ex", {"active_users": [[]]}, "active_users.0"),
        ("projects.get_all_ex", {"stats_for_state": "none"}, "stats_for_state"),
        ("projects.get_hyper_parameters", {"project": ["p"]}, "project"),
        ("projects.get_task_parents", {"task_name": {"pattern": "x"}}, "task_name"),
        ("projects.get_unique_metric_variants", {"ids": [{}]}, "ids.0"),
        ("reports.get_all_ex", {"allow_public": 0}, "allow_public"),
        ("serving.register_container", {**CONTAINER, "machine_stats": 1}, "machine_stats"),
        ("tasks.delete", {"task": "t", "include_pipeline_steps": "false"}, "include_pipeline_steps"),
        ("tasks.dequeue", {"task": "t", "new_status": ["created"]}, "new_status"),
        ("tasks.enqueue_many", {"ids": ["t"], "update_execution_queue": "no"}, "update_execution_queue"),
        ("users.get_all_ex", {"active_in_projects": {}}, "active_in_projects"),
    ],
)
def test_a_value_of_another_type_is_refused_by_the_field_s_name(
    endpoint: str, body: dict[str, Any], field: str
) -> None:
    with pytest.raises(ApiError) as caught:
        schemas().validate(endpoint, body)
    assert (caught.value.code, caught.value.subcode) == (400, 12)
    assert f"field={field}:" in caught.value.msg
