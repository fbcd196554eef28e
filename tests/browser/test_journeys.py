"""Journeys through settings, models, lineage, comparison and drafts in a real browser, by keyboard alone."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import pytest
from playwright.sync_api import expect

from tests.api_client import ApiClient
from tests.browser.conftest import Watched
from tests.browser.keyboard import Keyboard

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

Watch = Callable[..., Watched]


def test_keys_and_people_are_managed_on_the_settings(watch: Watch, clearml_api: ApiClient) -> None:
    mark = uuid4().hex[:6]
    page = watch().open("/settings")
    keys = Keyboard(page)
    keys.fill("Name", f"Ada {mark}")
    keys.fill("E-mail address", f"ada-{mark}@example.org")
    keys.press("Add a person")
    person = page.locator("tr", has_text=f"Ada {mark}")
    expect(person).to_contain_text("user")
    keys.press(f"Edit Ada {mark}")
    expect(page.get_by_label("Role")).to_be_visible()
    keys.reach("Role")
    page.keyboard.press("g")  # the option that begins so
    keys.press("Save")
    expect(person).to_contain_text("guest")

    keys.fill("Label", f"laptop {mark}")
    keys.press("Create an access key")
    shown = page.get_by_label("New access key for clearml.conf")
    expect(shown).to_contain_text("secret_key")
    made = str(shown.inner_text()).partition('"access_key" = "')[2].partition('"')[0]
    keys.press("Done")
    expect(page.get_by_text("secret_key")).to_have_count(0)
    expect(page.locator("tr", has_text=made)).to_contain_text(f"laptop {mark}")
    keys.press(f"Revoke the access key {made}")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("link", name="Cancel")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.locator("tr", has_text=made)).to_have_count(0)

    keys.press(f"Delete Ada {mark}")
    expect(dialog.get_by_role("link", name="Cancel")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(person).to_have_count(0)
    assert f"Ada {mark}" not in str(clearml_api("users.get_all_ex"))


def test_models_are_edited_published_and_changed_together_and_their_lineage_is_followed(
    watch: Watch, clearml_api: ApiClient
) -> None:
    mark = uuid4().hex[:6]
    project = clearml_api("projects.create", name=f"Models {mark}")["id"]
    trained = clearml_api("tasks.create", name=f"train {mark}", type="training", project=project)["id"]
    served = clearml_api("tasks.create", name=f"serve {mark}", type="inference", project=project)["id"]
    models = [
        clearml_api("models.create", name=f"model {number} {mark}", uri=f"http://elsewhere.example/{number}",
                    project=project, task=trained, ready=False)["id"]
        for number in (1, 2)
    ]  # fmt: skip
    for task, kind in ((trained, "output"), (served, "input")):
        clearml_api("tasks.add_or_update_model", task=task, name="net", model=models[0], type=kind)

    page = watch().open(f"/models/{models[0]}")
    keys = Keyboard(page)
    keys.press("Edit")
    expect(page.get_by_role("heading", name="Edit model")).to_be_visible()
    keys.fill("Name", f"better {mark}")
    keys.fill("Labels", "cat=1")
    keys.press("Save")
    expect(page.locator("h1")).to_have_text(f"better {mark}")
    expect(page.get_by_role("cell", name="cat")).to_be_visible()
    keys.press("Publish")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("link", name="Cancel")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.locator("h1 + .badge")).to_have_text("published")

    keys.press("Where it comes from, and what uses it")
    expect(page.get_by_role("heading", name="Lineage")).to_be_visible()
    expect(page.locator(".dag .box")).to_have_count(3)
    expect(page.locator(".dag .current text.title")).to_have_text(f"better {mark}")
    keys.press(f"Lineage of serve {mark}")
    expect(page.locator(".dag .current text.title")).to_have_text(f"serve {mark}")
    row = page.locator("tr", has_text=f"serve {mark}").first
    expect(row).to_contain_text(f"better {mark}")
    keys.press(f"serve {mark}")
    expect(page.locator("h1")).to_have_text(f"serve {mark}")

    page.goto(page.url.partition("/tasks/")[0] + f"/projects/{project}/models")
    keys.press("Select all on this page", "Space")
    expect(page.locator("#selected .count")).to_have_text("2 selected")
    keys.press("Tag", back=True)
    expect(dialog.get_by_label("Add tags")).to_be_focused()
    page.keyboard.type("reviewed")
    page.keyboard.press("Enter")
    expect(page.locator("td .tag", has_text="reviewed")).to_have_count(2)
    keys.press("Select all on this page", "Space")
    keys.press("Archive", back=True)
    expect(dialog).to_contain_text("Archive 2 models?")
    keys.press("Archive")
    expect(page.get_by_text("No model here")).to_be_visible()
    keys.press("Undo")
    expect(page.locator("tbody tr")).to_have_count(2)


def test_tasks_are_compared_and_a_draft_is_changed(watch: Watch, clearml_api: ApiClient) -> None:
    project = clearml_api("projects.create", name=f"Drafts {uuid4().hex[:6]}")["id"]
    for name, lr in (("first", "0.1"), ("second", "0.2")):
        items = {key: {"section": "Args", "name": key, "value": value} for key, value in (("lr", lr), ("old", "1"))}
        clearml_api("tasks.create", name=name, type="training", project=project, hyperparams={"Args": items})
    page = watch().open(f"/projects/{project}?order=name")
    keys = Keyboard(page)
    keys.press("Select first", "Space")
    keys.press("Select second", "Space")
    expect(page.locator("#selected .count")).to_have_text("2 selected")
    keys.press("Compare", back=True)
    expect(page.get_by_role("heading", name="Compare 2 tasks")).to_be_visible()
    keys.press("Parameters")
    expect(page.locator("tr.differs")).to_contain_text("lr")
    keys.press("first")
    expect(page.locator("h1")).to_have_text("first")
    keys.press("More actions")
    keys.press("Edit")
    expect(page.get_by_role("heading", name="Edit task")).to_be_visible()
    keys.fill("Name of Args/lr", "rate")
    keys.press("Delete Args/old", "Space")
    keys.fill("New object", "Model")
    keys.fill("Its text", "layers: 3")
    keys.press("Save")
    expect(page.get_by_role("status").filter(has_text="Saved.")).to_be_visible()
    task = page.url.partition("/tasks/")[2].partition("/")[0]
    found = clearml_api("tasks.get_by_id", task=task)["task"]
    assert {name: item["value"] for name, item in found["hyperparams"]["Args"].items()} == {"rate": "0.1"}
    assert {name: item["value"] for name, item in found["configuration"].items()} == {"Model": "layers: 3"}
