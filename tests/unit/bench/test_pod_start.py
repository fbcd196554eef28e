"""What the pod start benchmark makes of the moments it has seen, and what its task says of itself."""

from __future__ import annotations

import argparse
import subprocess
import sys

import pytest

from bench import harness, pod_environment, pod_start
from bench.pod_start import PHASES, Round
from deploy.helm import values_schema
from deploy.helm.values import merge

ENDS = {"queue wait": 12.5, "glue": 12.75, "pod": 13.0, "bootstrap": 20.0, "agent": 21.0, "environment": 50.0}


def test_phases_follow_each_other_and_add_up():
    found = Round(10.0, ENDS)
    assert list(found.phases()) == list(PHASES)
    assert found.phases()["bootstrap"] == 7.0
    assert sum(found.phases().values()) == found.total == 40.0


def test_the_tasks_own_script_says_when_each_phase_ended():
    """Outside of a pod no process is an agent, so one is played: by its name and words alone."""
    play = f"import sys; sys.argv = []\nexec({pod_start.CODE!r})"
    argv = [sys.executable, "-c", play, "clearml_agent", "execute"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    line = next(line for line in done.stdout.splitlines() if line.startswith(pod_start.MARK))
    assert all(f'"{phase}": ' in line for phase in ("pod", "bootstrap", "agent", "environment"))


def test_a_stock_pod_gets_nothing_of_this_projects_template(monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.example/simple")
    ours = {"agentk8sglue": {"basePodTemplate": {"podSecurityContext": {"runAsUser": 1000}, "resources": {}}}}
    merged = merge(ours, pod_environment.stock_values("stock:1"))["agentk8sglue"]
    assert merged["defaultContainerImage"] == "stock:1"
    assert not merged["basePodTemplate"].get("podSecurityContext")
    assert merged["basePodTemplate"]["env"] == [{"name": "PIP_INDEX_URL", "value": "https://index.example/simple"}]


def test_stock_values_are_none_that_the_chart_would_ignore():
    values_schema.require(pod_environment.stock_values("stock:1"), {})


@pytest.mark.parametrize("words", [["--kubeconfig", "k"], ["--host-address", "10.0.0.1"]])
def test_a_cluster_of_ones_own_needs_both_its_options(words):
    options, _ = harness.BENCHMARKS["pod-start"].load().options(words, quick=False)
    assert "go together" in pod_start.unavailable(options)


def test_a_named_cluster_needs_no_host():
    options = argparse.Namespace(kubeconfig="k", host_address="10.0.0.1")
    assert pod_start.unavailable(options) == ""
