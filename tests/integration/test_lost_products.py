"""A step whose dataset version or model was deleted on the page is run again, and not taken from the cache."""

from __future__ import annotations

import pytest

from pipeline.clearml_server import ClearmlServer

pytestmark = pytest.mark.integration


def steps_of(done) -> dict[str, bool]:
    """Return which steps of a run were reused."""
    assert done.code == 0, done.stderr
    return {step["name"]: step["cached"] for step in done.document["steps"]}


def test_only_the_step_whose_dataset_version_was_deleted_runs_again(cli, client):
    first = cli("run", "--mode", "in-process", "--json")
    assert not any(steps_of(first).values())
    tasks = {step["name"]: step["task_id"] for step in first.document["steps"]}
    returned = client("tasks.get_by_id", task=tasks["train_processing"])["task"]["hyperparams"]["return"]
    client("tasks.delete", task=returned["dataset_id"]["value"], force=True)

    second = cli("run", "--mode", "in-process", "--json")
    assert steps_of(second) == {"train_test_split": True, "train_processing": False, "test_processing": True}
    log = client("events.get_task_log", task=second.document["run_id"], batch_size=1000)["events"]
    assert f"is not reused: dataset version {returned['dataset_id']['value']}" in "".join(event["msg"] for event in log)
    assert all(steps_of(cli("run", "--mode", "in-process", "--json")).values())


def test_a_deleted_model_is_lost_and_a_kept_one_is_not(server, client, monkeypatch):
    project = client("projects.create", name="lost products")["id"]
    task = client("tasks.create", name="fit", type="training", project=project)["id"]
    kept, deleted = (
        client("models.create", name=name, uri="file:///m", task=task)["id"] for name in ("kept", "deleted")
    )
    client("tasks.add_or_update_model", task=task, name="a", type="output", model=kept)
    client("tasks.add_or_update_model", task=task, name="b", type="output", model=deleted)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    adapter = ClearmlServer.connect()
    assert adapter.lost_products(task) == []
    client("models.delete", model=deleted)
    assert adapter.lost_products(task, has_model=True) == []  # the server has taken the entry away: one is left
    client("models.delete", model=kept)
    assert adapter.lost_products(task, has_model=True) == ["its model"]
    assert adapter.lost_products(task) == []
