"""`python -m tests.sdk_schemas`: read the request schemas of the installed SDK into localserver's `schemas.json`.

`clearml.backend_api.services.v2_*` holds a schema for every request. They are read as source (`ast`): importing those
modules costs 40 MB. A test compares the file with the SDK of the lock.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[1]
TARGET = PROJECT / "localserver/src/clearml_localserver/schemas.json"

NEWEST = "v2_23"
"""Newest schemas in the SDK of this lock; older clients send subsets of these."""

ENTERPRISE = frozenset({"frames", "dataviews", "datasets"})
"""Services of the enterprise server, of which only the names are kept."""

Schema = dict[str, Any]


def text() -> str:
    """Return what `schemas.json` has to hold: one endpoint a line, so that a diff shows what an SDK changes."""
    sdk = distribution("clearml")
    folder = Path(str(sdk.locate_file(f"clearml/backend_api/services/{NEWEST}")))
    found = dict(sorted(_read_services(folder)))
    enterprise = [name for name in found if name.partition(".")[0] in ENTERPRISE]
    rows = ",\n".join(f"{json.dumps(name)}: {json.dumps(found[name])}" for name in found if name not in enterprise)
    source = f"clearml {sdk.version} (Apache-2.0), backend_api/services/{NEWEST}"
    return f'{{"source": {json.dumps(source)},\n"enterprise": {json.dumps(enterprise)},\n"schemas": {{\n{rows}\n}}}}\n'


def _read_services(folder: Path) -> Iterator[tuple[str, Schema]]:
    for module in folder.glob("*.py"):
        for node in ast.parse(module.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and node.name.endswith("Request"):
                constants = _class_constants(node)
                if "_action" in constants and "_schema" in constants:
                    yield f"{constants['_service']}.{constants['_action']}", constants["_schema"]


def _class_constants(node: ast.ClassDef) -> dict[str, Any]:
    wanted = {"_service", "_action", "_schema"}
    return {
        statement.targets[0].id: ast.literal_eval(statement.value)
        for statement in node.body
        if isinstance(statement, ast.Assign)
        and isinstance(statement.targets[0], ast.Name)
        and statement.targets[0].id in wanted
    }


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
