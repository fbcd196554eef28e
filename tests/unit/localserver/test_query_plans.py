"""The usual queries stay fast with 100,000 tasks: SQLite answers them through an index."""

from __future__ import annotations

from typing import Any

import pytest
from clearml_localserver.query.compiler import compile_query
from clearml_localserver.query.kinds import KINDS
from clearml_localserver.store import Tx

from tests.unit.localserver.query_world import COMPANY, open_tx


@pytest.fixture(scope="module")
def tx() -> Tx:
    return open_tx()


@pytest.mark.parametrize(
    ("kind", "body", "index"),
    [
        ("task", {"id": ["a"]}, "sqlite_autoindex_task_1"),
        ("task", {"id": ["a", "b"]}, "sqlite_autoindex_task_1"),
        ("task", {"project": ["p"], "order_by": ["-last_update"]}, "task_fields"),
        (
            "task",
            {"project": ["p"], "order_by": ["-last_update"], "page_size": 50, "system_tags": ["-archived"]},
            "task_latest",
        ),
        ("task", {"project": ["p"], "order_by": ["-last_update"], "page_size": 50}, "task_latest"),
        (
            "task",
            {"system_tags": ["__$all", "dataset", "__$not", "archived"], "order_by": ["-created"]},
            "task_dataset",
        ),
        ("task", {"system_tags": ["dataset"], "page_size": 5, "order_by": ["-created"]}, "task_dataset"),
        ("task", {"system_tags": ["dataset", "-archived"]}, "task_fields"),
        ("task", {"project": ["p", "q"], "status": "completed", "type": ["training"]}, "task_fields"),
        ("task", {"project": ["p"], "include_subprojects": True, "status": ["completed"]}, "task_fields"),
        ("task", {"parent": ["t"], "status": ["completed"]}, "task_parent"),
        ("task", {"name": r"^a\ name$", "type": "controller"}, "task_name"),
        ("task", {"name": "^a name"}, "task_name"),
        ("task", {"name": r"^a name( #[0-9]+)?$", "project": ["p"], "order_by": ["-created"]}, "task_name"),
        ("task", {"order_by": ["-last_update"], "page_size": 50, "system_tags": ["-archived"]}, "task_last_update"),
        ("task", {"order_by": ["created"], "page_size": 50}, "task_created"),
        ("task", {"order_by": ["last_update"], "page_size": 50}, "task_last_update"),
        ("task", {"type": ["controller"]}, "task_type"),
        ("task", {"status": ["in_progress"]}, "task_status"),
        (
            "task",
            {
                "status": ["completed", "published"],
                "system_tags": ["-archived"],
                "_all_": {"fields": ["runtime.pipeline_job_hash"], "pattern": "^0a1b$"},
            },
            "task_cache_hash",
        ),
        ("model", {"task": ["t"], "order_by": ["created"]}, "model_task"),
        ("model", {"uri": ["file:///x"], "system_tags": ["-archived"]}, "model_uri"),
        ("project", {"name": r"^Amazon\ reviews$"}, "project_name"),
        ("project", {"parent": ["p"], "shallow_search": True}, "project_parent"),
        ("queue", {"name": "^default$"}, "queue_name"),
    ],
)
def test_usual_queries_use_an_index(tx: Tx, kind: str, body: dict[str, Any], index: str) -> None:
    statement = compile_query(KINDS[kind], body, COMPANY).statement()
    plan = [row[3] for row in tx.rows(f"EXPLAIN QUERY PLAN {statement.sql}", statement.args)]
    assert any(f"{kind} USING INDEX {index}" in step.replace("COVERING ", "") for step in plan), plan
    assert f"SCAN {kind}" not in plan


def test_there_are_no_statistics(tx: Tx) -> None:
    # With them SQLite 3.40 misses rows in joins over indexes on expressions (see migrations/0010).
    assert tx.rows("SELECT name FROM sqlite_master WHERE name LIKE 'sqlite_stat%'") == []
