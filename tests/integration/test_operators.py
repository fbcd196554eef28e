"""What operators and their tools are told: `/healthz`, `/readyz`, `/metrics`, the access log."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from clearml_localserver.pytest_plugin import ClearmlServer, running_server
from prometheus_client.parser import text_string_to_metric_families

from tests.api_client import ApiClient

pytestmark = pytest.mark.integration


class Metrics:
    """The samples of one scrape."""

    def __init__(self, reply: httpx.Response) -> None:
        assert reply.status_code == 200
        assert reply.headers["Content-Type"].startswith("text/plain; version=")
        self.samples = [sample for family in text_string_to_metric_families(reply.text) for sample in family.samples]

    def value(self, name: str, /, **labels: str) -> float:
        """Return the sum of the samples that have these labels."""
        found = [
            sample.value
            for sample in self.samples
            if sample.name == f"localserver_{name}" and labels.items() <= sample.labels.items()
        ]
        assert found, f"{name} {labels} is not among the metrics"
        return sum(found)


def scrape(server: ClearmlServer) -> Metrics:
    return Metrics(httpx.get(f"{server.api_url}/metrics"))


def test_metrics_tell_of_calls_errors_and_times(clearml_server: ClearmlServer, api: ApiClient) -> None:
    api("tasks.get_all")
    before = scrape(clearml_server)
    api("tasks.get_all")
    api.send("tasks.get_by_id", task="nobody")
    after = scrape(clearml_server)

    def grown(name: str, **labels: str) -> float:
        return after.value(name, **labels) - before.value(name, **labels)

    assert grown("requests_total", endpoint="tasks.get_all", status="200") == 1
    assert grown("request_seconds_count", endpoint="tasks.get_all") == 1
    assert grown("request_seconds_bucket", endpoint="tasks.get_all", le="+Inf") == 1
    assert after.value("requests_total", endpoint="tasks.get_by_id", status="400") >= 1
    assert after.value("loop_longest_stall_seconds", window="start") >= 0
    assert after.value("connections") >= 1
    assert after.value("database_bytes") > 10_000


def test_metrics_tell_of_queues_workers_and_files(tmp_path: Path) -> None:
    with running_server(tmp_path / "data") as server:
        api = ApiClient(server.api_url, server.credentials)
        queue = api("queues.create", name="measured")["id"]
        tasks = [api("tasks.create", name="waits", type="testing")["id"] for _ in range(3)]
        for task in tasks:
            api("tasks.enqueue", task=task, queue=queue)
        api("workers.register", worker="idle one", queues=[queue])
        api("workers.register", worker="busy one", queues=[])
        api("workers.status_report", worker="busy one", timestamp=0, task=tasks[2])
        api("workers.register", worker="gone one", queues=[], timeout=0)
        api("queues.get_next_task", queue=queue)
        token = api.http.headers["Authorization"]
        files = {"p/t/a.bin": ("a.bin", b"12345")}
        httpx.post(f"{server.files_url}/", files=files, headers={"Authorization": token}).raise_for_status()
        time.sleep(0.01)
        metrics = scrape(server)
        assert metrics.value("queue_length", name="measured") == 2
        assert metrics.value("queue_longest_wait_seconds", queue=queue) > 0
        assert metrics.value("handed_out_tasks") == 1
        assert [metrics.value("workers", state=state) for state in ("idle", "working", "silent")] == [1, 1, 1]
        assert (metrics.value("files"), metrics.value("files_bytes")) == (1, 5)
        assert metrics.value("free_bytes") > 0


@pytest.mark.parametrize(("host", "status"), [("localhost", 200), ("127.0.0.1:9", 200), ("evil.example", 401)])
def test_a_name_that_was_pointed_here_reads_no_metrics(clearml_server: ClearmlServer, host: str, status: int) -> None:
    """A page of the internet whose name comes to mean this machine ("DNS rebinding") may read what it is answered."""
    assert httpx.get(f"{clearml_server.api_url}/metrics", headers={"Host": host}).status_code == status


def test_metrics_count_what_was_refused(clearml_server: ClearmlServer) -> None:
    address = urlsplit(clearml_server.api_url)
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=10) as link:
        link.sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * 300_000)
        with link.makefile("rb") as reply:  # not one `recv`: the line may come in pieces
            assert reply.readline().startswith(b"HTTP/1.1 431")
    assert scrape(clearml_server).value("refused_total", reason="status 431") >= 1


def test_ready_is_who_can_write(clearml_server: ClearmlServer) -> None:
    reply = httpx.get(f"{clearml_server.api_url}/readyz")
    assert (reply.status_code, reply.json()) == (
        200,
        {"status": "ready", "checks": {"database": "ok", "disk": "ok"}},
    )


@pytest.mark.server_fault("/readyz answers 503 where the disk is full")
def test_beyond_this_machine_metrics_need_a_key_and_a_full_disk_is_not_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCALSERVER_HOST", "0.0.0.0")
    monkeypatch.setenv("LOCALSERVER_PUBLIC_HOST", "127.0.0.1")
    monkeypatch.setenv("LOCALSERVER_MIN_FREE_BYTES", str(2**60))
    with running_server(tmp_path / "data") as server:
        assert httpx.get(f"{server.api_url}/metrics").status_code == 401
        assert Metrics(httpx.get(f"{server.api_url}/metrics", auth=server.credentials)).value("connections") >= 1
        assert httpx.get(f"{server.api_url}/healthz").json()["status"] == "ok"
        reply = httpx.get(f"{server.api_url}/readyz")
        assert reply.json()["checks"] == {"database": "ok", "disk": f"less than {2**60} bytes are free"}
    assert reply.status_code == 503


def test_the_access_log_tells_who_asked_for_what(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "access.jsonl"
    monkeypatch.setenv("LOCALSERVER_ACCESS_LOG", str(log))
    with running_server(tmp_path / "data") as server:
        api = ApiClient(server.api_url, server.credentials)
        user = api("users.get_current_user")["user"]["id"]
        token = api.http.headers["Authorization"].removeprefix("Bearer ")
        httpx.get(f"{server.web_url}/projects?q=hidden")
        httpx.get(f"{server.files_url}/nothing", headers={"Authorization": f"Bearer {token}"})
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    told = {(line["service"], line["path"]): (line["endpoint"], line["status"], line["user"]) for line in lines}
    assert told == {
        ("api", "/auth.login"): ("auth.login", 200, ""),
        ("api", "/v2.23/users.get_current_user"): ("users.get_current_user", 200, user),
        ("web", "/projects"): ("other", 200, user),
        ("files", "/nothing"): ("other", 404, user),
    }
    for secret in (server.credentials[1], token, "hidden"):
        assert secret not in log.read_text()


@pytest.mark.parametrize("accepted", [None, "*/*"])
def test_the_web_port_tells_a_probe_that_it_lives_without_making_a_page(
    clearml_server: ClearmlServer, accepted: str | None
) -> None:
    with httpx.Client(base_url=clearml_server.web_url) as probe:
        probe.headers = {"Accept": accepted} if accepted else {}
        assert (probe.get("/").status_code, probe.get("/").text) == (200, "OK\n")
        assert "<html" in probe.get("/", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}).text
        assert "parts" in probe.get("/?_part=running").json()
