"""What a person waits for on the web pages: the server's time, the bytes, and the first paint in a browser.

The data is that of a busy server after a year (`bench.web_seed`). Each page is asked for on one connection, compressed,
as a browser does; the first paint is what chromium reports, for a person who comes from another page of the server and
for one whose browser has nothing of it. A page that lists nothing stands beside them: what any page takes.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psutil
from clearml_localserver.pytest_plugin import running_server

from bench.declaration import Benchmark, BenchmarkError, Say
from bench.result import Column, Row, Table, Target
from bench.web_seed import SMALL, Seeded, Sizes, seed

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROUNDS, PAINTS = 9, 5
EMPTY = "workers"
"""The page that lists nothing: there are no workers."""

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
PAINTED = "performance.getEntriesByName('first-contentful-paint').map((entry) => entry.startTime)"
TIMEOUT_S = 120.0


def pages(seeded: Seeded) -> dict[str, str]:
    """Return the pages that are measured by name."""
    return {
        "first page": "/",
        "projects": "/projects",
        "tasks of a project": f"/projects/{seeded.project}",
        "all tasks": "/projects/*",
        "models of a project": f"/projects/{seeded.project}/models",
        "search": "/search?q=task+99999",
        "pipelines": "/pipelines",
        "runs of a pipeline": f"/pipelines/{seeded.pipeline_project}",
        "run of many steps": f"/tasks/{seeded.pipeline}",
        "failed step": f"/tasks/{seeded.failed_step}",
        "datasets": "/datasets",
        "dataset version": f"/tasks/{seeded.dataset}",
        "task": f"/tasks/{seeded.task}",
        "form of a new run": f"/tasks/{seeded.task}/run",
        "console": f"/tasks/{seeded.console}/console",
        "search in the console": f"/tasks/{seeded.console}/console?q=checkpoint",
        "scalars": f"/tasks/{seeded.scalars}/scalars",
        "curves of the scalars": f"/tasks/{seeded.scalars}/scalars/data",
        "plots": f"/tasks/{seeded.plots}/plots",
        "model": f"/models/{seeded.model}",
        "queues": "/queues",
        EMPTY: "/workers",
    }


def measure(options: argparse.Namespace, say: Say) -> Iterator[Row]:
    """Fill a data folder, then ask for each page."""
    with tempfile.TemporaryDirectory(prefix="bench-web-") as temporary:
        folder = Path(options.data or temporary) / "data"
        say("filling a data folder")
        seeded = seed(folder, SMALL if options.small else Sizes())
        with running_server(folder) as server:
            say("asking for pages")
            process = psutil.Process(server.process.pid)
            with httpx.Client(base_url=server.web_url, trust_env=False, timeout=TIMEOUT_S) as client:
                first = {name: ask(client, path, 1)[0] for name, path in pages(seeded).items()}
                asked = {}
                for name, path in pages(seeded).items():
                    before = process.cpu_times()
                    times, size = ask(client, path, options.rounds)
                    after = process.cpu_times()
                    worked = (after.user - before.user + after.system - before.system) * 1000 / options.rounds
                    asked[name] = {"server": times, "cpu": (worked,), "bytes": (size / 1000,)}
            say("opening pages in chromium")
            paints = first_paints(server.web_url, pages(seeded), options.paints)
            for name, measured in asked.items():
                yield Row("pages", name, {**measured, "first": first[name], **paints.get(name, {})})


def ask(client: httpx.Client, path: str, rounds: int) -> tuple[tuple[float, ...], int]:
    """Return how long a page takes in ms, and its compressed size.

    Raises:
        BenchmarkError: It is not answered.
    """
    headers = {"Accept": "text/html", "Accept-Encoding": "gzip"}
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        reply = client.get(path, headers=headers)
        times.append((time.perf_counter() - began) * 1000)
        if reply.status_code != 200:
            raise BenchmarkError(f"{path}: status {reply.status_code}")
    return tuple(times), reply.num_bytes_downloaded


def first_paints(url: str, addresses: dict[str, str], count: int) -> dict[str, dict[str, tuple[float, ...]]]:
    """Return when chromium painted each page first, in ms from the request; nothing for what is not a page.

    Returns:
        By page: `cold` of a browser that keeps nothing yet, `paint` of one that comes from another page of the server.
    """
    from playwright.sync_api import sync_playwright

    shown = {name: path for name, path in addresses.items() if not path.endswith("/data")}
    found: dict[str, dict[str, list[float]]] = {name: {"cold": [], "paint": []} for name in shown}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        for _ in range(count):  # all pages in turn: what else the machine does meets each of them
            for name, path in shown.items():
                page = browser.new_context().new_page()
                found[name]["cold"] += _first_paint(page, url + path)
                _first_paint(page, url + addresses[EMPTY])
                found[name]["paint"] += _first_paint(page, url + path)
                page.context.close()
        browser.close()
    return {name: {kind: tuple(times) for kind, times in kinds.items()} for name, kinds in found.items()}


def _first_paint(page: Page, address: str) -> list[float]:
    """Open a page and return when it was painted first, as soon as that has happened.

    Raises:
        BenchmarkError: It was not.
    """
    page.goto(address, timeout=TIMEOUT_S * 1000)
    deadline = time.monotonic() + TIMEOUT_S
    # Not `wait_for_function`: it compiles text in the page, which the pages' policy forbids.
    while not (found := page.evaluate(PAINTED)):
        if time.monotonic() > deadline:
            raise BenchmarkError(f"{page.url} was not painted within {TIMEOUT_S:g} s")
        page.wait_for_timeout(20)
    return [float(value) for value in found]


def unavailable(options: argparse.Namespace) -> str:
    """Return why it cannot run here."""
    return "" if CHROMIUM.exists() else f"{CHROMIUM} is missing: apt-get install chromium"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add how much data, and how often."""
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"requests for each page (default {ROUNDS})")
    parser.add_argument("--paints", type=int, default=PAINTS, help=f"page loads in chromium (default {PAINTS})")
    parser.add_argument("--data", metavar="DIR", help="keep the data here, and use it again")
    parser.add_argument("--small", action="store_true", help="fill the data folder with little")


BENCHMARK = Benchmark(
    title="The web pages over much data",
    by_default=False,
    page_order=95,
    intro="""
100,000 tasks, a task with a million points in each of 5 metrics, a million console lines, 230 models, a dataset of
20,000 files, and a pipeline of 300 steps. Pages are asked for one after the other. *processor time* is the server's for
one answer, which other work on the machine changes little. *first answer* is the one request
before all others: with the first search after its start the server reads the texts of all tasks, with the first look at
long curves all of their points. *compressed* is what goes over the wire for the page itself; scripts and styles are
kept by the browser. *first paint* is that of a person who goes from page to page; *with nothing cached* that of a new
visitor, who also waits for styles and scripts and, in chromium, for a new process. The page of the workers lists
nothing: it is what any page takes on this machine at this time.
""",
    notes="""
What bounds the answers is processor time: reading and drawing the rows. Processor time of commit fbaa4127c3 on this
machine: projects 112 ms, all tasks 94, tasks of a project 84, datasets 63, form of a new run 59, a run of many steps
147, console 76. What is left of the first paint is chromium's: layout and style of what is on the page, beside a third
of it that the page of the workers takes, too. The target of 300 ms is for a person who goes from page to page; until
commit fbaa4127c3 the table had the paint with nothing cached alone (416 ms for the first page, 756 for the tasks of a
project).
""",
    tables=(
        Table(
            "pages",
            "Pages",
            (
                Column("server", "answer", "ms"),
                Column("cpu", "processor time", "ms"),
                Column("first", "first answer", "ms"),
                Column("bytes", "compressed", "KB"),
                Column("paint", "first paint in chromium", "ms"),
                Column("cold", "with nothing cached", "ms"),
            ),
            chart="server",
            log=True,
        ),
    ),
    targets=(Target("pages", "server", 100), Target("pages", "bytes", 200), Target("pages", "paint", 300)),
    add_arguments=add_arguments,
    measure=measure,
    quick={"rounds": 1, "paints": 1, "small": True},
    adding=frozenset({"data"}),
    unavailable=unavailable,
)
