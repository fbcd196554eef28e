"""The web pages in a real browser: live while a pipeline runs, drawn, operable, without a complaint of the browser."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

from tests.api_client import ApiClient
from tests.browser.conftest import PATIENCE_MS, Watched

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(240)]

Watch = Callable[..., Watched]
Run = Callable[..., "subprocess.Popen[str]"]
Theme = Literal["light", "dark"]
STEP_MS = 90_000
"""How long the SDK may take to start or end a step on a busy machine."""

TABS = ["overview", "parameters", "console", "scalars", "plots", "samples", "artifacts"]


@pytest.fixture(scope="module")
def finished_run(run_script: Run, clearml_api: ApiClient) -> str:
    """Id of a completed pipeline run (that of the live test where it ran before)."""
    query = {"type": ["controller"], "status": ["completed"], "search_hidden": True, "only_fields": ["id"]}
    if not clearml_api("tasks.get_all", **query)["tasks"]:
        output, _ = run_script("small_pipeline.py").communicate(timeout=150)
        assert clearml_api("tasks.get_all", **query)["tasks"], output[-3000:]
    return str(clearml_api("tasks.get_all", **query)["tasks"][0]["id"])


def inaccessible(page: Page) -> list[str]:
    """Return what axe-core finds wrong with a page for people who do not see or do not use a mouse."""
    violations = Axe().run(page).response["violations"]
    return [f"{item['id']}: {node['html'][:150]}" for item in violations for node in item["nodes"]]


def step(page: Page, name: str, status: str) -> Locator:
    return page.locator(f".dag .box.s-{status}", has=page.locator("text.title", has_text=re.compile(f"^{name}$")))


def test_pages_live_while_a_pipeline_runs(watch: Watch, run_script: Run, tmp_path: Path) -> None:
    home, console = watch(), watch()
    home.open("/")
    pipeline = run_script("small_pipeline.py", str(tmp_path / "seen"))
    page = home.page
    # The first page shows the run by itself; from there on by clicks.
    run = page.locator("tr", has_text="DataPrepare").first
    expect(run.locator(".badge")).to_have_text("running")
    run.get_by_role("link", name="DataPrepare").click()
    expect(step(page, "split", "running")).to_be_visible(timeout=STEP_MS)
    expect(step(page, "compare", "pending")).to_be_visible()

    href = page.locator("table.steps a", has_text="split").first.get_attribute("href")
    console.open(f"{href}/console")
    lines = console.page.locator(".ln", has_text="splitting part")
    expect(lines.first).to_be_visible()
    expect(lines).to_have_count(8)
    first = console.page.locator("#console-lines").evaluate(
        "box => box.scrollHeight - box.scrollTop - box.clientHeight"
    )
    assert first < 10, "the console follows its end"
    (tmp_path / "seen").touch()

    expect(step(page, "split", "completed")).to_be_visible(timeout=STEP_MS)
    expect(step(page, "train", "running").or_(step(page, "train", "completed"))).to_be_visible(timeout=STEP_MS)
    for name in ("split", "train", "test", "compare"):
        expect(step(page, name, "completed")).to_be_visible(timeout=STEP_MS)
    expect(page.locator(".head .badge")).to_have_text("completed")
    output, _ = pipeline.communicate(timeout=60)
    assert pipeline.returncode == 0, output[-2000:]

    # The same columns stand below each other in the cards of the first page.
    heads = console.open("/").locator(".aligned").get_by_role("columnheader", name="Status", exact=True)
    expect(heads).to_have_count(2)
    lefts = heads.evaluate_all("all => all.map(head => Math.round(head.getBoundingClientRect().left))")
    assert max(lefts) - min(lefts) <= 2, lefts

    # What is over is not asked for any longer.
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for _ in range(10):  # what was on its way when the run ended may come late
        asked.clear()
        page.wait_for_timeout(4500)
        if not asked:
            break
    assert asked == []


def test_a_click_on_a_node_opens_the_step_beside_the_graph(watch: Watch, finished_run: str) -> None:
    page = watch().open(f"/tasks/{finished_run}")
    page.locator(".dag a", has_text="compare").click()
    panel, graph = page.locator("#step"), page.locator(".drawing")
    expect(panel.get_by_role("heading", level=2)).to_have_text("compare")
    expect(page.locator(".dag .current text.title")).to_have_text("compare")
    expect(panel.locator(".phase").first).to_contain_text("queue wait")
    wide, panel_wide = graph.bounding_box(), panel.bounding_box()
    assert wide and panel_wide and panel_wide["x"] > wide["x"] + wide["width"], "beside"
    page.set_viewport_size({"width": 390, "height": 800})
    narrow, panel_narrow = graph.bounding_box(), panel.bounding_box()
    assert narrow and panel_narrow and panel_narrow["y"] > narrow["y"] + narrow["height"], "below"
    assert page.evaluate(OVERFLOW) <= 0
    page.reload()
    node, frame = page.locator(".dag .current .body").bounding_box(), graph.bounding_box()
    assert node and frame and frame["x"] <= node["x"] and node["x"] + node["width"] <= frame["x"] + frame["width"] + 1
    page.get_by_role("link", name="Close this step").click()
    expect(panel).to_have_count(0)

    page.locator(".dag a", has_text="compare").focus()
    page.keyboard.press("Enter")
    panel.get_by_role("link", name="Whole page").click()
    expect(page.locator("h1")).to_have_text("compare")
    expect(page.locator(".crumbs")).to_contain_text("DataPrepare")


AT_ITS_END = """box => {
  const range = document.createRange();
  range.selectNodeContents(box);
  const [text, frame] = [range.getBoundingClientRect(), box.getBoundingClientRect()];
  return text.bottom <= frame.bottom && text.top < frame.top;
}"""


def test_the_last_lines_of_a_failed_task_are_in_sight(watch: Watch, clearml_api: ApiClient) -> None:
    task = clearml_api("tasks.create", name="fails", type="training")["id"]
    clearml_api("tasks.started", task=task)
    for number in range(30):
        clearml_api("events.add", type="log", task=task, msg=f"line {number} " + "word " * 100, level="info")
    clearml_api("tasks.failed", task=task)
    page = watch().open(f"/tasks/{task}/overview")
    assert page.locator(".failure pre.code").evaluate(AT_ITS_END)


def test_a_new_run_is_made_from_the_form(watch: Watch, finished_run: str, clearml_api: ApiClient) -> None:
    watched = watch()
    watched.refusals = {422}
    page = watched.open(f"/tasks/{finished_run}")
    page.get_by_role("link", name="New run").click()
    expect(page.get_by_label("dataset_version")).to_have_value("1.2")
    page.get_by_label("random_state").fill("forty")
    page.get_by_label("dataset_version").fill("1.1")
    page.get_by_role("button", name="Enqueue").click()
    expect(page.locator(".error", has_text="'forty' is not of type int")).to_be_visible()
    page.get_by_label("random_state").fill("7")
    page.get_by_role("button", name="Enqueue").click()
    expect(page.get_by_role("status").filter(has_text="New run enqueued")).to_be_visible()
    expect(page.locator(".head .badge")).to_have_text("queued")
    task = clearml_api("tasks.get_by_id", task=page.url.rsplit("/", 1)[1])["task"]
    arguments = {name: item["value"] for name, item in task["hyperparams"]["Args"].items()}
    assert arguments == {"dataset_version": "1.1", "random_state": "7"}
    assert task["status"] == "queued"
    queue = clearml_api("queues.get_by_id", queue=task["execution"]["queue"])["queue"]
    assert task["id"] in [entry["task"] for entry in queue["entries"]]


def test_an_action_asks_before_it_acts(watch: Watch, clearml_api: ApiClient) -> None:
    task = clearml_api("tasks.create", name="to be cloned", type="training")["id"]
    page = watch().open(f"/tasks/{task}")
    page.locator("summary[aria-label='More actions']").click()
    page.get_by_role("link", name="Archive").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Archive “to be cloned”?")
    dialog.get_by_role("link", name="Cancel").click()
    expect(dialog).to_have_count(0)
    assert "archived" not in clearml_api("tasks.get_by_id", task=task)["task"]["system_tags"]

    page.locator("summary[aria-label='More actions']").click()
    page.get_by_role("link", name="Archive").click()
    page.get_by_role("dialog").get_by_role("button", name="Archive").click()
    expect(page.locator(".head .tag")).to_have_text("archived")
    expect(page).to_have_url(re.compile(f"/tasks/{task}$"))


def test_a_page_whose_task_is_deleted_says_so(watch: Watch, clearml_api: ApiClient) -> None:
    task = clearml_api("tasks.create", name="deleted soon", type="training")["id"]
    clearml_api("tasks.started", task=task)
    watched = watch()
    watched.refusals = {404}
    page = watched.open(f"/tasks/{task}")
    clearml_api("tasks.delete", task=task, force=True)
    expect(page.get_by_role("heading", name="Nothing here")).to_be_visible()


def test_the_menu_works_by_keyboard(watch: Watch, clearml_api: ApiClient) -> None:
    task = clearml_api("tasks.create", name="by keyboard", type="training")["id"]
    page = watch().open(f"/tasks/{task}")
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox", name="Find a task or project")).to_be_focused()
    page.locator("summary[aria-label='More actions']").focus()
    page.keyboard.press("Enter")
    for _ in range(9):  # past what leads to a page of its own
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Clone":
            break
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_plots_are_drawn(watch: Watch, reporting_task: str) -> None:
    page = watch().open(f"/tasks/{reporting_task}/plots")
    card = page.locator(".plot", has_text="Class distribution")
    expect(card.locator("svg.main-svg").first).to_be_visible()
    expect(card.locator(".bars path").first).to_be_attached()
    table = page.locator(".plot", has_text="Preview").locator("table")
    expect(table.locator("tbody tr")).to_have_count(2)
    expect(table).to_contain_text("<img src=x onerror=alert(1)>")
    page.locator(".plot", has_text="WebGL").scroll_into_view_if_needed()
    expect(page.locator(".plot", has_text="WebGL").locator("canvas").first).to_be_attached()
    expect(page.get_by_text("WebGL is not supported")).to_have_count(0)


def report(api: ApiClient, task: str, metric: str, figure: str) -> None:
    api("events.add", type="plot", task=task, metric=metric, variant="", iter=0, plot_str=figure)


def test_figures_with_what_only_pythons_json_has_are_drawn_with_a_hole(watch: Watch, clearml_api: ApiClient) -> None:
    task = clearml_api("tasks.create", name="holes", type="testing")["id"]
    heatmap = (
        '{"data": [{"type": "heatmap", "z": [[1, NaN], [-Infinity, 0]], "x": ["NaN, \\"Infinity", "b"]}], "layout": {}}'
    )
    report(clearml_api, task, "matrix", heatmap)
    report(clearml_api, task, "line", '{"data": [{"type": "scatter", "y": [1, NaN, 3, 4]}], "layout": {}}')
    report(clearml_api, task, "cut off", '{"data": [{"type": "scatter", "y": [NaN], "name": "\\"\\"\\"')
    page = watch().open(f"/tasks/{task}/plots")
    expect(page.locator(".plot", has_text="matrix").locator(".heatmaplayer image")).to_be_attached()
    expect(page.locator(".plot", has_text="matrix").locator(".xtick", has_text='NaN, "Infinity')).to_be_attached()
    expect(page.locator(".plot", has_text="line").locator(".scatterlayer .js-line").first).to_be_attached()
    expect(page.locator(".plot", has_text="cut off")).to_contain_text("not valid JSON")


def test_titles_of_axes_are_shown_as_the_sdk_reports_them(watch: Watch, clearml_api: ApiClient) -> None:
    task = clearml_api("tasks.create", name="titles", type="testing")["id"]
    axes = '"xaxis": {"title": "classes"}, "yaxis": {"title": {"text": "counts"}}'
    report(clearml_api, task, "bars", f'{{"data": [{{"type": "bar", "y": [1]}}], "layout": {{{axes}}}}}')
    card = watch().open(f"/tasks/{task}/plots").locator(".plot")
    expect(card.locator(".xtitle")).to_have_text("classes")
    expect(card.locator(".ytitle")).to_have_text("counts")
    card.locator(".figure").hover()
    titles = card.locator(".modebar-btn").evaluate_all("all => all.map(button => button.dataset.title)")
    assert titles == ["Download plot as a PNG", "Zoom", "Pan", "Zoom in", "Zoom out", "Autoscale"]
    grounds = card.locator(".modebar-group").evaluate_all(
        "all => all.map(group => getComputedStyle(group).backgroundColor)"
    )
    assert set(grounds) == {"rgba(0, 0, 0, 0)"}


def test_parallel_coordinates_keep_the_names_of_their_axes(watch: Watch, clearml_api: ApiClient) -> None:
    task = clearml_api("tasks.create", name="parallel", type="testing")["id"]
    axes = [{"label": name, "values": [1, 2, 3]} for name in ("learning rate", "depth", "score")]
    figure = {"data": [{"type": "parcoords", "dimensions": axes, "line": {"color": [1, 2, 3]}}], "layout": {}}
    report(clearml_api, task, "trials", json.dumps(figure))
    watched = watch()
    card = watched.open(f"/tasks/{task}/plots").locator(".plot")
    expect(card.locator(".axis-title")).to_have_text(["learning rate", "depth", "score"])
    outer = card.locator(".figure").bounding_box()
    for n in range(3):
        label = card.locator(".axis-title").nth(n).bounding_box()
        assert outer is not None and label is not None
        assert outer["x"] <= label["x"] and label["x"] + label["width"] <= outer["x"] + outer["width"]
        assert outer["y"] <= label["y"], "the name lies within the figure"


def test_new_plots_of_a_running_task_are_announced(watch: Watch, clearml_api: ApiClient) -> None:
    task = clearml_api("tasks.create", name="plots later", type="training")["id"]
    clearml_api("tasks.started", task=task)
    page = watch().open(f"/tasks/{task}/plots")
    expect(page.get_by_text("No plots")).to_be_visible()
    figure = '{"data": [{"type": "bar", "x": ["a"], "y": [1]}], "layout": {}}'
    clearml_api("events.add", type="plot", task=task, metric="late", variant="", iter=0, plot_str=figure)
    page.get_by_role("link", name="Show them").click()
    expect(page.locator(".bars path")).to_be_visible()
    clearml_api("tasks.stopped", task=task)


def test_scalars_are_drawn(watch: Watch, reporting_task: str) -> None:
    page = watch().open(f"/tasks/{reporting_task}/scalars")
    card = page.locator(".plot", has=page.locator("h2", has_text=re.compile("^loss$")))
    expect(card.locator(".scatterlayer .trace")).to_have_count(2)
    expect(page.locator(".singles")).to_contain_text("0.87")
    page.get_by_role("link", name="time").click()
    expect(page.locator(".plot .scatterlayer .trace").first).to_be_attached()


def test_a_peak_of_a_long_curve_is_drawn(watch: Watch, clearml_api: ApiClient) -> None:
    task = clearml_api("tasks.create", name="peak", type="training")["id"]
    point = {"type": "training_stats_scalar", "task": task, "metric": "loss", "variant": "train"}
    events = [point | {"iter": n, "value": 1000 if n == 4321 else 0} for n in range(10_000)]
    content = "\n".join(map(json.dumps, events))
    clearml_api.http.post("/events.add_batch", content=content, headers={"Content-Type": "application/json-lines"})
    page = watch().open(f"/tasks/{task}/scalars")
    figure = page.locator(".plot .figure")
    expect(figure.locator(".scatterlayer .trace").first).to_be_attached()
    drawn = figure.evaluate("figure => figure.data.map(trace => Math.max(...trace.y))")
    assert sorted(drawn) == [0, 100, 1000]  # lowest, mean and highest of ten points each
    assert figure.evaluate("figure => figure.layout.yaxis.range[1]") >= 1000


def test_images_come_from_our_own_address(watch: Watch, reporting_task: str) -> None:
    page = watch().open(f"/tasks/{reporting_task}/samples")
    image = page.locator(".samples img").first
    expect(image).to_be_visible()
    assert image.evaluate("image => image.complete && image.naturalWidth") == 8
    image.click()
    page.wait_for_url("**metric=images*")  # and its scripts, which read the keys
    expect(page.locator(".viewed img")).to_be_visible()
    keys = {"Next": "ArrowRight", "Previous": "ArrowLeft"}  # the other sample is a page
    way = "Next" if page.get_by_role("link", name="Next").count() else "Previous"
    page.keyboard.press(keys.pop(way))
    page.wait_for_url("**metric=page*")
    page.keyboard.press(*keys.values())
    page.wait_for_url("**metric=images*")
    page.get_by_role("link", name="Full size").click()
    expect(page.locator(".viewed.whole img")).to_be_visible()


def test_an_uploaded_page_cannot_run_scripts(watch: Watch, reporting_task: str) -> None:
    watched = watch()
    page = watched.open(f"/tasks/{reporting_task}/samples")
    page.get_by_role("link", name="Open").click()
    page.wait_for_load_state()
    blocked = [text for text in watched.complaints if "sandboxed" in text or "404" in text]
    assert not [text for text in watched.complaints if "dialog" in text]
    assert blocked, "the browser says that it blocked the scripts"
    watched.complaints.clear()


def test_datasets_show_their_lineage_and_files(watch: Watch, reporting_task: str) -> None:
    page = watch().open("/datasets")
    page.get_by_role("link", name="Texts").click()
    expect(page.locator(".dag .box")).to_have_count(3)
    page.locator(".dag a", has_text="1.2").click()
    expect(page.locator("h1")).to_have_text("Texts 1.2")
    expect(page.locator("table")).to_contain_text("part 1.1.csv")


OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
THEMES: tuple[Theme, ...] = ("light", "dark")
LOOKS = ((1280, "light"), (390, "dark"))
MORE_LOOKS = ((1280, "dark"), (390, "light"), (390, "dark"))


@pytest.mark.parametrize(
    "looks",
    [
        # A window that is made narrower and a system that turns dark change the page that is there.
        pytest.param(LOOKS, id="one after the other"),
        *(pytest.param((look,), id=f"{look}", marks=pytest.mark.thorough) for look in MORE_LOOKS),
    ],
)
def test_no_page_complains_overflows_or_shuts_anybody_out(
    watch: Watch, reporting_task: str, finished_run: str, clearml_api: ApiClient, looks: tuple[tuple[int, Theme], ...]
) -> None:
    project = clearml_api("tasks.get_by_id", task=reporting_task)["task"]["project"]
    pipeline = clearml_api("tasks.get_by_id", task=finished_run)["task"]["project"]
    model = clearml_api("models.get_all", only_fields=["id"])["models"][0]["id"]
    item = {"section": "Args", "name": "lr", "value": "0.1", "description": "of the optimiser"}
    consists_of = {"hyperparams": {"Args": {"lr": item}}, "configuration": {"Model": {"value": "layers: 3"}}}
    draft = clearml_api("tasks.create", name="a draft", type="training", **consists_of)["id"]
    container = {
        "container_id": "c1",
        "endpoint_name": "answers",
        "model_name": "m",
        "endpoint_url": "http://m/answers",
    }
    clearml_api("serving.container_status_report", **container, requests_num=5, requests_min=1, latency_ms=20)
    watched = watch()
    paths = ["/", "/endpoints", f"/endpoints/{quote('http://m/answers', safe='')}",
             "/projects", f"/projects/{project}", f"/projects/{project}/models", "/projects/*", f"/models/{model}",
             "/pipelines", f"/pipelines/{pipeline}", "/datasets", "/reports", "/activity", "/queues", "/workers",
             "/search", "/search?q=reports", "/settings",
             f"/tasks/{finished_run}", f"/tasks/{finished_run}/run", f"/tasks/{finished_run}/clone",
             f"/tasks/{finished_run}?step=compare", f"/lineage/{model}", f"/tasks/{draft}/edit",
             *(f"/tasks/{reporting_task}/{tab}" for tab in TABS)]  # fmt: skip
    if looks is not LOOKS:
        tasks = f"{reporting_task},{finished_run}"
        paths += ["/projects/new", f"/projects/{project}/edit", f"/projects/{project}/columns", f"/models/{model}/edit",
                  f"/selected/tasks/delete?ids={tasks}", "/settings/workspace-configuration", "/no such page",
                  *(f"/compare?ids={tasks}&tab={tab}" for tab in ("scalars", "values", "parameters&all=1")),
                  f"/compare?ids={tasks}&tab=plots"]  # fmt: skip
        watched.refusals = {404}
    found: list[str] = []
    for path in paths:
        for number, (width, theme) in enumerate(looks):
            watched.page.set_viewport_size({"width": width, "height": 800})
            watched.page.emulate_media(color_scheme=theme)
            if number == 0:
                watched.open(path).wait_for_load_state("networkidle")
            for _ in range(PATIENCE_MS // 100):  # plots are drawn anew when the window changes
                if watched.page.evaluate(OVERFLOW) <= 0:
                    break
                watched.page.wait_for_timeout(100)
            else:
                pytest.fail(f"{path} is wider than a {theme} window of {width} px")
            found += [f"{path} {width} {theme}: {line}" for line in inaccessible(watched.page)]
    assert found == []


def test_the_page_of_a_failed_run_shuts_nobody_out(watch: Watch, clearml_api: ApiClient) -> None:
    step = clearml_api("tasks.create", name="clean", type="data_processing")["id"]
    line = {"type": "log", "task": step, "msg": "ValueError: a bad row", "timestamp": 1_700_000_000_000}
    clearml_api("events.add", **line)
    graph = {"Pipeline": {"name": "Pipeline", "value": json.dumps({"clean": {"parents": [], "job_id": step}})}}
    of_run = {"type": "controller", "system_tags": ["pipeline"], "runtime": {"_pipeline_hash": "x"}}
    run = clearml_api("tasks.create", name="Failed", configuration=graph, **of_run)["id"]
    for task in (step, run):
        clearml_api("tasks.started", task=task)
        clearml_api("tasks.failed", task=task, status_reason="worker execution exit code 1")
    watched = watch()
    page = watched.open(f"/tasks/{run}?step=clean")
    expect(page.locator("#step .cause")).to_have_text("ValueError: a bad row")
    found = []
    for theme in THEMES:
        page.emulate_media(color_scheme=theme)
        found += [f"{theme}: {line}" for line in inaccessible(page)]
    assert found == []
