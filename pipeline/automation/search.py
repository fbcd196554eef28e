"""The search for a better model: what it takes, and what it found. The search itself: `pipeline.automation.tuning`.

Light, since `--help` reads the parameters here. Outside system: the ClearML server, through its adapter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clearml_access.tasks import moment
from pipeline.amazon_reviews.definitions import PROJECT
from pipeline.amazon_reviews.model import fit_model
from pipeline.amazon_reviews.model.trained import read_metrics
from pipeline.clearml_server import ClearmlServer, DatasetVersion
from pipeline.errors import DataError, ServiceError, SettingsError
from pipeline.graph.parameters import Parameter, ParameterValue, a_version, at_least, not_blank, one_of, positive
from pipeline.module_tasks.declaration import SECTION, ModuleTask
from pipeline.versions import sibling_version

STRATEGIES = ("grid", "random")
OBJECTIVES = ("accuracy", "f1", "auc")
BEST_TAG = "best"
"""The mark of one model of each dataset: the best that the newest search for it has found."""

PREPARED_FACT = "Preparation/split_dataset"
"""Recorded on versions that a processing step has made, and on no others."""

SPACE = ("max_features", "ngram_max", "alpha")
"""Parameters of the task TF-IDF that are searched over, the ones that make a model larger first."""


NEWEST = "newest"


def _or_newest(value: ParameterValue) -> str | None:
    return None if value == NEWEST else a_version(value)


def _values_of(name: str) -> Callable[[ParameterValue], str | None]:
    def check(value: ParameterValue) -> str | None:
        try:
            choices(name, str(value))
        except SettingsError as error:
            return error.message
        return None

    return check


PARAMETERS: tuple[Parameter, ...] = (
    Parameter("dataset_name", "Amazon reviews dataset", "Name of the dataset", not_blank),
    Parameter("dataset_project", PROJECT, "Project of the dataset", not_blank),
    Parameter("train_dataset_version", NEWEST, f"Version with the processed training set, or {NEWEST}", _or_newest),
    Parameter("test_dataset_version", NEWEST, "Version with the processed test set, or the one beside it", _or_newest),
    Parameter("model", fit_model.BERNOULLI_NB, f"Kind of model: {' or '.join(fit_model.MODELS)}"),
    Parameter("max_features", "250, 500, 1000, 2000, 4000", "Numbers of features to try", _values_of("max_features")),
    Parameter("ngram_max", "1, 2", "Longest terms to try, in words", _values_of("ngram_max")),
    Parameter("alpha", "0.1, 0.5, 1.0, 2.0", "Strengths of smoothing to try", _values_of("alpha")),
    Parameter("metric", "accuracy", f"What is best: {', '.join(OBJECTIVES)}", one_of(*OBJECTIVES)),
    Parameter("strategy", "random", f"Which combinations: {' or '.join(STRATEGIES)}", one_of(*STRATEGIES)),
    Parameter("jobs", 6, "Most combinations that are tried", at_least(1)),
    Parameter("minutes", 10.0, "Longest time of the whole search", positive),
    Parameter("parallel", 0, "Trials at once; 0: as many as there are workers on the queue", at_least(0)),
    Parameter("queue", "", "Queue of the trials"),
)

TUNE = ModuleTask(
    name="Tune TF-IDF",
    project=PROJECT,
    task_type="optimizer",
    module="pipeline.automation.tuning",
    parameters=PARAMETERS,
    failure=ServiceError,
    starts=fit_model.FIT_MODEL.task_type,
)


def choices(name: str, text: str) -> list[ParameterValue]:
    """Return the values that a comma-separated list names, each checked as the task TF-IDF would.

    Raises:
        SettingsError: The list is empty, or a value is not possible.
    """
    parameter = next(parameter for parameter in fit_model.PARAMETERS if parameter.name == name)
    values = [parameter.parse(part) for part in text.split(",") if part.strip()]
    if not values:
        raise SettingsError(f"parameter {name}: no values to try", hint=f"--set {name}={parameter.default}")
    return list(dict.fromkeys(values))


def with_versions(server: ClearmlServer, values: Mapping[str, ParameterValue]) -> dict[str, ParameterValue]:
    """Return the parameters with versions of processed sets that exist, in place of "newest".

    Raises:
        NothingPreparedError: The dataset has no processed training set with a test set beside it.
    """
    project, name = str(values["dataset_project"]), str(values["dataset_name"])
    train, test = str(values["train_dataset_version"]), str(values["test_dataset_version"])
    if train == NEWEST:
        pairs = prepared_versions(server.dataset_versions(project, name))
        if not pairs:
            raise NothingPreparedError(
                f"dataset {name!r} in project {project!r} has no processed training and test set",
                hint="make them: ./task run-full-pipeline",
            )
        train = pairs[-1]
    return dict(values) | {
        "train_dataset_version": train,
        "test_dataset_version": sibling_version(train, "test") if test == NEWEST else test,
    }


def prepared_versions(versions: Sequence[DatasetVersion]) -> list[str]:
    """Return the numbers of the processed training sets that have a test set beside them, the newest last."""
    made = [item.version for item in versions if item.final and PREPARED_FACT in item.facts]
    return [
        version
        for version in made
        if version == sibling_version(version, "train") and sibling_version(version, "test") in made
    ]


class NothingPreparedError(DataError):
    """There is no processed dataset to learn from."""

    exit_code = 26


@dataclass(frozen=True)
class Trial:
    """One combination that was tried."""

    task_id: str
    status: str
    parameters: Mapping[str, str]
    metrics: Mapping[str, float]
    model_id: str | None
    seconds: float | None

    def as_json(self) -> dict[str, Any]:
        """Return what `--json` prints of it."""
        return {
            "task_id": self.task_id,
            "status": self.status,
            "parameters": dict(self.parameters),
            "metrics": {name: round(value, 6) for name, value in self.metrics.items()},
            "model_id": self.model_id,
            "seconds": None if self.seconds is None else round(self.seconds, 3),
        }


def trials_of(server: ClearmlServer, search: str, metric: str) -> list[Trial]:
    """Return what a search has tried, the best first.

    Of equally good ones the smaller model is better; trials without a result come last.
    """
    fields = ["status", "hyperparams", "last_metrics", "models.output", "started", "completed"]
    trials = [read_trial(task) for task in server.tasks(fields, parent=[search], order_by=["created"])]
    return rank(trials, metric)


def best_models(server: ClearmlServer, project: str, name: str) -> dict[str, list[str]]:
    """Return the models of a dataset that carry the tag: id → all its tags."""
    tagged = server.call("models.get_all", tags=[BEST_TAG], only_fields=["id", "tags", "task"])["models"]
    makers = sorted({model["task"] for model in tagged if model.get("task")})
    tasks = server.tasks(["hyperparams"], id=makers) if makers else []
    mine = {task["id"] for task in tasks if _dataset_of(task) == (project, name)}
    return {model["id"]: model["tags"] for model in tagged if model.get("task") in mine}


def _dataset_of(task: Mapping[str, Any]) -> tuple[str, ...]:
    arguments = (task.get("hyperparams") or {}).get(SECTION) or {}
    return tuple(str((arguments.get(part) or {}).get("value")) for part in ("dataset_project", "dataset_name"))


def rank(trials: Sequence[Trial], metric: str) -> list[Trial]:
    """Return trials, the best first."""

    def order(trial: Trial) -> tuple[float, ...]:
        value = trial.metrics.get(metric, float("-inf")) if trial.model_id else float("-inf")
        return (-value, *(float(trial.parameters[name]) for name in SPACE))

    return sorted(trials, key=order)


def read_trial(task: Mapping[str, Any]) -> Trial:
    """Read a trial from its task's document."""
    arguments = (task.get("hyperparams") or {}).get(SECTION) or {}
    done = task["status"] in ("completed", "published", "closed")
    models = (task.get("models") or {}).get("output") or []
    started, completed = moment(task.get("started")), moment(task.get("completed"))
    return Trial(
        task_id=task["id"],
        status=task["status"],
        parameters={name: str(arguments[name]["value"]) for name in SPACE if name in arguments},
        metrics=read_metrics(task.get("last_metrics") or {}) if done else {},
        model_id=models[0]["model"] if done and models else None,
        seconds=completed - started if done and started and completed else None,
    )
