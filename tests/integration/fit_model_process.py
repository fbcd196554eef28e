"""What the tests of the task TF-IDF call in a process whose SDK knows their server."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from clearml_access.errors import UserFacingError
from pipeline.errors import exit_code_of
from tests.integration.pipeline_cli import NAME, PROJECT


def make_versions(files: Mapping[str, str]) -> None:
    """Put files on the server as dataset versions: quicker than a run of DataPrepare, and any file will do."""
    from pipeline.clearml_server import ClearmlServer
    from pipeline.datasets.datasets import new_version

    server = ClearmlServer.connect()
    for version, file in files.items():
        with new_version(server, project=PROJECT, name=NAME, version=version) as draft:
            draft.add(Path(file))


def fetch(dataset: str, folder: str) -> None:
    """Fetch the features' dataset version as anybody would."""
    from clearml import Dataset

    Dataset.get(dataset).get_mutable_local_copy(folder)


def serve(texts: list[str]) -> list[tuple[int, str, bool]]:
    from pipeline.amazon_reviews.model import registry

    predictor = registry.load(project=PROJECT, name="TF-IDF bernoulli-nb")
    return [(item.polarity, item.label, item.probability > 0.5) for item in predictor.predict(texts)]


def ask_for_the_draft() -> str:
    from pipeline.amazon_reviews.model.fit_model import FIT_MODEL
    from pipeline.clearml_server import ClearmlServer
    from pipeline.module_tasks.drafts import ensure_draft

    return ensure_draft(ClearmlServer.connect(), FIT_MODEL)


def work(**parameters: str) -> dict[str, Any]:
    """Do a task's work, without a process of its own."""
    from clearml import Task

    from pipeline.amazon_reviews.model import fit_model, fitting
    from pipeline.clearml_server import ClearmlServer
    from pipeline.module_tasks.drafts import clone

    task = Task.get_task(clone(ClearmlServer.connect(), fit_model.FIT_MODEL, parameters))
    task.mark_started()
    try:
        return fitting.run(task)
    finally:
        task.mark_stopped()


def refused_work(**parameters: str) -> tuple[int, str]:
    with pytest.raises(UserFacingError) as caught:
        work(**parameters)
    return exit_code_of(type(caught.value)), caught.value.message


def load(wanted: Mapping[str, str]) -> int:
    from pipeline.amazon_reviews.model import registry

    try:
        registry.load(**wanted)
    except UserFacingError as error:
        return exit_code_of(type(error))
    return 0


def work_without_room() -> tuple[set[str], str]:
    """Fit a model that is on the server when its features are refused; return what was there then, and the error."""
    from clearml import Model

    from pipeline.sdk.datasets import FastDataset

    seen: set[str] = set()

    def refuse(*_: Any, **__: Any) -> None:
        seen.update(model.id for model in Model.query_models(project_name=PROJECT))
        raise ValueError("Upload failed: no space left on the server")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FastDataset, "upload", refuse)
        _, message = refused_work()
    return seen, message


def begin_a_version_and_clear_up(has_started: bool) -> None:
    from clearml import Task

    from pipeline.clearml_server import ClearmlServer
    from pipeline.datasets import datasets

    begun = Task.create(f"{PROJECT}/.datasets/{NAME}", NAME, "data_processing")
    begun.set_system_tags(["dataset"])
    if has_started:
        begun.mark_started()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets, "NAMELESS_S", 0.1)
        assert len(datasets.discard_unfinished(ClearmlServer.connect(), PROJECT, NAME, {"0" * 32})) == 1


def begin_a_model_and_clear_up() -> None:
    from clearml import Task
    from clearml.backend_interface.model import Model

    from pipeline.amazon_reviews.model import registry
    from pipeline.clearml_server import ClearmlServer

    task = Task.create(PROJECT, "stopped", "training")
    task.mark_started()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Model, "_edit", Mock(side_effect=KeyboardInterrupt))
        patch.setattr(registry, "discard", Mock())  # a killed process does nothing more
        with registry.new_model(task, Path("model"), name="begun", project=PROJECT, labels={}, design={}, metadata={}):
            pass
    server = ClearmlServer.connect()
    begun = registry.unpublished_of(server, str(task.id))
    assert len(begun) == 1
    registry.discard(begun[0])
    server.call("tasks.delete", task=str(task.id), force=True)
