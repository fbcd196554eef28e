"""Until when a task's pages look for news: as long as a step of its run does anything."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.localserver.web_app import ask, make_app

CONTROLLER = {"type": "controller", "system_tags": ["pipeline"], "runtime": {"_pipeline_hash": "x"}}


def task(id_: str, status: str, parent: str = "", jobs: list[str] | None = None, **fields: Any) -> dict[str, Any]:
    graph = {job: {"job_id": job, "parents": []} for job in jobs or []}
    return {
        "id": id_, "name": id_, "status": status, "parent": {"id": parent},
        "configuration": {"Pipeline": {"value": json.dumps(graph)}} if jobs else {}, **fields,
    }  # fmt: skip


OUTER = task("run", "completed", jobs=["inner"], **CONTROLLER)


def live(tab: str, *tasks: dict[str, Any]) -> bool:
    def reply(name: str, data: dict[str, Any]) -> dict[str, Any]:
        if name != "tasks.get_all_ex":
            return {}
        parents = [data["parent"]] if isinstance(data.get("parent"), str) else data.get("parent", [])
        return {"tasks": [one for one in tasks if one["id"] in data.get("id", []) or one["parent"]["id"] in parents]}

    shown = ask(make_app(reply), f"/tasks/run/{tab}").json()
    assert isinstance(shown["live"], bool)
    return bool(shown["live"])


@pytest.mark.parametrize("tab", ["pipeline?_part=run", "overview?_part=facts", "console/lines?after=1", "scalars/data"])
@pytest.mark.parametrize(
    ("tasks", "is_live"),
    [
        ([OUTER], False),
        ([task("run", "in_progress")], True),
        ([OUTER, task("inner", "completed", "run")], False),
        ([OUTER, task("inner", "in_progress", "run")], True),
        ([OUTER, task("inner", "queued", "elsewhere")], True),
        ([OUTER, task("inner", "stopped", "run", **CONTROLLER), task("step", "in_progress", "inner")], True),
        ([OUTER, task("inner", "stopped", "run", **CONTROLLER), task("step", "completed", "inner")], False),
        ([OUTER, task("inner", "stopped", "run", jobs=["run"], **CONTROLLER)], False),
        ([task("run", "completed"), task("child", "in_progress", "run")], False),
    ],
)
def test_pages_look_for_news_while_a_step_is_live(tab: str, tasks: list[dict[str, Any]], is_live: bool) -> None:
    assert live(tab, *tasks) is is_live
