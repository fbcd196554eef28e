"""Comparison in a real browser: from ticked rows to curves, figures and differences."""

from __future__ import annotations

import json
from collections.abc import Callable
from uuid import uuid4

import pytest
from playwright.sync_api import expect

from tests.api_client import ApiClient
from tests.browser.conftest import Watched

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(120)]

Watch = Callable[..., Watched]


@pytest.fixture(scope="module")
def project(clearml_api: ApiClient) -> str:
    """A project with three tasks: parameters, a curve, a figure."""
    project = str(clearml_api("projects.create", name=f"Compared {uuid4().hex[:6]}")["id"])
    for lr in ("0.1", "0.01", "0.001"):
        item = {"section": "Args", "name": "lr", "value": lr}
        fields = {"project": project, "hyperparams": {"Args": {"lr": item}}}
        task = clearml_api("tasks.create", name=f"lr {lr}", type="training", **fields)["id"]
        for number in range(5):
            value = 1 / (1 + number * float(lr))
            event = {"task": task, "metric": "loss", "variant": "train", "iter": number, "value": value}
            clearml_api("events.add", type="training_stats_scalar", timestamp=1_700_000_000_000 + number, **event)
        figure = json.dumps({"data": [{"type": "bar", "x": ["a"], "y": [float(lr)]}], "layout": {}})
        clearml_api("events.add", type="plot", task=task, metric="bars", variant="", iter=0, plot_str=figure)
    return project


def test_ticked_rows_are_compared(watch: Watch, project: str) -> None:
    page = watch().open(f"/projects/{project}?order=name")
    page.get_by_label("Select lr 0.1", exact=True).check()
    expect(page.get_by_role("button", name="Compare")).to_be_disabled()
    page.get_by_label("Select all on this page").check()
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("heading", name="Compare 3 tasks")).to_be_visible()
    card = page.locator(".plot", has_text="loss train")
    expect(card.locator(".scatterlayer .trace")).to_have_count(3)
    page.get_by_text("logarithmic").click()
    page.wait_for_function("document.querySelector('.curves .figure').layout.yaxis.type === 'log'")
    assert "log=1" in page.url
    page.get_by_label("Smoothing").fill("60")
    expect(card.locator(".scatterlayer .trace")).to_have_count(6)
    assert "smooth=60" in page.url
    page.get_by_label("Horizontal").select_option("time")
    expect(card.locator(".xtitle")).to_have_text("seconds since the first value")
    assert "axis=time" in page.url and "smooth=60" in page.url
    page.go_back()
    page.wait_for_url(lambda address: "axis=time" not in address)
    expect(page.get_by_label("Horizontal")).to_have_value("")
    expect(card.locator(".xtitle")).to_have_text("iteration")

    page.get_by_role("link", name="Parameters").click()
    expect(page.locator("tr.differs")).to_contain_text("lr")
    page.get_by_role("link", name="Relations").click()
    expect(page.locator("#scatter .scatterlayer .point")).to_have_count(3)
    expect(page.locator("#parallel .axis-title", has_text="lr")).to_be_visible()
    page.get_by_role("link", name="Plots").click()
    expect(page.locator(".bars path")).to_have_count(3)
    page.get_by_role("link", name="Leave out lr 0.1", exact=True).click()
    expect(page.get_by_role("heading", name="Compare 2 tasks")).to_be_visible()


def test_added_and_removed_files_are_coloured_over_the_whole_row(watch: Watch, clearml_api: ApiClient) -> None:
    versions = []
    for names in ("ab", "bc"):
        content = "File Name, File Size (bytes), Hash (SHA2)\n" + "".join(f"{name}.csv, 5, {name}\n" for name in names)
        configuration = {"Dataset Content": {"name": "Dataset Content", "type": "csv", "value": content}}
        fields = {"type": "data_processing", "system_tags": ["dataset"], "configuration": configuration}
        versions.append(clearml_api("tasks.create", name="reviews", **fields)["id"])
    page = watch().open(f"/compare?ids={','.join(versions)}&tab=files")
    colours = {}
    for kind, name in (("added", "c.csv"), ("removed", "a.csv")):
        row = page.locator(f"tr.{kind}", has_text=name)
        card = row.locator("xpath=ancestor::div[1]").bounding_box()
        cells = [(cell.bounding_box(), cell.evaluate("cell => getComputedStyle(cell).backgroundColor"))
                 for cell in row.locator("td").all()]  # fmt: skip
        [colour] = {colour for _, colour in cells}
        assert card is not None and sum(box["width"] for box, _ in cells if box) >= card["width"] - 2
        colours[kind] = colour
    transparent = "rgba(0, 0, 0, 0)"
    assert len({*colours.values(), transparent}) == 3, colours


def test_rows_are_compared_without_a_script(watch: Watch, project: str) -> None:
    page = watch(java_script_enabled=False).open(f"/projects/{project}?order=name")
    for name in ("lr 0.1", "lr 0.01"):
        page.get_by_label(f"Select {name}", exact=True).check()
    page.get_by_role("button", name="Compare").click()
    page.get_by_role("link", name="Values").click()
    expect(page.locator("table.compared tbody tr")).to_have_count(1)
    expect(page.locator("table.compared")).to_contain_text("0.714286")
    page.get_by_role("link", name="Scalars").click()
    expect(page.locator("section.plot").first).to_be_attached()
    expect(page.locator("section.plot").first).to_be_hidden()


@pytest.mark.parametrize("theme", ["light", pytest.param("dark", marks=pytest.mark.thorough)])
def test_no_comparison_is_wider_than_a_telephone(
    watch: Watch, project: str, clearml_api: ApiClient, theme: str
) -> None:
    tasks = clearml_api("tasks.get_all", project=[project], only_fields=["id"])["tasks"]
    watched = watch(color_scheme=theme)
    watched.page.set_viewport_size({"width": 390, "height": 800})
    for tab in ("scalars", "values", "parameters", "relations", "plots", "samples"):
        page = watched.open(f"/compare?ids={','.join(task['id'] for task in tasks)}&tab={tab}")
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0, tab


def test_heat_maps_side_by_side_have_one_scale(watch: Watch, clearml_api: ApiClient) -> None:
    tasks = []
    for high in (4, 10):
        task = clearml_api("tasks.create", name=f"up to {high}", type="training")["id"]
        figure = json.dumps({"data": [{"type": "heatmap", "z": [[1, None], [2, high]]}], "layout": {}})
        clearml_api("events.add", type="plot", task=task, metric="matrix", variant="", iter=0, plot_str=figure)
        tasks.append(task)
    page = watch().open(f"/compare?ids={','.join(tasks)}&tab=plots")
    expect(page.locator(".figure .plot-container")).to_have_count(2)
    scales = page.eval_on_selector_all(".figure", "all => all.map(one => [one.data[0].zmin, one.data[0].zmax])")
    assert scales == [[1, 10], [1, 10]]
