"""Lineage as one picture: dataset version, step, dataset version, step, model, the task that serves it."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest

from tests.api_client import ApiClient
from tests.integration.web.pages import ESCAPED, HOSTILE, NO_ID, Web, make_task

pytestmark = pytest.mark.integration


def version(api: ApiClient, name: str, made_by: str = "") -> str:
    parent = {"parent": made_by} if made_by else {}
    return make_task(api, name, type="data_processing", system_tags=["dataset"], runtime={"version": "1.0"}, **parent)


def step(api: ApiClient, name: str, reads: str, **fields: Any) -> str:
    """Make a task that has opened a dataset version, as the SDK notes it."""
    task = make_task(api, name, **fields)
    api("tasks.edit", task=task, runtime={"datasets": [reads]})
    return task


def test_versions_made_from_each_other_are_connected(api: ApiClient, web: Web) -> None:
    struct: dict[str, Any] = {}
    versions: list[str] = []
    for number in range(3):  # as the SDK writes it: each version has its ancestors too
        id_ = version(api, f"data {number}")
        struct[id_] = {"job_id": id_, "name": f"data {number}", "version": f"1.{number}", "parents": versions[-1:]}
        stored = {"name": "Dataset Struct", "value": json.dumps(struct)}
        api("tasks.edit_configuration", task=id_, configuration=[stored], force=True)
        versions.append(id_)
    other = version(api, "other")
    for id_ in versions:
        page = web.get(f"/lineage/{id_}")
        assert [href for href in versions if f'<a class="name" href="/tasks/{href}">' not in page] == []
        assert page.count('<path class="edge"') == 2 and other not in page
        assert f'<a href="/tasks/{versions[1]}">data 1</a></td>' in page, "the last one is made from the second"


def test_a_task_outside_a_run_is_called_a_task(api: ApiClient, web: Web) -> None:
    source = make_task(api, "alone")
    clone = make_task(api, "its clone", parent=source)
    run = make_task(api, "a run", type="controller", system_tags=["pipeline"])
    part = make_task(api, "part", parent=run)
    kinds = {id_: re.findall(r"<td>(task|step)</td>", web.get(f"/lineage/{id_}")) for id_ in (source, clone, part)}
    assert kinds == {source: ["task"], clone: ["task"], part: ["step"]}


def test_a_name_that_a_box_shortens_is_whole_in_its_label_and_its_title(api: ApiClient, web: Web) -> None:
    name = f"preprocess reviews of all years {HOSTILE}"
    task = step(api, name, version(api, "raw"))
    page = web.get(f"/lineage/{task}")
    whole = f"preprocess reviews of all years {ESCAPED}"
    box = page[page.index(f'<a href="/tasks/{task}" aria-label="{whole}, ') :]
    box = box[: box.index("</a>")]
    assert f"<title>{whole}" in box
    [shown] = re.findall(r'<text class="title" y="23">([^<]*)</text>', box)
    assert shown.startswith("preprocess…")


def test_all_of_it_is_one_picture_from_any_of_them(api: ApiClient, web: Web) -> None:
    raw = version(api, "raw")
    split = step(api, HOSTILE, raw)
    parts = version(api, "parts", split)
    fit = step(api, "fit", parts)
    model = api("models.create", name="a model", uri="http://x/y", task=fit)["id"]
    used = {"input": [{"name": "m", "model": model}], "output": []}
    serving = make_task(api, "endpoint", type="inference", models=used)
    other = step(api, "another reader", uuid4().hex)
    hrefs = [f"/tasks/{id_}" for id_ in (raw, split, parts, fit, serving)] + [f"/models/{model}"]
    for id_ in (raw, split, parts, fit, model, serving):
        page = web.get(f"/lineage/{id_}")
        assert [href for href in hrefs if f'<a class="name" href="{href}">' not in page] == []
        assert page.count('<path class="edge"') == 5
        assert ESCAPED in page and "<script>alert" not in page
        assert "<td>serving</td>" in page and other not in page
    for address in (f"/tasks/{raw}", f"/tasks/{fit}/overview", f"/models/{model}"):
        assert f'href="/lineage/{address.split("/")[2]}"' in web.get(address)


def test_the_lineage_of_a_run_is_that_of_its_steps(api: ApiClient, web: Web) -> None:
    run = make_task(api, "a run", type="controller", system_tags=["pipeline"])
    assert "<td>run</td>" in web.get(f"/lineage/{run}"), "before it has steps"
    raw = version(api, "raw")
    split = step(api, "split", raw, parent=run)
    parts = version(api, "parts", split)
    fit = step(api, "fit", parts, parent=run)
    model = api("models.create", name="a model", uri="http://x/y", task=fit)["id"]
    page = web.get(f"/lineage/{run}")
    links = re.findall(r'<a class="name" href="([^"]+)"', page)
    assert sorted(links) == sorted([*(f"/tasks/{id_}" for id_ in (raw, split, parts, fit)), f"/models/{model}"])
    assert page.count('<path class="edge"') == 4 and page.count(" current") == 2
    assert "What the 2 steps of this run read and made." in page and f'<a href="/tasks/{run}">a run</a>' in page


def test_where_a_model_is_served_is_the_last_link(api: ApiClient, web: Web) -> None:
    mark = uuid4().hex[:8]
    run = make_task(api, "a run", type="controller")
    data = version(api, HOSTILE)
    fit = step(api, "fit", data, parent=run)
    by_id = api("models.create", name=f"by id {mark}", uri=f"http://x/{mark}/1", task=fit)["id"]
    by_file = api("models.create", name=f"by file {mark}", uri=f"http://x/{mark}/2", task=fit)["id"]
    used = {"input": [{"name": "m", "model": by_id}], "output": []}
    server = make_task(api, "server", type="inference", models=used)
    urls = {by_id: f"http://serving/{mark}/one?a=b&c#d", by_file: f"http://serving/{mark}/two"}
    references = {by_id: [("task", server), ("model", by_id)], by_file: [("url", f"http://x/{mark}/2")]}
    for number, (model, url) in enumerate(urls.items()):
        named = [{"type": type_, "value": value} for type_, value in references[model]]
        # What the SDK's EndpointTelemetry, which clearml-serving uses too, sends.
        container = {"container_id": f"{mark}{number}", "endpoint_name": HOSTILE, "model_name": "any name"}
        api("serving.register_container", **container, reference=named)
        api("serving.container_status_report", **container, endpoint_url=url, reference=named, requests_num=7,
            requests_min=1.5, latency_ms=20, uptime_sec=3605)  # fmt: skip
    unlinked = {"container_id": f"{mark}9", "endpoint_name": "unlinked", "model_name": "by id"}
    api("serving.container_status_report", **unlinked, endpoint_url=f"http://serving/{mark}/three")
    for model, url in urls.items():
        page = f"/endpoints/{quote(url, safe='')}"
        origin = web.get(f"/models/{model}")
        assert f'<a href="{page}">' in origin
        assert f'<a class="name" href="/tasks/{run}">a run</a>' in origin
        assert f'<a class="name" href="/tasks/{data}">' in origin and "<script>alert" not in origin
        assert re.search(r'</a> since <time datetime="[^"]+" title="[^"]+" data-ago>1 h ago</time>', origin)
        shown = web.get(page)
        assert ESCAPED in shown and "<script>alert" not in shown
        assert "Latency <b>20 ms</b>" in shown
        assert (shown.count('class="curve dot"'), shown.count('class="curve"')) == (2, 0)  # no zero before the report
        assert f'<a href="/models/{model}">' in shown and f'href="/lineage/{quote(url, safe="")}"' in shown
        for start in (url, model):
            picture = web.get(f"/lineage/{quote(start, safe='')}")
            links = re.findall(r'<a class="name" href="([^"]+)"', picture)
            assert {page, f"/models/{model}", f"/tasks/{fit}"} <= set(links)
            assert f"http%3A%2F%2Fserving%2F{mark}%2Fthree" not in picture
            assert "<td>endpoint</td>" in picture
    assert f'href="/tasks/{server}"' in web.get(f"/endpoints/{quote(urls[by_id], safe='')}")
    picture = web.get(f"/lineage/{server}")
    assert f"/endpoints/{quote(urls[by_id], safe='')}" in picture
    every = web.get("/endpoints")
    assert every.count(f"http%3A%2F%2Fserving%2F{mark}") == 3
    api("serving.unregister_container", container_id=f"{mark}0")
    assert "No container serves a model at" in web.get(f"/endpoints/{quote(urls[by_id], safe='')}", 404)
    assert "Served at" not in web.get(f"/models/{by_id}")


def test_a_large_picture_says_that_it_is_cut(api: ApiClient, web: Web) -> None:
    raw = version(api, "read by many")
    for number in range(81):
        step(api, f"reader {number}", raw)
    page = web.get(f"/lineage/{raw}")
    assert "There is more than this picture shows" in page
    assert page.count('<a class="name"') == 80


def test_what_is_not_there_is_said_so(web: Web) -> None:
    assert "no task, dataset version or model" in web.get(f"/lineage/{NO_ID}", 404)


def test_a_version_without_a_project_is_listed_without_a_link_to_one(api: ApiClient, web: Web) -> None:
    id_ = version(api, "without a project")
    page = web.get("/datasets")
    assert id_ and ">without a project<" in page
    assert re.findall(r'href="/datasets/"|<a [^>]*></a>', page) == []
    run = make_task(api, "run without a project", type="controller", system_tags=["pipeline"])
    page = web.get("/pipelines")
    assert run and ">without a project<" in page
    assert re.findall(r'href="/pipelines/"|<a [^>]*></a>', page) == []
