"""Web forms of people whose session has ended, and of people who only read."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from typing import Any

import httpx
import pytest
from clearml_localserver import web
from clearml_localserver.pytest_plugin import ClearmlServer

from tests.api_client import ApiClient
from tests.integration.access.clients import new_key
from tests.integration.web.pages import NO_ID, Web, filled

pytestmark = pytest.mark.integration

ACTIONS = sorted({*web.actions.ACTIONS, *web.bulk.BULK, *web.queue_changes.TITLES})


@pytest.fixture
def browser(server: ClearmlServer) -> Iterator[Web]:
    browser = Web(server.web_url)
    with closing(browser.http):
        yield browser


def log_in(browser: Web, key: tuple[str, str], *kept: tuple[str, str]) -> httpx.Response:
    return browser.post("/login", access_key=key[0], secret_key=key[1], **dict(kept))


def hidden(page: str) -> list[tuple[str, str]]:
    found = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', page)
    return [(html.unescape(name), html.unescape(value)) for name, value in found]


def _argument(ids: dict[str, str], action: str, name: re.Match[str]) -> str:
    return ids.get(name[1]) or action or NO_ID


def documents(admin: ApiClient) -> str:
    """Return all that web forms can change."""
    lists = ("tasks.get_all_ex", "projects.get_all_ex", "models.get_all_ex", "queues.get_all_ex", "users.get_all_ex")
    found: dict[str, Any] = {name: admin(name, search_hidden=True) for name in lists}
    found["keys"] = admin("auth.get_credentials", all_users=True)
    for key in found["keys"]["credentials"]:
        for name in ("last_used", "last_used_from"):
            key.pop(name, None)
    return json.dumps(found, sort_keys=True)


def test_who_only_reads_is_refused_by_every_form_and_changes_nothing(
    server: ClearmlServer, admin: ApiClient, browser: Web
) -> None:
    project = admin("projects.create", name="Of others")["id"]
    ids = {
        "project": project,
        "task": admin("tasks.create", name="a task", type="training", project=project)["id"],
        "model": admin("models.create", name="a model", uri="file:///m", project=project)["id"],
        "queue": admin("queues.create", name="of others")["id"],
        "user": admin("users.get_current_user")["user"]["id"],
        "key": new_key(admin)[0],
        "move": "front",
    }
    admin("tasks.enqueue", task=ids["task"], queue=ids["queue"])
    assert log_in(browser, new_key(admin, role="guest")).status_code == 303
    before = documents(admin)
    form = {"name": "changed", "ids": ids["task"], "seen": "1", "add": "tag", "queue": ids["queue"], "role": "admin"}
    for path in web.CHANGES:
        for action in ACTIONS if re.search(r"\{(action|change)\}", path) else [""]:
            address = re.sub(r"\{(\w+)\}", partial(_argument, ids, action), path)
            reply = browser.post(address, **form)
            assert reply.status_code == 403 and "Your role only reads" in reply.text, address
    assert documents(admin) == before


def test_a_form_whose_session_has_ended_is_sent_after_the_log_in_and_a_question(
    server: ClearmlServer, admin: ApiClient, browser: Web
) -> None:
    task = admin("tasks.create", name="before", type="training")["id"]
    words = "two lines\r\nof <b>words</b>"
    form = {"name": "after", "was:name": "x", "comment": words, "was:comment": "x"}
    page = browser.post(f"/tasks/{task}/edit", **form)
    assert page.status_code == 401 and "Your session has ended" in page.text and "<b>words" not in page.text
    wrong = log_in(browser, ("no", "key"), *hidden(page.text))
    assert wrong.status_code == 401 and hidden(wrong.text) == hidden(page.text), "a wrong key loses nothing"
    question = log_in(browser, server.credentials, *hidden(wrong.text))
    assert question.status_code == 200 and "Nothing has been changed yet" in question.text
    assert "<b>words" not in question.text and f'action="/tasks/{task}/edit"' in question.text
    assert admin("tasks.get_by_id", task=task)["task"]["name"] == "before"
    assert browser.post(f"/tasks/{task}/edit", **form).status_code == 409, "the mark is of another value: a conflict"
    assert browser.post(f"/tasks/{task}/archive", **dict(hidden(question.text))).status_code == 303


def test_a_kept_choice_of_a_queue_is_shown_by_its_name(server: ClearmlServer, admin: ApiClient, browser: Web) -> None:
    task = admin("tasks.create", name="a draft", type="training")["id"]
    queue = admin("queues.create", name="of <b>mine</b>")["id"]
    for chosen, words in ((queue, "of &lt;b&gt;mine&lt;/b&gt;"), (NO_ID, f"{NO_ID} (deleted)")):
        browser.http.cookies.clear()
        page = browser.post(f"/tasks/{task}/enqueue", queue=chosen)
        question = log_in(browser, server.credentials, *hidden(page.text))
        assert f'<option value="{chosen}" selected>{words}</option>' in question.text
        assert filled(question.text, "/tasks/")["queue"] == chosen


def test_a_kept_form_leads_to_no_other_site_and_comes_from_none(server: ClearmlServer, browser: Web) -> None:
    for to in ("https://evil.example/x", "//evil.example/x", "javascript:alert(1)"):
        reply = log_in(browser, server.credentials, ("kept-to", to), ("kept:name", "x"))
        assert reply.status_code == 303 and "evil" not in reply.headers["Location"]
    browser.http.cookies.clear()
    for path, form in (("/queues", {"name": "a queue"}), ("/login", {"kept-to": "/queues", "kept:name": "a queue"})):
        reply = browser.http.post(path, data=form, headers={"Origin": "http://evil.example"})
        assert reply.status_code == 403 and "a queue" not in reply.text


def test_a_form_of_2000_parameters_and_a_text_of_1_mb_are_kept_across_a_log_in(
    server: ClearmlServer, admin: ApiClient, browser: Web
) -> None:
    values = {f"p{number}": {"section": "Args", "name": f"p{number}", "value": "1"} for number in range(2000)}
    task = admin("tasks.create", name="many parameters", type="training", hyperparams={"Args": values})["id"]
    assert log_in(browser, server.credentials).status_code == 303
    text = "".join(f"line {number}: é~*\r\n" for number in range(60_000))
    form = filled(browser.get(f"/tasks/{task}/edit"), "/tasks/")
    form |= {f"p:Args/p{number}": "2" for number in range(0, 2000, 2)} | {"object-name": "Big", "object-text": text}
    assert len(form) > 8000 and len(text.encode()) > 1_000_000

    browser.http.cookies.delete("localserver_session")  # as a browser does when the session has ended
    page = browser.post(f"/tasks/{task}/edit", **form)
    assert page.status_code == 401 and "Your session has ended" in page.text
    question = log_in(browser, server.credentials, *hidden(page.text))
    assert question.status_code == 200 and "Nothing has been changed yet" in question.text
    assert browser.post(f"/tasks/{task}/edit", **filled(question.text, "/tasks/")).status_code == 303
    found = admin("tasks.get_by_id", task=task)["task"]
    assert [found["hyperparams"]["Args"][f"p{number}"]["value"] for number in range(2000)] == ["2", "1"] * 1000
    assert found["configuration"]["Big"]["value"] == text.replace("\r\n", "\n")


def test_a_large_form_that_the_api_refuses_is_shown_again(
    server: ClearmlServer, admin: ApiClient, browser: Web
) -> None:
    task = admin("tasks.create", name="a draft", type="training")["id"]
    assert log_in(browser, server.credentials).status_code == 303
    reply = browser.post(f"/tasks/{task}/reset", comment="x" * 100_000)
    assert reply.status_code == 409 and "What you wrote is below" in reply.text and "x" * 100_000 in reply.text


def test_a_stranger_sends_no_large_form(server: ClearmlServer, browser: Web) -> None:
    assert log_in(browser, server.credentials).status_code == 303
    session, receipt = (browser.http.cookies[f"localserver_{name}"] for name in ("session", "receipt"))
    browser.http.cookies.clear()
    for cookies in ({}, {"localserver_receipt": session}, {"localserver_receipt": receipt[:-3] + "abc"}):
        browser.http.cookies.update(cookies)
        for path in ("/queues", "/login"):
            assert browser.post(path, name="x" * 100_000).status_code == 413
        browser.http.cookies.clear()
    browser.http.cookies["localserver_session"] = receipt
    assert browser.get("/queues", 303) == "", "a receipt is no session"


def test_a_form_too_large_to_be_kept_says_what_to_do(browser: Web) -> None:
    for size in (64_500, 100_000):
        reply = browser.post("/queues", name="x" * size)
        assert reply.status_code == 413 and "Do not go back yet" in reply.text
        assert reply.text.index("Log in in another tab") < reply.text.index("Only then go back here in your browser")
        assert '<a class="button" href="/login" target="_blank">' in reply.text and "<form" not in reply.text
