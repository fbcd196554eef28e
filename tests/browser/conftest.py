"""A real browser on the pages of a live server. Chromium is Debian's; nothing is downloaded."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from clearml_localserver.pytest_plugin import ClearmlServer
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Response, expect, sync_playwright

from tests import chromium as installed
from tests.api_client import ApiClient

CHROMIUM = installed.program()
FLAGS = [
    "--no-sandbox",  # CI runs as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 30_000
"""CI machines are slow, plotly.js is 5 MB; a page that is right is right at once."""

DRIVER_NOISE = ("GL Driver Message", "Canvas2D: Multiple readback")
"""Remarks of the software renderer and on plotly.js's speed: nothing that a page could mend."""


@dataclass
class Watched:
    """A page whose every complaint is kept."""

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)
    refusals: set[int] = field(default_factory=set)
    """Statuses that the test provokes: answers with them are no complaint, whenever the browser tells of them."""

    def __post_init__(self) -> None:
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(f"{self.page.url}: exception {error}"))
        self.page.on("dialog", lambda dialog: (self.complaints.append(f"dialog {dialog.message}"), dialog.accept()))
        self.page.on("request", self._request)
        self.page.on("response", self._response)

    def open(self, path: str) -> Page:
        self.page.goto(self.url + path)
        return self.page

    def _console(self, message: ConsoleMessage) -> None:
        expected = (*DRIVER_NOISE, *(f"the server responded with a status of {code}" for code in self.refusals))
        if message.type in ("error", "warning") and not any(words in message.text for words in expected):
            self.complaints.append(f"{self.page.url}: {message.type} {message.text}")

    def _request(self, request: Request) -> None:
        if not request.url.startswith((self.url, "data:", "blob:")):
            self.complaints.append(f"{self.page.url}: asks elsewhere, {request.url}")

    def _response(self, response: Response) -> None:
        if response.status >= 400 and response.status not in self.refusals:
            self.complaints.append(f"{self.page.url}: {response.status} {response.url}")


@pytest.fixture(scope="session")
def clearml_server(clearml_server_factory: Callable[[], ClearmlServer]) -> ClearmlServer:
    """A server of these tests' own: what other suites leave on theirs must not show on the pages."""
    return clearml_server_factory()


@pytest.fixture(scope="package")  # Playwright keeps an event loop running, in which no other test could start its own
def chromium() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.fail(f"{CHROMIUM} is missing: apt-get install chromium, or leave these tests out: -m 'not browser'")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def watch(chromium: Browser, clearml_server: ClearmlServer) -> Iterator[Callable[..., Watched]]:
    """Make pages; at the end of the test none of them may have complained."""
    made: list[Watched] = []

    def make(**options: object) -> Watched:
        context = chromium.new_context(viewport={"width": 1280, "height": 860}, **options)  # type: ignore[arg-type]
        context.set_default_timeout(PATIENCE_MS)
        made.append(Watched(context.new_page(), clearml_server.web_url))
        return made[-1]

    yield make
    complaints = [complaint for watched in made for complaint in watched.complaints]
    for watched in made:
        watched.page.context.close()
    assert complaints == []


@pytest.fixture(scope="session")
def clearml_api(clearml_server: ClearmlServer) -> Iterator[ApiClient]:
    """A client of the session's server."""
    with closing(ApiClient(clearml_server.api_url, clearml_server.credentials)) as client:
        yield client


@pytest.fixture(scope="session")
def run_script(clearml_server: ClearmlServer) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Run one of the scripts beside this file against the server, in a process of its own."""
    running: list[subprocess.Popen[str]] = []

    def run(name: str, *arguments: str) -> subprocess.Popen[str]:
        script = Path(__file__).with_name("scripts") / name
        environment = os.environ | clearml_server.environment
        running.append(
            subprocess.Popen(
                [sys.executable, str(script), *arguments],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                cwd=clearml_server.data,
            )
        )
        return running[-1]

    yield run
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def reporting_task(run_script: Callable[..., subprocess.Popen[str]]) -> str:
    output, _ = run_script("reporting_task.py").communicate(timeout=240)
    found = re.search(r"^task ([0-9a-f]{32})$", output, re.MULTILINE)
    assert found is not None, output[-3000:]
    return found[1]
