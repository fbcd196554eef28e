"""The wire: envelopes, versions, bodies, log-in, as clients meet them."""

from __future__ import annotations

import base64
import json
import time

import httpx
import jwt
import pytest
from clearml_localserver.pytest_plugin import ClearmlServer

from tests.api_client import ApiClient

pytestmark = pytest.mark.integration


def test_ping_answers_without_log_in(clearml_server: ClearmlServer) -> None:
    reply = httpx.get(f"{clearml_server.api_url}/debug.ping")
    assert reply.status_code == 200
    assert reply.json()["meta"]["result_code"] == 200


@pytest.mark.parametrize("service", ["web_url", "files_url"])
def test_root_of_web_and_files_answers_without_log_in(clearml_server: ClearmlServer, service: str) -> None:
    assert httpx.get(getattr(clearml_server, service) + "/").status_code == 200


def test_token_carries_the_claims_that_clients_read(clearml_server: ClearmlServer) -> None:
    token = httpx.get(f"{clearml_server.api_url}/auth.login", auth=clearml_server.credentials).json()["data"]["token"]
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["feature_set"] == "basic"
    assert claims["api_version"] == "2.34"
    assert claims["exp"] - claims["iat"] == 2_592_000
    assert {"user", "company", "role", "user_name", "company_name"} <= claims["identity"].keys()


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, (401, 20)),
        ({"Authorization": "Basic " + base64.b64encode(b"nobody:wrong").decode()}, (401, 22)),
        ({"Authorization": "Basic ???"}, (401, 22)),
        ({"Authorization": "Bearer nonsense"}, (401, 30)),
        ({"Authorization": "bearer nonsense"}, (401, 10)),
        ({"Authorization": "Bearer " + jwt.encode({"exp": 9e9}, "forged" * 8, algorithm="HS256")}, (401, 30)),
        ({"Cookie": "clearml_token_basic=nonsense"}, (401, 30)),
    ],
)
def test_refused_credentials(clearml_server: ClearmlServer, headers: dict[str, str], expected: tuple[int, int]) -> None:
    reply = httpx.get(f"{clearml_server.api_url}/v2.23/server.info", headers=headers)
    assert (reply.status_code, reply.json()["meta"]["result_subcode"]) == expected


def test_wrong_secret_of_a_real_key_is_refused(clearml_server: ClearmlServer) -> None:
    reply = httpx.get(f"{clearml_server.api_url}/auth.login", auth=(clearml_server.credentials[0], "wrong"))
    assert reply.json()["meta"]["result_subcode"] == 22


def test_token_dies_with_its_key(clearml_server: ClearmlServer, api: ApiClient) -> None:
    made = api("auth.create_credentials", label="short-lived")["credentials"]
    other = ApiClient(clearml_server.api_url, (made["access_key"], made["secret_key"]))
    assert other.send("queues.get_all").status == 200
    api("auth.revoke_credentials", access_key=made["access_key"])
    assert other.send("queues.get_all").error[:2] == (401, 30)


def test_logout_ends_the_session(clearml_server: ClearmlServer) -> None:
    client = ApiClient(clearml_server.api_url, clearml_server.credentials)
    client("auth.logout")
    client.http.cookies.clear()
    assert client.send("queues.get_all").error[:2] == (401, 30)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v2.23/tasks.fly", (404, 0)),
        ("/v2.23/nothing.here", (404, 0)),
        ("/v2.23/Tasks.get_all", (404, 0)),
        ("/vx/tasks.get_all", (400, 0)),
        ("/v2", (400, 0)),
    ],
)
def test_unknown_paths_get_an_envelope(clearml_server: ClearmlServer, path: str, expected: tuple[int, int]) -> None:
    reply = httpx.get(clearml_server.api_url + path)
    meta = reply.json()["meta"]
    assert (reply.status_code, meta["result_subcode"]) == expected
    assert meta["result_code"] == reply.status_code
    assert meta["error_stack"] is None


@pytest.mark.parametrize("version", ["", "v2.5/", "v2.14/", "v2.23/", "v2.34/", "v99.9/"])
def test_any_version_is_served(api: ApiClient, version: str) -> None:
    assert api.http.get(f"/{version}queues.get_all").status_code == 200


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH"])
def test_body_is_read_whatever_the_method(api: ApiClient, method: str) -> None:
    body = json.dumps({"name": "^default$", "method": "get"})
    reply = api.http.request(method, "/v2.23/queues.get_all", content=body)
    assert [queue["name"] for queue in reply.json()["data"]["queues"]] == ["default"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"{", (400, 0)), (b"[1]", (400, 0)), (b'"text"', (400, 0)), (b'{"queue": 5}', (400, 12)), (b"{}", (400, 12))],
)
def test_malformed_bodies_get_an_envelope(api: ApiClient, content: bytes, expected: tuple[int, int]) -> None:
    reply = api.http.request("POST", "/v2.23/queues.get_by_id", content=content)
    assert (reply.status_code, reply.json()["meta"]["result_subcode"]) == expected


def test_compressed_body_is_refused(api: ApiClient) -> None:
    reply = api.http.post("/v2.23/queues.get_all", content=b"x", headers={"Content-Encoding": "gzip"})
    assert reply.status_code == 415


def test_too_large_body_is_refused(api: ApiClient) -> None:
    reply = api.http.post("/v2.23/queues.get_all", content=b" " * (65 * 2**20))
    assert reply.status_code == 413


def test_credentials_are_private_and_never_printed(clearml_server: ClearmlServer) -> None:
    for name in ("clearml.conf", "credentials.json"):
        assert (clearml_server.data / name).stat().st_mode & 0o777 == 0o600
    log = clearml_server.data.parent / f"{clearml_server.data.name}.log"
    assert clearml_server.credentials[1] not in log.read_text()


def test_server_starts_and_ends_cleanly(clearml_server_factory) -> None:  # type: ignore[no-untyped-def]
    started = time.monotonic()
    server = clearml_server_factory()
    assert server.stop() == 0
    print(f"start and stop: {time.monotonic() - started:.2f} s")


@pytest.mark.parametrize("levels", [101, 254, 260, 1000])
@pytest.mark.parametrize("endpoint", ["tasks.get_all", "tasks.create", "nothing.here"])
def test_deeply_nested_bodies_are_refused_by_an_envelope(api: ApiClient, endpoint: str, levels: int) -> None:
    body = b'{"name":"deep","type":"testing","script":' + b'{"a":' * levels + b"1" + b"}" * levels + b"}"
    reply = api.http.post(f"/v2.23/{endpoint}", content=body)
    assert 400 <= reply.status_code < 500
    assert reply.json()["meta"]["result_code"] == reply.status_code


@pytest.mark.parametrize("query", ["page=" + "9" * 30, "page=" + "9" * 5000, "page=1.5e400", "a=%ED%A0%80", "=&&="])
def test_odd_queries_get_an_envelope_below_500(api: ApiClient, query: str) -> None:
    assert api.http.get(f"/v2.23/tasks.get_all?{query}").status_code < 500
    assert api.http.get(f"/v{'9' * 5000}.1/tasks.get_all").status_code == 400
