"""What a page of another origin gets from a server on this machine, and what uploaded pages may do: nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from clearml_localserver.pytest_plugin import ClearmlServer
from playwright.sync_api import Browser, Page

from tests.api_client import ApiClient
from tests.browser.conftest import PATIENCE_MS

pytestmark = pytest.mark.browser

SECRET = "the secret"
RUN = "document.title = 'ran'; self.uploadedScriptRan = true;"
STORED = {
    "secret.txt": SECRET,
    "script.js": RUN,
    "page.html": f"<title>page</title>{SECRET}<script>{RUN}</script>",
    "drawing.svg": f'<svg xmlns="http://www.w3.org/2000/svg"><script>{RUN}</script></svg>',
    "page.xhtml": f'<html xmlns="http://www.w3.org/1999/xhtml"><head><script>{RUN}</script></head></html>',
}

ATTEMPTS = """async (base) => {
    const read = async (options) => {
        try { return await (await fetch(base + "secret.txt", options)).text() } catch { return "refused" }
    };
    const loaded = (tag, source) => new Promise((resolve) => {
        const element = document.createElement(tag);
        element.onload = () => resolve("loaded");
        element.onerror = () => resolve("refused");
        element.src = source;
        document.body.append(element);
    });
    return {
        plain: await read({}),
        withCookies: await read({credentials: "include"}),
        opaque: await read({mode: "no-cors"}),
        script: await loaded("script", base + "script.js"),
        ran: self.uploadedScriptRan === true,
    };
}"""


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<title>elsewhere</title><body>")

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[int]:
    """The port of a web server that is not ours."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def stored(clearml_server: ClearmlServer, clearml_api: ApiClient) -> str:
    """Upload the files; return their folder."""
    files = [(f"foreign/{name}", (name, text)) for name, text in STORED.items()]
    authorization = {"Authorization": clearml_api.http.headers["Authorization"]}
    httpx.post(clearml_server.files_url, files=files, headers=authorization).raise_for_status()
    return "foreign"


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    context = chromium.new_context()
    context.set_default_timeout(PATIENCE_MS)
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("port", ["web", "files"])
def test_a_page_of_another_origin_neither_reads_nor_runs_files(
    clearml_server: ClearmlServer, clearml_api: ApiClient, page: Page, stored: str, elsewhere: int, host: str, port: str
) -> None:
    """From another port of the same host ("same-site") and from another name ("cross-site"), with a cookie."""
    token = clearml_api.http.headers["Authorization"].removeprefix("Bearer ")
    base = clearml_server.web_url + "/files" if port == "web" else clearml_server.files_url
    page.context.add_cookies([{"name": "clearml_token_basic", "value": token, "url": clearml_server.files_url}])
    page.goto(f"http://{host}:{elsewhere}/")
    found = page.evaluate(ATTEMPTS, f"{base}/{stored}/")
    assert found.pop("opaque") in ("", "refused")  # an opaque answer reads as empty
    assert found == {"plain": "refused", "withCookies": "refused", "script": "refused", "ran": False}


@pytest.mark.parametrize("name", ["page.html", "drawing.svg", "page.xhtml"])
def test_an_uploaded_page_is_shown_and_runs_nothing(
    clearml_server: ClearmlServer, page: Page, stored: str, elsewhere: int, name: str
) -> None:
    page.goto(f"http://localhost:{elsewhere}/")  # from where a person follows a link
    url = f"{clearml_server.web_url}/files/{stored}/{name}"
    with page.expect_navigation():
        page.evaluate("(url) => { location.href = url }", url)
    assert page.url == url
    assert page.title() != "ran"


def test_an_uploaded_script_is_no_script_of_our_own_pages(
    clearml_server: ClearmlServer, page: Page, stored: str
) -> None:
    page.goto(clearml_server.web_url)
    found = page.evaluate(ATTEMPTS, f"{clearml_server.web_url}/files/{stored}/")
    assert (found["plain"], found["script"], found["ran"]) == (SECRET, "refused", False)
    worker = f"{clearml_server.web_url}/files/{stored}/script.js"
    refusal = "(url) => navigator.serviceWorker.register(url).then(() => 'registered', () => 'refused')"
    assert page.evaluate(refusal, worker) == "refused"
