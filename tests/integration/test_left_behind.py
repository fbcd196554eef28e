"""A pipeline inside another one, run as a process beside its controller, when an agent ends that whole process tree."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from clearml_localserver.pytest_plugin import ClearmlServer

from clearml_access.run_records import DAG_CONFIGURATION
from pipeline import clearml_server as adapter
from pipeline.amazon_reviews.pipelines import FULL_PIPELINE
from pipeline.run_options import QUEUE, RunOptions
from pipeline.runs import run
from pipeline.settings import Settings
from tests.api_client import ApiClient

pytestmark = pytest.mark.integration


class GoneProcess:
    """The process that has enqueued the controller: it has ended."""

    alive = False

    def kill(self) -> None:
        """There is nothing to end."""


class Notes:
    """Somebody who is told what happens."""

    def __init__(self) -> None:
        self.taken: list[str] = []

    def note(self, text: str) -> None:
        self.taken.append(text)

    def update(self, run: Any) -> None:
        pass


@pytest.fixture
def family(api: ApiClient) -> Iterator[dict[str, str]]:
    """A full run whose inner pipeline and that one's first step go on: the controller, the pipeline, the step."""

    def make(name: str, type: str, parent: str | None, graph: dict[str, list[str]]) -> str:
        nodes = {step: {"parents": parents, "job_id": None} for step, parents in graph.items()}
        task: str = api(
            "tasks.create",
            name=name,
            type=type,
            **({"parent": parent} if parent else {}),
            configuration={DAG_CONFIGURATION: {"name": DAG_CONFIGURATION, "value": json.dumps(nodes)}},
        )["id"]
        api("tasks.started", task=task)
        return task

    outer = make("FullPipeline", "controller", None, {"data_prepare": [], "fit_model": ["data_prepare"]})
    inner = make("data_prepare", "controller", outer, {"train_test_split": []})
    step = make("train_test_split", "data_processing", inner, {})
    api("workers.status_report", worker="controllers", task=outer, timestamp=0)
    made = {"outer": outer, "inner": inner, "step": step}
    yield made
    api("tasks.delete_many", ids=list(made.values()), force=True)


def statuses(api: ApiClient, family: dict[str, str]) -> dict[str, str]:
    return {name: api("tasks.get_by_id", task=task)["task"]["status"] for name, task in family.items()}


@pytest.mark.parametrize("end", ["stopped", "failed"])
def test_who_follows_a_run_aborts_the_pipeline_that_its_controller_left_behind(
    api: ApiClient, family: dict[str, str], clearml_server: ClearmlServer, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setattr(run, "LEFT_BEHIND_S", 1.0)
    monkeypatch.setattr(run, "REVIVAL_S", 0.5)
    api(f"tasks.{end}", task=family["outer"])
    notes = Notes()
    settings = Settings(FULL_PIPELINE, FULL_PIPELINE.defaults, RunOptions(queue="default", mode=QUEUE))
    state = run._watch(
        adapter.ClearmlServer.connect(), family["outer"], GoneProcess(), notes, time.monotonic() + 20, settings
    )
    assert state.ended
    assert statuses(api, family) == {"outer": end, "inner": "stopped", "step": "stopped"}
    assert "aborting the pipeline inside it" in notes.taken[0]
