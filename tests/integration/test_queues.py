"""Queues as workers use them: the waiting poll, several queues, order."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from clearml_localserver.pytest_plugin import ClearmlServer

from clearml_access.api import Api
from clearml_access.credentials import Secret, Server
from tests.api_client import ApiClient

pytestmark = pytest.mark.integration


@pytest.fixture
def client(clearml_server: ClearmlServer) -> Iterator[Callable[[], ApiClient]]:
    """Makes clients, each with a login session of its own, as worker processes have."""
    made: list[ApiClient] = []

    def make() -> ApiClient:
        made.append(ApiClient(clearml_server.api_url, clearml_server.credentials))
        return made[-1]

    yield make
    for item in made:
        item.close()


def new_queue(api: ApiClient) -> str:
    return api("queues.create", name=f"queue {uuid4().hex}")["id"]


def poll(api: ApiClient, queue: str) -> tuple[threading.Thread, dict[str, Any]]:
    """Ask for a task on a thread; the result holds `reply` and how long it took."""
    result: dict[str, Any] = {}

    def ask() -> None:
        started = time.monotonic()
        result["reply"] = api("queues.get_next_task", queue=queue)
        result["after"] = time.monotonic() - started

    thread = threading.Thread(target=ask)
    thread.start()
    return thread, result


def test_waiting_worker_gets_a_task_when_it_is_added(api: ApiClient, client: Callable[[], ApiClient]) -> None:
    queue = new_queue(api)
    thread, result = poll(client(), queue)
    time.sleep(1.5)
    assert thread.is_alive(), "the poll should wait"
    api("queues.add_task", queue=queue, task="t1")
    thread.join(timeout=10)
    assert result["reply"]["entry"]["task"] == "t1"


def test_wait_outlasts_the_client_s_read_timeout(
    clearml_server_factory: Callable[[], ClearmlServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCALSERVER_SIGN_OF_LIFE_S", "0.2")
    server = clearml_server_factory()
    patient, impatient = (ApiClient(server.api_url, server.credentials) for _ in range(2))
    impatient.http.timeout = 1.0
    queue = new_queue(patient)
    thread, result = poll(impatient, queue)
    time.sleep(2.5)
    patient("queues.add_task", queue=queue, task="late")
    thread.join(timeout=10)
    assert result["reply"]["entry"]["task"] == "late"


def test_one_entry_goes_to_one_of_many_waiting_workers(api: ApiClient, client: Callable[[], ApiClient]) -> None:
    queue = new_queue(api)
    polls = [poll(client(), queue) for _ in range(5)]
    time.sleep(0.5)
    for number in range(5):
        api("queues.add_task", queue=queue, task=f"t{number}")
    for thread, _ in polls:
        thread.join(timeout=10)
    assert sorted(result["reply"]["entry"]["task"] for _, result in polls) == [f"t{number}" for number in range(5)]


def test_worker_of_two_queues_is_not_held_on_the_empty_one(api: ApiClient, client: Callable[[], ApiClient]) -> None:
    first, second = new_queue(api), new_queue(api)
    worker = client()
    worker("workers.register", worker=f"w:{uuid4().hex}", queues=[first, second])
    api("queues.add_task", queue=second, task="waiting")
    assert worker("queues.get_next_task", queue=first) == {}
    assert worker("queues.get_next_task", queue=second)["entry"]["task"] == "waiting"


def test_work_on_another_queue_ends_the_wait(api: ApiClient, client: Callable[[], ApiClient]) -> None:
    first, second = new_queue(api), new_queue(api)
    worker = client()
    worker("workers.register", worker=f"w:{uuid4().hex}", queues=[first, second])
    thread, result = poll(worker, first)
    time.sleep(0.5)
    api("queues.add_task", queue=second, task="late")
    thread.join(timeout=10)
    assert result["reply"] == {}
    assert worker("queues.get_next_task", queue=second)["entry"]["task"] == "late"


def test_a_worker_that_unregisters_is_let_go_without_a_task(api: ApiClient, client: Callable[[], ApiClient]) -> None:
    queue, name = new_queue(api), f"w:{uuid4().hex}"
    worker = client()
    worker("workers.register", worker=name, queues=[queue])
    thread, result = poll(worker, queue)
    time.sleep(0.5)
    api("workers.unregister", worker=name)
    thread.join(timeout=10)
    assert result["reply"] == {}


def test_task_is_not_handed_to_a_worker_that_has_gone(api: ApiClient, client: Callable[[], ApiClient]) -> None:
    queue = new_queue(api)
    gone = client()
    gone.http.timeout = 0.5
    with pytest.raises(Exception, match="timed out"):
        gone("queues.get_next_task", queue=queue)
    api("queues.add_task", queue=queue, task="kept")
    assert api("queues.get_num_entries", queue=queue)["num"] == 1
    assert client()("queues.get_next_task", queue=queue)["entry"]["task"] == "kept"


def test_order_and_moves(api: ApiClient) -> None:
    queue = new_queue(api)
    for name in "abcd":
        api("queues.add_task", queue=queue, task=name)

    def order() -> str:
        return "".join(entry["task"] for entry in api("queues.get_by_id", queue=queue)["queue"]["entries"])

    assert api.send("queues.add_task", queue=queue, task="a").error[:2] == (400, 706)
    assert api("queues.move_task_to_front", queue=queue, task="c") == {"position": 0}
    assert order() == "cabd"
    assert api("queues.move_task_backward", queue=queue, task="c", count=10) == {"position": 3}
    assert api("queues.move_task_forward", queue=queue, task="d") == {"position": 1}
    assert order() == "adbc"
    assert api("queues.move_task_to_back", queue=queue, task="a") == {"position": 3}
    assert api("queues.peek_task", queue=queue) == {"task": "d"}
    assert api.send("queues.move_task_to_front", queue=queue, task="nope").error[:2] == (400, 703)
    assert api("queues.remove_task", queue=queue, task="b") == {"removed": 1}
    assert api.send("queues.delete", queue=queue).error[:2] == (400, 702)
    assert api("queues.clear_queue", queue=queue) == {"removed_tasks": ["d", "c", "a"]}
    assert api("queues.delete", queue=queue) == {"deleted": 1}
    assert api.send("queues.get_by_id", queue=queue).error[:2] == (400, 701)


@pytest.mark.parametrize(("name", "error"), [("ab", (400, 800)), ("  ab  ", (400, 800)), ("default", (400, 801))])
def test_refused_names(api: ApiClient, name: str, error: tuple[int, int]) -> None:
    assert api.send("queues.create", name=name).error[:2] == error


ITEM = {"k": {"key": "k", "type": "str", "value": "v"}}


def test_metadata_is_given_at_once_or_item_by_item(api: ApiClient) -> None:
    queue = api("queues.create", name=f"queue {uuid4().hex}", metadata=ITEM)["id"]

    def keys() -> dict[str, Any]:
        return api("queues.get_by_id", queue=queue)["queue"]["metadata"]

    assert keys() == ITEM
    api("queues.add_or_update_metadata", queue=queue, metadata=[{"key": "n", "type": "str"}])
    assert keys() == ITEM | {"n": {"key": "n", "type": "str", "value": None}}
    api("queues.delete_metadata", queue=queue, keys=["k", "unknown"])
    assert list(keys()) == ["n"]
    api("queues.add_or_update_metadata", queue=queue, metadata=list(ITEM.values()), replace_metadata=True)
    assert keys() == ITEM
    api("queues.update", queue=queue, metadata={})
    assert keys() == {}


@pytest.mark.parametrize(
    ("endpoint", "request_"),
    [
        ("create", {"metadata": [1]}),
        ("create", {"metadata": {"k": "v"}}),
        ("update", {"metadata": {"k": {"key": 1}}}),
        ("add_or_update_metadata", {"metadata": [{"key": "k"}]}),
        ("add_or_update_metadata", {"metadata": [{"key": {}, "type": "str"}]}),
        ("delete_metadata", {"keys": [{}]}),
        ("get_all", {"max_task_entries": "x"}),
        ("get_queue_metrics", {"from_date": 0, "to_date": 1, "interval": 1, "queue_ids": [{}]}),
        ("get_queue_metrics", {"from_date": -1e308, "to_date": 1e308, "interval": 1}),
        ("get_queue_metrics", {"from_date": 0, "to_date": 1, "interval": 0}),
        ("get_queue_metrics", {"from_date": 0, "to_date": 1, "interval": 2**70}),
    ],
)
def test_hostile_fields_are_refused_by_name(api: ApiClient, endpoint: str, request_: dict[str, Any]) -> None:
    queue = new_queue(api)
    reply = api.send(f"queues.{endpoint}", **{"queue": queue, "name": uuid4().hex, **request_})
    assert reply.error[:2] == (400, 12)
    assert any(name in reply.error[2] for name in (*request_, "metadata", "interval"))


def test_waiting_times_of_many_queues_at_once(api: ApiClient) -> None:
    queue = new_queue(api)
    api("queues.add_task", queue=queue, task="t")
    api("queues.get_next_task", queue=queue)
    report = {"from_date": time.time() - 60, "to_date": time.time() + 60, "interval": 2**62}
    (row,) = api("queues.get_queue_metrics", queue_ids=[queue, *map(str, range(40_000))], **report)["queues"]
    assert (row["queue"], row["queue_lengths"]) == (queue, [0])


def test_a_queue_of_the_glue_is_shown_to_those_who_ask_for_it(api: ApiClient) -> None:
    name = f"queue {uuid4().hex}"
    queue = api("queues.create", name=name, system_tags=["k8s-glue"])["id"]

    def found(**request: Any) -> bool:
        return queue in [item["id"] for item in api("queues.get_all", **request)["queues"]]

    assert (found(), found(search_hidden=True), found(id=[queue]), found(name=name)) == (False, True, True, True)


def test_our_commands_find_queues_of_the_glue(clearml_server: ClearmlServer, api: ApiClient) -> None:
    name = f"queue {uuid4().hex}"
    api("queues.create", name=name, system_tags=["k8s-glue"])

    key, secret = map(Secret, clearml_server.credentials)
    server = Api.of(Server(clearml_server.api_url, "", "", key, secret, "the test"))
    assert name in server.queue_names()
    found = server.queue(name)
    assert found is not None and found.name == name


def test_an_added_task_knows_its_queue(api: ApiClient) -> None:
    first, second = new_queue(api), new_queue(api)
    task = api("tasks.create", name="added", type="testing")["id"]

    def of_task() -> str | None:
        return api("tasks.get_by_id", task=task)["task"]["execution"].get("queue")

    api("queues.add_task", queue=first, task=task)
    assert of_task() == first
    api("queues.add_task", queue=second, task=task, update_execution_queue=False)
    assert of_task() == first
