"""The work of the task TF-IDF, in its own process: read processed versions, train, report, register, publish.

Nothing is published before everything is there, and what was begun is removed when something fails: the model's file is
uploaded, the features become a dataset version, then the model is published. It must not know how the task was started
(`amazon_reviews.fit_run`) nor what training is (`amazon_reviews.training`). Outside systems: the ClearML
server, through its adapters and the running task's logger.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clearml import Task

from pipeline import provenance
from pipeline.amazon_reviews.model import fit_model, plots, registry
from pipeline.amazon_reviews.reviews.frames import CLASSES
from pipeline.amazon_reviews.reviews.review_files import POLARITY
from pipeline.amazon_reviews.reviews.text import CORPUS
from pipeline.amazon_reviews.training.errors import TrainingDataError
from pipeline.amazon_reviews.training.model import FILE_NAME
from pipeline.amazon_reviews.training.tables import Processed
from pipeline.amazon_reviews.training.train import Options, Trained, train
from pipeline.clearml_server import ClearmlServer, DatasetVersion
from pipeline.datasets import datasets
from pipeline.datasets.lookup import require_version
from pipeline.graph.parameters import ParameterValue
from pipeline.sdk.steps import prepare
from pipeline.step_runtime.scratch import scratch_folder
from pipeline.step_runtime.timeline import complete, mark

INPUT = {
    "texts": "list of str: reviews as people write them; "
    "pipeline.amazon_reviews.reviews.text.corpus makes lemmas of them",
    "terms": "words of two characters or more among the lemmas, lower case, and runs of up to ngram_max of them",
}
OUTPUT = {"polarity": "int: 1 or 2", "label": "str: negative or positive", "probability": "float: of that label"}


def main() -> None:
    """Run the task that this process belongs to."""
    mark("function")
    prepare()
    task = Task.init(
        project_name=fit_model.FIT_MODEL.project,
        task_name=fit_model.FIT_MODEL.name,
        task_type=Task.TaskTypes.training,
        auto_connect_frameworks=False,
        auto_connect_arg_parser=False,
    )
    mark("work")
    run(task)
    complete(task)


def run(task: Any) -> dict[str, Any]:
    """Do the work of a task with the parameters that it has; return what it made.

    Raises:
        SettingsError: A parameter is of the wrong type or out of range.
        DatasetNotFoundError: A version does not exist; the message lists what does.
        DatasetStateError: A version was never finished, or the new one cannot be stored.
        TrainingDataError: A version is not of processed reviews, or nothing can be learnt from it.
        ModelError: The model cannot be stored or published.
    """
    values = fit_model.FIT_MODEL.read(task.get_parameters())
    server = ClearmlServer.of_task(task)
    project, name = str(values["dataset_project"]), str(values["dataset_name"])
    folder = scratch_folder()
    sources = [
        require_version(server, project, name, str(values[f"{part}_dataset_version"]), stage=part)
        for part in ("train", "test")
    ]
    train_set, test_set = (
        _processed(part, source, folder / part) for part, source in zip(("train", "test"), sources, strict=True)
    )
    versions = {f"{part}_version": source.version for part, source in zip(("train", "test"), sources, strict=True)}
    trained = train(
        train_set,
        test_set,
        Options(
            kind=str(values["model"]),
            max_features=int(values["max_features"]),
            ngram_max=int(values["ngram_max"]),
            alpha=float(values["alpha"]),
        ),
        folder,
        facts={
            "dataset": f"{project}/{name}",
            **versions,
            "parameters": {key: values[key] for key in ("analyzer", "max_features", "ngram_max", "alpha")},
            "made_by": f"clearml-pods {provenance.PACKAGE_VERSION}, source {provenance.source_digest()}",
            "input": INPUT,
            "output": OUTPUT,
        },
        say=print,
    )
    _report(task, trained)
    result = _store(server, task, values, sources, trained, folder)
    task.upload_artifact(fit_model.RESULT, result, wait_on_upload=True)
    scores = ", ".join(f"{key} {result['metrics'][key]:.4f}" for key in ("accuracy", "f1", "auc"))
    print(f"{trained.model.kind} of {len(trained.model.terms)} terms: {scores}")
    return result


def _processed(part: str, version: DatasetVersion, folder: Path) -> Processed:
    """Fetch the processed reviews of a version: the parquet files that it adds to its parents'."""
    source = datasets.open_version(dataset_id=version.id, alias=part)
    names = source.own_names()
    if not any(file.endswith(".parquet") for file in names):
        raise TrainingDataError(
            f"version {version.version} of dataset {source.name!r} is not processed: "
            f"it adds {', '.join(names[:5]) or 'no files'}",
            hint=f"--set {part}_dataset_version=... with a version that the step {part}_processing made, "
            f"such as 1.2.{2 if part == 'train' else 3}",
        )
    wanted = [name for name in names if name.endswith(".parquet")]
    files = source.own_files(folder, names=wanted, columns=(POLARITY, CORPUS))
    label = {"train": "training set", "test": "test set"}[part]
    return Processed(f"{label} (version {version.version})", files)


def _report(task: Any, trained: Trained) -> None:
    """Show the evaluation on the task's page."""
    logger = task.get_logger()
    evaluation = trained.evaluation
    for name in fit_model.METRICS:
        logger.report_scalar(fit_model.METRICS_TITLE, name, evaluation.scalars[name], iteration=0)
        logger.report_single_value(name, evaluation.scalars[name])
    logger.report_table("Classification report", "test set", iteration=0, table_plot=evaluation.report_table())
    logger.report_plotly("Confusion matrix", "test set", plots.confusion_matrix(evaluation), iteration=0)
    logger.report_plotly("ROC", "test set", plots.roc(evaluation), iteration=0)
    logger.report_plotly("Heaviest terms", "model", plots.heaviest_terms(trained.model), iteration=0)


def _store(
    server: ClearmlServer,
    task: Any,
    values: Mapping[str, ParameterValue],
    sources: list[DatasetVersion],
    trained: Trained,
    folder: Path,
) -> dict[str, Any]:
    """Register the model and, if it is to be published, publish it and the features it was made of."""
    model = trained.model
    file = folder / FILE_NAME
    model.save(file)
    metrics = dict(model.facts["metrics"])
    result: dict[str, Any] = {"metrics": metrics, "train_rows": trained.train_rows, "test_rows": trained.test_rows}
    draft_id = None
    try:
        with registry.new_model(
            task,
            file,
            name=f"{fit_model.FIT_MODEL.name} {model.kind}",
            project=fit_model.FIT_MODEL.project,
            labels={label: number for number, label in CLASSES.items()},
            design={key: value for key, value in model.facts.items() if key != "metrics"},
            metadata={
                **metrics,
                "framework": registry.FRAMEWORK,
                "features": len(model.terms),
                "train_version": sources[0].version,
                "test_version": sources[1].version,
            },
            comment=f"Polarity of reviews: {model.kind} on {len(model.terms)} terms",
            publish=bool(values["publish"]),
        ) as model_id:
            result["model_id"] = model_id
            if values["publish"]:
                draft_id = _publish_features(server, task, values, sources, trained, file, result)
    except BaseException:
        if draft_id:
            datasets.discard(draft_id)
        raise
    return result


def _publish_features(
    server: ClearmlServer,
    task: Any,
    values: Mapping[str, ParameterValue],
    sources: list[DatasetVersion],
    trained: Trained,
    file: Path,
    result: dict[str, Any],
) -> str:
    facts = {
        **{f"Training/{name}": value for name, value in values.items() if not name.startswith("dataset")},
        "Training/train_dataset": sources[0].id,
        "Training/test_dataset": sources[1].id,
        "Training/features": len(trained.model.terms),
        "Training/model": trained.model.kind,
        "Training/model_id": result["model_id"],
        **{f"Training/{name}": value for name, value in result["metrics"].items()},
        "Preparation/step": task.id,
        "Preparation/package": provenance.PACKAGE_VERSION,
        "Preparation/source": provenance.source_digest(),
        "Preparation/commit": provenance.commit(),
    }
    with datasets.new_version(
        server,
        project=str(values["dataset_project"]),
        name=str(values["dataset_name"]),
        version=str(values["dataset_version"]),
        parents=list(dict.fromkeys(source.id for source in sources)),
        description=f"Features of versions {' and '.join(source.version for source in sources)}: counts of terms",
        facts=facts,
    ) as draft:
        for path in (trained.train_features, trained.test_features, file):
            draft.add(path)
        draft.report_table("Classification report", "test set", trained.evaluation.report_table())
    result |= {"dataset_id": draft.id, "dataset_version": draft.version}
    return draft.id
