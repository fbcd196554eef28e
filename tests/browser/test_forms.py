"""Queues, tasks and projects are changed in place in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import pytest
from playwright.sync_api import expect

from tests.api_client import ApiClient
from tests.browser.conftest import Watched

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


def test_a_queue_a_task_and_a_project_are_changed_in_place(
    watch: Callable[..., Watched], clearml_api: ApiClient
) -> None:
    mark = uuid4().hex[:6]
    project = clearml_api("projects.create", name=f"Forms {mark}")["id"]
    queue = clearml_api("queues.create", name=f"slow {mark}")["id"]
    other = clearml_api("queues.create", name=f"other {mark}")["id"]
    lr = {"section": "Args", "name": "lr", "value": "0.1", "type": "float"}
    patch = "diff --git a/x b/x\n@@ -1 +1 @@\n-a\x0c\r\n+b\r\n"
    script = {"diff": patch, "repository": "https://me:t0ken@git.example/x.git", "entry_point": "x"}
    fields = {"type": "training", "project": project, "hyperparams": {"Args": {"lr": lr}}, "script": script}
    task = clearml_api("tasks.create", name="a draft", **fields)["id"]

    page = watch().open(f"/tasks/{task}")
    page.get_by_label("More actions").click()
    page.get_by_role("link", name="Edit", exact=True).click()
    page.get_by_label("Name", exact=True).fill("a better name")
    page.get_by_label("Args/lr", exact=True).fill("0.5")
    page.get_by_label("New parameters").fill("Args/rows=10")
    expect(page.get_by_label("Repository")).to_have_value("https://***@git.example/x.git")
    page.get_by_label("Branch").fill("next")
    page.get_by_label("Text", exact=True).press("Control+End")
    page.keyboard.type("+c")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status").filter(has_text="Saved.")).to_be_visible()
    expect(page.locator("h1")).to_have_text("a better name")
    stored = clearml_api("tasks.get_by_id", task=task)["task"]
    assert {name: stored["script"][name] for name in (*script, "branch")} == script | {
        "diff": patch + "+c",
        "branch": "next",
    }
    args = stored["hyperparams"]["Args"]
    assert (args["lr"]["value"], args["rows"]["value"]) == ("0.5", "10")

    clearml_api("tasks.enqueue", task=task, queue=queue)
    page.goto(page.url.partition("/tasks/")[0] + "/queues")
    page.get_by_label(f"Edit the queue slow {mark}").click()
    page.get_by_label("a better name").check()
    page.get_by_label("To the end of").select_option(other)
    page.get_by_role("button", name="Move").click()
    expect(page.locator(f"#queue-{other}")).to_contain_text("a better name")
    page.get_by_label(f"Edit the queue slow {mark}").click()
    page.get_by_role("link", name="Delete").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("link", name="Cancel")).to_be_focused()
    dialog.get_by_role("button", name="Delete").click()
    expect(page.locator(f"#queue-{queue}")).to_have_count(0)

    clearml_api("tasks.dequeue", task=task)
    page.goto(page.url.partition("/queues")[0] + f"/projects/{project}")
    page.get_by_role("link", name="Edit project").click()
    page.get_by_label("Name", exact=True).fill(f"Renamed {mark}")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("h1")).to_have_text(f"Renamed {mark}")
    page.get_by_role("link", name="Edit project").click()
    page.get_by_role("link", name="Delete").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("1 task")
    dialog.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("status").filter(has_text="Deleted.")).to_be_visible()
