"""The file server over HTTP, on a live server."""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest
from clearml_localserver.pytest_plugin import ClearmlServer
from clearml_localserver.stored_files import PARTIAL

from tests.api_client import TIMEOUT_S, ApiClient

pytestmark = pytest.mark.integration

MIB = 2**20


@pytest.fixture
def files(clearml_server: ClearmlServer, api: ApiClient) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=clearml_server.files_url, timeout=TIMEOUT_S, trust_env=False) as client:
        client.headers["Authorization"] = api.http.headers["Authorization"]
        yield client


@pytest.fixture
def anyone(clearml_server: ClearmlServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=clearml_server.files_url, timeout=TIMEOUT_S, trust_env=False) as client:
        yield client


@pytest.fixture
def name() -> str:
    return f"tests/{uuid4().hex}/a file.txt"


def put(files: httpx.Client, content: dict[str, bytes]) -> httpx.Response:
    return files.post("/", files=[(name, (name, data)) for name, data in content.items()])


def get(files: httpx.Client, name: str, **headers: str) -> httpx.Response:
    return files.get(f"/{name}", headers=headers)


def partial_files(server: ClearmlServer) -> list[str]:
    return os.listdir(server.data / "files" / PARTIAL)


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


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("text/plain", b"x", 400),
        ("multipart/form-data", b"x", 400),
        ("multipart/form-data; boundary=b", b"no boundary in here", 400),
        ("multipart/form-data; boundary=b", b"", 400),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\nhal',
            400,
        ),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="\xff"; filename="f"\r\n\r\nx\r\n--b--',
            400,
        ),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="field"\r\n\r\nx\r\n--b--',
            200,
        ),
    ],
)
def test_what_is_not_a_whole_upload_stores_nothing(
    clearml_server: ClearmlServer, files: httpx.Client, content_type: str, body: bytes, status: int
) -> None:
    reply = files.post("/", content=body, headers={"Content-Type": content_type})
    assert reply.status_code == status
    assert status != 200 or reply.json() == []
    assert partial_files(clearml_server) == []


def test_compressed_uploads_are_refused(files: httpx.Client) -> None:
    assert files.post("/", content=b"x", headers={"Content-Encoding": "gzip"}).status_code == 415


def test_uploads_go_to_the_root_only(files: httpx.Client) -> None:
    assert files.post("/somewhere", files={"a": ("a", b"x")}).status_code == 405


def blocks(count: int) -> Iterator[bytes]:
    yield b'--b\r\nContent-Disposition: form-data; name="big/one"; filename="x"\r\n\r\n'
    for index in range(count):
        yield bytes([index % 251]) * MIB
    yield b"\r\n--b--\r\n"


STREAM = {"Content-Type": "multipart/form-data; boundary=b"}


def memory_peak(server: ClearmlServer) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def test_a_large_file_passes_through_without_filling_the_memory(
    clearml_server: ClearmlServer, files: httpx.Client
) -> None:
    count = 256
    before = memory_peak(clearml_server)
    assert files.post("/", content=blocks(count), headers=STREAM).json() == ["big/one"]
    with files.stream("GET", "/big/one") as reply:
        wrong = seen = 0
        for piece in reply.iter_bytes(MIB):
            wrong += piece != bytes([seen % 251]) * MIB
            seen += 1
    assert (seen, wrong) == (count, 0)
    assert memory_peak(clearml_server) - before < 64 * MIB
    files.delete("/big/one")


def test_a_download_in_progress_is_not_torn_by_a_new_upload(files: httpx.Client, name: str) -> None:
    put(files, {name: b"a" * 16 * MIB})
    with files.stream("GET", f"/{name}") as reply:
        pieces = reply.iter_bytes(MIB)
        seen = [next(pieces)]
        put(files, {name: b"b" * 4})
        seen += pieces
    assert b"".join(seen) == b"a" * 16 * MIB
    assert get(files, name).content == b"bbbb"


def test_an_upload_that_breaks_off_leaves_no_file(clearml_server: ClearmlServer, files: httpx.Client) -> None:
    def broken() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="broken"; filename="x"\r\n\r\n' + b"x" * 3 * MIB
        raise ConnectionError("pulled the plug")

    with pytest.raises(ConnectionError, match="plug"):
        files.post("/", content=broken(), headers=STREAM)
    files.get("/")  # served after the broken request was noticed at the latest
    for _ in range(100):
        if not partial_files(clearml_server):
            break
        files.get("/")
    assert partial_files(clearml_server) == []
    assert get(files, "broken").status_code == 404


@pytest.fixture(scope="module")
def small_server(clearml_server_factory: Callable[[], ClearmlServer]) -> Iterator[ClearmlServer]:
    """A server whose disk is full after 8 MiB per file and that takes uploads of 32 MiB."""
    os.environ["LOCALSERVER_MAX_UPLOAD_BYTES"] = str(32 * MIB)
    try:
        server = clearml_server_factory()
    finally:
        del os.environ["LOCALSERVER_MAX_UPLOAD_BYTES"]
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (8 * MIB, resource.RLIM_INFINITY))
    yield server
    server.stop()


@pytest.fixture
def small_files(small_server: ClearmlServer) -> Iterator[httpx.Client]:
    token = ApiClient(small_server.api_url, small_server.credentials).http.headers["Authorization"]
    with httpx.Client(base_url=small_server.files_url, timeout=TIMEOUT_S, trust_env=False) as client:
        client.headers["Authorization"] = token
        yield client


@pytest.mark.server_fault("the disk is full: 507")
def test_a_full_disk_is_said_and_leaves_no_half_file(small_server: ClearmlServer, small_files: httpx.Client) -> None:
    reply = small_files.post("/", content=blocks(12), headers=STREAM)
    assert reply.status_code == 507
    assert "disk is full" in reply.text
    assert partial_files(small_server) == []
    assert get(small_files, "big/one").status_code == 404
    assert put(small_files, {"small": b"fits"}).status_code == 200


@pytest.mark.parametrize("with_length", [True, False])
def test_an_upload_above_the_limit_is_refused(
    small_server: ClearmlServer, small_files: httpx.Client, with_length: bool
) -> None:
    content = b"".join(blocks(33)) if with_length else blocks(33)
    if not with_length:
        resource.prlimit(small_server.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    reply = small_files.post("/", content=content, headers=STREAM)
    assert reply.status_code == 413
    assert f"{32 * MIB} bytes" in reply.text
    assert partial_files(small_server) == []


def test_the_reason_of_a_refusal_reaches_a_client_that_is_still_sending(files: httpx.Client, name: str) -> None:
    def body() -> Iterator[bytes]:
        yield f'--b\r\nContent-Disposition: form-data; name="{"n" * 300}"; filename="x"\r\n\r\n'.encode()
        for _ in range(64):
            yield b"x" * MIB
        yield b"\r\n--b--"

    reply = files.post("/", content=body(), headers=STREAM)
    assert (reply.status_code, "longer than 255 bytes" in reply.text) == (400, True)


def test_an_upload_has_at_most_a_hundred_parts(files: httpx.Client) -> None:
    folder = uuid4().hex
    assert len(put(files, {f"{folder}/{number}": b"x" for number in range(100)}).json()) == 100
    reply = put(files, {f"{folder}/more/{number}": b"x" for number in range(10_000)})
    assert (reply.status_code, "at most 100 parts" in reply.text) == (413, True)
    assert get(files, f"{folder}/more/1").status_code == 404


@pytest.mark.parametrize("header", [b"X: " + b"x" * 2**20, b"x" * 2**20, b"X: y\r\n" * 10_000])
def test_headers_without_end_are_refused(files: httpx.Client, header: bytes) -> None:
    assert files.post("/", content=b"--b\r\n" + header, headers=STREAM).status_code == 400


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
