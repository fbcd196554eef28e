"""The query language over HTTP: the schemas let it pass, paging and scrolling hold together, versions differ."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest

from tests.api_client import ApiClient
from tests.unit.localserver.query_documents import FILTERS

pytestmark = pytest.mark.integration


@pytest.fixture
def project(api: ApiClient) -> str:
    """A project with five tasks, `t0` to `t4`."""
    id = str(api("projects.create", name=f"queries {uuid4().hex[:8]}")["id"])
    for n in range(5):
        api("tasks.create", name=f"task {n}", type="training", project=id)
    return id


@pytest.mark.parametrize("endpoint", ["tasks.get_all", "tasks.get_all_ex"])
def test_every_form_passes_the_contract(api: ApiClient, endpoint: str) -> None:
    replies = {str(body): api.send(endpoint, **body | {"page": 0, "page_size": 1}) for body, _ in FILTERS}
    assert {body: reply.error for body, reply in replies.items() if reply.status != 200} == {}


def test_pages_and_scrolls_meet(api: ApiClient, project: str) -> None:
    query = {"project": [project], "order_by": ["name"], "only_fields": ["id", "name"]}
    whole = api("tasks.get_all", **query)["tasks"]
    assert [task["name"] for task in whole] == [f"task {n}" for n in range(5)]
    pages = [api("tasks.get_all", **query, page=page, page_size=2)["tasks"] for page in range(4)]
    assert [len(page) for page in pages] == [2, 2, 1, 0]
    assert [task for page in pages for task in page] == whole
    scroll_id, scrolled = None, []
    while more := (reply := api("tasks.get_all_ex", **query, scroll_id=scroll_id, size=2))["tasks"]:
        assert scroll_id in (None, reply["scroll_id"])
        scroll_id = reply["scroll_id"]
        scrolled += more
    assert scrolled == whole


def test_parameters_in_the_address(api: ApiClient, project: str) -> None:
    reply = api.http.get(f"/v2.23/tasks.get_all?project={project}&page=1&page_size=2&name=task")
    assert [task["name"] for task in reply.json()["data"]["tasks"]] == ["task 2", "task 3"]


def test_a_reference_that_is_not_set_is_left_out(api: ApiClient) -> None:
    id = api("tasks.create", name="task", type="training")["id"]
    found = api("tasks.get_all_ex", id=[id], only_fields=["project.name", "user.name", "parent.name"])["tasks"]
    assert found[0].keys() == {"id", "user"}
    assert found[0]["user"].keys() == {"id", "name"}


def test_unknown_ids_are_passed_over(api: ApiClient, project: str) -> None:
    found = api("tasks.get_by_id_ex", id=["nope", *[task["id"] for task in tasks(api, project)]], only_fields=["name"])
    assert len(found["tasks"]) == 5
    assert api.send("tasks.get_by_id_ex", task="nope").error[:2] == (400, 11)


def tasks(api: ApiClient, project: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api("tasks.get_all", project=[project])["tasks"]
    return found


def test_subprojects(api: ApiClient, project: str) -> None:
    name = api("projects.get_by_id", project=project)["project"]["name"]
    kid = api("projects.create", name=f"{name}/kid/deep")["id"]
    hidden = api("projects.create", name=f"{name}/.hidden", system_tags=["hidden"])["id"]
    for of in (kid, hidden):
        api("tasks.create", name="below", type="training", project=of)

    def found(**query: Any) -> int:
        return len(api("tasks.get_all_ex", project=[project], **query)["tasks"])

    assert found() == 5
    assert found(include_subprojects=True) == 6
    assert found(include_subprojects=True, search_hidden=True) == 7


def test_metadata_has_the_shape_that_the_client_knows(api: ApiClient) -> None:
    model = api("models.create", name="model", uri="x", metadata={"k": {"key": "k", "type": "str", "value": "v"}})["id"]
    item = {"key": "k", "type": "str", "value": "v"}
    assert api("models.get_all", id=[model])["models"][0]["metadata"] == {"k": item}
    assert api("models.get_all", "v2.16", id=[model])["models"][0]["metadata"] == [item]
    assert api("queues.get_all", "v2.5", name="^default$")["queues"][0]["metadata"] == []


def test_an_endless_regular_expression_is_refused_and_holds_nobody(api: ApiClient, project: str) -> None:
    api("tasks.create", name="a" * 60 + "b", type="training", project=project)
    answered = 0
    with ThreadPoolExecutor(1) as pool:
        search = pool.submit(api.send, "tasks.get_all_ex", name="(a|aa)+$", project=[project])
        while not search.done():
            assert len(tasks(api, project)) == 6
            answered += 1
    assert search.result().error == (400, 21, "Regular expression takes too long: pattern=(a|aa)+$, limit=5 s")
    assert answered
    assert len(api("tasks.get_all_ex", name="^task [0-9]$", project=[project])["tasks"]) == 5, (
        "the next has its own time"
    )


def test_a_large_reply_arrives_whole(api: ApiClient, project: str) -> None:
    for n, task in enumerate(tasks(api, project)):
        api("tasks.update", task=task["id"], comment=str(n) * 300_000)
    response = api.http.request("GET", "/v2.23/tasks.get_all_ex", json={"project": [project]})
    assert int(response.headers["Content-Length"]) == len(response.content) > 1_500_000
    assert [task["comment"][:2] for task in response.json()["data"]["tasks"]] == ["00", "11", "22", "33", "44"]


@pytest.mark.parametrize(
    ("endpoint", "body", "field"),
    [
        ("projects.get_all_ex", {"children_type": ["x"]}, "children_type"),
        ("tasks.get_all_ex", {"_any_": {"fields": ["name"] * 1_001, "pattern": "x"}}, "_any_"),
        ("tasks.get_all_ex", {"order_by": ["name"] * 2_100}, "order_by"),
        ("models.get_all_ex", {"tags": [{}]}, "tags"),
        ("tasks.get_all", {"tags": ["__$all", *map(str, range(2_000))]}, "tags"),
        ("tasks.get_all", {"search_text": [["x"]]}, "search_text"),
        ("tasks.get_all", {"page": 2**70}, "page"),
        ("organization.get_tags", {"filter": {"tags": ["__$op"]}}, "tags"),
        ("projects.get_hyperparam_values", {"section": "a", "name": "b", "pattern": "x" * 1_001}, "pattern"),
    ],
)
def test_what_no_query_can_be_made_of_is_refused_by_name(
    api: ApiClient, endpoint: str, body: dict[str, Any], field: str
) -> None:
    status, _, text = api.send(endpoint, **body).error
    assert (status, field in text) == (400, True), text


def test_many_values_are_answered(api: ApiClient, project: str) -> None:
    ids = [task["id"] for task in tasks(api, project)]
    many = [f"{n:032x}" for n in range(50_000)]
    assert len(api("tasks.get_all", id=[*many, *ids], page=0, page_size=10)["tasks"]) == 5
    assert api("tasks.get_all", project=[project], page=2**40, page_size=500)["tasks"] == []
    assert len(api("tasks.get_all", project=[project], name="^task\\ 1$", order_by=["name"] * 100)["tasks"]) == 1
