"""Queues are made, renamed, emptied and deleted on the web pages, over HTTP."""

from __future__ import annotations

import html
import re
import shlex
from uuid import uuid4

import pytest

from tests.api_client import ApiClient
from tests.integration.web.pages import ESCAPED, HOSTILE, NO_ID, Web, make_task, status_of

pytestmark = pytest.mark.integration


def fill(api: ApiClient, queue: str, *names: str) -> list[str]:
    tasks = [make_task(api, name) for name in names]
    for task in tasks:
        api("tasks.enqueue", task=task, queue=queue)
    return tasks


def entries(api: ApiClient, queue: str) -> list[str]:
    return [entry["task"] for entry in api("queues.get_by_id", queue=queue)["queue"]["entries"]]


def seen(page: str) -> str:
    found = re.search(r'name="seen" value="([0-9a-f]+)"', page)
    assert found is not None
    return found[1]


def test_a_queue_is_renamed(web: Web, api: ApiClient, queue: str) -> None:
    assert f"/queues/{queue}/edit" in web.get("/queues")
    name = f"renamed {uuid4().hex[:6]}"
    assert web.post(f"/queues/{queue}/edit", name=name).status_code == 303
    assert api("queues.get_by_id", queue=queue)["queue"]["name"] == name


@pytest.mark.parametrize("path", ["/queues", "/queues/{queue}/edit"])
def test_a_name_that_is_taken_comes_back_with_the_reason(web: Web, api: ApiClient, queue: str, path: str) -> None:
    name = f"{HOSTILE} {uuid4().hex[:6]}"
    api("queues.create", name=name)
    reply = web.post(path.format(queue=queue), name=name)
    assert reply.status_code == 400
    assert f"There is already a queue called “{ESCAPED}" in reply.text
    assert f'name="name" value="{ESCAPED}' in reply.text, "what was typed is still there"
    assert "at least 3 characters" in web.post(path.format(queue=queue), name="x").text
    assert 'name="name"' in reply.text and "autofocus" in reply.text


def test_a_shown_command_names_a_queue_as_one_word_of_the_shell(web: Web, api: ApiClient) -> None:
    name = f"x; touch /tmp/no '{uuid4().hex[:6]}"
    queue = api("queues.create", name=name)["id"]
    task = make_task(api)
    try:
        for path in ("/queues", f"/tasks/{task}/enqueue", f"/tasks/{task}/run"):
            shown = re.findall(r"<code>(clearml-agent daemon --queue .*?)</code>", web.get(path))
            commands = [shlex.split(html.unescape(command)) for command in shown]
            # Those of a task are shown only while no worker serves any queue of this server, which other tests use.
            assert all(len(command) == 4 for command in commands), (path, shown)
        assert ["clearml-agent", "daemon", "--queue", name] in [
            shlex.split(html.unescape(command))
            for command in re.findall(r"<code>(clearml-agent .*?)</code>", web.get("/queues"))
        ]
    finally:
        api("queues.delete", queue=queue)


def test_entries_move_to_the_end_of_another_queue_and_stay_queued(web: Web, api: ApiClient, queue: str) -> None:
    other = str(api("queues.create", name=f"other {uuid4().hex[:6]}")["id"])
    waiting = fill(api, other, "waiting there")
    first, second, third = fill(api, queue, HOSTILE, "second", "third")
    page = web.get(f"/queues/{queue}/edit")
    assert ESCAPED in page and f'value="{other}"' in page
    assert web.post(f"/queues/{queue}/move", entry=second, target=other).status_code == 303
    assert (entries(api, queue), entries(api, other)) == ([first, third], [*waiting, second])
    task = api("tasks.get_by_id", task=second)["task"]
    assert (task["status"], task["execution"]["queue"]) == ("queued", other)
    assert web.post(f"/queues/{queue}/move", all="1", target=other).status_code == 303
    assert (entries(api, queue), entries(api, other)) == ([], [*waiting, second, first, third])


def test_entries_that_cannot_be_moved_are_named(web: Web, api: ApiClient, queue: str) -> None:
    other = str(api("queues.create", name=f"other {uuid4().hex[:6]}")["id"])
    first, second = fill(api, queue, "first", "second")
    api("tasks.dequeue", task=first)
    reply = web.http.post(
        f"/queues/{queue}/move",
        data={"entry": [first, second], "target": other},
        headers={"Sec-Fetch-Site": "same-origin"},
    )
    assert reply.status_code == 409
    assert "“first” is no longer in this queue" in reply.text and "Moved: 1." in reply.text
    assert entries(api, other) == [second]
    third = fill(api, queue, "third")
    reply = web.post(f"/queues/{queue}/move", entry=third[0], target=NO_ID)
    assert reply.status_code == 400
    assert re.search(rf'value="{third[0]}" checked', reply.text), "what was ticked is still ticked"
    assert "Tick the entries" in web.post(f"/queues/{queue}/move", target=other).text
    assert entries(api, queue) == third


def test_clearing_says_what_goes_and_does_no_more_than_it_said(web: Web, api: ApiClient, queue: str) -> None:
    tasks = fill(api, queue, "one", "two")
    page = web.get(f"/queues/{queue}/clear")
    assert "2 tasks wait in it" in page and "one" in page and "two" in page
    late = fill(api, queue, "late")
    reply = web.post(f"/queues/{queue}/clear", seen=seen(page))
    assert reply.status_code == 409
    assert "has changed since" in reply.text and "3 tasks wait in it" in reply.text
    assert entries(api, queue) == tasks + late
    assert web.post(f"/queues/{queue}/clear", seen=seen(reply.text)).status_code == 303
    assert entries(api, queue) == []
    assert status_of(api, tasks[0]) == "created"


def test_a_queue_with_entries_is_deleted_only_with_a_word_on_them(web: Web, api: ApiClient, queue: str) -> None:
    other = str(api("queues.create", name=f"other {uuid4().hex[:6]}")["id"])
    tasks = fill(api, queue, "one", "two")
    page = web.get(f"/queues/{queue}/delete")
    reply = web.post(f"/queues/{queue}/delete", seen=seen(page))
    assert reply.status_code == 409
    assert "Say what happens to its entries" in reply.text
    assert entries(api, queue) == tasks
    form = {"seen": seen(page), "entries": "move", "target": other}
    assert web.post(f"/queues/{queue}/delete", **form).status_code == 303
    assert entries(api, other) == tasks
    assert queue not in web.get("/queues")
    form = {"seen": seen(web.get(f"/queues/{other}/delete")), "entries": "out"}
    assert web.post(f"/queues/{other}/delete", **form).status_code == 303
    assert status_of(api, tasks[0]) == "created"


def test_an_empty_queue_is_deleted_and_an_unknown_one_is_not_found(web: Web, queue: str) -> None:
    assert web.post(f"/queues/{queue}/delete", seen=seen(web.get(f"/queues/{queue}/delete"))).status_code == 303
    web.get(f"/queues/{queue}/edit", status=404)
    web.get(f"/queues/{NO_ID}/clear", status=404)
