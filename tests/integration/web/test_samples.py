"""What a task reported beside numbers, one sample at a time, and the previews of a dataset version."""

from __future__ import annotations

import html
import json
import re

import pytest

from tests.api_client import ApiClient
from tests.integration.web.pages import ESCAPED, HOSTILE, Web, make_task

pytestmark = pytest.mark.integration


def add_sample(api: ApiClient, task: str, variant: str, iteration: int) -> None:
    url = f"http://elsewhere.example/{variant}-{iteration}.png"
    api("events.add", type="training_debug_image", task=task, metric="seen", variant=variant, iter=iteration, url=url)


def links(page: str) -> dict[str, str]:
    """Return the addresses of the viewer's buttons by their words."""
    start = page.index('aria-label="Samples"')
    found = re.findall(r'<a class="button"[^>]* href="([^"]*)">([^<]*)</a>', page[start : page.index("</nav>", start)])
    return {words: html.unescape(href) for href, words in found}


def test_one_sample_is_shown_with_the_way_to_those_around_it(web: Web, api: ApiClient) -> None:
    task = make_task(api)
    for iteration in (1, 2):
        for variant in ("a", HOSTILE):
            add_sample(api, task, variant, iteration)
    page = web.get(f"/tasks/{task}/samples")
    assert ESCAPED in page and HOSTILE not in page
    first = html.unescape(re.findall(r'href="([^"]*iter=2[^"]*variant=a[^"]*)"', page)[0])
    shown = web.get(first)
    assert shown.count("<img") == 1 and "elsewhere.example/a-2.png" in shown
    ways = links(shown)
    assert {"Earlier iteration", "All samples", "Full size", "The file"} <= set(ways) and "Later iteration" not in ways
    assert "elsewhere.example/a-1.png" in web.get(ways["Earlier iteration"])
    seen, at = [], first
    while at:  # from the first of all to the last
        ways = links(web.get(at))
        seen += [at] if "Previous" in ways or not seen else []
        at = ways.get("Next", "")
    back = links(web.get(seen[-1]))["Previous"]
    assert len(seen) >= 3 and back == seen[-2]
    whole = web.get(links(shown)["Full size"])
    assert "Fit the page" in whole and 'class="viewed whole"' in whole
    assert "There is no sample" in web.get(f"/tasks/{task}/samples?iter=3&metric=seen&variant=a", status=404)
    assert "is the number of an iteration, not “x”" in web.get(f"/tasks/{task}/samples?iter=x", status=400)


def test_a_dataset_version_shows_the_tables_and_samples_that_were_reported_with_it(web: Web, api: ApiClient) -> None:
    task = make_task(api, "reviews", type="data_processing", system_tags=["dataset"])
    cells = [[*range(12)], [f"{HOSTILE} {number}" for number in range(12)]]
    trace = {"type": "table", "header": {"values": ["stars", HOSTILE]}, "cells": {"values": cells}}
    for metric, data in (("Preview", [trace]), ("__Dataset Summary", [trace]), ("bars", [{"type": "bar"}])):
        figure = json.dumps({"data": data, "layout": {}})
        api("events.add", type="plot", task=task, metric=metric, variant="reviews.csv", iter=0, plot_str=figure)
    add_sample(api, task, "image", 0)
    page = web.get(f"/tasks/{task}/dataset")
    table = page[page.index('<table class="preview">') :]
    table = table[: table.index("</table>")]
    assert table.count("<tr>") == 11 and re.search(r"<td>9</td><td>&lt;script.* 9</td>", table)
    assert page.count('<table class="preview">') == 1 and HOSTILE not in page and "__Dataset" not in page
    assert "2 more rows: under" in page and "1 more are under" in page
    assert f"/tasks/{task}/samples?iter=0&amp;metric=seen&amp;variant=image" in page
    assert "Preview" not in web.get(f"/tasks/{task}/dataset?q=x"), "a search in the files is about files"
