"""The adapter for ClearML models: register, publish, remove, load. The only importer of the SDK's model classes.

A model is on the server whole or not at all: its file is uploaded before the block of `new_model` runs, it is
published only when that block succeeds, and it is gone if not. Outside system: the ClearML server and its file server,
through the SDK.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from clearml import Model, Task
from clearml.backend_api import Session
from clearml.backend_interface.session import SendError

from pipeline.amazon_reviews.training.errors import ModelError
from pipeline.amazon_reviews.training.predictor import Predictor
from pipeline.clearml_server import ClearmlServer
from pipeline.sdk import models as sdk_models

FRAMEWORK = "ScikitLearn"
"""Whose estimators made them; to read the file needs no scikit-learn."""


@contextlib.contextmanager
def new_model(
    task: Any,
    file: Path,
    *,
    name: str,
    project: str,
    labels: Mapping[str, int],
    design: Mapping[str, Any],
    metadata: Mapping[str, object],
    tags: Sequence[str] = (),
    comment: str = "",
    publish: bool = True,
) -> Iterator[str]:
    """Register a model of a task; the block gets its id. Published when the block ends, gone when it fails.

    Args:
        task: The SDK's task that made it.
        file: The model's file.
        name: Its name.
        project: Name of its project, whatever the project of the task is.
        labels: Name of a class → its number.
        design: What goes in, what comes out, how it was made.
        metadata: Facts to search by, such as metrics.
        tags: Its tags.
        comment: One line about it.
        publish: Whether to publish it.

    Raises:
        ModelError: It could not be stored or published.
    """
    model = sdk_models.TaskModel(
        task=task,
        name=name,
        tags=list(tags),
        comment=comment,
        framework=FRAMEWORK,
        label_enumeration=dict(labels),
        config_dict=dict(design),
    )
    try:
        try:
            model.update_weights(
                weights_filename=str(file),
                upload_uri=task.output_uri or Session.get_files_server_host(),
                target_filename=file.name,
                auto_delete_file=False,
                update_comment=False,
                async_enable=False,
            )
            # The SDK puts it into the task's project: a pipeline's hidden one, where nobody looks for a model.
            model.project = Task.get_project_id(project) or task.project
            facts = {key: {"value": value, "type": type(value).__name__} for key, value in metadata.items()}
            model.set_all_metadata(facts)
        except (ValueError, SendError, OSError) as error:
            raise ModelError(
                f"model {name!r} could not be stored: {error}",
                hint="check the server's free space, then run the same command again",
            ) from error
        yield str(model.id)
        if publish:
            try:
                model.publish()
            except (ValueError, SendError) as error:
                raise ModelError(f"model {name!r} could not be published: {error}") from error
    except BaseException:
        if model.id:
            discard(model.id)
        raise


def discard(model_id: str) -> None:
    """Remove a model with its file."""
    logger = logging.getLogger("clearml")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        Model.remove(model_id, force=True)
    finally:
        logger.setLevel(level)


def load(
    model_id: str | None = None,
    *,
    project: str | None = None,
    name: str | None = None,
    tags: Sequence[str] = (),
    only_published: bool = True,
) -> Predictor:
    """Return a model that predicts: the one named, else the newest that fits.

    Args:
        model_id: Its id.
        project: Its project.
        name: Its name.
        tags: Tags that it all has.
        only_published: Ignore models that are not published.

    Raises:
        ModelError: There is none, or its file is not one that this version reads.
    """
    if model_id is None:
        model_id = newest(project=project, name=name, tags=tags, only_published=only_published)
    model = Model(model_id=model_id)
    if not sdk_models.exists(model):
        raise ModelError(f"model {model_id} does not exist", hint="see the page Models, or train one: ./task fit-model")
    try:
        path = model.get_local_copy(extract_archive=False, raise_on_error=True)
    except (ValueError, SendError) as error:
        raise ModelError(f"model {model_id} cannot be fetched: {error}") from error
    return Predictor.load(Path(path))


def newest(
    *, project: str | None = None, name: str | None = None, tags: Sequence[str] = (), only_published: bool = True
) -> str:
    """Return the id of the model that fits and was changed last.

    Args:
        project: Its project.
        name: Its name.
        tags: Tags that it all has.
        only_published: Ignore models that are not published.

    Raises:
        ModelError: There is none.
    """
    try:
        found = Model.query_models(
            project_name=project,
            model_name=name,
            tags=["__$all", *tags] if tags else None,
            only_published=only_published,
            max_results=1,
        )
    except (ValueError, SendError) as error:  # no such project
        raise ModelError(
            f"there is no model in project {project!r}: {error}", hint="train one: ./task run-full-pipeline"
        ) from error
    if not found:
        wanted = [f"project {project!r}" if project else "", f"name {name!r}" if name else "", *map(repr, tags)]
        kind = "published model" if only_published else "model"
        raise ModelError(
            f"there is no {kind} of {', '.join(filter(None, wanted)) or 'any kind'}",
            hint="train one: ./task fit-model",
        )
    return str(found[0].id)


def unpublished_of(server: ClearmlServer, task_id: str) -> list[str]:
    """Return the ids of the models of a task that are not published."""
    found = server.call("models.get_all", task=[task_id], ready=False, only_fields=["id"])["models"]
    return [str(model["id"]) for model in found]
