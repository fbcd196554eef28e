"""What ended since a person last looked, and followed runs, on the web pages, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api_client import ApiClient
from tests.integration.web.pages import ESCAPED, HOSTILE, NO_ID, Web, make_task

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def own_preferences(api: ApiClient) -> Iterator[None]:
    """The server's own user is the person of all tests: what is kept here goes again."""
    yield
    api("users.set_preferences", preferences={"localserver.seen": None, "localserver.followed": None})


def until(page: str) -> str:
    return page.partition('name="until" value="')[2].partition('"')[0].replace("&#43;", "+")


def test_what_ended_is_new_until_it_is_marked_as_seen(web: Web, api: ApiClient) -> None:
    assert web.post("/activity/seen", until=until(web.get("/activity")) or "2026-01-01").status_code == 303
    task, other = make_task(api, f"first {HOSTILE}"), make_task(api, "second")
    api("tasks.started", task=task)
    assert task not in web.get("/activity")  # it has not ended
    api("tasks.failed", task=task)
    page = web.get("/activity")
    assert f'href="/tasks/{task}"' in page and ESCAPED in page and HOSTILE not in page and "1 task<" in page
    assert '<a href="/activity">1 since you last looked</a>' in web.get("/")

    api("tasks.started", task=other)
    api("tasks.completed", task=other)  # after the page was made: marking what was seen there leaves it new
    assert (
        web.post("/activity/seen", until=until(page), back="/activity").headers["Location"] == "/activity?notice=seen"
    )
    page = web.get("/activity")
    assert task not in page and other in page
    api("tasks.publish", task=other)
    assert ">published<" in web.get("/activity")
    web.post("/activity/seen", until=until(web.get("/")))
    assert "Nothing has ended" in web.get("/activity") and "Nothing since you last looked" in web.get("/")
    assert web.post("/activity/seen", until="tomorrow").status_code == 400


def test_a_run_is_followed_until_it_is_not(web: Web, api: ApiClient) -> None:
    task = make_task(api, f"followed {HOSTILE}")
    api("tasks.started", task=task)
    assert "data-follow>" in web.get(f"/tasks/{task}") and web.http.get("/activity/followed").json() == []
    reply = web.post(f"/tasks/{task}/follow", follow="1")
    assert reply.headers["Location"] == f"/tasks/{task}?notice=follow"
    assert "data-followed>" in web.get(f"/tasks/{task}")
    followed = {"id": task, "name": f"followed {HOSTILE}", "status": "running", "ended": False}
    assert web.http.get("/activity/followed").json() == [followed]
    assert ESCAPED in web.get("/activity")

    before = api("users.get_preferences")
    api("tasks.completed", task=task)
    assert web.http.get("/activity/followed").json() == [followed | {"status": "completed", "ended": True}]
    assert api("users.get_preferences") == before  # looking for news writes nothing
    assert "data-followed>" in web.get(f"/tasks/{task}")
    web.post(f"/tasks/{task}/follow")
    assert web.http.get("/activity/followed").json() == []
    assert "data-follow" not in web.get(f"/tasks/{task}")  # it has ended, there is nothing to wait for
    assert web.post(f"/tasks/{NO_ID}/follow", follow="1").status_code == 404
