"""The recorder in the agent image: reads kubectl's watch, writes a dead pod's reason onto the task's record."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

SOURCE = Path(__file__).resolve().parents[3] / "images/agent/recorder.py"


@pytest.fixture(scope="module")
def recorder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("agent_recorder", SOURCE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["agent_recorder"] = module
    spec.loader.exec_module(module)
    return module


class Session:
    """Stands for the glue's: keeps what was sent, answers with one task."""

    def __init__(self, **task: Any) -> None:
        self.task = {"id": "t1", "status": "in_progress", "runtime": {"kept": "1"}, **task}
        self.sent: list[tuple[str, dict[str, Any]]] = []

    def send_request(self, service: str, action: str, json: dict[str, Any], method: str) -> SimpleNamespace:
        self.sent.append((f"{service}.{action}", json))
        return SimpleNamespace(ok=True, status_code=200, json=lambda: {"data": {"tasks": [self.task]}})


def event(kind: str, phase: str, state: dict[str, Any], name: str = "clearml-id-t1") -> dict[str, Any]:
    status = {"phase": phase, "containerStatuses": [{"name": "main", "state": state}]}
    return {"type": kind, "object": {"metadata": {"name": name, "uid": "u1"}, "spec": {}, "status": status}}


OOM = {"terminated": {"exitCode": 0, "reason": "OOMKilled"}}


@pytest.mark.parametrize("indent", [None, 4])
def test_documents_of_a_stream(recorder, indent):
    objects = [{"a": {"b": "}"}}, {"c": [1, {}]}]
    lines = "".join(json.dumps(item, indent=indent) + "\n" for item in objects).splitlines(keepends=True)
    assert list(recorder.documents(lines)) == objects


def test_an_end_is_written_once_and_ends_a_task_that_nobody_runs(recorder):
    session = Session()
    watch = recorder.Recorder(session, "agent", "clearml")
    watch.look(event("MODIFIED", "Succeeded", OOM))
    watch.look(event("DELETED", "Succeeded", OOM))
    sent = dict(session.sent)
    assert [name for name, _ in session.sent] == ["tasks.get_all", "events.add", "tasks.edit", "tasks.failed"]
    assert "OOMKilled" in sent["events.add"]["msg"]
    assert sent["tasks.edit"]["runtime"].keys() == {"kept", "pod"}
    assert sent["tasks.failed"]["status_reason"] == "pod: OOMKilled"


def test_a_task_that_its_own_agent_ended_is_left_as_it_is(recorder):
    session = Session(status="failed")
    recorder.Recorder(session, "agent", "clearml").look(event("MODIFIED", "Succeeded", OOM))
    assert "tasks.failed" not in dict(session.sent)


@pytest.mark.parametrize(
    "given",
    [
        event("ADDED", "Running", {"running": {}}),
        event("MODIFIED", "Succeeded", {"terminated": {"exitCode": 0, "reason": "Completed"}}),
        event("DELETED", "Running", {"running": {}}, name="clearml-agent-1"),
    ],
)
def test_nothing_is_written_for_pods_that_live_end_well_or_are_no_tasks(recorder, given):
    session = Session()
    recorder.Recorder(session, "agent", "clearml").look(given)
    assert session.sent == []
