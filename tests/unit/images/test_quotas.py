"""Tasks that a quota keeps waiting, and those that it can never have room for."""

from __future__ import annotations

import pytest

from tests.fakes import agent_image

REFUSAL = 'pods "x" is forbidden: exceeded quota: small, requested: {}, used: {}, limited: {}'


@pytest.fixture(scope="module")
def quotas():
    return agent_image.module("quotas")


@pytest.mark.parametrize(
    ("refusal", "says"),
    [
        (REFUSAL.format("pods=1", "pods=2", "pods=2"), ""),
        (REFUSAL.format("limits.memory=4Gi", "limits.memory=0", "limits.memory=4096Mi"), ""),
        (
            REFUSAL.format("limits.memory=8Gi", "limits.memory=0", "limits.memory=4Gi"),
            "small allows in all: limits.memory=8Gi of 4Gi",
        ),
        (
            REFUSAL.format("pods=1,requests.cpu=3", "pods=9,requests.cpu=0", "pods=9,requests.cpu=2500m"),
            "requests.cpu=3 of 2500m",
        ),
        (REFUSAL.format("count/pods=1", "count/pods=0", "count/pods=0"), "count/pods=1 of 0"),
        ("exceeded quota", ""),
    ],
)
def test_a_pod_that_is_larger_than_its_quota_can_never_start(quotas, refusal, says):
    assert quotas.beyond(refusal).endswith(says)
    assert bool(quotas.beyond(refusal)) is bool(says)


def test_the_first_task_of_each_queue_is_counted_for_itself(quotas, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(quotas.time, "monotonic", lambda: now[0])
    waits = quotas.Waits()
    assert waits.seconds("a", "one") == 0
    now[0] = 10
    assert (waits.seconds("a", "one"), waits.seconds("b", "two")) == (10, 0)
    assert waits.seconds("a", "other") == 0, "another task is the first now"
    waits.end("a")
    now[0] = 20
    assert (waits.seconds("a", "other"), waits.seconds("b", "two")) == (0, 10)
