"""The console page: a window on a log of any length, a search through all of it, and links to lines."""

from __future__ import annotations

import json
import re
import time

import pytest

from tests.api_client import ApiClient
from tests.integration.web.pages import Web, make_task

pytestmark = pytest.mark.integration

LINES = 10_000
START = 1_700_000_000_000


@pytest.fixture(scope="module")
def long_log(module_api: ApiClient) -> str:
    """A task that has printed many lines, each a millisecond after the one before."""
    task = make_task(module_api)
    events = [
        {"type": "log", "task": task, "msg": f"line {i:05d}{' Checkpoint 100%' if i % 1000 == 7 else ''}",
         "timestamp": START + i}
        for i in range(LINES)
    ]  # fmt: skip
    content = "\n".join(map(json.dumps, events))
    module_api.http.post("/events.add_batch", content=content, headers={"Content-Type": "application/json-lines"})
    return task


def numbers(page: str) -> list[int]:
    return [int(number) for number in re.findall(r"</a>line (\d+)", page)]


def test_the_console_opens_on_its_last_lines(web: Web, long_log: str) -> None:
    page = web.get(f"/tasks/{long_log}/console")
    assert numbers(page) == list(range(LINES - 1000, LINES))
    assert 'id="console-earlier"><a' in page and 'id="console-later" hidden' in page


def test_a_log_is_read_from_end_to_start_and_from_start_to_end(web: Web, long_log: str) -> None:
    """By the links alone, as without JavaScript, and by the script's requests."""
    for start, link in (("", "Earlier lines"), ("?from=start", "Later lines")):
        page, seen = web.get(f"/tasks/{long_log}/console{start}"), set[int]()
        while True:
            found = numbers(page)
            assert found == list(range(found[0], found[-1] + 1)) and not seen & set(found)
            seen.update(found)
            edge = re.search(rf'<p class="edge"[^>]*(?<!hidden)><a href="([^"]+)">{link}', page)
            if edge is None:
                break
            page = web.get(edge[1])
        assert seen == set(range(LINES))

    piece = web.http.get(f"/tasks/{long_log}/console/lines", params={"from": "start"}).json()
    seen_by_script = [line["html"] for line in piece["lines"]]
    while not piece["last"]:
        piece = web.http.get(f"/tasks/{long_log}/console/lines", params={"since": piece["lines"][-1]["at"]}).json()
        seen_by_script += [line["html"] for line in piece["lines"]]
    assert [line[:10] for line in seen_by_script] == [f"line {i:05d}" for i in range(LINES)]
    assert web.get(f"/tasks/{long_log}/console/text").splitlines() == seen_by_script


def test_a_search_finds_lines_of_the_whole_log_and_leads_to_them(web: Web, long_log: str) -> None:
    page = web.get(f"/tasks/{long_log}/console", params={"q": "checkpoint 100%"})
    assert numbers(page) == [i for i in range(LINES) if i % 1000 == 7]
    link = re.search(r'href="([^"]+)#(L[^"]+)" aria-label="Link to this line"></a>line 03007', page)
    assert link is not None
    window = web.get(link[1])
    found = numbers(window)
    assert (found[0], found[-1]) == (3007 - 500, 3007 + 499)
    assert f'id="{link[2]}"' in window


@pytest.mark.parametrize("wanted", ["no such line", "100_", "%", "<script>", "\\", "x" * 200])
def test_what_no_line_has_is_not_found(web: Web, long_log: str, wanted: str) -> None:
    page = web.get(f"/tasks/{long_log}/console", params={"q": wanted})
    assert numbers(page) == ([i for i in range(LINES) if i % 1000 == 7] if wanted == "%" else [])
    assert "<script>" not in page.partition("<main")[2]


def test_a_search_that_stops_on_the_way_goes_on_from_there(web: Web, api: ApiClient) -> None:
    task = make_task(api)
    events = [{"type": "log", "task": task, "msg": f"a line {i}", "timestamp": START + i} for i in range(2500)]
    content = "\n".join(map(json.dumps, events))
    api.http.post("/events.add_batch", content=content, headers={"Content-Type": "application/json-lines"})
    seen: list[str] = []
    query = {"q": "line"}
    while True:
        found = web.http.get(f"/tasks/{task}/console/lines", params=query).json()
        seen[:0] = [line["html"] for line in found["lines"]]
        if found["searched_to"] is None:
            break
        query["before"] = found["searched_to"]
    assert seen == [f"a line {i}" for i in range(2500)]


def test_only_the_matching_lines_of_a_report_are_shown(web: Web, api: ApiClient) -> None:
    task = make_task(api)
    api("events.add", type="log", task=task, msg="one <b>\ntwo  words\nthree", timestamp=START)
    found = web.http.get(f"/tasks/{task}/console/lines", params={"q": "TWO  w"}).json()["lines"]
    assert [line["html"] for line in found] == ["two  words"]
    every = web.http.get(f"/tasks/{task}/console/lines").json()["lines"]
    assert found[0]["key"] == every[1]["key"], "a link to the line holds in every view"


def test_a_long_console_line_is_cut_and_leads_to_the_whole(web: Web, api: ApiClient) -> None:
    task = make_task(api, "long line")
    at = 1_700_000_000_000
    for number, message in enumerate(("before", "y" * 300_000, "after")):
        api("events.add", type="log", task=task, msg=message, timestamp=at + number)
    page = web.get(f"/tasks/{task}/console")
    assert len(page) < 50_000
    link = re.search(r'<a class="cut" href="([^"]+)">… 290,000 more characters</a>', page)
    assert link is not None
    assert web.get(link[1]) == "y" * 300_000 + "\n"
    assert web.get(f"/tasks/{task}/console/text").split("\n") == ["before", "y" * 300_000, "after", ""]


def test_the_text_of_a_console_with_long_and_many_short_reports_is_whole(web: Web, api: ApiClient) -> None:
    task, at = make_task(api, "long and short"), 1_700_000_000_000
    messages = [f"{n} " + "y" * (300_000 if 150 <= n < 180 else 1) for n in range(700)]
    for first in (0, 350):
        part = enumerate(messages[first : first + 350], first)
        events = [{"type": "log", "task": task, "msg": message, "timestamp": at + n // 4} for n, message in part]
        content = "\n".join(map(json.dumps, events))
        reply = api.http.post(
            "/v2.23/events.add_batch", content=content, headers={"Content-Type": "application/json-lines"}
        )
        assert reply.json()["data"]["added"] == len(events)
    assert web.get(f"/tasks/{task}/console/text").splitlines() == messages


def test_new_console_lines_are_found_even_when_they_come_late(web: Web, api: ApiClient) -> None:
    task = make_task(api)
    now = int(time.time() * 1000)

    def report(text: str, at: int) -> None:
        api("events.add", _version="v2.23", type="log", task=task, msg=text, timestamp=at)

    report("first", now)
    report("late, from another process", now - 3000)
    found = web.http.get(f"/tasks/{task}/console/lines", params={"after": now}).json()
    assert [line["html"] for line in found["lines"]] == ["late, from another process", "first"]
    assert found["live"] is False
