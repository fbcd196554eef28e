"""Every field that an endpoint of these services reads has a schema: no function meets a value of another type."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

import pytest

from localserver import endpoints
from localserver.contract import Contract
from localserver.registry import ENDPOINTS

MODULES = [import_module(module.name) for module in iter_modules(endpoints.__path__, f"{endpoints.__name__}.")]
BARE = {"lines", "method"}
"""Not fields of a request: what the dispatcher makes of JSON lines."""


@cache
def contract() -> Contract:
    made = Contract.load()
    for item in ENDPOINTS.values():
        if item.schema is not None:
            made.add(item.name, item.schema)
        if item.fields is not None:
            made.extend(item.name, item.fields)
    return made


@cache
def functions() -> dict[str, ast.FunctionDef]:
    """Return the functions of the endpoints' modules by module and name."""
    found: dict[str, ast.FunctionDef] = {}
    for module in MODULES:
        found |= {f"{module.__name__}.{node.name}": node for node in _functions(module)}
    return found


def _functions(module: ModuleType) -> Iterator[ast.FunctionDef]:
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.FunctionDef):
            yield node


def _is_data(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "data" and ast.unparse(node.value) == "call"


def read_fields(module: str, name: str, seen: frozenset[str] = frozenset()) -> set[str]:
    """Return the fields of `call.data` that a function reads, with the helpers that it hands its call to."""
    place = f"{module}.{name}"
    if place not in functions():  # imported from another module of the package
        place = f"{getattr(getattr(sys.modules[module], name, None), '__module__', '')}.{name}"
    if place not in functions() or place in seen:
        return set()
    fields: set[str] = set()
    for node in ast.walk(functions()[place]):
        match node:
            case ast.Subscript(value=value, slice=ast.Constant(value=str(field))) if _is_data(value):
                fields.add(field)
            case ast.Call(func=ast.Attribute(value=value, attr="get"), args=[ast.Constant(value=str(field)), *_]) if (
                _is_data(value)
            ):
                fields.add(field)
            case ast.Call(func=ast.Name(id=helper), args=args) if any(ast.unparse(arg) == "call" for arg in args):
                fields |= read_fields(place.rpartition(".")[0], helper, seen | {place})
    return fields


SERVICES = ("events", "queues", "workers")
NAMES = sorted(name for name in ENDPOINTS if name.partition(".")[0] in SERVICES)


@pytest.mark.parametrize("name", NAMES)
def test_a_field_that_an_endpoint_reads_has_a_schema(name: str) -> None:
    function = ENDPOINTS[name].function
    properties = contract().enforced_schema(name)["properties"]
    read = read_fields(function.__module__, function.__name__) - BARE
    assert {field for field in read if not properties.get(field)} == set()


def test_fields_are_found() -> None:
    read = read_fields(f"{endpoints.__name__}.events_reading", "get_task_log")
    assert {"batch_size", "task", "metrics", "scroll_id"} <= read
