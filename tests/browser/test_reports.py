"""A report is written, read and exported, and a followed run tells of its end, in a real browser."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.api_client import ApiClient
from tests.browser.conftest import Watched

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

RECORD = """
window.told = [];
window.Notification = class extends EventTarget {
  static permission = "granted";
  constructor(title, options) { super(); window.told.push([title, options.body]); }
};
"""
"""A browser without a screen shows no notifications: the page's own ones are kept."""


def test_a_report_is_written_and_a_followed_run_tells_its_end(
    watch: Callable[..., Watched], clearml_api: ApiClient, tmp_path: Path
) -> None:
    mark = uuid4().hex[:6]
    task = clearml_api("tasks.create", name=f"train {mark}", type="training")["id"]
    events = [{"type": "training_stats_scalar", "task": task, "metric": "loss", "variant": "train", "iter": step,
               "value": 1 / (step + 1)} for step in range(5)]  # fmt: skip
    lines = {"Content-Type": "application/json-lines"}
    clearml_api.http.post("/events.add_batch", content="\n".join(map(json.dumps, events)), headers=lines)
    clearml_api("tasks.started", task=task)

    watched = watch()
    watched.page.add_init_script(RECORD)
    page = watched.open("/reports")
    page.get_by_label("Name of a new report").fill(f"findings {mark}")
    page.get_by_role("button", name="Create").click()
    page.get_by_label("Text", exact=True).fill(f"# Result\n\n```scalars\nmetric: loss\ntasks: {task}\n```\n")
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_role("img", name="loss train")).to_be_visible()
    page.get_by_role("button", name="Save").click()
    expect(page.locator("h1")).to_have_text(f"findings {mark}")
    expect(page.get_by_role("img", name="loss train")).to_be_visible()
    assert Axe().run(page).response["violations"] == []

    with page.expect_download() as download:
        page.get_by_role("link", name="Export").click()
    kept = tmp_path / "report.html"
    download.value.save_as(kept)
    page.get_by_label("More actions").click()
    page.get_by_role("link", name="Publish").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("link", name="Cancel")).to_be_focused()
    dialog.get_by_role("button", name="Publish").click()
    expect(page.locator("h1 + .badge")).to_have_text("published")

    page.get_by_role("link", name=f"train {mark}").click()
    page.get_by_role("button", name="Follow").click()
    expect(page.get_by_role("button", name="Unfollow")).to_be_visible()
    clearml_api("tasks.completed", task=task)
    page.goto(page.url.partition("/tasks/")[0] + "/activity")
    page.wait_for_function("window.told.length > 0")
    assert page.evaluate("window.told") == [[f"train {mark}", "completed"]]
    row = page.locator("tr", has_text=f"train {mark}")
    expect(row.locator(".badge")).to_have_text("completed")
    page.get_by_role("button", name=f"Follow train {mark} no longer").click()
    page.get_by_role("button", name="Mark all as seen").click()
    expect(page.locator("main")).to_contain_text("Nothing has ended")

    page.goto(kept.as_uri())
    expect(page.get_by_role("img", name="loss train")).to_be_visible()
    watched.complaints = [said for said in watched.complaints if "asks elsewhere, file:" not in said]
