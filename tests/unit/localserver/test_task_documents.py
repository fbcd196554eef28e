"""What new, edited, cloned and reset task documents hold."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from clearml_localserver.errors import ApiError
from clearml_localserver.rules import task_documents
from clearml_localserver.rules.tasks import Stamp, Task
from clearml_localserver.times import iso

NOW = datetime(2026, 11, 23, 6, 0, tzinfo=timezone.utc)
LATER = datetime(2026, 11, 23, 7, 0, tzinfo=timezone.utc)
STAMP = Stamp("u1", NOW)


def after_run() -> Task:
    """A task with everything that a run can leave on it."""
    task = task_documents.empty_task("t1", "c1", STAMP)
    times = dict.fromkeys(("started", "completed", "published", "last_worker_report"), iso(NOW))
    lived = {
        "active_duration": 3,
        "last_worker": "w",
        "last_iteration": 9,
        "runtime": {"r": "1"},
        "enqueue_status": None,
    }
    metrics = {"last_metrics": {"m": {}}, "metric_stats": {"m": {}}, "unique_metrics": ["m"]}
    kept = {"name": "full task", "comment": "c", "tags": ["t"], "system_tags": ["development", "archived", "x"]}
    given = {
        "hyperparams": {"S": {"a": {"value": "1"}}},
        "configuration": {"c": {"value": ""}},
        "container": {"image": "i", "arguments": "-e"},
    }
    models = {"input": [{"name": "i", "model": "m1"}], "output": [{"name": "o", "model": "m2"}]}
    task |= times | lived | metrics | kept | given | {"models": models, "project": "p1", "status": "completed"}
    task["execution"] |= {
        "queue": "q1",
        "artifacts": [{"key": "in", "mode": "input"}, {"key": "out", "mode": "output", "uri": "http://f/x"}],
    }
    task["script"] |= {"entry_point": "a.py", "diff": "d"}
    task["output"] = {"destination": "s3://x", "result": "y"}
    return task


def test_new_task_as_clients_find_it() -> None:
    task = task_documents.empty_task("t1", "c1", STAMP)
    assert {task["created"], task["last_update"], task["last_change"]} == {iso(NOW)}
    assert not {"status_reason", "status_message", "status_changed", "started", "project", "parent"} & task.keys()
    assert task["script"] == {"binary": "python", "repository": "", "entry_point": "", "requirements": {}}
    assert task["execution"] == {
        "test_split": 0, "parameters": {}, "model_desc": {}, "model_labels": {}, "artifacts": [],
    }  # fmt: skip
    assert task["models"] == {"input": [], "output": []}


def test_two_new_tasks_share_nothing() -> None:
    first = task_documents.empty_task("t1", "c1", STAMP)
    first["execution"]["artifacts"].append("x")
    first["script"]["requirements"]["pip"] = "x"
    second = task_documents.empty_task("t2", "c1", STAMP)
    assert not second["execution"]["artifacts"]
    assert not second["script"]["requirements"]


def test_edit_merges_script_execution_and_output_and_replaces_the_rest() -> None:
    task = after_run()
    fields = task_documents.edited(
        task,
        {
            "script": {"branch": "main", "diff": None},
            "execution": {"model_labels": {"a": 1}, "queue": None},
            "output_dest": "http://f",
            "container": {"image": "j"},
            "runtime": {},
            "bogus": 1,
            "started": "x",
        },
        iso(LATER),
    )
    assert fields.keys() == {"script", "execution", "output", "container", "runtime"}
    assert fields["script"]["entry_point"] == "a.py"
    assert (fields["script"]["branch"], fields["script"]["diff"]) == ("main", "d")
    assert (fields["execution"]["queue"], fields["execution"]["model_labels"]) == ("q1", {"a": 1})
    assert fields["output"] == {"destination": "http://f", "result": "y"}
    assert fields["container"] == {"image": "j"}
    assert fields["runtime"] == {}


def test_what_old_clients_put_into_the_execution() -> None:
    task = task_documents.empty_task("t1", "c1", STAMP)
    execution = {"parameters": {"p/q": 1, "lr": 9}, "model_desc": {"design": "x"}, "docker_cmd": "img"}
    new = {"Args": {"lr": {"value": "0.1"}}}
    fields = task_documents.edited(task, {"execution": execution, "hyperparams": new}, iso(NOW))
    assert fields["hyperparams"]["Args"]["p/q"] == {"section": "Args", "name": "p/q", "value": "1", "type": "legacy"}
    assert fields["hyperparams"]["Args"]["lr"]["value"] == "0.1"
    assert fields["configuration"] == {"design": {"name": "design", "value": "x", "type": "legacy"}}
    assert (fields["execution"]["parameters"], fields["execution"]["model_desc"]) == ({}, {})
    assert "docker_cmd" not in fields["execution"]


@pytest.mark.parametrize(
    ("request_", "code"),
    [({"name": "ab"}, 800), ({"name": "  a  "}, 800), ({"script": {"bogus": "x"}}, 12)],
)
def test_refused_edits(request_: dict[str, Any], code: int) -> None:
    with pytest.raises(ApiError) as refusal:
        task_documents.edited(after_run(), request_, iso(NOW))
    assert (refusal.value.code, refusal.value.subcode) == (400, code)


def test_names_are_trimmed() -> None:
    assert task_documents.edited(after_run(), {"name": "  abc "}, iso(NOW)) == {"name": "abc"}


def test_update_takes_what_describes_and_passes_over_the_rest() -> None:
    asked = {"name": "new name", "comment": "c", "tags": [], "status": "failed", "type": "x", "runtime": {"a": 1}}
    assert task_documents.updated(asked) == {"name": "new name", "comment": "c", "tags": []}


def test_a_clone_has_what_its_source_was_given_and_nothing_of_its_run() -> None:
    source = after_run()
    clone = task_documents.cloned(source, {}, "t2", "c1", Stamp("u2", LATER))
    new = task_documents.empty_task("t2", "c1", Stamp("u2", LATER))
    for name in ("name", "comment", "tags", "hyperparams", "configuration", "container", "project", "script"):
        assert clone[name] == source[name], name
    for name in ("id", "user", "created", "status", "runtime", "last_metrics", "last_iteration", "last_changed_by"):
        assert clone[name] == new[name], name
    assert not {"started", "completed", "last_worker", "status_changed", "enqueue_status"} & clone.keys()
    assert clone["system_tags"] == ["x"]
    assert clone["parent"] == "t1"
    assert clone["models"] == {"input": source["models"]["input"], "output": []}
    assert [item["key"] for item in clone["execution"]["artifacts"]] == ["in"]
    assert "queue" not in clone["execution"]
    assert clone["output"] == {"destination": "s3://x"}
    clone["hyperparams"]["S"]["a"]["value"] = "changed"
    assert source["hyperparams"]["S"]["a"]["value"] == "1"


def test_what_a_clone_can_be_given() -> None:
    overrides = {
        "new_task_name": "other",
        "new_task_parent": "t0",
        "new_task_tags": [],
        "new_task_hyperparams": {"T": {"b": {"value": "2"}}},
        "new_task_container": {"image": "k"},
        "new_task_input_models": [{"name": "n", "model": "m9"}],
        "execution_overrides": {"parameters": {"p": 1}, "docker_cmd": "img"},
        "new_hyperparams": {"ignored": {}},
    }
    clone = task_documents.cloned(after_run(), overrides, "t2", "c1", STAMP)
    assert (clone["name"], clone["parent"], clone["tags"]) == ("other", "t0", [])
    assert clone["hyperparams"].keys() == {"T", "Args"}
    assert clone["container"] == {"image": "img"}
    assert [item["model"] for item in clone["models"]["input"]] == ["m9"]


def test_a_clone_of_a_clone_is_the_first_one_s_child() -> None:
    assert task_documents.cloned(after_run() | {"parent": "t0"}, {}, "t2", "c1", STAMP)["parent"] == "t0"


@pytest.mark.parametrize("clear_all", [False, True])
def test_reset_takes_the_run_away_and_leaves_what_it_was_given(clear_all: bool) -> None:
    task, before = after_run(), after_run()
    task_documents.reset(task, Stamp("u2", LATER), clear_all=clear_all).apply(task)
    assert (task["status"], task["status_reason"], task["status_message"]) == ("created", "reset", "reset")
    gone = (
        "started",
        "completed",
        "published",
        "active_duration",
        "last_worker",
        "last_worker_report",
        "enqueue_status",
    )
    assert not set(gone) & task.keys()
    assert "queue" not in task["execution"]
    assert (task["last_iteration"], task["runtime"], task["last_metrics"], task["unique_metrics"]) == (0, {}, {}, [])
    assert task["models"] == {"input": before["models"]["input"], "output": []}
    kept = ("name", "tags", "system_tags", "comment", "hyperparams", "configuration", "container", "output", "created")
    for name in kept:
        assert task[name] == before[name], name
    assert task["script"] == (task_documents.SCRIPT_DEFAULTS if clear_all else before["script"])
    assert [item["key"] for item in task["execution"]["artifacts"]] == ([] if clear_all else ["in"])
