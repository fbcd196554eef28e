"""The status table of `tasks.*` on a live server, cell by cell, with its codes and texts."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api_client import ApiClient
from tests.integration.tasks.world import body_of, get, identity, task_in
from tests.unit.localserver.task_table import CASES, Case, text_of

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.action}-{case.status}{'-force' * case.force}")
def test_every_cell_of_the_status_table(api: ApiClient, queue: str, case: Case) -> None:
    task = task_in(api, case.status, queue)
    force = {"force": True} if case.force else {}
    reply = api.send(f"tasks.{case.action}", task=task, **body_of(case.action, queue), **force)
    if case.outcome.isdigit():
        assert reply.error == (400, int(case.outcome), text_of(case.outcome, case.action, case.status, task))
        assert reply.data == {}
        assert get(api, task)["status"] == case.status
        return
    assert reply.status == 200, reply.error
    if case.outcome == "gone":
        assert api.send("tasks.get_by_id", task=task).error == (400, 101, f"Invalid task id: ids=({task})")
        return
    if case.outcome == "no-op":
        assert reply.data == {"dequeued": 1, "fields": {}, "updated": 0}
    if case.action == "ping":
        assert reply.data == {}
    after = {"same": case.status, "no-op": case.status, "enqueue_status": "created"}.get(case.outcome, case.outcome)
    assert get(api, task)["status"] == after


@pytest.mark.parametrize("action", ["edit_hyper_params", "delete_hyper_params"])
@pytest.mark.parametrize("status", ["in_progress", "stopped", "completed", "published"])
def test_user_properties_stay_editable(api: ApiClient, queue: str, action: str, status: str) -> None:
    task = task_in(api, status, queue)
    item = {"section": "properties", "name": "a", "value": "1"}
    assert api(f"tasks.{action}", task=task, hyperparams=[item])
    mixed = [item, {"section": "Args", "name": "a", "value": "1"}]
    refusal = (400, 110, f"Invalid task status: expected=created, status={status}")
    assert api.send(f"tasks.{action}", task=task, hyperparams=mixed).error == refusal


@pytest.mark.parametrize(
    ("endpoint", "body", "error"),
    [
        *(
            (f"tasks.{action}", {"task": "nope", **body_of(action, "q")}, "Invalid task id: id=nope, company={company}")
            for action in (
                "stop", "stopped", "failed", "completed", "close", "publish", "enqueue", "reset", "delete", "edit",
                "update", "set_requirements", "edit_hyper_params", "delete_hyper_params", "edit_configuration",
                "delete_configuration", "add_or_update_artifacts", "delete_artifacts", "add_or_update_model",
                "delete_models",
            )
        ),
        ("tasks.edit_runtime", {"task": "nope", "runtime": {}}, "Invalid task id: id=nope, company={company}"),
        ("tasks.clone", {"task": "nope"}, "Invalid task id: id=nope"),
        ("tasks.get_by_id", {"task": "nope"}, "Invalid task id: ids=(nope)"),
        ("tasks.archive", {"tasks": ["nope"]}, "Invalid task id: ids=(nope)"),
        ("tasks.move", {"ids": ["nope"], "project_name": "abc"}, "Invalid task id: ids=(nope)"),
        ("tasks.update_tags", {"ids": ["nope"], "add_tags": ["a"]}, "Invalid task id: ids=(nope)"),
        ("tasks.get_hyper_params", {"tasks": ["nope"]}, "Invalid task id: ids=(nope)"),
        ("tasks.get_configurations", {"tasks": ["nope"]}, "Invalid task id: ids=(nope)"),
        ("tasks.get_configuration_names", {"tasks": ["nope"]}, "Invalid task id: ids=(nope)"),
        ("tasks.make_public", {"ids": ["nope"]}, "Invalid task id: ids=(nope)"),
        ("tasks.make_private", {"ids": ["nope"]}, "Invalid task id: ids=(nope)"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.startswith("tasks.") else "",
)  # fmt: skip
def test_unknown_task(api: ApiClient, endpoint: str, body: dict[str, Any], error: str) -> None:
    company = identity(api)["company"]
    assert api.send(endpoint, **body).error == (400, 101, error.format(company=company))


def test_unknown_task_of_endpoints_that_agents_call_in_passing(api: ApiClient) -> None:
    assert api.send("tasks.started", task="nope").error == (400, 10, "Invalid object id: task=None")
    assert api("tasks.ping", task="nope") == {}
    assert api("tasks.dequeue", task="nope") == {"dequeued": 1, "fields": {}, "updated": 0}
