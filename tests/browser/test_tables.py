"""Tables of tasks in a real browser: columns, conditions, tags, selected rows, by mouse and by keyboard."""

from __future__ import annotations

import re
from collections.abc import Callable
from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect

from tests.api_client import ApiClient
from tests.browser.conftest import Watched
from tests.integration.web.test_pipeline_run import TOLD, make_run

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

Watch = Callable[..., Watched]


@pytest.fixture
def project(clearml_api: ApiClient) -> str:
    """A project with six tasks that differ in a parameter, a metric and their tags."""
    project = str(clearml_api("projects.create", name=f"Table {uuid4().hex[:6]}")["id"])
    for i in range(6):
        lr = {"section": "Args", "name": "lr", "value": str(10**-i)}
        tags = ["even" if i % 2 == 0 else "odd", "all"]
        fields = {"project": project, "tags": tags, "hyperparams": {"Args": {"lr": lr}}}
        task = clearml_api("tasks.create", name=f"trial {i} with a name of some length", type="training", **fields)[
            "id"
        ]
        event = {"task": task, "metric": "loss", "variant": "train", "iter": 1, "value": 1 / (i + 1)}
        clearml_api("events.add", type="training_stats_scalar", **event)
    return project


def rows(page: Page) -> list[str]:
    return [name[:7] for name in page.locator("table.tasks .name-cell").all_inner_texts()]


def test_a_table_is_sorted_filtered_and_kept_as_a_view(watch: Watch, project: str) -> None:
    page = watch().open(f"/projects/{project}")
    expect(page.get_by_role("columnheader", name="loss train")).to_be_visible()
    page.get_by_role("link", name="loss train").click()
    expect(page.get_by_role("columnheader", name="loss train")).to_have_attribute("aria-sort", "descending")
    assert rows(page) == [f"trial {i}" for i in range(6)]

    page.get_by_label("Column to filter by").select_option("hyperparams.Args.lr")
    page.get_by_label("Comparison").select_option("<=")
    page.get_by_label("Value").fill("0.01")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_role("link", name="Take away the condition lr ≤ 0.01")).to_be_visible()
    assert rows(page) == ["trial 2", "trial 3", "trial 4", "trial 5"]
    page.get_by_role("link", name="even").first.click()
    expect(page.locator(".total")).to_contain_text("2 tasks")

    page.get_by_role("link", name="Columns").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("min loss train").check()
    dialog.get_by_label("Status", exact=True).uncheck()
    dialog.get_by_label("Place of lr").fill("1")
    dialog.get_by_role("button", name="Show these").click()
    expect(page.get_by_role("columnheader", name="min loss train")).to_be_visible()
    expect(page.get_by_role("columnheader").nth(2)).to_have_text("lr")
    expect(page.get_by_role("columnheader", name="Status")).to_have_count(0)

    page.get_by_text("Views", exact=True).click()
    page.get_by_label("Name of this view").fill("small steps")
    page.get_by_role("button", name="Keep").click()
    expect(page.get_by_role("status").filter(has_text="The view is kept")).to_be_visible()
    page.goto(page.url.partition("?")[0])
    page.get_by_text("Views", exact=True).click()
    page.get_by_role("link", name="small steps").click()
    expect(page.locator(".total")).to_contain_text("2 tasks")
    page.get_by_role("button", name="Dense rows").click()
    expect(page.get_by_role("button", name="Wide rows")).to_be_visible()
    assert page.locator("table.tasks tbody tr").first.evaluate("row => row.getBoundingClientRect().height") <= 29
    page.get_by_role("button", name="Wide rows").click()
    expect(page.get_by_role("button", name="Dense rows")).to_be_visible()


def test_columns_get_the_width_that_is_dragged_and_keep_it(watch: Watch, project: str) -> None:
    page = watch().open(f"/projects/{project}")
    name = page.get_by_role("columnheader", name="Name")

    def width() -> float:
        box = name.bounding_box()
        assert box is not None
        return box["width"]

    before = width()
    grip = name.locator(".grip").bounding_box()
    assert grip is not None
    page.mouse.move(grip["x"] + 5, grip["y"] + 5)
    page.mouse.down()
    page.mouse.move(grip["x"] + 5 - before + 110, grip["y"] + 5)
    page.mouse.up()
    assert abs(width() - 110) <= 2 < before - 110
    cell = page.locator(".name-cell").first
    assert cell.evaluate("cell => cell.scrollWidth > cell.clientWidth || cell.clientHeight > 40")
    page.reload()
    expect(name.locator(".grip")).to_be_attached()
    assert abs(width() - 110) <= 2
    name.locator(".grip").dblclick()
    assert abs(width() - before) <= 2


def test_on_a_narrow_screen_filters_are_folded_and_told(watch: Watch, project: str) -> None:
    for scripts in (True, False):
        page = watch(java_script_enabled=scripts).page
        page.set_viewport_size({"width": 390, "height": 860})
        page.goto(f"{watch().url}/projects/{project}?status=created&q=trial")
        top = page.locator("table.tasks").bounding_box()
        assert top is not None and top["y"] < (400 if scripts else 560), "without scripts, the actions are shown too"
        chip = page.locator("[data-autosubmit] .toggles").get_by_text("failed", exact=True)
        expect(chip).to_be_hidden()
        page.get_by_label("Filters and columns").press("Space")
        expect(chip).to_be_visible()
        page.get_by_role("link", name="Take away the filter draft").click()
        expect(page.get_by_role("link", name="Take away the filter “trial”")).to_be_visible()
        assert "status" not in page.url


def test_going_back_shows_the_filter_of_the_address(watch: Watch, project: str) -> None:
    page = watch().open(f"/projects/{project}")
    chip = page.locator("[data-autosubmit] .toggles")
    for name in ("failed", "completed"):
        chip.get_by_text(name, exact=True).click()
        page.wait_for_url(f"**status={name}*")
    page.go_back()
    page.wait_for_url("**status=failed")
    expect(chip.locator("input:checked")).to_have_count(1)
    expect(chip.locator("input:checked")).to_have_value("failed")


def test_selected_rows_are_changed_after_a_question_and_back(
    watch: Watch, project: str, clearml_api: ApiClient
) -> None:
    page = watch().open(f"/projects/{project}?order=name")
    expect(page.get_by_role("button", name="Archive")).to_be_disabled()
    boxes = page.locator("tbody input[name=ids]")
    boxes.nth(0).click()
    boxes.nth(2).click(modifiers=["Shift"])
    expect(page.locator("#selected .count")).to_have_text("3 selected")
    # A change of the list by itself leaves the rows selected.
    clearml_api("tasks.create", name="trial 9", type="training", project=project)
    expect(page.locator("tbody tr")).to_have_count(7)
    expect(page.locator("#selected .count")).to_have_text("3 selected")
    assert [box.is_checked() for box in boxes.all()[:4]] == [True, True, True, False]

    page.get_by_role("button", name="Archive").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Archive 3 tasks?")
    dialog.get_by_role("button", name="Archive").click()
    expect(page.get_by_role("status").filter(has_text="Archived: 3.")).to_be_visible()
    expect(page.locator("tbody tr")).to_have_count(4)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("tbody tr")).to_have_count(7)

    page.get_by_label("Select all on this page").check()
    expect(page.locator("#selected .count")).to_have_text("7 selected")


def test_deleting_is_asked_with_the_focus_on_cancel_and_done_by_keyboard(watch: Watch, project: str) -> None:
    page = watch().open(f"/projects/{project}?order=name")
    page.locator("tbody input[name=ids]").first.focus()
    page.keyboard.press("Space")
    page.get_by_role("button", name="Delete").focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("link", name="Cancel")).to_be_focused()
    page.keyboard.press("Enter")
    expect(dialog).to_have_count(0)
    expect(page.locator("tbody tr")).to_have_count(6)
    page.get_by_role("button", name="Delete").press("Enter")
    expect(dialog.get_by_role("link", name="Cancel")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").filter(has_text="Deleted: 1.")).to_be_visible()
    expect(page.locator("tbody tr")).to_have_count(5)


def test_rows_are_selected_and_changed_without_a_script(watch: Watch, project: str) -> None:
    page = watch(java_script_enabled=False).open(f"/projects/{project}?order=name")
    page.locator("tbody input[name=ids]").nth(1).check()
    page.locator("tbody input[name=ids]").nth(3).check()
    page.get_by_role("button", name="Tag").click()
    page.get_by_label("Add tags").fill("chosen")
    page.get_by_role("button", name="Tag").click()
    expect(page.get_by_role("link", name="chosen")).to_have_count(2)
    expect(page).to_have_url(re.compile(f"/projects/{project}"))


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_of_a_table_is_wider_than_the_window(watch: Watch, project: str, width: int) -> None:
    page = watch().page
    page.set_viewport_size({"width": width, "height": 800})
    for path in ("", "/columns"):
        page.goto(f"{watch().url}/projects/{project}{path}")
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
        tables = page.evaluate("[...document.querySelectorAll('.table')].map(t => t.scrollWidth - t.clientWidth)")
        assert width < 1280 or max(tables, default=0) <= 0, "nothing of the table is cut off"


def test_the_active_tab_of_a_narrow_window_is_in_view(watch: Watch, project: str, clearml_api: ApiClient) -> None:
    task = clearml_api("tasks.get_all", project=[project], only_fields=["id"])["tasks"][0]["id"]
    page = watch().page
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(f"{watch().url}/tasks/{task}/artifacts")
    tab = page.locator(".tabs [aria-current]").bounding_box()
    assert tab and tab["x"] >= 0 and tab["x"] + tab["width"] <= 390


REFRESHED = "() => new Promise(done => document.addEventListener('refreshed', () => done(true), { once: true }))"


def test_a_click_during_which_the_table_is_refreshed_is_a_click(watch: Watch, project: str) -> None:
    """What is replaced between the two ends of a click is not clicked: a selection was lost now and then."""
    page = watch().open(f"/projects/{project}")
    first, second = (page.get_by_label(f"Select trial {i} with a name of some length") for i in (0, 1))
    first.focus()
    page.keyboard.down("Space")
    page.evaluate(REFRESHED)
    page.keyboard.up("Space")
    expect(page.locator("#selected .count")).to_have_text("1 selected")
    second.hover()
    page.mouse.down()
    page.evaluate(REFRESHED)
    page.mouse.up()
    expect(page.locator("#selected .count")).to_have_text("2 selected")


def test_a_table_without_links_is_scrolled_by_keys_where_it_is_too_wide(
    watch: Watch, project: str, clearml_api: ApiClient
) -> None:
    make_run(clearml_api, project, TOLD)
    latest, _ = make_run(clearml_api, project, TOLD)
    page = watch().open(f"/tasks/{latest}")
    table = page.locator("section", has_text="Beside the run before").locator(".table")
    expect(table).to_be_visible()
    expect(table).not_to_have_attribute("tabindex", "0")
    page.set_viewport_size({"width": 390, "height": 800})
    expect(table).to_have_attribute("tabindex", "0")
    for _ in range(100):
        page.keyboard.press("Tab")
        if table.evaluate("box => box === document.activeElement"):
            break
    page.keyboard.press("ArrowRight")
    page.wait_for_function("box => box.scrollLeft > 0", arg=table.element_handle())
