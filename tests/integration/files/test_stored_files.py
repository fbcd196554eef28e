"""Upload, download, names and deletion over HTTP, on a live server."""

from __future__ import annotations

import os
import socket
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest
from clearml_localserver.pytest_plugin import ClearmlServer
from clearml_localserver.stored_files import PARTIAL

from tests.api_client import TIMEOUT_S, ApiClient
from tests.integration.files.client import STREAM, get, partial_files, put

pytestmark = pytest.mark.integration


def test_an_upload_is_read_back_with_the_headers_of_a_file(files: httpx.Client, name: str) -> None:
    stored = put(files, {f"/{name}": b"first", f"{name}.json": b"{}"})
    assert (stored.status_code, stored.json()) == (200, [name, f"{name}.json"])
    reply = get(files, name)
    assert reply.content == b"first"
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    assert reply.headers["content-disposition"] == "inline; filename*=UTF-8''a%20file.txt"
    assert reply.headers["accept-ranges"] == "bytes"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["content-security-policy"] == "sandbox"
    assert get(files, f"{name}.json").headers["content-type"] == "application/json"
    assert files.get(f"/{name}?download").headers["content-disposition"].startswith("attachment")


def test_an_upload_replaces_the_file_and_its_tag(files: httpx.Client, name: str) -> None:
    put(files, {name: b"first"})
    tag = get(files, name).headers["etag"]
    put(files, {name: b"other"})
    reply = get(files, name)
    assert (reply.content, reply.headers["etag"] == tag) == (b"other", False)


def test_head_tells_what_get_would(files: httpx.Client, name: str) -> None:
    put(files, {name: b"12345"})
    head, reply = files.head(f"/{name}"), get(files, name)
    assert (head.status_code, head.content) == (200, b"")
    same = ("content-length", "etag", "last-modified", "content-type")
    assert {field: head.headers[field] for field in same} == {field: reply.headers[field] for field in same}


@pytest.mark.parametrize(
    ("wanted", "status", "content"),
    [
        ("bytes=0-3", 206, b"0123"),
        ("bytes=-2", 206, b"89"),
        ("bytes=8-100", 206, b"89"),
        ("bytes=10-", 416, None),
        ("bytes=0-1,4-5", 416, None),
        ("nonsense", 416, None),
    ],
)
def test_ranges(files: httpx.Client, name: str, wanted: str, status: int, content: bytes | None) -> None:
    put(files, {name: b"0123456789"})
    reply = get(files, name, Range=wanted)
    assert reply.status_code == status
    if content is None:
        assert reply.headers["content-range"] == "bytes */10"
    else:
        assert reply.content == content
        assert int(reply.headers["content-length"]) == len(content)


def test_a_range_of_a_file_that_has_changed_is_the_whole_file(files: httpx.Client, name: str) -> None:
    put(files, {name: b"0123456789"})
    reply = get(files, name, Range="bytes=0-3", **{"If-Range": '"old"'})
    assert (reply.status_code, reply.content) == (200, b"0123456789")


def test_an_unchanged_file_is_not_sent_again(files: httpx.Client, name: str) -> None:
    put(files, {name: b"x"})
    headers = get(files, name).headers
    for condition in (
        {"If-None-Match": headers["etag"]},
        {"If-None-Match": f'"a", W/{headers["etag"]}'},
        {"If-Modified-Since": headers["last-modified"]},
    ):
        reply = get(files, name, **condition)
        assert (reply.status_code, reply.content) == (304, b"")
    for condition in (
        {"If-None-Match": '"a"'},
        {"If-Modified-Since": "yesterday"},
        {"If-Modified-Since": "Mon, 01 Jan 2001 00:00:00 GMT"},
    ):
        assert get(files, name, **condition).status_code == 200


@pytest.mark.parametrize(
    ("stored", "asked"),
    [
        ("a%2Fb", "a%252Fb"),
        ("a?b", "a%3Fb"),
        ("a#b", "a%23b"),
        ("a;b=c&d", "a;b=c&d"),
        ("ünï ☃", "%C3%BCn%C3%AF%20%E2%98%83"),
        ("a b+c", "a%20b+c"),
        ("a\\b\\", "a%5Cb%5C"),
        (" a. ", "%20a.%20"),
    ],
)
def test_names_are_stored_literally_and_decoded_once(files: httpx.Client, stored: str, asked: str) -> None:
    folder = uuid4().hex
    assert put(files, {f"{folder}/{stored}": b"x"}).json() == [f"{folder}/{stored}"]
    assert get(files, f"{folder}//./{asked}").content == b"x"


@pytest.mark.parametrize(("sent", "asked"), [("%22", ("%22", "%2522")), ("%0A", ("%0A", "%250A"))])
def test_what_a_form_cannot_tell_apart_is_one_file(files: httpx.Client, sent: str, asked: tuple[str, ...]) -> None:
    """A form's file name holds `"` as %22; it arrives as `%22` itself does."""
    folder = uuid4().hex
    assert put(files, {f"{folder}/a{sent}b": b"x"}).json() == [f"{folder}/a{sent}b"]
    for way in asked:
        assert get(files, f"{folder}/a{way}b").content == b"x"
    assert files.delete(f"/{folder}/a{asked[0]}b").status_code == 200


def test_a_header_of_a_part_that_cannot_be_read_stores_nothing(files: httpx.Client, name: str) -> None:
    part = f'--b\r\nContent-Disposition: form-data; name="a\\"b"; filename="{name}"\r\n\r\nx\r\n--b--'
    assert files.post("/", content=part.encode(), headers=STREAM).status_code == 400


def raw(server: ClearmlServer, text: str, token: str) -> bytes:
    """Send a request line as it stands: HTTP clients tidy up `..` before they send."""
    address = urlsplit(server.files_url)
    with socket.create_connection((str(address.hostname), address.port or 0), timeout=TIMEOUT_S) as connection:
        connection.sendall(
            f"{text} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: {token}\r\n\r\n".encode()
        )
        reply = b""
        while piece := connection.recv(65536):
            reply += piece
    return reply


@pytest.mark.parametrize(
    "path",
    [
        "/../server.sqlite",
        "/%2e%2e/server.sqlite",
        "/..%2fserver.sqlite",
        "/a/../../server.sqlite",
        "//etc/passwd",
        "/%2Fetc/passwd",
        "/x%00y",
        "/%ff%fe",
        "/%c0%ae%c0%ae/server.sqlite",
        f"/{PARTIAL}/x",
        "/.",
        "/tests",
    ],
)
def test_no_address_leads_out_of_the_folder(clearml_server: ClearmlServer, files: httpx.Client, path: str) -> None:
    put(files, {"tests/here": b"x"})
    for method in ("GET", "DELETE"):
        reply = raw(clearml_server, f"{method} {path}", files.headers["Authorization"])
        assert reply.startswith(b"HTTP/1.1 404"), reply


@pytest.mark.parametrize("name", ["../x", "/../x", "a/../../x", "..", "/", PARTIAL, f"{PARTIAL}/x"])
def test_no_upload_leaves_the_folder(clearml_server: ClearmlServer, files: httpx.Client, name: str) -> None:
    before = set(os.listdir(clearml_server.data))
    assert put(files, {name: b"x"}).status_code == 404
    assert set(os.listdir(clearml_server.data)) == before
    assert partial_files(clearml_server) == []


def test_a_file_and_a_folder_of_one_name_conflict(files: httpx.Client, name: str) -> None:
    put(files, {name: b"x"})
    below, onto = put(files, {f"{name}/b": b"y"}), put(files, {name.rpartition("/")[0]: b"y"})
    assert (below.status_code, onto.status_code) == (409, 409)
    assert "is a file" in below.text
    assert "is a folder" in onto.text


def test_a_name_longer_than_a_file_system_takes_is_refused(files: httpx.Client) -> None:
    assert put(files, {"n" * 300: b"x"}).status_code == 400


def test_delete(files: httpx.Client, name: str) -> None:
    put(files, {name: b"x"})
    reply = files.delete(f"/{name}")
    assert (reply.status_code, reply.json()) == (200, name)
    for missing in (name, "tests"):
        reply = files.delete(f"/{missing}")
        assert (reply.status_code, reply.text) == (404, f"File {missing} not found")


def test_delete_many_takes_relative_quoted_names_of_files_and_folders(files: httpx.Client) -> None:
    folder = uuid4().hex
    put(files, {f"{folder}/a b": b"x", f"{folder}/c/d": b"x", f"{folder}/c/e": b"x", f"{folder}/kept": b"x"})
    wanted = [f"{folder}/a%20b", f"{folder}/c", f"/{folder}/kept", f"http://files/{folder}/kept", "../x", ""]
    assert files.post("/delete_many", json={"files": wanted}).json() == {
        "deleted": {f"{folder}/a%20b": f"{folder}/a b", f"{folder}/c": f"{folder}/c"},
        "errors": {"Not found": wanted[2:]},
    }
    assert get(files, f"{folder}/kept").status_code == 200
    for body in (b"", b"[]", b'{"files": "x"}', b'{"files": [1]}'):
        assert files.post("/delete_many", content=body).status_code == 400


def test_only_the_ping_is_open(anyone: httpx.Client, api: ApiClient) -> None:
    assert (anyone.get("/").status_code, anyone.get("/").text) == (200, "OK")
    assert anyone.head("/").status_code == 200
    for request in (("GET", "/x"), ("HEAD", "/x"), ("POST", "/"), ("DELETE", "/x"), ("POST", "/delete_many")):
        assert anyone.request(*request).status_code == 401
    basic = anyone.get("/x", auth=api.credentials)
    assert (basic.status_code, basic.text) == (401, "Only bearer token authorization is supported")
    bad = anyone.get("/x", headers={"Authorization": "Bearer nonsense"})
    assert bad.status_code == 401
    token = api.http.headers["Authorization"].removeprefix("Bearer ")
    anyone.cookies.set("clearml_token_basic", token)
    assert anyone.get("/x").status_code == 404
