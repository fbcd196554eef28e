"""What an agent's environment says of its queue."""

from __future__ import annotations

import pytest

from clearml_access.queue_policy import PolicyError, QueuePolicy


def test_a_queue_of_which_nothing_is_said():
    found = QueuePolicy.read({"CLEARML_PODS_MEMORY_CAP": ""})
    assert (found.max_pending_s, found.notes(), found.refusal("999Gi")) == (3600, {}, "")


def test_what_is_said_of_a_queue_is_noted_on_its_tasks():
    names = ("CLEARML_PODS_MAX_PENDING_MINUTES", "CLEARML_PODS_MEMORY_CAP", "CLEARML_PODS_LOST_RETRIES")
    found = QueuePolicy.read(dict(zip(names, ("0.5", "16Gi", "10"), strict=True)))
    assert found.max_pending_s == 30
    assert (found.is_over(29), found.is_over(30)) == (False, True)
    assert found.pending_limit == "0.5 min (CLEARML_PODS_MAX_PENDING_MINUTES)"
    assert not QueuePolicy.read({names[0]: "0"}).is_over(10**9)
    assert found.notes() == {"pod_memory_cap": "16Gi", "pod_lost_retries": "10"}
    assert "17Gi of memory is more than the 16Gi" in found.refusal("17Gi")
    assert found.refusal("16Gi") == found.refusal("") == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CLEARML_PODS_MAX_PENDING_MINUTES", "1h"),
        ("CLEARML_PODS_MAX_PENDING_MINUTES", "-1"),
        ("CLEARML_PODS_MAX_PENDING_MINUTES", "nan"),
        ("CLEARML_PODS_MEMORY_CAP", "16 GB"),
        ("CLEARML_PODS_LOST_RETRIES", "many"),
    ],
)
def test_what_cannot_be_read_is_named(name, value):
    with pytest.raises(PolicyError, match=f"{name}={value}: expected"):
        QueuePolicy.read({name: value})
