"""A run is aborted, run again and run from one of its steps by the buttons of its page, carried out by real agents."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from pipeline.local_stack.configuration import read_access
from tests.integration.agents.conftest import cli, client, settings  # noqa: F401  # fixtures
from tests.integration.agents.records import newest_run, steps_of, wait_for

pytestmark = [pytest.mark.browser, pytest.mark.thorough, pytest.mark.timeout(400)]

PATIENCE_MS = 120_000


def act(page: Page, button: str) -> Any:
    """Press a button that asks first; return the question."""
    page.get_by_role("link", name=button, exact=True).click()
    return page.get_by_role("dialog")


def test_a_run_is_aborted_run_again_and_run_from_a_step(
    chromium: Browser,
    cli: Any,  # noqa: F811
    client: Any,  # noqa: F811
    settings: Any,  # noqa: F811
) -> None:
    process = cli.start("run", "--no-cache", "--json")
    run = wait_for(lambda: newest_run(client), "the run")
    wait_for(lambda: steps_of(client, run), "its first step")
    context = chromium.new_context(viewport={"width": 1280, "height": 860})
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto(f"{read_access(settings.configuration).web}/tasks/{run}")
    act(page, "Abort").get_by_role("button", name="Abort").click()
    badge = page.locator(".head .badge").first
    expect(badge).to_have_text("aborted", timeout=PATIENCE_MS)
    process.communicate(timeout=PATIENCE_MS / 1000)

    question = act(page, "Run what failed")
    expect(question).to_contain_text("Run again:")
    question.get_by_role("button", name="Enqueue").click()
    expect(page.get_by_role("status").filter(has_text="New run enqueued")).to_be_visible()
    expect(badge).to_have_text("completed", timeout=PATIENCE_MS)
    again = page.url.rpartition("/tasks/")[2].partition("?")[0]
    assert again != run
    graph = json.loads(client("tasks.get_by_id", task=again)["task"]["configuration"]["Pipeline"]["value"])
    first, *_, last = graph

    page.locator(".dag a", has_text=last).first.click()
    question = act(page, "Run from this step")
    expect(question.get_by_text(f"Run again: {last}")).to_be_visible()
    expect(question.locator("p", has_text="Taken over:")).to_contain_text(first)
    question.get_by_role("button", name="Enqueue").click()
    expect(page.get_by_role("status").filter(has_text="New run enqueued")).to_be_visible()
    expect(badge).to_have_text("completed", timeout=PATIENCE_MS)
    third = page.url.rpartition("/tasks/")[2].partition("?")[0]
    context.close()
    later = json.loads(client("tasks.get_by_id", task=third)["task"]["configuration"]["Pipeline"]["value"])
    assert later[first]["executed"] == graph[first]["executed"], "taken over"
    assert later[last]["executed"] != graph[last]["executed"], "run again"
