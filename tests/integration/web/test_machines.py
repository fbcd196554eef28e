"""How busy workers are, and how long queues let tasks wait, on the web pages, over HTTP."""

from __future__ import annotations

import time
from uuid import uuid4

import pytest

from tests.api_client import ApiClient
from tests.integration.web.pages import ESCAPED, HOSTILE, Web, make_task

pytestmark = pytest.mark.integration


def test_a_workers_page_shows_its_machine_its_task_and_the_pod(web: Web, api: ApiClient, queue: str) -> None:
    name = f"agent/{HOSTILE}:{uuid4().hex[:6]}"
    task = make_task(api)
    where = {"_exec_agent_hostname": "pod-1", "pod_agent": "k8s-agent", "pod": "evicted on node-7"}
    api("tasks.edit", task=task, runtime=where, force=True)
    api("workers.register", worker=name, queues=[queue])
    machine = {"cpu_usage": [10, 90], "memory_used": 2048, "memory_free": 1024, "network_rx": 0.5, "network_tx": 0}
    api("workers.status_report", worker=name, timestamp=int(time.time() * 1000), task=task, machine_stats=machine)
    assert "agent/" in web.get("/workers") and f"/workers/agent%2F{'%3Cscript%3E'}" in web.get("/")

    page = web.get(f"/workers/{name.replace('/', '%2F')}")
    assert ESCAPED in page and HOSTILE not in page
    for said in ("pod-1", "k8s-agent", "evicted on node-7", f'href="/tasks/{task}"', "had a task in 100 % of its"):
        assert said in page, said
    for title in ("CPU", "Memory", "Network per second"):
        assert f"<h2>{title}</h2>" in page
    assert "<h2>GPU</h2>" not in page
    for value in ("busiest core <b>90 %</b>", "mean <b>50 %</b>", "used <b>2.0 GB</b>", "received <b>512 KB</b>"):
        assert value in page, value
    assert 'aria-current="true" href="/workers' in web.get(f"/workers/{name.replace('/', '%2F')}?over=week")

    graphics = machine | {"gpu_usage": [30, 70], "gpu_memory_used": 1024, "gpu_memory_free": 3072}
    api("workers.status_report", worker=name, timestamp=int(time.time() * 1000), task=task, machine_stats=graphics)
    page = web.get(f"/workers/{name.replace('/', '%2F')}")
    assert "<h2>GPU</h2>" in page and "<h2>GPU memory</h2>" in page and "busiest <b>70 %</b>" in page
    api("workers.unregister", worker=name)
    gone = web.get(f"/workers/{name.replace('/', '%2F')}")
    assert ">gone<" in gone and "<h2>CPU</h2>" in gone
    assert "has reported within the last week" in web.get("/workers/nobody", 404)


def test_a_queue_tells_how_long_tasks_waited_in_it(web: Web, api: ApiClient, queue: str) -> None:
    assert f'id="waits-{queue}"' not in web.get("/queues")
    task = make_task(api)
    api("tasks.enqueue", task=task, queue=queue)
    assert api("queues.get_next_task", queue=queue)["entry"]["task"] == task
    page = web.get("/queues")
    assert f'id="waits-{queue}"' in page and "Waiting time over the last day, at most 0." in page
