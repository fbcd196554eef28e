"""Why a run failed: the page of the run, of the step and the first page show the exception and the last lines."""

from __future__ import annotations

import json
import re
import time
from uuid import uuid4

import pytest

from tests.api_client import ApiClient
from tests.integration.web.pages import ESCAPED, HOSTILE, Web, make_task

pytestmark = pytest.mark.integration

PRINTED = [f"row {n}" for n in range(40)] + [
    "Traceback (most recent call last):",
    '  File "step.py", line 3, in split',
    f"ValueError: bad row {HOSTILE}",
    "Process failed, exit code 1",
]


def print_lines(api: ApiClient, task: str, lines: list[str]) -> None:
    start = int(time.time() * 1000)
    events = [{"type": "log", "task": task, "msg": line, "timestamp": start + n} for n, line in enumerate(lines)]
    content = "\n".join(json.dumps(event) for event in events)
    api.http.post("/events.add_batch", content=content, headers={"Content-Type": "application/json-lines"})


def fail(api: ApiClient, task: str, reason: str, message: str = "") -> None:
    api("tasks.started", task=task)
    api("tasks.failed", task=task, status_reason=reason, status_message=message)


def make_run(api: ApiClient, name: str, steps: dict[str, str], **fields: str) -> str:
    """Make a controller that has begun, with a graph of these steps and their tasks."""
    graph = {step: {"parents": [], "job_id": task, "status": "failed"} for step, task in steps.items()}
    configuration = {"Pipeline": {"name": "Pipeline", "value": json.dumps(graph)}}
    run = make_task(
        api, name, type="controller", system_tags=["pipeline"], configuration=configuration,
        runtime={"_pipeline_hash": "x"}, **fields,
    )  # fmt: skip
    for task in steps.values():
        api("tasks.edit", task=task, parent=run, force=True)
    return run


@pytest.fixture
def failed(api: ApiClient) -> tuple[str, str, str]:
    """Names a run of a pipeline within a pipeline, the inner run, and the step in it that failed."""
    step = make_task(api, "split")
    print_lines(api, step, PRINTED)
    fail(api, step, "worker execution exit code 1", "Changed by clearml-agent node:3")
    inner = make_run(api, "DataPrepare", {"split": step})
    fail(api, inner, "Pipeline step failed")
    run = make_run(api, f"Full {uuid4().hex[:6]}", {"prepare": inner})
    fail(api, run, "Pipeline step failed")
    return run, inner, step


def last_lines(page: str) -> list[str]:
    found = re.search(r"<pre[^>]*aria-label=\"Last lines[^>]*>(.*?)</pre>", page, re.DOTALL)
    assert found is not None
    return found[1].strip().splitlines()


def test_the_page_of_a_run_shows_the_exception_and_the_last_lines_of_the_step(
    web: Web, failed: tuple[str, str, str]
) -> None:
    run, inner, step = failed
    for id_, name in ((run, "prepare / split"), (inner, "split")):
        page = web.get(f"/tasks/{id_}")
        assert f'href="/tasks/{step}">{name}</a> failed: <strong class="cause">ValueError: bad row {ESCAPED}' in page
        lines = last_lines(page)
        assert (len(lines), lines[0], lines[-1]) == (20, "row 24", "Process failed, exit code 1")
        assert f"/tasks/{step}/console" in page
        assert "A step of the pipeline failed." in page
        top = name.partition(" / ")[0]
        assert f'<span class="warn">ValueError: bad row {ESCAPED}</span>' in page, "the row of the step"
        opened = web.get(f"/tasks/{id_}?step={top}")
        panel = opened[opened.index('id="step"') :]
        assert f'<strong class="cause">ValueError: bad row {ESCAPED}</strong>' in panel, top


def test_the_page_of_a_step_shows_them_and_who_changed_its_status(web: Web, failed: tuple[str, str, str]) -> None:
    page = web.get(f"/tasks/{failed[2]}")
    assert f'<strong class="cause">ValueError: bad row {ESCAPED}' in page
    assert len(last_lines(page)) == 20
    assert "The agent node:3 ended the task: its process returned exit code 1." in page
    assert "Changed by clearml-agent" not in page


def test_the_first_page_shows_them_beside_the_run(web: Web, failed: tuple[str, str, str]) -> None:
    page = web.get("/")
    assert f'href="/tasks/{failed[2]}">prepare / split</a> failed: <strong class="cause">ValueError: bad row' in page
    assert len(last_lines(page)) == 20


def test_the_first_page_shows_them_beside_a_task_outside_runs(web: Web, api: ApiClient) -> None:
    task = make_task(api, "alone")
    api("tasks.started", task=task)
    api("tasks.failed", task=task, status_reason="broken")
    page = web.get("/")
    assert re.search(rf'href="/tasks/{task}">alone</a>.*?<tr class="detail"><td colspan="6">', page, re.DOTALL)


def test_a_controller_that_failed_itself_is_shown_by_its_own_console(web: Web, api: ApiClient) -> None:
    run = make_run(api, "no step failed", {})
    print_lines(api, run, ["Traceback (most recent call last):", "  File", "KeyError: 'queue'"])
    fail(api, run, "worker execution exit code 1")
    assert '<strong class="cause">KeyError: &#39;queue&#39;</strong>' in web.get(f"/tasks/{run}")


@pytest.mark.parametrize("value", ['["pod: Evicted <b>"]', "{", "3", '{"a": 1}', "[" * 5000])
def test_a_step_that_was_run_again_says_how_its_earlier_attempts_ended(api: ApiClient, web: Web, value: str) -> None:
    properties = {"earlier_attempts": {"section": "properties", "name": "earlier_attempts", "value": value}}
    task = make_task(api, "again", hyperparams={"properties": properties})
    api("tasks.edit", task=task, runtime={"pod_phases": "pull 12 s, run 3 s"})
    page = web.get(f"/tasks/{task}/overview")
    assert "<dt>Pod</dt><dd>pull 12 s, run 3 s</dd>" in page
    shown = "<dt>Attempt 1</dt><dd>ended: pod: Evicted &lt;b&gt;</dd>" in page
    assert shown == ("Evicted" in value)
    assert page.count("<dt>Attempt ") == shown
