"""`serving.*`, `storage.*` and `server.*` over HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from uuid import uuid4

import pytest
from clearml_localserver.pytest_plugin import ClearmlServer

from tests.api_client import ApiClient

pytestmark = pytest.mark.integration


@pytest.fixture
def guest(api: ApiClient, clearml_server: ClearmlServer) -> Iterator[ApiClient]:
    made = api("auth.create_credentials", role="guest")["credentials"]
    with closing(ApiClient(clearml_server.api_url, (made["access_key"], made["secret_key"]))) as client:
        yield client


# ---- serving ---------------------------------------------------------------------------------------------------------


def named(**fields: Any) -> dict[str, Any]:
    return {"container_id": uuid4().hex, "endpoint_name": "ep", "model_name": "m"} | fields


def test_a_container_from_loading_to_serving_and_gone(api: ApiClient, guest: ApiClient) -> None:
    url, loading = f"http://m/{uuid4().hex}", named(model_source="src", input_size=3)
    id = loading["container_id"]
    assert api("serving.register_container", **loading) == {}
    (row,) = [item for item in guest("serving.get_loading_instances")["instances"] if item["id"] == id]
    assert (row["url"], row["model_source"], row["input_size"], row["age_sec"]) == (None, "src", "3", 0)
    assert api.send("serving.get_endpoint_details", endpoint_url=url).error == (
        400, 1052, f"No container instances found for service url: url={url}",
    )  # fmt: skip
    report = loading | {"endpoint_url": url, "uptime_sec": 100, "requests_num": 10, "requests_min": 5.5}
    stats = {"cpu_usage": [10, 20], "memory_used": 100, "memory_free": 300}
    assert api("serving.container_status_report", **report, latency_ms=20, machine_stats=stats) == {}
    assert api("serving.container_status_report", **named(endpoint_url=url), latency_ms=40) == {}
    (row,) = [item for item in guest("serving.get_endpoints")["endpoints"] if item["url"] == url]
    assert (row["instances"], row["requests"], row["requests_min"], row["latency_ms"]) == (2, 10, 5.5, 30)
    details = guest("serving.get_endpoint_details", endpoint_url=url)
    (instance,) = [item for item in details["instances"] if item["id"] == id]
    assert (instance["requests"], instance["cpu_count"], instance["gpu_count"]) == (10, 2, 0)
    assert id not in [item["id"] for item in api("serving.get_loading_instances")["instances"]]
    assert api("serving.unregister_container", container_id=id) == {}
    assert api("serving.unregister_container", container_id=id) == {}
    assert [item["id"] for item in api("serving.get_endpoint_details", endpoint_url=url)["instances"]] != [id]


def test_what_containers_reported_over_time(api: ApiClient) -> None:
    url, now = f"http://m/{uuid4().hex}", int(time.time())
    asked = {"endpoint_url": url, "from_date": now - 100, "to_date": now + 100, "interval": 10}
    empty = api("serving.get_endpoint_metrics_history", **asked)
    assert empty == {
        "computed_interval": 40, "instances": {}, "total": {"title": "Number of Requests", "dates": [], "values": []},
    }  # fmt: skip
    first, second = named(endpoint_url=url), named(endpoint_url=url)
    stats = {"cpu_usage": [10, 20], "memory_used": 100, "memory_free": 300}
    api("serving.container_status_report", **first, requests_num=10, latency_ms=20, machine_stats=stats)
    api("serving.container_status_report", **second, requests_num=4)
    for metric, title, value in (
        ("requests", "Number of Requests", 14),
        ("latency_ms", "Average Latency (ms)", 10),
        ("cpu_count", "CPU Count", 2),
        ("cpu_util", "Average CPU Load (%)", 7.5),
        ("ram_total", "RAM Total (GB)", 0.4),
    ):
        reply = api("serving.get_endpoint_metrics_history", **asked, metric_type=metric)
        assert (reply["total"]["title"], max(reply["total"]["values"])) == (title, pytest.approx(value))
        assert reply["instances"].keys() == {first["container_id"], second["container_id"]}
    assert api("serving.get_endpoint_metrics_history", **asked, instance_charts=False)["instances"] == {}
    assert api.send("serving.get_endpoint_metrics_history", **asked | {"to_date": now - 200}).error[:2] == (400, 16)
    assert api.send("serving.get_endpoint_metrics_history", **asked | {"interval": 0}).error[:2] == (400, 12)
    assert api.send("serving.get_endpoint_metrics_history", **asked, metric_type="x").error[:2] == (400, 12)


def test_a_container_that_is_silent_is_forgotten(api: ApiClient) -> None:
    url, fields = f"http://m/{uuid4().hex}", named(timeout=1)
    api("serving.register_container", **fields, endpoint_url=url)
    assert api("serving.get_endpoint_details", endpoint_url=url)["instances"]
    deadline = time.monotonic() + 30
    while api.send("serving.get_endpoint_details", endpoint_url=url).status == 200:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert api.send("serving.get_endpoint_details", endpoint_url=url).error[:2] == (400, 1052)


@pytest.mark.parametrize(
    "fields",
    [{"input_size": [1, 2]}, {"timeout": 0}, {"reference": [{"type": "bogus", "value": "t"}]}, {"model_name": None},
     {"endpoint_name": None}, {"container_id": None}],
)  # fmt: skip
def test_which_containers_are_refused(api: ApiClient, fields: dict[str, Any]) -> None:
    assert api.send("serving.register_container", **named() | fields).error[:2] == (400, 12)


def test_a_report_names_its_address(api: ApiClient) -> None:
    for fields in ({}, {"endpoint_url": None}):
        error = (400, 12, "Validation error (Missing required field 'endpoint_url')")
        assert api.send("serving.container_status_report", **named() | fields).error == error


# ---- storage ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_settings(api: ApiClient) -> Iterator[None]:
    """Remove the settings before and after a test: other tests use the same server."""
    stores = ["aws", "google", "azure"]
    api("storage.reset_settings", keys=stores)
    yield
    api("storage.reset_settings", keys=stores)


@pytest.mark.usefixtures("no_settings")
def test_settings_are_replaced_store_by_store(api: ApiClient) -> None:
    fresh = api("storage.get_settings")["settings"]
    assert fresh["aws"] == {
        "key": "", "secret": "", "token": "", "region": "", "use_credentials_chain": False, "buckets": [],
    }  # fmt: skip
    assert (fresh["google"]["credentials_json"], fresh["azure"]) == (None, {"containers": []})
    bucket = {"bucket": "b1", "key": "k", "secret": "s", "region": "r"}
    aws = {"key": "AK", "secret": "SK", "region": "eu", "bogus": 1, "buckets": [bucket, {}, {"bucket": "no key"}]}
    assert api("storage.set_settings", aws=aws) == {"updated": 1}
    assert api("storage.set_settings", google={"project": "gp", "credentials_json": '{"x":1}'}) == {"updated": 1}
    kept = api("storage.get_settings")["settings"]
    assert (kept["aws"]["key"], kept["aws"]["token"], kept["aws"]["use_credentials_chain"]) == ("AK", None, False)
    assert "bogus" not in kept["aws"] and len(kept["aws"]["buckets"]) == 1
    assert kept["aws"]["buckets"][0] == {
        "bucket": "b1", "subdir": "", "host": "", "key": "k", "secret": "s", "token": "", "multipart": True, "acl": "",
        "secure": True, "region": "r", "verify": True, "use_credentials_chain": False, "extra_args": None,
        "profile": "",
    }  # fmt: skip
    assert kept["last_update"]
    assert api("storage.reset_settings") == {"updated": 0}
    assert api("storage.reset_settings", keys=["aws"]) == {"updated": 1}
    after = api("storage.get_settings")["settings"]
    assert (after["aws"], after["google"]["project"]) == (fresh["aws"], "gp")
    assert api("storage.reset_settings", keys=["aws"]) == {"updated": 0}


@pytest.mark.usefixtures("no_settings")
def test_only_admins_read_and_set_keys_of_stores(api: ApiClient, guest: ApiClient) -> None:
    container = {"account_name": "an", "account_key": "a-secret", "container_name": "c"}
    bucket = {"bucket": "b1", "key": "k", "secret": "a-secret", "token": "a-secret",
              "extra_args": {"SSECustomerKey": "a-secret"}}  # fmt: skip
    api("storage.set_settings", aws={"key": "AK", "secret": "a-secret", "buckets": [bucket]},
        google={"credentials_json": '"a-secret"'}, azure={"containers": [container]})  # fmt: skip
    shown = guest("storage.get_settings")["settings"]
    assert "a-secret" not in str(shown)
    assert shown["aws"]["buckets"][0]["bucket"] == "b1" and shown["azure"]["containers"][0]["account_key"] == "***"
    assert api("storage.get_settings")["settings"]["azure"]["containers"][0]["account_key"] == "a-secret"
    for name in ("storage.set_settings", "storage.reset_settings"):
        assert guest.send(name, aws={}).error[:2] == (403, 20)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ({}, (400, 12)),
        ({"unknown": {}}, (400, 12)),
        ({"aws": "x"}, (400, 12)),
        ({"aws": {"key": 5}}, (400, 12)),
        ({"google": {"credentials_json": "not json"}}, (400, 12)),
        ({"google": {"buckets": [{"credentials_json": "not json"}]}}, (400, 12)),
        ({"azure": {"containers": [{"account_name": "an"}]}}, (400, 800)),
    ],
)
def test_which_settings_are_refused(api: ApiClient, data: dict[str, Any], error: tuple[int, int]) -> None:
    assert api.send("storage.set_settings", **data).error[:2] == error
    assert api.send("storage.reset_settings", keys=["bogus"]).error[:2] == (400, 12)


# ---- server ----------------------------------------------------------------------------------------------------------


def test_the_configuration_is_shown_to_admins(api: ApiClient, guest: ApiClient, clearml_server: ClearmlServer) -> None:
    whole = api("server.config")
    assert whole["hosts"]["apiserver"] == clearml_server.api_url
    assert api("server.config", path="apiserver.version") == {"default": "2.34", "check_max_version": False}
    assert api("server.config", path="hosts.fileserver") == {"fileserver": clearml_server.files_url}
    assert api.send("server.config", path="hosts.nothing").error[:2] == (400, 12)
    assert clearml_server.credentials[1] not in str(whole)
    assert guest.send("server.config").error[:2] == (403, 20)


def test_statistics_of_the_server_and_of_workers(api: ApiClient) -> None:
    worker = uuid4().hex
    stats = {"cpu_usage": [10.0, 30.0], "memory_used": 2048, "memory_free": 1024}
    api("workers.status_report", worker=worker, timestamp=int(time.time() * 1000), machine_stats=stats)
    reply = api("server.get_stats", interval=10)
    resources = reply["server"]["resources"]
    assert resources.keys() == {"interval_sec", "num_cores", "cpu_usage", "mem_used_gb", "mem_free_gb"}
    assert 0 <= resources["cpu_usage"]["min"] <= resources["cpu_usage"]["avg"] <= resources["cpu_usage"]["max"] <= 100
    assert reply["server"]["queues"]["count"] >= 1 and reply["server"]["users"]["count"] >= 1
    assert reply["server"]["experiments"].keys() == {"count", "avg_run_time_sec", "avg_iterations"}
    (agent,) = [item["resources"] for item in reply["agents"] if item["uuid"] == worker]
    assert (agent["num_cores"], agent["cpu_usage"]["avg"], agent["mem_used_gb"]["max"]) == (2, 20, 2)


def test_the_server_sends_statistics_to_nobody(api: ApiClient) -> None:
    assert api("server.report_stats_option")["enabled"] is False
    assert api("server.report_stats_option", enabled=False)["supported"] is False
    assert api.send("server.report_stats_option", enabled=True).error[:2] == (400, 12)


def test_endpoints_are_listed_by_name(api: ApiClient) -> None:
    listed = api("server.endpoints")["endpoints"]
    assert listed["users.get_all_ex"][0]["min_version"] == "2.8"
    assert listed["reports.create"][0]["request_data_model"]["required"] == ["name"]
