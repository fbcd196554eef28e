"""What cannot be done, in a real browser: the page says so each time, and nothing that was written is lost."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest
from clearml_localserver.pytest_plugin import ClearmlServer, running_server
from playwright.sync_api import Browser, Page, expect

from tests.api_client import ApiClient
from tests.browser.conftest import PATIENCE_MS, Watched

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(120)]

Watch = Callable[..., Watched]
TOO_WIDE = """() => [
  document.documentElement.scrollWidth - document.documentElement.clientWidth,
  document.querySelector(".top nav").scrollWidth - document.querySelector(".top nav").clientWidth,
  ...(innerWidth < 1280 ? [] : [...document.querySelectorAll(".table")].map(t => t.scrollWidth - t.clientWidth)),
].filter(pixels => pixels > 0)"""
"""Pixels that the page and its navigation are too wide for the window, and at 1280 px also its tables."""

LARGE = ("a line" * 20 + "\n") * 8_500
PASTE = "(box, text) => { box.value = text; }"
"""`fill` types a text of a megabyte for half a minute."""


BEYOND = "cell => [...cell.children].map(p => p.getBoundingClientRect().right - cell.getBoundingClientRect().right)"
"""Pixels by which each part of a cell is beyond its end."""


@pytest.fixture(scope="module")
def project(clearml_api: ApiClient) -> str:
    """A project with three drafts."""
    project = str(clearml_api("projects.create", name=f"Bad input {uuid4().hex[:6]}")["id"])
    for name in ("one", "two", "three"):
        lr = {"section": "Args", "name": "lr", "value": "0.1"}
        fields = {"type": "training", "project": project, "hyperparams": {"Args": {"lr": lr}}}
        clearml_api("tasks.create", name=f"task {name}", **fields)
    return project


def ids_of(api: ApiClient, project: str) -> dict[str, str]:
    found = api("tasks.get_all", project=[project], only_fields=["id", "name"])["tasks"]
    return {task["name"]: task["id"] for task in found}


def test_what_cannot_be_understood_or_done_is_said_on_the_page(
    watch: Watch, clearml_api: ApiClient, project: str
) -> None:
    tasks = ids_of(clearml_api, project)
    model = clearml_api("models.create", name="a model", uri="file:///m")["id"]
    gone = clearml_api("tasks.create", name="deleted", type="training")["id"]
    clearml_api("tasks.delete", task=gone, force=True)
    watched = watch()
    watched.refusals = {400}

    page = watched.open(f"/compare?ids={tasks['task one']},{gone},{model},{tasks['task two']}")
    expect(page.get_by_role("heading", name="Compare 2 tasks")).to_be_visible()
    expect(page.get_by_text(f"There is no task with the id {gone}")).to_be_visible()
    expect(page.get_by_text("“a model” is a model, which is compared with models only")).to_be_visible()
    watched.open(f"/compare?ids={gone},{model}")
    expect(page.get_by_role("main")).to_contain_text("Nothing to compare")

    watched.open(f"/projects/{project}?where=last.loss~5&order=nonsense")
    expect(page.get_by_role("alert").first).to_contain_text("“last.loss~5” is not a condition")
    expect(page.get_by_role("main")).to_contain_text("There is no column 'nonsense' to sort by")
    expect(page.locator("tbody input[name=ids]")).to_have_count(0)

    clearml_api("tasks.started", task=tasks["task one"])
    clearml_api("tasks.stopped", task=tasks["task one"])
    watched.open(f"/projects/{project}")
    page.get_by_label("Select all on this page").check()
    page.get_by_role("button", name="Publish").click()
    page.get_by_role("dialog").get_by_role("button", name="Publish").click()
    main = page.get_by_role("main")
    expect(main).to_contain_text("Published: 1.")
    expect(main).to_contain_text("2 tasks were refused")
    for name in ("task two", "task three"):
        expect(main.get_by_role("listitem").filter(has_text=name)).to_contain_text("status")
    assert clearml_api("tasks.get_by_id", task=tasks["task one"])["task"]["status"] == "published"


def test_of_two_people_who_edit_one_draft_the_second_is_told_and_loses_nothing(
    watch: Watch, clearml_api: ApiClient, project: str
) -> None:
    task = ids_of(clearml_api, project)["task two"]
    objects = [{"name": "Model", "value": "layers: 3"}, {"name": "Data", "value": "rows: 1"}]
    clearml_api("tasks.edit_configuration", task=task, configuration=objects)
    queue = clearml_api("queues.create", name=f"of a draft {uuid4().hex[:6]}")["id"]
    first, second = watch(), watch()
    second.refusals = {409, 422}
    for watched in (first, second):
        watched.open(f"/tasks/{task}/edit")
    first.page.get_by_label("Args/lr", exact=True).fill("0.2")
    first.page.get_by_label("Model", exact=True).fill("layers: 4")
    first.page.get_by_role("button", name="Save").click()
    expect(first.page.get_by_role("status").filter(has_text="Saved.")).to_be_visible()

    page = second.page
    page.get_by_label("Args/lr", exact=True).fill("0.3")
    page.get_by_label("Name of Args/lr").fill("rate")
    page.get_by_label("Delete Model").check()
    page.get_by_label("Name of Data").fill("Rows")
    page.get_by_label("Queue", exact=True).select_option(queue)
    page.get_by_label("New parameters").fill("Args/rows=10")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("This task was changed since you opened the form")
    expect(page.get_by_label("Stored value of Args/lr")).to_have_text("0.2")
    expect(page.get_by_label("Args/lr", exact=True)).to_have_value("0.3")
    expect(page.get_by_label("Name of Args/lr")).to_have_value("rate")
    expect(page.get_by_label("New parameters")).to_have_value("Args/rows=10")
    expect(page.get_by_label("Delete Model")).to_be_checked()
    expect(page.get_by_label("Name of Data")).to_have_value("Rows")
    expect(page.get_by_label("Queue", exact=True)).to_have_value(queue)
    expect(page.get_by_label("Model", exact=True)).to_have_value("layers: 4")
    page.get_by_role("alert").get_by_role("link", name="Args/lr", exact=True).click()
    expect(page.get_by_label("Args/lr", exact=True)).to_be_in_viewport()
    page.get_by_label("New parameters").fill("rows")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("New parameters: “rows” is not of the form Section/name=value.")
    expect(page.get_by_label("New parameters")).to_be_focused()
    expect(page.get_by_label("New parameters")).to_be_in_viewport()
    page.get_by_label("New parameters").fill("Args/rows=10")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status").filter(has_text="Saved.")).to_be_visible()
    found = clearml_api("tasks.get_by_id", task=task)["task"]
    assert {name: item["value"] for name, item in found["hyperparams"]["Args"].items()} == {"rate": "0.3", "rows": "10"}
    assert {name: item["value"] for name, item in found["configuration"].items()} == {"Rows": "rows: 1"}
    page.get_by_role("link", name="Enqueue").click()
    expect(page.get_by_role("dialog").get_by_label("Queue")).to_have_value(queue)


def test_the_tasks_of_a_comparison_all_have_their_whole_row(watch: Watch, clearml_api: ApiClient) -> None:
    """One of them with a long name must not push the others out of the list's frame."""
    names = ("W" * 300, "word " * 59, "short", "other", "last")
    tasks = [clearml_api("tasks.create", name=name, type="training")["id"] for name in names]
    page = watch().open(f"/compare?ids={','.join(tasks)}&tab=values")
    things = page.locator("#things")
    assert things.evaluate("list => list.scrollHeight - list.clientHeight") <= 0
    expect(things.locator(".name").first).to_have_attribute("title", names[0])


def test_the_strip_of_a_wide_run_covers_no_other_column(watch: Watch, clearml_api: ApiClient) -> None:
    project = clearml_api("projects.create", name=".pipelines/Wide", system_tags=["pipeline", "hidden"])["id"]
    graph = json.dumps({f"step_{n:03d}": {"parents": [], "status": "completed"} for n in range(300)})
    fields = {"system_tags": ["pipeline"], "configuration": {"Pipeline": {"name": "Pipeline", "value": graph}}}
    name = f"Wide {'of many words ' * 20}"  # leaves the other columns no more than they need
    run = clearml_api("tasks.create", name=name, type="controller", project=project, **fields)["id"]
    clearml_api("tasks.edit", task=run, runtime={"_pipeline_hash": "x"})
    clearml_api("tasks.started", task=run)
    watched = watch()
    for path in ("/", "/pipelines", f"/pipelines/{project}"):
        strip = watched.open(path).get_by_role("row").filter(has_text="Wide").locator(".strip").first
        parts = strip.locator("xpath=ancestor::td").evaluate(BEYOND)
        assert len(parts) == 2 and max(parts) <= 0, (path, parts)
        assert watched.page.evaluate(TOO_WIDE) == [], path


def test_a_name_of_300_characters_is_shown_whole_and_widens_nothing(watch: Watch, clearml_api: ApiClient) -> None:
    def long(letter: str) -> str:
        return uuid4().hex[:6] + letter * 294

    watched = watch()
    page = watched.open("/projects/new")
    page.get_by_label("Name", exact=True).fill(long("p"))
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("status").filter(has_text="Created.")).to_be_visible()
    project = page.url.partition("/projects/")[2].partition("?")[0]
    item = {"section": long("s"), "name": long("x"), "value": long("v")}
    fields = {
        "type": "training",
        "project": project,
        "tags": [long("t")],
        "comment": long("c"),
        "hyperparams": {item["section"]: {item["name"]: item}},
        "configuration": {long("o"): {"value": "x"}},
    }
    tasks = [clearml_api("tasks.create", name=long("n"), **fields)["id"] for _ in range(3)]
    for task in tasks[:2]:
        event = {"task": task, "metric": long("m"), "variant": long("v"), "iter": 1, "value": 1}
        clearml_api("events.add", type="training_stats_scalar", **event)
    of_model = {"project": project, "task": tasks[0], "framework": long("f")}
    model = clearml_api("models.create", name=long("m"), uri=f"http://e/{long('u')}", **of_model)["id"]
    queue = clearml_api("queues.create", name=long("q"))["id"]
    clearml_api("tasks.enqueue", task=tasks[2], queue=queue)
    worker = f"host:{long('w')}"
    clearml_api("workers.register", worker=worker, queues=[queue], timeout=600)
    report = clearml_api("reports.create", name=long("r"), report=f"# {long('h')}")["id"]
    clearml_api("tasks.create", name=long("k"), type="training", project=project, parent=tasks[0])
    hidden = clearml_api("projects.create", name=f".pipelines/{long('l')}", system_tags=["pipeline", "hidden"])["id"]
    of_run = {"type": "controller", "project": hidden, "system_tags": ["pipeline"]}
    clearml_api("tasks.create", name=long("c"), **of_run)
    paths = ["/", "/projects", f"/projects/{project}", f"/projects/{project}?col=parent&col=project&col=status",
             f"/projects/{project}/models", "/models", f"/models/{model}", "/pipelines", f"/pipelines/{hidden}",
             "/reports", f"/reports/{report}", "/activity", "/search?q=nnnn", f"/tasks/{tasks[0]}",
             f"/tasks/{tasks[0]}/parameters", f"/tasks/{tasks[0]}/edit", f"/tasks/{tasks[0]}/run", "/queues",
             f"/queues/{queue}/delete", "/workers", f"/selected/tasks/delete?ids={','.join(tasks)}",
             f"/lineage/{tasks[0]}", f"/compare?ids={','.join(tasks)}",
             f"/compare?ids={','.join(tasks)}&tab=parameters&all=1"]  # fmt: skip
    found = []
    for path in paths:
        watched.open(path)
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 800})
            found += [(path, width, pixels) for pixels in page.evaluate(TOO_WIDE)]
    clearml_api("workers.unregister", worker=worker)
    assert found == []


def test_a_name_of_60_words_makes_no_row_high_and_is_whole_for_who_asks(watch: Watch, clearml_api: ApiClient) -> None:
    mark = uuid4().hex[:6]
    words = f"{mark} {' '.join(f'word{number}' for number in range(60))}"
    project = clearml_api("projects.create", name=words)["id"]
    item = {"section": "Args", "name": "text", "value": words}
    fields = {"type": "training", "project": project, "tags": [words], "hyperparams": {"Args": {"text": item}}}
    tasks = [clearml_api("tasks.create", name=words, **fields)["id"] for _ in range(2)]
    clearml_api("tasks.create", name="short", type="training", project=project, parent=tasks[0])
    for task in tasks:
        event = {"task": task, "metric": "loss", "variant": "train", "iter": 1, "value": 1}
        clearml_api("events.add", type="training_stats_scalar", **event)
    model = clearml_api("models.create", name=words, uri="http://e/1", project=project, task=tasks[0])["id"]
    clearml_api("reports.create", name=words, project=project, report="# A heading")
    hidden = clearml_api("projects.create", name=f".pipelines/{words}", system_tags=["pipeline", "hidden"])["id"]
    of_run = {"type": "controller", "project": hidden, "system_tags": ["pipeline"]}
    run = clearml_api("tasks.create", name=words, **of_run)["id"]
    for task in (*tasks, run):
        clearml_api("tasks.started", task=task)
        clearml_api("tasks.completed", task=task)
    ids = ",".join(tasks)
    watched = watch()
    page, high = watched.page, []
    for path in ("/", "/projects", f"/projects/{project}?col=parent&col=project&col=tags", "/projects/*", "/models",
                 f"/projects/{project}/models", "/pipelines", f"/pipelines/{hidden}", "/reports", "/activity",
                 f"/search?q={mark}", f"/lineage/{model}", f"/compare?ids={ids}&tab=values"):  # fmt: skip
        watched.open(path)
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 800})
            rows = page.locator("tr", has_text=mark).evaluate_all("rows => rows.map(row => row.offsetHeight)")
            assert rows, path
            high += [(path, width, height) for height in rows if height > 100]
    assert high == []
    name = watched.open(f"/projects/{project}").get_by_role("link", name=words, exact=True).first
    expect(name).to_have_attribute("title", words)
    name.focus()
    assert name.evaluate("link => link.scrollHeight - link.clientHeight") <= 0, "with the focus it is whole"


@pytest.fixture
def guarded(chromium: Browser, tmp_path: Path) -> Iterator[tuple[ClearmlServer, Watched]]:
    """A server whose pages ask for a log-in, and a page of it."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LOCALSERVER_HOST", "0.0.0.0")
        with running_server(tmp_path / "data") as server:
            context = chromium.new_context(viewport={"width": 1280, "height": 860})
            context.set_default_timeout(PATIENCE_MS)
            yield server, Watched(context.new_page(), server.web_url)
            context.close()


def test_a_session_that_ends_in_the_middle_of_a_form_loses_nothing(guarded: tuple[ClearmlServer, Watched]) -> None:
    server, watched = guarded
    watched.refusals = {401, 413}
    key, secret = server.credentials
    with closing(ApiClient(server.api_url, server.credentials)) as api:
        task = api("tasks.create", name="a draft", type="training")["id"]
        page = watched.open(f"/tasks/{task}/edit")

        def log_in(page: Page = page) -> None:
            page.get_by_label("Access key").fill(key)
            page.get_by_label("Secret key").fill(secret)
            page.get_by_role("button", name="Log in").click()

        log_in()
        page.get_by_label("Comment").fill("two lines\nof words")
        page.get_by_label("New parameters").fill("Args/rows=10")
        page.context.clear_cookies()
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_text("Your session has ended")).to_be_visible()
        log_in()
        expect(page.get_by_text("Nothing has been changed yet")).to_be_visible()
        assert api("tasks.get_by_id", task=task)["task"].get("comment", "") == ""
        page.get_by_role("button", name="Send it now").click()
        expect(page.get_by_role("status").filter(has_text="Saved.")).to_be_visible()
        found = api("tasks.get_by_id", task=task)["task"]
        assert (found["comment"], found["hyperparams"]["Args"]["rows"]["value"]) == ("two lines\nof words", "10")

        watched.open(f"/tasks/{task}/edit")
        page.get_by_label("New object").fill("Large")
        page.get_by_label("Its text").evaluate(PASTE, LARGE)
        page.context.clear_cookies(name="localserver_session")  # so it is when the session has run out
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_text("Your session has ended")).to_be_visible()
        log_in()
        page.get_by_role("button", name="Send it now").click()
        expect(page.get_by_role("status").filter(has_text="Saved.")).to_be_visible()
        found = api("tasks.get_by_id", task=task)["task"]
        assert found["configuration"]["Large"]["value"] == LARGE

        watched.open(f"/tasks/{task}/edit")
        page.get_by_label("Name", exact=True).fill("another name")
        page.get_by_label("Args/rows", exact=True).fill("20")
        page.get_by_label("Its text").evaluate(PASTE, LARGE[:200_000])
        page.get_by_label("New object").fill("Other")
        page.context.clear_cookies()
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("heading", name="The form was not sent")).to_be_visible()
        with page.context.expect_page() as opened:
            page.get_by_role("link", name="Log in in another tab").click()
        log_in(opened.value)
        expect(opened.value.get_by_role("link", name="Projects", exact=True)).to_be_visible()
        page.go_back()
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("status").filter(has_text="Saved.")).to_be_visible()
        found = api("tasks.get_by_id", task=task)["task"]
    assert (found["name"], found["hyperparams"]["Args"]["rows"]["value"]) == ("another name", "20")
    assert sorted(found["configuration"]) == ["Large", "Other"]
    assert watched.complaints == []
