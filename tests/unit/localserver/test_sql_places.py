"""Endpoints and pages hold no SQL: they call the query compiler (`query`) and the statements of `tables`."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import clearml_localserver
import pytest

PACKAGE = Path(clearml_localserver.__file__).parent
MODULES = sorted([*(PACKAGE / "endpoints").glob("*.py"), *(PACKAGE / "web").rglob("*.py"), PACKAGE / "accounts.py"])
SQL = re.compile(r"\b(SELECT|WHERE|INSERT INTO|DELETE FROM|UPDATE \w+ SET|EXISTS \(|json_extract|json_each)\b")
STATEMENTS = {"rows", "each", "docs", "each_doc", "execute", "executemany"}
"""The methods of a transaction that take SQL."""


def sql_in(source: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.search(node.value):
            found.append(f"line {node.lineno}: {node.value}")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in STATEMENTS:
            found.append(f"line {node.lineno}: {ast.unparse(node.func)}")
    return found


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_endpoints_and_pages_hold_no_sql(module):
    assert sql_in(module.read_text(encoding="utf-8")) == []


def test_the_check_finds_sql():
    assert sql_in('tx.rows(f"SELECT id FROM {kind}")') == ["line 1: tx.rows", "line 1: SELECT id FROM "]
