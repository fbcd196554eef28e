"""Task "TF-IDF" of the course: what it takes, its script, and its draft on the server.

Light, since `--help` reads the parameters here: no SDK, no arrays; the work is in
`pipeline.amazon_reviews.model.fitting`. A person starts the task with `python -m pipeline fit-model`; the full pipeline
clones the draft that `ensure_template` finds or makes. Outside system: the ClearML server, through its adapter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline import provenance
from pipeline.graph.definitions import PROJECT
from pipeline.graph.parameters import Parameter, ParameterValue, a_seed, a_version, not_blank
from pipeline.settings import step_requirements

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.clearml_server import ClearmlServer

TASK_NAME = "TF-IDF"
TASK_PROJECT = PROJECT
SECTION = "Args"

BERNOULLI_NB, LINEAR = "bernoulli-nb", "linear"
MODELS = (BERNOULLI_NB, LINEAR)
ANALYZERS = ("word",)

METRICS = ("accuracy", "f1", "auc", "precision", "recall", "log loss")
METRICS_TITLE = "Test set"
"""The scalars that the task reports: title `METRICS_TITLE`, one series each."""

RESULT = "result"
"""Name of the artifact that says in JSON what the task has made."""

ENTRY_NAME = "fit_model.py"
ENTRY_SCRIPT = '''\
"""Task TF-IDF: features and a model from processed reviews. The work is in the installed package `pipeline`."""

from pipeline.step_runtime.timeline import mark

mark("process")

from pipeline.amazon_reviews.model.fitting import main

main()
'''


def _one_of(*names: str) -> Any:
    return lambda value: None if value in names else f"{value!r} is none of {', '.join(names)}"


def _at_least_one(value: ParameterValue) -> str | None:
    return None if int(value) >= 1 else f"{value} is less than 1"


def _up_to_three(value: ParameterValue) -> str | None:
    return None if 1 <= int(value) <= 3 else f"{value} is not between 1 and 3"


def _positive(value: ParameterValue) -> str | None:
    return None if 0 < float(value) < float("inf") else f"{value} is not a number above 0"


PARAMETERS: tuple[Parameter, ...] = (
    Parameter("dataset_name", "Amazon reviews dataset", "Name of the dataset", not_blank),
    Parameter("dataset_project", PROJECT, "Project of the dataset", not_blank),
    Parameter("train_dataset_version", "1.2.2", "Version with the processed training set", a_version),
    Parameter("test_dataset_version", "1.2.3", "Version with the processed test set", a_version),
    Parameter("dataset_version", "1.2.4", "Version that the features become", a_version),
    Parameter("max_features", 1000, "Number of features: the commonest terms of the training set", _at_least_one),
    Parameter("analyzer", "word", "What a term is: word", _one_of(*ANALYZERS)),
    Parameter("ngram_max", 1, "Longest term, in words", _up_to_three),
    Parameter("model", BERNOULLI_NB, f"Kind of model: {' or '.join(MODELS)}", _one_of(*MODELS)),
    Parameter("alpha", 1.0, "Smoothing of bernoulli-nb; strength of linear's L2 penalty", _positive),
    Parameter("random_state", 42, "Seed, for the record: neither model draws lots", a_seed),
    Parameter("publish", True, "Publish the model and the features; off for the trials of a search"),
)


def arguments(values: Mapping[str, ParameterValue]) -> list[dict[str, str]]:
    """Return parameters as the server stores them: typed and described."""
    return [
        {
            "section": SECTION,
            "name": parameter.name,
            "value": str(values.get(parameter.name, parameter.default)),
            "type": parameter.type.__name__,
            "description": parameter.description,
        }
        for parameter in PARAMETERS
    ]


def ensure_template(server: ClearmlServer) -> str:
    """Return the id of the task's draft for this code, which is made if it is not there.

    Found by project, name and the package's version and source (runtime properties, which clones do not inherit), never
    by a known id. To be cloned: a draft that somebody enqueues is no longer a draft, and the next call makes another.

    Args:
        server: The server.
    """
    code = {"version": provenance.PACKAGE_VERSION, "source": provenance.source_digest()}
    project = _project(server)
    drafts = server.tasks(
        ["runtime"], project=[project], name=f"^{TASK_NAME}$", status=["created"], order_by=["created"]
    )
    mine = [draft for draft in drafts if code.items() <= (draft.get("runtime") or {}).items()]
    return str(mine[0]["id"]) if mine else _make(server, project, code)


def _make(server: ClearmlServer, project: str, code: dict[str, str]) -> str:
    commit = provenance.commit()
    draft = str(
        server.call(
            "tasks.create",
            name=TASK_NAME,
            project=project,
            type="training",
            comment=f"made by pipeline {provenance.PACKAGE_VERSION}" + (f", commit {commit}" if commit else ""),
            script={
                "repository": "",
                "branch": "",
                "entry_point": ENTRY_NAME,
                "working_dir": ".",
                # The digest in it lets ClearML reuse a step only for the same code.
                "diff": f"# pipeline {code['version']}, source {code['source']}\n{ENTRY_SCRIPT}",
                "requirements": {"pip": "\n".join(step_requirements()) + "\n"},
            },
            hyperparams={SECTION: {item["name"]: item for item in arguments({})}},
        )["id"]
    )
    server.call("tasks.edit", task=draft, runtime=code)
    return draft


def _project(server: ClearmlServer) -> str:
    found = server.call("projects.get_all", name=f"^{TASK_PROJECT}$", search_hidden=True, only_fields=["id"])
    rows = found["projects"] or [server.call("projects.create", name=TASK_PROJECT, description="")]
    return str(rows[0]["id"])
