"""Task "TF-IDF" of the course: what it takes and what it is.

Light, since `--help` reads the parameters here: no SDK, no arrays; the work is in
`pipeline.amazon_reviews.model.fitting`. A person starts the task with `python -m pipeline fit-model`; the full pipeline
and the search clone its draft. Pure.
"""

from __future__ import annotations

from pipeline.amazon_reviews.definitions import PROJECT
from pipeline.errors import RunError
from pipeline.graph.parameters import (
    Parameter,
    a_seed,
    a_version,
    at_least,
    between,
    not_blank,
    one_of,
    positive,
)
from pipeline.module_tasks.declaration import ModuleTask

BERNOULLI_NB, LINEAR = "bernoulli-nb", "linear"
MODELS = (BERNOULLI_NB, LINEAR)
ANALYZERS = ("word",)

METRICS = ("accuracy", "f1", "auc", "precision", "recall", "log loss")
METRICS_TITLE = "Test set"
"""The scalars that the task reports: title `METRICS_TITLE`, one series each."""

RESULT = "result"
"""Name of the artifact that says in JSON what the task has made."""

PARAMETERS: tuple[Parameter, ...] = (
    Parameter("dataset_name", "Amazon reviews dataset", "Name of the dataset", not_blank),
    Parameter("dataset_project", PROJECT, "Project of the dataset", not_blank),
    Parameter("train_dataset_version", "1.2.2", "Version with the processed training set", a_version),
    Parameter("test_dataset_version", "1.2.3", "Version with the processed test set", a_version),
    Parameter("dataset_version", "1.2.4", "Version that the features become", a_version),
    Parameter("max_features", 1000, "Number of features: the commonest terms of the training set", at_least(1)),
    Parameter("analyzer", "word", "What a term is: word", one_of(*ANALYZERS)),
    Parameter("ngram_max", 1, "Longest term, in words", between(1, 3)),
    Parameter("model", BERNOULLI_NB, f"Kind of model: {' or '.join(MODELS)}", one_of(*MODELS)),
    Parameter("alpha", 1.0, "Smoothing of bernoulli-nb; strength of linear's L2 penalty", positive),
    Parameter("random_state", 42, "Seed, for the record: neither model draws lots", a_seed),
    Parameter("publish", True, "Publish the model and the features; off for the trials of a search"),
)


class FitError(RunError):
    """The task failed; the exit code is that of the error in it, where that is known."""


FIT_MODEL = ModuleTask(
    name="TF-IDF",
    project=PROJECT,
    task_type="training",
    module="pipeline.amazon_reviews.model.fitting",
    parameters=PARAMETERS,
    is_step=True,
    failure=FitError,
)
