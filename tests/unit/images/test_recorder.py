"""The recorder in the agent image: reads the watch of the pods, writes a dead pod's reason onto the task's record."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.fakes import agent_image

MODULES = ("recorder", "known_pods", "task_records")


@pytest.fixture(scope="module")
def image() -> SimpleNamespace:
    return SimpleNamespace(**{name: agent_image.module(name) for name in MODULES})


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


def made(image: SimpleNamespace, session: Session, pending_queue: str | None = None) -> Any:
    records = image.task_records.TaskRecords(session, "agent")
    return image.recorder.Recorder(records, image.known_pods.KnownPods(), lambda: pending_queue)


OOM = {"terminated": {"exitCode": 0, "reason": "OOMKilled"}}


def test_an_end_is_written_once_and_ends_a_task_that_nobody_runs(image):
    session = Session()
    watch = made(image, session)
    watch.look(event("MODIFIED", "Succeeded", OOM))
    watch.look(event("DELETED", "Succeeded", OOM))
    sent = dict(session.sent)
    assert [name for name, _ in session.sent] == ["tasks.get_all", "events.add", "tasks.edit", "tasks.failed"]
    assert "OOMKilled, exit code 137" in sent["events.add"]["msg"]
    assert sent["tasks.edit"]["runtime"].keys() == {"kept", "pod"}
    assert sent["tasks.failed"]["status_reason"] == "pod: OOMKilled"


def test_the_memory_limit_of_what_ran_out_of_memory_is_on_the_record(image):
    session = Session(status="failed")
    told = event("MODIFIED", "Failed", OOM)
    told["object"]["spec"] = {"containers": [{"resources": {"limits": {"memory": "256Mi"}}}]}
    made(image, session).look(told)
    runtime = dict(session.sent)["tasks.edit"]["runtime"]
    assert runtime["pod_memory"] == "256Mi"
    assert runtime["pod"].endswith("OOMKilled, exit code 137 (memory limit 256Mi)")


def test_a_task_that_its_own_agent_ended_is_left_as_it_is(image):
    session = Session(status="failed")
    made(image, session).look(event("MODIFIED", "Succeeded", OOM))
    assert "tasks.failed" not in dict(session.sent)


@pytest.mark.parametrize(
    "given",
    [
        event("ADDED", "Running", {"running": {}}),
        event("MODIFIED", "Succeeded", {"terminated": {"exitCode": 0, "reason": "Completed"}}),
        event("DELETED", "Running", {"running": {}}, name="clearml-agent-1"),
    ],
)
def test_nothing_is_written_for_pods_that_live_end_well_or_are_no_tasks(image, given):
    session = Session()
    made(image, session).look(given)
    assert {name for name, _ in session.sent} <= {"tasks.get_all"}


def test_a_task_that_waits_in_a_queue_again_is_not_the_old_pods(image):
    session = Session(status="queued", execution={"queue": "users"})
    made(image, session, pending_queue="pending").look(event("DELETED", "Running", {"running": {}}))
    assert [name for name, _ in session.sent] == ["tasks.get_all"]


EXECUTES = {"status": "in_progress", "status_reason": "worker starting task execution"}
SDK_STARTED = {"status": "in_progress", "status_reason": ""}
INSTALLS = {"status": "in_progress", "status_reason": "worker started execution"}
AT_7, AT_8, AT_9 = ({"status_changed": f"2026-11-28T10:00:0{second}+00:00"} for second in (7, 8, 9))


@pytest.mark.parametrize(
    ("seen", "phases"),
    [
        ([EXECUTES | AT_8], "pull 2 s, setup 5 s, run 12 s"),
        ([EXECUTES | AT_8, SDK_STARTED | AT_9], "pull 2 s, setup 5 s, run 12 s"),
        # The task was so quick to import the SDK that the agent's own report was not seen.
        ([SDK_STARTED | AT_9], "pull 2 s, setup 6 s, run 11 s"),
        # The agent's first report in the pod is as silent as the SDK's.
        ([SDK_STARTED | AT_7, EXECUTES | AT_8], "pull 2 s, setup 5 s, run 12 s"),
        ([SDK_STARTED | AT_7, SDK_STARTED | AT_9], "pull 2 s, setup 6 s, run 11 s"),
        ([SDK_STARTED | AT_7, INSTALLS | AT_8], "pull 2 s, run 17 s"),
        ([INSTALLS | AT_8], "pull 2 s, run 17 s"),
        ([{"status": "queued", "status_reason": ""} | AT_8], "pull 2 s, run 17 s"),
    ],
)
def test_setup_lasts_until_the_tasks_script_begins_also_without_a_time_on_its_record(image, seen, phases):
    """A task that the agent in its pod takes by `dequeue` never gets a `started`."""
    session = Session(status="completed", status_reason="worker execution done")
    watch = made(image, session)
    ran = {"startedAt": "2026-11-28T10:00:03Z", "finishedAt": "2026-11-28T10:00:20Z", "exitCode": 0}
    told = event("MODIFIED", "Succeeded", {"terminated": {**ran, "reason": "Completed"}})
    told["object"]["metadata"]["creationTimestamp"] = "2026-11-28T10:00:01Z"
    for state in (*seen, session.task):
        watch.see_execution(told["object"], state)
    watch.look(told)
    assert dict(session.sent)["tasks.edit"]["runtime"]["pod_phases"] == phases


SAID = "pod p ended: Looking in indexes: https://ann:p@ss@packages.example.com/simple | ssh://git@example.com/a"
HIDDEN = "pod p ended: Looking in indexes: https://***@packages.example.com/simple | ssh://git@example.com/a"


def test_credentials_in_what_a_pod_printed_are_on_no_record_and_in_no_log(image, capsys):
    session = Session()
    made(image, session).fail(session.task, "Completed, task did not end", SAID)
    sent = dict(session.sent)
    assert sent["events.add"]["msg"] == HIDDEN
    assert sent["tasks.edit"]["runtime"]["pod"] == HIDDEN
    assert sent["tasks.failed"]["status_message"] == HIDDEN
    assert capsys.readouterr().out == f"Task t1: {HIDDEN}\n"


def test_credentials_in_a_containers_last_message_are_on_no_record_and_written_once(image, capsys):
    session = Session(status="failed")
    ended = event("MODIFIED", "Failed", {"terminated": {"exitCode": 1, "reason": "Error", "message": SAID}})
    for _ in range(2):  # as after a restart of the agent, which has forgotten what it wrote
        made(image, session).look(ended)
        session.task["runtime"] = next(sent["runtime"] for name, sent in session.sent if name == "tasks.edit")
    assert [name for name, _ in session.sent].count("events.add") == 1
    assert "p@ss" not in f"{session.sent}{capsys.readouterr().out}" and "https://***@packages" in str(session.sent)


def test_credentials_in_the_reason_why_a_task_cannot_start_are_on_no_record(image, capsys):
    session = Session(status="queued")
    image.task_records.TaskRecords(session, "agent").give_up("t1", "cannot start", SAID)
    assert [name for name, _ in session.sent] == ["events.add", "tasks.failed"]
    assert "p@ss" not in f"{session.sent}{capsys.readouterr().out}"
