"""Calls that clients sent to a genuine server, sent to ours: same status, same subcode, same keys in the reply.

`tests/data/wire_*.jsonl` hold the recorded shapes; `{project}` and the like stand for documents that the test makes,
because the recorded ids exist nowhere any more. `as` is the caller's role where it is not an admin. What is answered
otherwise here on purpose (docs/localserver-endpoints.md) is left out.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from clearml_localserver.pytest_plugin import ClearmlServer

from tests.api_client import ApiClient

pytestmark = pytest.mark.integration

DATA = Path(__file__).parent.parent / "data"
SAMPLES = [json.loads(line) for file in sorted(DATA.glob("wire_*.jsonl")) for line in file.open()]
OPTIONAL = {"comment", "project", "task", "parent", "given_name", "framework", "started", "published_task"}
OPTIONAL |= {"family_name", "created_in_version", "label", "last_used", "last_used_from"}
OPTIONAL |= {"runtime", "status_message"}  # asked for by fields that were cut from the recording
"""Keys that only some documents have."""


def project(api: ApiClient) -> str:
    """Make a project that holds a task and a model."""
    id = str(api("projects.create", name=fresh_name(api), description="")["id"])
    task = api("tasks.create", name="a task", type="data_processing", project=id, system_tags=["dataset"])["id"]
    api("tasks.edit_hyper_params", task=task, hyperparams=[{"section": "Args", "name": "lr", "value": "0.1"}])
    api("models.create", name="a model", uri="file:///m", project=id)
    return id


def fresh_name(api: ApiClient) -> str:
    return f"thing{uuid4().hex[:8]}"


def project_name(api: ApiClient) -> str:
    return str(api("projects.get_by_id", project=project(api))["project"]["name"])


def task(api: ApiClient) -> str:
    return str(api("tasks.create", name="a task", type="training", project=project(api))["id"])


def model(api: ApiClient, **fields: Any) -> str:
    wanted = {"name": "a model", "uri": "file:///x", "project": project(api)}
    return str(api("models.create", **wanted | fields)["id"])


def public_model(api: ApiClient) -> str:
    return published(api, "models", model(api))


def public_project(api: ApiClient) -> str:
    return published(api, "projects", project(api))


def published(api: ApiClient, service: str, id: str) -> str:
    api(f"{service}.make_public", ids=[id])
    return id


def draft_of_task(api: ApiClient) -> str:
    return model(api, ready=False, task=task(api))


def draft_of_stopped_task(api: ApiClient) -> str:
    of = task(api)
    api("tasks.stopped", task=of, force=True)
    return model(api, ready=False, task=of)


def task_with_model(api: ApiClient) -> str:
    of = task(api)
    api("models.update_for_task", "v2.12", task=of, uri="file:///x")
    return of


def run(api: ApiClient) -> str:
    fields = {"name": "run", "type": "controller", "system_tags": ["pipeline"]}
    runs = project(api)
    api("tasks.create", **fields, project=runs)
    return str(api("tasks.create", **fields, project=runs)["id"])


def user(api: ApiClient) -> str:
    return str(api("users.get_current_user")["user"]["id"])


def company(api: ApiClient) -> str:
    return str(api("users.get_current_user")["user"]["company"]["id"])


def other_user(api: ApiClient) -> str:
    id = fresh_name(api)
    api("users.create", id=id, name="somebody", company=company(api))
    return id


def report(api: ApiClient) -> str:
    return str(api("reports.create", name="a report", project=project(api))["id"])


def published_report(api: ApiClient) -> str:
    id = report(api)
    api("reports.publish", task=id)
    return id


def public_report(api: ApiClient) -> str:
    id = report(api)
    api("tasks.make_public", ids=[id])
    return id


def access_key(api: ApiClient) -> str:
    return str(api("auth.create_credentials")["credentials"]["access_key"])


def queue(api: ApiClient) -> str:
    return str(api("queues.create", name=fresh_name(api))["id"])


MAKERS: Mapping[str, Callable[[ApiClient], str]] = {
    "project": project,
    "other_project": project,
    "project_name": project_name,
    "fresh_name": fresh_name,
    "task": task,
    "task_with_model": task_with_model,
    "model": model,
    "public_model": public_model,
    "public_project": public_project,
    "draft_of_task": draft_of_task,
    "draft_of_stopped_task": draft_of_stopped_task,
    "run": run,
    "report": report,
    "published_report": published_report,
    "public_report": public_report,
    "access_key": access_key,
    "queue": queue,
    "user": user,
    "other_user": other_user,
    "company": company,
    "unknown": lambda api: uuid4().hex,
}


def filled(api: ApiClient, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request with documents made for its placeholders."""
    made: dict[str, str] = {}
    text = json.dumps(request)
    for name in dict.fromkeys(re.findall(r"\{(\w+)\}", text)):
        if name in MAKERS:
            made[name] = MAKERS[name](api)
    if "{project_name}" in text and "{project}" in text:
        made["project_name"] = str(api("projects.get_by_id", project=made["project"])["project"]["name"])
    if "{pipeline}" in text:
        made["pipeline"] = str(api("tasks.get_by_id", task=made["run"])["task"]["project"])
    for name, id in made.items():
        text = text.replace(f"{{{name}}}", id)
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.fixture(scope="module")
def clients(clearml_server: ClearmlServer) -> Iterator[dict[str, ApiClient]]:
    """A client for each role."""
    with contextlib.ExitStack() as opened:

        def client(credentials: tuple[str, str]) -> ApiClient:
            return opened.enter_context(contextlib.closing(ApiClient(clearml_server.api_url, credentials)))

        admin = client(clearml_server.credentials)
        made = {role: admin("auth.create_credentials", role=role)["credentials"] for role in ("user", "guest")}
        yield {role: client((key["access_key"], key["secret_key"])) for role, key in made.items()} | {"admin": admin}


@pytest.mark.parametrize("sample", SAMPLES, ids=[f"{n}-{sample['endpoint']}" for n, sample in enumerate(SAMPLES)])
def test_a_recorded_call_is_answered_alike(clients: dict[str, ApiClient], sample: dict[str, Any]) -> None:
    caller, request = clients[sample.get("as", "admin")], filled(clients["admin"], sample["request"])
    reply = caller.send(sample["endpoint"], f"v{sample['version']}", **request)
    assert (reply.status, reply.meta["result_subcode"]) == (sample["status"], sample["subcode"]), reply.meta[
        "result_msg"
    ]
    assert sorted(reply.data) == sample["keys"]
    for key, keys in sample["inner"].items():
        shown = reply.data[key]
        first = (shown[0] if shown else None) if isinstance(shown, list) else shown
        if first is not None:
            assert set(keys) - OPTIONAL <= first.keys(), f"{key} lacks {set(keys) - OPTIONAL - first.keys()}"
