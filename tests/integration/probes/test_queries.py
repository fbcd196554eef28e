"""Probes of a genuine server's behaviour, one test each: order and filters of queries.

A probe's words are its test's docstring; its number is that of the list it comes from.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.api_client import ApiClient
from tests.integration.tasks.world import create, get, unique

pytestmark = pytest.mark.integration


def found(api: ApiClient, ids: list[str], **query: Any) -> list[str]:
    return [task["id"] for task in api("tasks.get_all_ex", id=ids, only_fields=["id"], **query)["tasks"]]


def test_a1_missing_fields_come_last(api: ApiClient) -> None:
    """A1: order_by ascending on a field puts documents without that field last (started)."""
    ids = [create(api) for _ in range(3)]
    api("tasks.started", task=ids[1])
    assert found(api, ids, order_by=["started"]) == [ids[1], ids[0], ids[2]]


def test_a1_the_least_metric_comes_first(api: ApiClient) -> None:
    """A1: the same for last_metrics.<m>.<v>.value with page_size 1: the least value, not a task without it."""
    ids = [create(api) for _ in range(3)]
    for task, value in ((ids[0], 0.9), (ids[2], 0.1)):
        api("events.add", type="training_stats_scalar", task=task, iter=0, metric="loss", variant="v", value=value)
    ((metric, variants),) = get(api, ids[0])["last_metrics"].items()
    key = f"last_metrics.{metric}.{next(iter(variants))}.value"
    assert found(api, ids, order_by=[key], page=0, page_size=1) == [ids[2]]
    assert found(api, ids, order_by=[key], scroll_id=None, size=2) == [ids[2], ids[0]]


@pytest.mark.parametrize("sign", ["", "-"])
def test_a2_digits_order_as_numbers(api: ApiClient, sign: str) -> None:
    """A2: order_by hyperparams.<s>.<n>.value sorts digits inside the text as numbers: 1, 2, 11."""
    ids = [
        create(api, hyperparams={"s": {"p": {"section": "s", "name": "p", "type": "int", "value": value}}})
        for value in ("1", "2", "11")
    ]
    assert found(api, ids, order_by=[f"{sign}hyperparams.s.p.value"]) == (ids[::-1] if sign else ids)


def test_a16_tag_filters_exclude(api: ApiClient) -> None:
    """A16: get_tags filter takes -x and __$not x (organization.get_tags, projects.get_project_tags)."""
    tagged, system, other = unique("a"), unique("s"), unique("b")
    create(api, tags=[tagged], system_tags=[system])
    create(api, tags=[other])
    for name, marks in ((unique(), {"tags": [tagged], "system_tags": [system]}), (unique(), {"tags": [other]})):
        api("projects.create", name=name, description="", **marks)
    for endpoint in ("organization.get_tags", "projects.get_project_tags"):
        for spec in (["__$not", system], [f"-{system}"]):
            tags = api(endpoint, filter={"system_tags": spec})["tags"]
            assert other in tags
            assert tagged not in tags


def test_a17_dates_on_several_fields(api: ApiClient) -> None:
    """A17: _any_/_all_ take {datetime, fields} beside {pattern, fields}."""
    task = create(api)
    spec = {"datetime": ["2020-01-01T00:00:00", None], "fields": ["last_update", "status_changed"]}
    assert found(api, [task], _any_=spec) == [task]
    assert found(api, [task], _all_=spec) == []


def test_a17_the_end_of_an_operator(api: ApiClient) -> None:
    """A17: list filters know __$nop (ends the reach of an operator)."""
    first, second = create(api, tags=["a", "b"]), create(api, tags=["a", "c"])
    assert found(api, [first, second], tags=["__$all", "a", "__$nop", "-b"]) == [second]


def test_c1_old_parameters_are_shown_again(api: ApiClient) -> None:
    """C1: API below 2.9: what was given as execution.parameters and execution.model_desc is shown there again."""
    given = {"parameters": {"a": "1", "TF_DEFINE/b": "2"}, "model_desc": {"design": "d"}}
    task = create(api, execution=given)
    for shown in (
        api("tasks.get_all_ex", "v2.8", id=[task])["tasks"][0],
        api("tasks.get_all", "v2.8", id=[task], only_fields=["execution.parameters", "execution.model_desc"])["tasks"][
            0
        ],
        api("tasks.get_by_id", "v2.8", task=task)["task"],
    ):
        assert {name: shown["execution"][name] for name in given} == given
    assert get(api, task)["execution"]["parameters"] == {}


def test_c1_old_parameters_have_sections(api: ApiClient) -> None:
    """C1: execution.parameters TF_DEFINE/<name> is hyperparameter <name> of section TF_DEFINE, all else of Args."""
    task = create(api, execution={"parameters": {"a": "1", "x/y": "3", "TF_DEFINE/b": "2"}})
    held = {section: list(items) for section, items in get(api, task)["hyperparams"].items()}
    assert held == {"Args": ["a", "x/y"], "TF_DEFINE": ["b"]}


def test_c2_old_tags(api: ApiClient) -> None:
    """C2: API below 2.3: known system tags given in tags are stored as system tags and shown in tags."""
    task = str(api("tasks.create", "v2.2", name="task", type="testing", tags=["development", "test"])["id"])
    assert (get(api, task)["tags"], get(api, task)["system_tags"]) == (["test"], ["development"])
    assert api("tasks.get_by_id", "v2.2", task=task)["task"]["tags"] == ["test", "development"]
    api("tasks.update", "v2.2", task=task, tags=["other"])
    assert (get(api, task)["tags"], get(api, task)["system_tags"]) == (["other"], [])
