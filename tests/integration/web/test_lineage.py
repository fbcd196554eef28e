"""Lineage as one picture: dataset version, step, dataset version, step, model, the task that serves it."""

from __future__ import annotations

from typing import Any
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


def test_a_large_picture_says_that_it_is_cut(api: ApiClient, web: Web) -> None:
    raw = version(api, "read by many")
    for number in range(81):
        step(api, f"reader {number}", raw)
    page = web.get(f"/lineage/{raw}")
    assert "There is more than this picture shows" in page
    assert page.count('<a class="name"') == 80


def test_what_is_not_there_is_said_so(web: Web) -> None:
    assert "no task, dataset version or model" in web.get(f"/lineage/{NO_ID}", 404)
