"""The console in a real browser: its end is followed, all of it is searched, and any line of it can be reached."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.api_client import ApiClient
from tests.browser.conftest import Watched

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(240)]

Watch = Callable[..., Watched]
LINES = 12_000
SHORT_OF_END = "box => box.scrollHeight - box.scrollTop - box.clientHeight"


def print_lines(api: ApiClient, task: str, lines: list[str], start: int | None = None) -> None:
    begin = start or int(time.time() * 1000)
    events = [{"type": "log", "task": task, "msg": line, "timestamp": begin + n} for n, line in enumerate(lines)]
    content = "\n".join(map(json.dumps, events))
    api.http.post("/events.add_batch", content=content, headers={"Content-Type": "application/json-lines"})


@pytest.fixture(scope="module")
def long_log(clearml_api: ApiClient) -> str:
    """A failed task with many lines, long ones among them, and a banner of several lines."""
    task = str(clearml_api("tasks.create", name="long log", type="training")["id"])
    lines = [f"line {n:05d} " + "long " * (n % 7 * 60) + ("needle" if n == 123 else "") for n in range(LINES)]
    print_lines(clearml_api, task, lines, 1_700_000_000_000)
    clearml_api("tasks.started", task=task)
    clearml_api("tasks.failed", task=task, status_reason="a banner\n" * 6)
    return task


def short_of_end(page: Page) -> float:
    return float(page.locator("#console-lines").evaluate(SHORT_OF_END))


def test_the_console_opens_on_its_last_line_and_fits_under_banners(watch: Watch, long_log: str) -> None:
    page = watch().open(f"/tasks/{long_log}/console")
    expect(page.locator(".ln").last).to_be_in_viewport()
    assert short_of_end(page) < 2
    bottom = page.locator(".console").evaluate("box => box.getBoundingClientRect().bottom - innerHeight")
    assert bottom <= 0, f"the pane ends {bottom} px below the window"


@pytest.mark.parametrize("width", [1920, 1100, 1024, 800, 721, 390])
def test_the_console_fills_the_window_under_a_header_of_any_height(watch: Watch, long_log: str, width: int) -> None:
    page = watch().open(f"/tasks/{long_log}/console")
    page.set_viewport_size({"width": width, "height": 860})
    left = """() => [document.documentElement.scrollHeight - innerHeight,
      innerHeight - document.querySelector(".console").getBoundingClientRect().bottom,
      document.querySelector(".top nav").scrollWidth - document.querySelector(".top nav").clientWidth]"""
    beyond, below, hidden = page.evaluate(left)
    assert (beyond, hidden) == (0, 0) and 0 <= below <= 24, (beyond, below, hidden)


def test_follow_reaches_the_end_whatever_wraps(watch: Watch, clearml_api: ApiClient) -> None:
    task = clearml_api("tasks.create", name="long lines", type="training")["id"]
    clearml_api("tasks.started", task=task)
    print_lines(clearml_api, task, ["word " * 400] * 300)
    page = watch().open(f"/tasks/{task}/console")
    print_lines(clearml_api, task, ["more " * 400] * 100 + ["the last line"])
    expect(page.locator(".ln", has_text="the last line")).to_be_in_viewport()
    assert short_of_end(page) < 2
    page.get_by_text("wrap").click()
    assert short_of_end(page) < 2
    page.get_by_text("wrap").click()
    page.set_viewport_size({"width": 600, "height": 700})
    expect(page.locator(".ln", has_text="the last line")).to_be_in_viewport()
    clearml_api("tasks.stopped", task=task)


def test_any_line_is_reached_by_scrolling_search_and_link(watch: Watch, long_log: str) -> None:
    watched = watch()
    page = watched.open(f"/tasks/{long_log}/console")
    page.get_by_role("link", name="Start", exact=True).click()
    expect(page.locator(".ln", has_text="line 00000")).to_be_in_viewport()
    for _ in range(3):
        count = page.locator(".ln").count()
        page.locator("#console-lines").evaluate("box => { box.scrollTop = box.scrollHeight }")
        expect(page.locator(".ln")).not_to_have_count(count)
    page.get_by_role("link", name="End", exact=True).click()
    expect(page.locator(".ln", has_text=f"line {LINES - 1:05d}")).to_be_in_viewport()
    top = page.locator(".ln").first.get_attribute("data-at")
    page.locator("#console-lines").evaluate("box => { box.scrollTop = 0 }")
    expect(page.locator(".ln").first).not_to_have_attribute("data-at", str(top))

    page.get_by_label("Show only lines with this text").fill("NEEDLE")
    expect(page.locator(".ln")).to_have_count(1)
    expect(page.locator("#console-count")).to_have_text("1 line found")
    expect(page).to_have_url(re.compile(r"q=NEEDLE$"))
    page.locator(".ln").hover()
    page.get_by_role("link", name="Link to this line").click()
    expect(page.locator(".ln:target")).to_contain_text("needle")
    expect(page.locator(".ln:target")).to_be_in_viewport()
    expect(page.locator(".ln").filter(has_text="line 00124")).to_have_count(1)


def test_the_pane_never_holds_more_lines_than_it_can_show_quickly(watch: Watch, long_log: str) -> None:
    page = watch().open(f"/tasks/{long_log}/console?from=start")
    box = page.locator("#console-lines")
    for _ in range(LINES // 1000):
        last = page.locator(".ln").last.get_attribute("data-at")
        if page.locator("#console-later").is_hidden():
            break
        box.evaluate("box => { box.scrollTop = box.scrollHeight }")
        expect(page.locator(".ln").last).not_to_have_attribute("data-at", str(last))
        assert page.locator(".ln").count() <= 6001
    expect(page.locator(".ln").last).to_contain_text(f"line {LINES - 1:05d}")
    expect(page.locator(".ln", has_text="line 00000")).to_have_count(0)


def test_colours_and_times_are_shown(watch: Watch, reporting_task: str) -> None:
    page = watch().open(f"/tasks/{reporting_task}/console")
    red = page.locator(".ln .a-red", has_text="red words")
    expect(red).to_be_visible()
    page.get_by_label("Show only lines with this text").fill("RED WORDS")
    expect(page.locator(".ln:visible")).to_have_count(1)
    page.get_by_text("times").click()
    expect(page.locator(".ln[data-time]").first).to_be_attached()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_of_the_palette_are_readable(watch: Watch, clearml_api: ApiClient, theme: str) -> None:
    task = clearml_api("tasks.create", name="palette", type="testing")["id"]
    print_lines(
        clearml_api, task, [f"\x1b[38;5;{n}mcolour {n}\x1b[0m \x1b[48;5;{n}mground\x1b[0m" for n in (16, 21, 226, 231)]
    )
    page = watch(color_scheme=theme).open(f"/tasks/{task}/console")
    colours = page.locator(".ln span").evaluate_all("all => all.map(span => getComputedStyle(span).color)")
    assert len(set(colours)) > 3
    grounds = page.locator(".ln [class*=a-on-]").evaluate_all(
        "all => all.map(span => getComputedStyle(span).backgroundColor)"
    )
    assert "rgba(0, 0, 0, 0)" not in grounds


def test_without_javascript_the_console_is_read_and_searched(watch: Watch, long_log: str) -> None:
    page = watch(java_script_enabled=False).open(f"/tasks/{long_log}/console")
    page.get_by_label("Show only lines with this text").fill("needle")
    page.get_by_role("button", name="Search").click()
    expect(page.locator(".ln")).to_have_count(1)
    page.get_by_role("link", name="Start", exact=True).click()
    expect(page.locator(".ln").first).to_contain_text("line 00000")
    page.get_by_role("link", name="Later lines").click()
    expect(page.locator(".ln").first).to_contain_text("line 01000")
    expect(page.get_by_text("follow")).to_be_hidden()
