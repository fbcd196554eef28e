"""The search as far as it is data: what may be tried, what is best, what there is to learn from."""

import pytest

from pipeline.automation.search import PARAMETERS, choices, prepared_versions, rank, read_trial
from pipeline.clearml_server import DatasetVersion
from pipeline.errors import SettingsError
from pipeline.graph.parameters import parse_assignments


@pytest.mark.parametrize(
    ("name", "text", "values"),
    [
        ("max_features", "500,1000", [500, 1000]),
        ("max_features", " 500 , 500,", [500]),
        ("ngram_max", "1, 2", [1, 2]),
        ("alpha", "0.1", [0.1]),
    ],
)
def test_a_list_of_values_is_typed(name, text, values):
    assert choices(name, text) == values


@pytest.mark.parametrize(
    "assignment",
    [
        "max_features=",
        "max_features=,",
        "max_features=many",
        "max_features=0",
        "ngram_max=9",
        "alpha=-1",
        "metric=speed",
        "strategy=luck",
        "jobs=0",
        "jobs=two",
        "minutes=0",
        "parallel=-1",
        "train_dataset_version=latest",
        "dataset=x",
    ],
)
def test_what_cannot_be_searched_is_refused(assignment):
    with pytest.raises(SettingsError):
        parse_assignments(PARAMETERS, [assignment])


def document(task, accuracy=None, status="completed", features=1000, ngrams=1, model=True):
    values = {"max_features": features, "ngram_max": ngrams, "alpha": 1.0}
    metrics = {"m": {"v": {"metric": "Test set", "variant": "accuracy", "value": accuracy}}} if accuracy else {}
    return {
        "id": task,
        "status": status,
        "hyperparams": {"Args": {name: {"value": str(value)} for name, value in values.items()}},
        "last_metrics": metrics,
        "models": {"output": [{"name": "model", "model": f"model of {task}"}] if model else []},
        "started": "2026-11-23T10:00:00+00:00",
        "completed": "2026-11-23T10:00:05+00:00",
    }


def test_the_best_comes_first_and_what_gave_no_model_last():
    documents = [
        document("failed", 0.99, status="failed"),
        document("worse", 0.7),
        document("large", 0.8, features=4000),
        document("small", 0.8, features=500),
        document("long", 0.8, features=500, ngrams=2),
        document("aborted", status="stopped", model=False),
        document("no model", 0.9, model=False),
    ]
    ranked = rank([read_trial(item) for item in documents], "accuracy")
    assert [trial.task_id for trial in ranked[:4]] == ["small", "long", "large", "worse"]
    assert not any(trial.model_id for trial in ranked[4:])


def test_a_trial_says_what_it_tried_and_how_long_it_took():
    trial = read_trial(document("a", 0.75))
    assert trial.as_json() == {
        "task_id": "a",
        "status": "completed",
        "parameters": {"max_features": "1000", "ngram_max": "1", "alpha": "1.0"},
        "metrics": {"accuracy": 0.75},
        "model_id": "model of a",
        "seconds": 5.0,
    }


def test_the_newest_processed_training_set_with_a_test_set_is_found():
    def version(number, status="completed", processed=True):
        facts = {"Preparation/split_dataset": "x"} if processed else {}
        return DatasetVersion(number, number, status, "", "", facts)

    versions = [
        version("1.2", processed=False),
        version("1.2.1", processed=False),
        version("1.2.2"),
        version("1.2.3"),
        version("1.2.2.post2"),
        version("1.2.3.post2"),
        version("1.2.4", processed=False),
        version("1.2.2.post3"),
        version("1.2.3.post3", "in_progress"),
        version("1.3.2"),
    ]
    assert prepared_versions(versions) == ["1.2.2", "1.2.2.post2"]
    assert prepared_versions(versions[:2]) == []
