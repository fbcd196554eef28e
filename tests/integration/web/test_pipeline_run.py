"""The page of a run: a step beside its graph, running it again, its times beside those of an earlier run."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest

from pipeline.run_options import RunOptions
from tests.api_client import ApiClient
from tests.integration.web.pages import ESCAPED, HOSTILE, Web, make_task, status_of
from tests.integration.web.test_failures import fail, print_lines

pytestmark = pytest.mark.integration

ODD = "a/b?c&d#e"
Run = tuple[str, dict[str, str]]


def section(name: str, values: dict[str, str]) -> dict[str, Any]:
    return {name: {key: {"section": name, "name": key, "value": value} for key, value in values.items()}}


def make_run(api: ApiClient, project: str, options: dict[str, str], *, failed: str = "") -> Run:
    """Make a run of three steps after each other; return its id and the tasks of the steps."""
    names = ["first", HOSTILE, ODD]
    run = make_task(
        api, "Prepare", type="controller", project=project, system_tags=["pipeline"],
        hyperparams=section("Options", options) | section("Args", {"rows": "3"}) if options else {},
        runtime={"_pipeline_hash": "x"},
    )  # fmt: skip
    tasks, graph = {}, {}
    for place, name in enumerate(names):
        tasks[name] = make_task(api, name, parent=run, hyperparams=section("kwargs", {"size": f"0.2 {HOSTILE}"}))
        graph[name] = {"parents": names[max(0, place - 1) : place], "job_id": tasks[name], "status": "completed"}
        api("tasks.started", task=tasks[name])
        if name == failed:
            fail(api, tasks[name], "worker execution exit code 1")
            break
        api("tasks.completed", task=tasks[name])
    graph |= {name: {"parents": names[:1], "job_id": None, "status": "pending"} for name in names if name not in graph}
    stored = [{"name": "Pipeline", "value": json.dumps(graph)}]
    api("tasks.edit_configuration", task=run, configuration=stored, force=True)
    api("tasks.started", task=run)
    api("tasks.failed" if failed else "tasks.completed", task=run)
    return run, tasks


@pytest.fixture
def project(api: ApiClient) -> str:
    return str(api("projects.create", name=f"Runs {uuid4().hex[:8]}")["id"])


TOLD = RunOptions(shards=2, step_queues={"first": "big"}, from_run="0" * 32).texts()


def told(api: ApiClient, run: str) -> RunOptions:
    """Return what a controller reads of its task."""
    stored = api("tasks.get_by_id", task=run)["task"]["hyperparams"]["Options"]
    return RunOptions.read({name: item["value"] for name, item in stored.items()})


def test_a_step_opens_beside_the_graph(api: ApiClient, web: Web, project: str) -> None:
    run, tasks = make_run(api, project, TOLD)
    step, dataset, model = tasks[HOSTILE], uuid4().hex, "a model"
    made = api("models.create", name=model, uri="http://x/y", task=step)["id"]
    api("tasks.edit", task=step, force=True, hyperparams=section("Datasets", {"input": dataset})
        | section("return", {"split_dataset_id": dataset, "rows": HOSTILE}) | section("kwargs", {"size": HOSTILE}),
        models={"output": [{"name": model, "model": made}], "input": []})  # fmt: skip
    print_lines(api, step, [f"line {number}" for number in range(30)])
    page = web.get(f"/tasks/{run}", params={"step": HOSTILE})
    assert f'<h2 id="step-name">{ESCAPED}</h2>' in page
    assert f'<td class="value">{ESCAPED}</td>' in page
    assert f'<a href="/tasks/{dataset}">input</a>' in page
    assert f'<a href="/tasks/{dataset}">split_dataset_id</a>' in page
    assert f'<a href="/models/{made}">a model</a>' in page
    assert "line 29" in page and "line 10" in page and "line 9\n" not in page
    for tab in ("parameters", "console", "scalars", "artifacts"):
        assert f'href="/tasks/{step}/{tab}"' in page
    assert "<script>alert" not in page
    # Every box is a link to its step, whatever the step is called.
    assert f"/tasks/{run}?step=a%2Fb%3Fc%26d%23e#step" in page
    assert 'id="step-name">a/b?c&amp;d#e<' in web.get(f"/tasks/{run}", params={"step": ODD})


def test_a_step_that_is_not_there_or_has_no_task_is_said_so(api: ApiClient, web: Web, project: str) -> None:
    run, _ = make_run(api, project, TOLD, failed="first")
    assert f"This run has no step called “{ESCAPED}x”" in web.get(f"/tasks/{run}", params={"step": HOSTILE + "x"})
    page = web.get(f"/tasks/{run}", params={"step": ODD})
    assert "It was not run." in page and 'id="step-name"' in page


def test_what_failed_is_run_again_as_the_command_line_does(api: ApiClient, web: Web, project: str, queue: str) -> None:
    run, _ = make_run(api, project, TOLD | {"from_step": "first"}, failed=HOSTILE)
    assert f'href="/tasks/{run}/rerun">Run what failed</a>' in web.get(f"/tasks/{run}")
    asked = web.get(f"/tasks/{run}/rerun")
    assert f"<strong>Run again:</strong> {ESCAPED}, a/b?c&amp;d#e" in asked
    assert "<strong>Taken over:</strong> first" in asked
    reply = web.post(f"/tasks/{run}/rerun", name="Prepare #2", queue=queue)
    copy = reply.headers["Location"].removeprefix("/tasks/").partition("?")[0]
    assert (reply.status_code, status_of(api, copy)) == (303, "queued")
    assert api("tasks.get_by_id", task=copy)["task"]["name"] == "Prepare #2"
    read = told(api, copy)
    assert (read.from_run, read.from_step, read.shards, read.step_queues) == (run, "", 2, {"first": "big"})
    assert told(api, run).from_run == "0" * 32, "the run itself stays as it is"


def test_a_run_is_run_again_from_a_step_on(api: ApiClient, web: Web, project: str, queue: str) -> None:
    run, _ = make_run(api, project, TOLD)
    page = web.get(f"/tasks/{run}", params={"step": HOSTILE})
    assert "Run what failed" not in page, "nothing has"
    assert "Run from this step</a>" in page
    asked = web.get(f"/tasks/{run}/rerun", params={"step": HOSTILE})
    assert f"<strong>Run again:</strong> {ESCAPED}, a/b" in asked
    reply = web.http.post(
        f"/tasks/{run}/rerun", params={"step": HOSTILE}, data={"name": "", "queue": queue},
        headers={"Sec-Fetch-Site": "same-origin"},
    )  # fmt: skip
    copy = reply.headers["Location"].removeprefix("/tasks/").partition("?")[0]
    read = told(api, copy)
    assert (read.from_run, read.from_step, status_of(api, copy)) == (run, HOSTILE, "queued")


def test_what_cannot_be_run_again_is_refused_and_not_offered(api: ApiClient, web: Web, project: str) -> None:
    foreign, _ = make_run(api, project, {}, failed="first")
    page = web.get(f"/tasks/{foreign}", params={"step": "first"})
    assert "its pipeline does not know how to reuse the steps of another run" in page and "/rerun" not in page
    assert "its pipeline does not know how to reuse the steps of another run" in web.get(f"/tasks/{foreign}/rerun", 409)
    whole, _ = make_run(api, project, TOLD)
    assert "Nothing of this run has failed" in web.get(f"/tasks/{whole}/rerun", 409)
    assert "no step called" in web.get(f"/tasks/{whole}/rerun", 404, params={"step": "none"})
    assert web.post(f"/tasks/{whole}/rerun", name="x", queue="").status_code == 409
    web.get(f"/tasks/{make_task(api)}/rerun", 409)


def test_an_unknown_queue_leaves_no_copy_behind(api: ApiClient, web: Web, project: str) -> None:
    run, _ = make_run(api, project, TOLD, failed="first")
    assert web.post(f"/tasks/{run}/rerun", name="Prepare #2", queue="0" * 32).status_code == 404
    found = api("tasks.get_all_ex", project=[project], name="^Prepare", only_fields=["name"])["tasks"]
    assert [task["id"] for task in found] == [run]


def test_a_run_is_shown_beside_the_one_before(api: ApiClient, web: Web, project: str) -> None:
    def noted(task: str, start: float, work: float) -> None:
        begun = api("tasks.get_by_id", task=task)["task"]
        marks = json.dumps({"process": start, "work": start + 1, "returned": start + 1 + work})
        api("tasks.edit", task=task, force=True, hyperparams=begun["hyperparams"]
            | section("properties", {"timeline": marks, "launched": f"{start - 2:.3f}"}))  # fmt: skip
        api.http.post("/tasks.edit", json={"task": task, "force": True, "runtime": {"pod_phases": "pull 12 s"}})

    former, before = make_run(api, project, TOLD)
    latest, now = make_run(api, project, TOLD)
    page = web.get(f"/tasks/{former}")
    assert "Beside the run before" not in page, "there is none"
    noted(before["first"], 1_000.0, 1)
    noted(now["first"], 1_000.0, 4)
    page = web.get(f"/tasks/{latest}", params={"step": "first"})
    assert "Beside the run before" in page and f'href="/tasks/{former}">Prepare</a>' in page
    assert "Its pod: pull 12 s" in page
    for name in ("queue wait", "start", "imports", "work", "exit"):
        assert f'">{name}' in page
