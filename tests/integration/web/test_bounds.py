"""No page grows with what is stored: beyond what a page lists, twice as much makes it no longer."""

from __future__ import annotations

import gzip
import json
from uuid import uuid4

import pytest
from clearml_localserver.web.console_lines import PIECE
from clearml_localserver.web.views.dataset_version import FILES_PER_PAGE
from clearml_localserver.web.views.lists import PAGE_SIZE
from clearml_localserver.web.views.metrics import SAMPLES
from clearml_localserver.web.views.pipeline_run import LISTED_STEPS

from tests.api_client import ApiClient
from tests.integration.web.pages import Web, make_task

pytestmark = pytest.mark.integration

LARGEST = 200_000
"""Compressed bytes of a page, as `./task bench-web` bounds them."""

START = 1_700_000_000_000


def add(api: ApiClient, events: list[dict[str, object]]) -> None:
    content = "\n".join(map(json.dumps, events))
    reply = api.http.post("/events.add_batch", content=content, headers={"Content-Type": "application/json-lines"})
    assert reply.json()["data"]["added"] == len(events)


def fill(api: ApiClient, times: int) -> dict[str, str]:
    """Store so many times what a page lists; return the addresses of the pages by name."""
    mark = f"mark{uuid4().hex[:8]}"
    project = api("projects.create", name=f"Bounds {mark}")["id"]
    for number in range(times * PAGE_SIZE):
        api("models.create", name=f"{mark} {number:05}", uri=f"http://x/{number:05}", project=project)
        make_task(api, f"{mark} {number:05}", project=project)
    busy = make_task(api, "busy")
    count = times * PIECE.events
    add(api, [{"type": "log", "task": busy, "msg": f"{mark} {n:05}", "timestamp": START + n} for n in range(count)])
    point = {"type": "training_stats_scalar", "task": busy, "metric": "m", "variant": "v"}
    add(api, [point | {"iter": n, "value": n % 7, "timestamp": START + n} for n in range(times * SAMPLES)])
    lines = "".join(f"part/{n:05}.csv, {1000 + n}, {n:064x}\n" for n in range(times * FILES_PER_PAGE))
    content = {"Dataset Content": {"name": "Dataset Content", "value": f"File Name, File Size, Hash\n{lines}"}}
    version = make_task(api, "version", type="data_processing", system_tags=["dataset"], configuration=content)
    graph = {f"step {n:05}": {"parents": [], "job_id": None, "status": "pending"} for n in range(times * LISTED_STEPS)}
    configuration = {"Pipeline": {"name": "Pipeline", "value": json.dumps(graph)}}
    run = make_task(api, "run", type="controller", system_tags=["pipeline"], configuration=configuration,
                    runtime={"_pipeline_hash": "x"})  # fmt: skip
    return {
        "tasks": f"/projects/{project}",
        "models": f"/projects/{project}/models",
        "search": f"/search?q={mark}",
        "console": f"/tasks/{busy}/console",
        "search in the console": f"/tasks/{busy}/console?q={mark}",
        "curves": f"/tasks/{busy}/scalars/data",
        "dataset version": f"/tasks/{version}",
        "run": f"/tasks/{run}",
    }


def test_no_page_grows_with_what_is_stored(web: Web, api: ApiClient) -> None:
    sizes = {}
    for times in (2, 4):
        pages = {name: web.get(path).encode() for name, path in fill(api, times).items()}
        sizes[times] = {name: len(page) for name, page in pages.items()}
        assert {name: size for name, page in pages.items() if (size := len(gzip.compress(page, 5))) > LARGEST} == {}
    longer = {name: (sizes[2][name], size) for name, size in sizes[4].items() if size > 1.05 * sizes[2][name]}
    assert longer == {}
