"""Hyper-parameters, configuration, artifacts and models of a task."""

from __future__ import annotations

import pytest

from tests.api_client import ApiClient
from tests.integration.tasks.world import create, get

pytestmark = pytest.mark.integration


def test_hyperparameters(api: ApiClient) -> None:
    task = create(api)
    items = [
        {"section": "Args", "name": "a.b", "value": "1", "type": "int"},
        {"section": "$sec", "name": "$n", "value": "2"},
    ]
    assert api("tasks.edit_hyper_params", task=task, hyperparams=items) == {"updated": 1}
    ordered = [items[1], items[0]]
    assert api("tasks.get_hyper_params", tasks=[task]) == {"params": [{"task": task, "hyperparams": ordered}]}
    assert get(api, task)["hyperparams"]["Args"]["a.b"] == items[0]
    gone = [{"section": "Args", "name": "a.b"}, {"section": "zz", "name": "zz"}]
    assert api("tasks.delete_hyper_params", task=task, hyperparams=gone) == {"deleted": 1}
    assert get(api, task)["hyperparams"] == {"Args": {}, "$sec": {"$n": items[1]}}
    only = [{"section": "S", "name": "n", "value": "v"}]
    api("tasks.edit_hyper_params", task=task, hyperparams=only, replace_hyperparams="all")
    assert get(api, task)["hyperparams"] == {"S": {"n": only[0]}}
    bad = api.send("tasks.edit_hyper_params", task=task, hyperparams=only, replace_hyperparams="some")
    assert bad.error[:2] == (400, 12)


def test_configuration(api: ApiClient) -> None:
    task, empty = create(api), create(api)
    items = [{"name": "b.c", "value": "1"}, {"name": "a", "value": ""}]
    assert api("tasks.edit_configuration", task=task, configuration=items) == {"updated": 1}
    found = api("tasks.get_configurations", tasks=[task])["configurations"]
    assert found == [{"task": task, "configuration": [items[1], items[0]]}]
    named = api("tasks.get_configurations", tasks=[task], names=["a", "zz"])["configurations"]
    assert named == [{"task": task, "configuration": [items[1]]}]
    names = api("tasks.get_configuration_names", tasks=[task, empty])["configurations"]
    assert names == [{"task": task, "names": ["b.c"]}]
    names = api("tasks.get_configuration_names", tasks=[task, empty], skip_empty=False)["configurations"]
    assert names == [{"task": task, "names": ["a", "b.c"]}]
    api("tasks.edit_configuration", task=task, configuration=[{"name": "x", "value": "y"}], replace_configuration=True)
    assert list(get(api, task)["configuration"]) == ["x"]
    assert api("tasks.delete_configuration", task=task, configuration=["x", "zz"]) == {"deleted": 1}
    assert get(api, task)["configuration"] == {}


def test_artifacts(api: ApiClient) -> None:
    task = create(api)
    given = [{"key": "b", "type": "custom", "uri": "u"}, {"key": "a", "type": "custom", "bogus": 1}]
    assert api("tasks.add_or_update_artifacts", task=task, artifacts=given) == {"updated": 1}
    stored = get(api, task)["execution"]["artifacts"]
    assert [item["key"] for item in stored] == ["a", "b"]
    assert stored[0] == {"key": "a", "type": "custom", "mode": "output", "display_data": []}
    assert api("tasks.delete_artifacts", task=task, artifacts=[{"key": "a"}, {"key": "zz"}]) == {"deleted": 1}
    assert [item["key"] for item in get(api, task)["execution"]["artifacts"]] == ["b"]
    assert api.send("tasks.add_or_update_artifacts", task=task, artifacts=[{"key": "a"}]).error[:2] == (400, 12)
    api("tasks.edit", task=task, execution={"artifacts": []})
    assert get(api, task)["execution"]["artifacts"] == []


def test_task_models(api: ApiClient) -> None:
    task = create(api)
    for model in ("nope", "other"):
        reply = api("tasks.add_or_update_model", task=task, name="m.a", type="input", model=model, iteration=5)
        assert reply == {"updated": 1}
    found = get(api, task)
    assert [(item["name"], item["model"]) for item in found["models"]["input"]] == [("m.a", "other")]
    assert found["last_iteration"] == 5
    reply = api(
        "tasks.delete_models", task=task, models=[{"name": "m.a", "type": "input"}, {"name": "z", "type": "output"}]
    )
    assert reply == {"updated": 1}
    assert get(api, task)["models"] == {"input": [], "output": []}
