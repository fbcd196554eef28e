"""The short form of `./task test-faults`: whatever is killed while pipelines run, each end has its true cause."""

from __future__ import annotations

import pytest

from tests.api_client import ApiClient
from tests.e2e.cluster_cli import LOG, until
from tests.e2e.deployer import Deployer
from tests.faults.under_load import Plan, run

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1_800)]


def test_pipelines_lose_and_repeat_nothing_whatever_is_killed(installed: Deployer, api: ApiClient) -> None:
    plan = Plan(api_restarts=2, agent_kills=2, pod_deletions=2, pipelines=3)
    outcome = run(installed, api, plan, LOG.info)
    assert outcome.wrong == {}
    assert outcome.faults == {"api_restarts": 2, "agent_kills": 2, "pod_deletions": 2}
    assert outcome.ends["completed"] >= plan.pipelines
    until("the agent works", installed.works)
