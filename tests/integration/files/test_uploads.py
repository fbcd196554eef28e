"""Uploads that are broken, too large or interrupted, on a live server."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from clearml_localserver.pytest_plugin import ClearmlServer

from tests.api_client import TIMEOUT_S, ApiClient
from tests.integration.files.client import MIB, STREAM, blocks, get, partial_files, put

pytestmark = pytest.mark.integration


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
