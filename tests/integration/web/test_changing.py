"""What people change on the web pages, over HTTP."""

from __future__ import annotations

import json
import re
import time
from uuid import uuid4

import pytest

from tests.api_client import ApiClient
from tests.integration.web.pages import ESCAPED, HOSTILE, NO_ID, Web, make_task, status_of

pytestmark = pytest.mark.integration


def test_the_life_of_a_task(web: Web, api: ApiClient, queue: str) -> None:
    task = make_task(api)

    def act(name: str, **form: str) -> str:
        reply = web.post(f"/tasks/{task}/{name}", **form)
        assert reply.status_code == 303, reply.text[-500:]
        return status_of(api, task)

    assert act("enqueue", queue=queue) == "queued"
    assert api("queues.get_by_id", queue=queue)["queue"]["entries"][0]["task"] == task
    assert act("dequeue") == "created"
    assert act("enqueue", queue=queue) == "queued"
    assert act("abort") == "stopped"
    assert api("queues.get_by_id", queue=queue)["queue"]["entries"] == []
    api("tasks.started", task=task)
    api("tasks.completed", task=task)
    assert act("reset") == "created"
    assert act("archive") == "created"
    assert "archived" in api("tasks.get_by_id", task=task)["task"]["system_tags"]
    act("unarchive")
    assert "archived" not in api("tasks.get_by_id", task=task)["task"]["system_tags"]
    copy = web.post(f"/tasks/{task}/clone", name="the copy").headers["Location"]
    assert "the copy" in web.get(copy)


def test_an_action_that_is_not_possible_says_so(web: Web, api: ApiClient) -> None:
    task = make_task(api)
    reply = web.post(f"/tasks/{task}/reset")
    assert reply.status_code == 409
    for page in (reply.text, *(web.get(f"/tasks/{task}/{name}", status=409) for name in ("reset", "publish", "abort"))):
        assert "not possible for a task with the status draft" in page
        assert f'href="/tasks/{task}">Back to the task</a>' in page
    assert "it is not archived" in web.get(f"/tasks/{task}/unarchive", status=409)


def test_a_refusal_of_the_api_is_a_page_with_its_message(web: Web, api: ApiClient) -> None:
    reply = web.post(f"/tasks/{make_task(api)}/enqueue", queue=NO_ID)
    assert reply.status_code in (400, 404)
    assert "There is no queue with the id" in reply.text and "Back to the task" in reply.text
    unknown = web.get(f"/tasks/{NO_ID}/enqueue", status=404)
    assert f"There is no task with the id {NO_ID}" in unknown and "Back to the task" not in unknown


def test_a_draft_whose_queue_was_deleted_does_not_tell_why_it_was_enqueued(
    web: Web, api: ApiClient, queue: str
) -> None:
    task = make_task(api)
    assert web.post(f"/tasks/{task}/enqueue", queue=queue).status_code == 303
    assert "It was changed on the web page." in web.get(f"/tasks/{task}/overview")
    api("queues.delete", queue=queue, force=True)
    page = web.get(f"/tasks/{task}/overview")
    assert "It was taken out of its queue." in page and "It was changed on the web page." not in page


def test_aborting_a_pipeline_aborts_its_steps(web: Web, api: ApiClient, controller: str, queue: str) -> None:
    api("tasks.started", task=controller)
    steps = [make_task(api, "step", parent=controller) for _ in range(3)]
    api("tasks.started", task=steps[0])
    api("tasks.enqueue", task=steps[1], queue=queue)
    assert web.post(f"/tasks/{controller}/abort", steps="1").status_code == 303
    assert [status_of(api, task) for task in (controller, *steps)] == ["stopped", "stopped", "stopped", "created"]


def test_aborting_a_pipeline_aborts_the_steps_of_one_inside_it(web: Web, api: ApiClient, controller: str) -> None:
    api("tasks.started", task=controller)
    inner = make_task(api, "inner", parent=controller, type="controller")
    step = make_task(api, "inner step", parent=inner)
    for task in (inner, step):
        api("tasks.started", task=task)
    assert web.post(f"/tasks/{controller}/abort", steps="1").status_code == 303
    assert [status_of(api, task) for task in (controller, inner, step)] == ["stopped"] * 3


def test_a_task_whose_worker_does_not_answer_can_be_marked_aborted(web: Web, api: ApiClient) -> None:
    task = make_task(api)
    api("tasks.started", task=task)
    api("workers.status_report", worker="gone", timestamp=int(time.time() * 1000), task=task)
    web.post(f"/tasks/{task}/abort")
    assert status_of(api, task) == "in_progress"
    assert f"/tasks/{task}/force-abort" in web.get(f"/tasks/{task}")
    web.post(f"/tasks/{task}/force-abort")
    assert status_of(api, task) == "stopped"


def test_a_new_run_is_a_copy_with_other_parameters_on_the_chosen_queue(
    web: Web, api: ApiClient, controller: str, queue: str
) -> None:
    graph = json.loads(api("tasks.get_by_id", task=controller)["task"]["configuration"]["Pipeline"]["value"])
    graph["second"] |= {"job_id": make_task(api, "second", parent=controller), "status": "completed"}
    item = {"name": "Pipeline", "value": json.dumps(graph)}
    api("tasks.edit_configuration", task=controller, configuration=[item])
    api("tasks.started", task=controller)
    api("tasks.completed", task=controller)
    assert ESCAPED in web.get(f"/tasks/{controller}/run")
    form = {"name": "second run", "queue": queue, "Args/version": "1.1", "Args/rows": "5"}
    location = web.post(f"/tasks/{controller}/run", **form).headers["Location"]
    copy = api("tasks.get_by_id", task=location.split("/")[2].partition("?")[0])["task"]
    assert (copy["name"], copy["status"], copy["execution"]["queue"]) == ("second run", "queued", queue)
    assert copy["hyperparams"]["Args"]["version"] == {
        "section": "Args", "name": "version", "value": "1.1", "type": "str", "description": HOSTILE,
    }  # fmt: skip
    assert copy["hyperparams"]["Args"]["rows"]["value"] == "5"
    original = api("tasks.get_by_id", task=controller)["task"]
    assert original["hyperparams"]["Args"]["version"]["value"] == "1.2"
    assert "this is the plan" in web.get(location)
    noted = json.loads(original["configuration"]["Pipeline"]["value"])
    planned = json.loads(copy["configuration"]["Pipeline"]["value"])
    assert any(node["job_id"] for node in noted.values())
    assert planned.keys() == noted.keys() and not any(node["job_id"] for node in planned.values())


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"Args/rows": "many"}, "is not of type int"),
        ({"queue": NO_ID}, "There is no queue with the id"),
        ({"name": "x"}, "too short"),
    ],
)
def test_a_wrong_form_comes_back_with_a_message_and_leaves_nothing(
    web: Web, api: ApiClient, controller: str, queue: str, form: dict[str, str], message: str
) -> None:
    before = len(api("tasks.get_all", search_hidden=True, only_fields=["id"])["tasks"])
    reply = web.post(f"/tasks/{controller}/run", **({"name": "good name", "queue": queue, "Args/version": "9"} | form))
    assert reply.status_code in (400, 422)
    assert message in reply.text
    assert 'value="9"' in reply.text, "what was typed is still there"
    assert len(api("tasks.get_all", search_hidden=True, only_fields=["id"])["tasks"]) == before


def test_queues_with_a_live_worker_come_first(web: Web, api: ApiClient, controller: str, queue: str) -> None:
    unserved = api("queues.create", name="aaa first by name")["id"]
    api("workers.register", worker="here", queues=[queue])
    try:
        options = re.findall(r'<option value="([0-9a-f]{32})"( selected)?>', web.get(f"/tasks/{controller}/run"))
        order = [option for option, _ in options]
        assert order.index(queue) < order.index(unserved)
        assert options[0][1] == " selected"
        assert options[0][0] != unserved
    finally:
        api("workers.unregister", worker="here")


def test_a_workers_machine_is_shown_as_agents_report_it(web: Web, api: ApiClient, queue: str) -> None:
    statistics = {"cpu_usage": [45.0], "memory_used": 2048.5, "memory_free": 6143.5, "disk_free_home": 67.2}
    api("workers.register", worker="vm:<b>1</b>", queues=[queue])
    now = int(time.time() * 1000)
    api("workers.status_report", worker="vm:<b>1</b>", timestamp=now, queues=[queue], machine_stats=statistics)
    page = web.get("/workers")
    api("workers.unregister", worker="vm:<b>1</b>")
    assert "vm:&lt;b&gt;1&lt;/b&gt;" in page
    assert "45 %" in page and "2.0 of 8.0 GB" in page and "idle" in page


def test_queue_order_is_changed_by_people(web: Web, api: ApiClient, queue: str) -> None:
    tasks = [make_task(api, f"entry {i}") for i in range(3)]
    for task in tasks:
        api("tasks.enqueue", task=task, queue=queue)

    def move(task: str, how: str) -> list[int]:
        assert web.post(f"/queues/{queue}/entries/{task}/{how}").status_code == 303
        return [tasks.index(entry["task"]) for entry in api("queues.get_by_id", queue=queue)["queue"]["entries"]]

    assert move(tasks[2], "front") == [2, 0, 1]
    assert move(tasks[1], "forward") == [2, 1, 0]
    assert move(tasks[2], "backward") == [1, 2, 0]
    assert move(tasks[1], "back") == [2, 0, 1]
    assert move(tasks[0], "remove") == [2, 1]
    assert status_of(api, tasks[0]) == "created"
    assert web.post(f"/queues/{queue}/entries/{tasks[1]}/sideways").status_code == 404
    assert "entry 2" in web.get("/queues")


def test_queues_are_made_by_people(web: Web, api: ApiClient) -> None:
    name = f"made {uuid4().hex[:6]}"
    assert web.post("/queues", name=name).status_code == 303
    assert name in web.get("/queues")
    assert web.post("/queues", name="x").status_code == 400
