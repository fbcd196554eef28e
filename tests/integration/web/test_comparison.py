"""Tasks, models and dataset versions beside each other, over HTTP."""

from __future__ import annotations

import html
import json
import re
from urllib.parse import quote
from uuid import uuid4

import pytest

from tests.api_client import ApiClient
from tests.integration.web.pages import HOSTILE, NO_ID, Web, make_task

pytestmark = pytest.mark.integration

LONG = "x" * 300


@pytest.fixture
def pair(api: ApiClient) -> list[str]:
    """Two tasks that differ in a parameter, a configuration object and a curve."""
    tasks = []
    for lr, name in (("0.1", HOSTILE), ("0.01", LONG)):
        args = {
            "lr": {"section": "Args", "name": "lr", "value": lr},
            "same": {"section": "Args", "name": "same", "value": "7"},
        }
        configuration = {"net": {"name": "net", "value": json.dumps({"lr": float(lr), "layers": 2})}}
        task = make_task(api, name, hyperparams={"Args": args}, configuration=configuration)
        for number, value in enumerate((3.0, 1.0, 2.0)):
            event = {"task": task, "metric": LONG, "variant": HOSTILE, "iter": number, "value": value * float(lr)}
            api("events.add", type="training_stats_scalar", timestamp=1_700_000_000_000 + number * 1000, **event)
        figure = json.dumps({"data": [{"type": "bar", "y": [float(lr)]}], "layout": {}})
        api("events.add", type="plot", task=task, metric="bars", variant=HOSTILE, iter=0, plot_str=figure)
        api(
            "events.add",
            type="training_debug_image",
            task=task,
            metric="m",
            variant="v",
            iter=0,
            url="http://x/a.png",
            key="k",
        )
        tasks.append(task)
    return tasks


def text(page: str) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page)))


@pytest.mark.parametrize("tab", ["scalars", "values", "parameters", "relations", "plots", "samples"])
def test_every_comparison_escapes_what_people_wrote(web: Web, pair: list[str], tab: str) -> None:
    page = web.get(f"/compare?ids={','.join(pair)}&tab={tab}")
    assert "<script>alert" not in page
    assert page.count("</script>") == page.count("<script")
    assert "Compare 2 tasks" in page


def test_curves_of_several_tasks_come_by_metric(web: Web, pair: list[str]) -> None:
    query = {"ids": ",".join(pair), "metric": LONG, "variant": HOSTILE}
    curves = json.loads(web.get("/compare/scalars", params=query))
    assert {task: curve["x"] for task, curve in curves.items()} == {task: [0, 1, 2] for task in pair}
    assert curves[pair[0]]["y"] == pytest.approx([0.3, 0.1, 0.2])
    clock = json.loads(web.get("/compare/scalars", params=query | {"axis": "clock"}))
    assert clock[pair[1]]["x"] == [1_700_000_000_000 + number * 1000 for number in range(3)]
    assert json.loads(web.get("/compare/scalars", params=query | {"metric": "nothing"})) == {}


def test_only_what_differs_is_shown_unless_everything_is_asked_for(web: Web, pair: list[str]) -> None:
    page = text(web.get(f"/compare?ids={','.join(pair)}&tab=parameters"))
    assert "lr 0.1 0.01" in page and "same 7 7" not in page
    assert '- "lr": 0.1, + "lr": 0.01,' in page
    assert "same 7 7" in text(web.get(f"/compare?ids={','.join(pair)}&tab=parameters&all=1"))


def test_values_are_the_last_the_least_and_the_greatest(web: Web, pair: list[str]) -> None:
    assert "0.2 0.1 to 0.3 0.02 0.01 to 0.03" in text(web.get(f"/compare?ids={','.join(pair)}&tab=values"))


def test_plots_and_samples_of_all_stand_side_by_side(web: Web, pair: list[str]) -> None:
    plots = web.get(f"/compare?ids={','.join(pair)}&tab=plots")
    assert plots.count('<div class="figure"') == 2 and plots.count('<div class="plots beside"') == 1
    assert web.get(f"/compare?ids={','.join(pair)}&tab=samples").count('src="http://x/a.png"') == 2


def test_ids_that_nothing_has_are_named_and_left_out(web: Web, pair: list[str], api: ApiClient) -> None:
    page = web.get(f"/compare?ids={pair[0]},{NO_ID},{pair[1]},{quote(HOSTILE)}")
    assert f"There is no task with the id {NO_ID}" in text(page)
    assert "Compare 2 tasks" in page and "<script>alert" not in page
    api("tasks.delete", task=pair[1], force=True)
    assert "Nothing to compare" in web.get(f"/compare?ids={','.join(pair)}", status=400)


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ("", 400, "Nothing is selected"),
        (f"?ids={NO_ID}", 400, "Nothing to compare"),
        ("?ids=" + ",".join(f"{number:032x}" for number in range(51)), 400, "at most 50 can be compared"),
        (f"?ids={NO_ID}&tab=nonsense", 404, "There is no comparison called"),
    ],
)
def test_an_address_that_compares_nothing_says_why(web: Web, query: str, status: int, message: str) -> None:
    assert message in web.get(f"/compare{query}", status=status)


def test_an_unknown_column_of_a_scatter_is_named(web: Web, pair: list[str]) -> None:
    page = web.get(f"/compare?ids={','.join(pair)}&tab=relations&x=nonsense", status=400)
    assert "There is no column &#39;nonsense&#39; to draw" in page


def test_ticked_rows_lead_to_one_address_that_can_be_shared(web: Web, pair: list[str]) -> None:
    reply = web.http.get("/compare", params={"ids": pair, "back": "/projects"})
    assert reply.status_code == 303
    assert reply.headers["Location"] == f"/compare?ids={quote(','.join(pair))}"


def test_models_are_compared(web: Web, api: ApiClient) -> None:
    models = [
        api("models.create", name=f"model {unit}", uri=f"http://x/{unit}", framework=unit, design={"design": unit},
            metadata={"units": {"key": "units", "type": "str", "value": unit}})["id"]
        for unit in ("torch", HOSTILE)
    ]  # fmt: skip
    page = web.get(f"/compare/models?ids={','.join(models)}&back=/projects", follow_redirects=True)
    assert "<script>alert" not in page
    assert f"units torch {HOSTILE}" in text(page)
    assert "There is no model" in web.get(f"/compare/models?ids={models[0]},{NO_ID}", status=400)
    assert f'value="{models[0]}" form="selected"' in web.get("/projects/*/models")


def test_files_of_dataset_versions_are_compared(web: Web, api: ApiClient) -> None:
    versions = []
    project = api("projects.create", name=f"Data {uuid4().hex[:6]}/.datasets/texts")["id"]
    for number, lines in enumerate(("a.csv, 10, aa\nb.csv, 5, bb", f"a.csv, 12, a2\n{HOSTILE}.csv, 7, cc")):
        content = {"name": "Dataset Content", "value": f"File Name (2 files), File Size, Hash\n{lines}"}
        versions.append(
            make_task(api, "texts", type="data_processing", project=project, system_tags=["dataset"],
                      configuration={"Dataset Content": content})
        )  # fmt: skip
        api("tasks.edit_runtime", task=versions[-1], runtime={"version": f"1.{number}"}, force=True)
    page = web.get(f"/compare?ids={','.join(versions)}&tab=files")
    first = web.get(f"/compare?ids={','.join(versions)}")
    assert "1 added, 1 changed, 1 removed, 0 the same" in first, "what versions differ in comes first"
    assert re.search(r'aria-current="page">(\w+)</a>\s*<a [^>]*tab=scalars"', first), "and its tab before the others"
    scalars = web.get(f"/compare?ids={','.join(versions)}&tab=scalars")
    assert '<input type="hidden" name="tab" value="scalars">' in scalars, "its form stays on the tab"
    assert "1 added, 1 changed, 1 removed, 0 the same" in page
    assert "Compare 2 dataset versions" in page and page.count(">texts 1.0</a>") == page.count(">texts 1.1</a>") == 2
    values = web.get(f"/compare?ids={','.join(versions)}&tab=values")
    assert ">texts 1.0</a>" in values and ">texts 1.1</a>" in values
    assert "<script>alert" not in page
    assert f'value="{versions[0]}" form="selected"' in web.get(f"/datasets/{project}")
    other = make_task(api)
    refused = web.get(f"/compare?ids={versions[0]},{other}&tab=files", status=400)
    assert "is not a dataset version, so it has no files to compare" in refused


def test_a_peak_of_a_long_curve_is_kept_in_its_band(web: Web, api: ApiClient) -> None:
    task = make_task(api)
    event = {"type": "training_stats_scalar", "task": task, "metric": "m", "variant": "v"}
    values = [1000 if number == 2345 else 1 for number in range(5000)]
    lines = "\n".join(json.dumps(event | {"iter": number, "value": value}) for number, value in enumerate(values))
    reply = api.http.post("/events.add_batch", content=lines, headers={"Content-Type": "application/json-lines"})
    assert reply.json()["data"]["added"] == len(values)
    curve = json.loads(web.get("/compare/scalars", params={"ids": task, "metric": "m", "variant": "v"}))[task]
    assert len(curve["x"]) < len(values)
    assert (min(curve["low"]), max(curve["high"])) == (1, 1000)
