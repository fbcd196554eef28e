"""How long each phase of a pod took, from what Kubernetes and the task's record say."""

from __future__ import annotations

import pytest

from clearml_access import pod_records
from tests.fakes import agent_image

DAY = "2026-11-27T10:00:"


def test_phases_follow_from_the_moments_of_a_pod():
    phases = agent_image.module("phases")
    pod = {
        "metadata": {"creationTimestamp": f"{DAY}00Z"},
        "status": {
            "conditions": [
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": f"{DAY}01Z"},
                {"type": "PodReadyToStartContainers", "status": "True", "lastTransitionTime": f"{DAY}03Z"},
            ],
            "containerStatuses": [
                {"state": {"terminated": {"startedAt": f"{DAY}07Z", "finishedAt": f"{DAY}40Z", "exitCode": 0}}}
            ],
        },
    }
    state = {"status": "in_progress", "status_changed": f"{DAY}12.400000+00:00"}
    execution = phases.execution_start(None, {**state, "status_reason": "worker starting task execution"})
    found = phases.phases(pod, phases.sandbox_time(pod), execution)
    assert found == {"schedule": 1, "start": 2, "pull": 4, "setup": 5, "run": 28}
    text = pod_records.phases_as_text(found)
    assert text == "schedule 1 s, start 2 s, pull 4 s, setup 5 s, run 28 s"
    assert pod_records.phases_of({"runtime": {"pod_phases": text}}) == found


@pytest.mark.parametrize(
    "state",
    [
        {"status": "in_progress", "status_reason": "starting execution soon"},
        {"status": "completed", "status_reason": "worker execution done"},
    ],
)
def test_a_task_that_its_agent_prepares_or_that_has_ended_does_not_execute(state):
    assert agent_image.module("phases").execution_start(None, {**state, "status_changed": f"{DAY}12Z"}) is None


def test_a_pod_that_never_ran_has_the_phases_that_it_went_through():
    phases = agent_image.module("phases")
    pod = {"metadata": {"creationTimestamp": f"{DAY}00Z"}, "status": {"phase": "Pending"}}
    assert phases.phases(pod, None, None) == {}
