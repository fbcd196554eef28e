"""FullPipeline: the DataPrepare pipeline, then the task TF-IDF on what it has made. Existing tasks, cloned.

The controller's process runs `main` (its script: `controller_task`). Which versions the model learns from,
DataPrepare's controller says on its own task, and this pipeline refers to that: a run that found everything in the
cache passes on the versions of the run that made them. How it runs, `pipeline.controllers.controller` says.
"""

from __future__ import annotations

from typing import Any

from pipeline import versions
from pipeline.amazon_reviews.definitions import DATA_PREPARE
from pipeline.amazon_reviews.model import fit_model
from pipeline.amazon_reviews.pipelines import FULL_PIPELINE
from pipeline.controllers.controller import Controller, run_controller
from pipeline.controllers.options import Launch
from pipeline.module_tasks.declaration import SECTION
from pipeline.module_tasks.drafts import ensure_draft

PREPARED = ("train", "test")
MODEL = "model"
"""What the SDK calls an output model on its task: the file's name without its ending."""


def main(arguments: list[str] | None = None) -> None:
    """Run the controller."""
    run_controller(build, arguments)


def build(launch: Launch) -> Controller:
    """Return the pipeline, ready to start in any mode."""
    pipe = Controller(FULL_PIPELINE, launch)
    pipe.add_pipeline(
        "data_prepare",
        DATA_PREPARE,
        parameters={parameter.name: f"${{pipeline.{parameter.name}}}" for parameter in DATA_PREPARE.parameters},
    )
    own = {parameter.name for parameter in FULL_PIPELINE.parameters} - {"dataset_version"}
    pipe.add_task(
        "fit_model",
        ensure_draft(pipe.server, fit_model.FIT_MODEL),
        section=SECTION,
        parameters={
            **{
                parameter.name: f"${{pipeline.{parameter.name}}}"
                for parameter in fit_model.PARAMETERS
                if parameter.name in own
            },
            **{
                f"{part}_dataset_version": f"${{data_prepare.parameters.return/{part}_dataset_version}}"
                for part in PREPARED
            },
        },
        before=_name_features,
        metrics=[(fit_model.METRICS_TITLE, name) for name in fit_model.METRICS],
        models=[(MODEL, fit_model.FIT_MODEL.name)],
    )
    return pipe


def _name_features(pipe: Any, node: Any, parameters: dict[str, Any]) -> bool:
    """Number the features after the training set that they are made of, run included: 1.2.2.post2 gives 1.2.4.post2."""
    train = str(parameters[f"{SECTION}/train_dataset_version"])
    parameters[f"{SECTION}/dataset_version"] = versions.sibling_version(train, "features")
    return True
