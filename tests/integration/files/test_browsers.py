"""What a browser may do with stored files: types, headers, pages of other origins."""

from __future__ import annotations

from uuid import uuid4

import httpx
import pytest
from clearml_localserver.pytest_plugin import ClearmlServer

from tests.api_client import ApiClient
from tests.integration.files.client import get, put

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("ending", ["js", "mjs", "css"])
def test_uploaded_scripts_and_styles_are_served_as_plain_text(files: httpx.Client, ending: str) -> None:
    name = f"tests/{uuid4().hex}.{ending}"
    put(files, {name: b"alert(1)"})
    reply = get(files, name)
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    assert reply.headers["x-content-type-options"] == "nosniff"


def test_the_type_of_a_file_is_not_taken_from_what_looks_like_an_address(files: httpx.Client) -> None:
    name = "data:text/html\r\nSet-Cookie: a=b,x.bin"
    put(files, {name: b"x"})
    reply = files.get("/data:text/html%0D%0ASet-Cookie:%20a=b,x.bin")
    assert (reply.status_code, reply.headers["content-type"]) == (200, "application/octet-stream")
    assert "set-cookie" not in reply.headers


def test_no_page_elsewhere_is_told_that_it_may_read_files(files: httpx.Client, name: str) -> None:
    put(files, {name: b"x"})
    reply = get(files, name, Origin="http://elsewhere.example")
    assert [header for header in reply.headers if header.startswith("access-control-")] == []


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_session_in_a_browser_is_not_for_pages_elsewhere(
    clearml_server: ClearmlServer, anyone: httpx.Client, api: ApiClient, files: httpx.Client, name: str, site: str
) -> None:
    put(files, {name: b"x"})
    cookie = f"clearml_token_basic={api.http.headers['Authorization'].removeprefix('Bearer ')}"
    elsewhere = {"Cookie": cookie, "Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    for url in (f"{clearml_server.files_url}/{name}", f"{clearml_server.api_url}/tasks.get_all"):
        assert anyone.get(url, headers={"Cookie": cookie}).status_code == 200
        assert anyone.get(url, headers={"Cookie": cookie, "Sec-Fetch-Site": "same-origin"}).status_code == 200
        assert anyone.get(url, headers=elsewhere).status_code == 401
        assert anyone.get(url, headers={"Cookie": cookie, "Origin": "http://elsewhere.example"}).status_code == 401


@pytest.mark.parametrize(
    ("mode", "destination", "status"),
    [("cors", "empty", 403), ("no-cors", "script", 403), ("navigate", "iframe", 403), ("navigate", "document", 200)],
)
def test_the_web_port_gives_files_to_its_own_pages_and_to_people(
    clearml_server: ClearmlServer, files: httpx.Client, name: str, mode: str, destination: str, status: int
) -> None:
    put(files, {name: b"x"})
    url = f"{clearml_server.web_url}/files/{name}"
    sent = {"Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": destination}
    for site in ("cross-site", "same-site"):
        assert httpx.get(url, headers={"Sec-Fetch-Site": site, **sent}).status_code == status
    assert httpx.get(url, headers={"Sec-Fetch-Site": "same-origin", **sent}).status_code == 200
    assert httpx.get(url).status_code == 200
