"""A dataset version that does not exist: what the message lists, and what the hint says to set."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pipeline.clearml_server import DatasetVersion
from pipeline.datasets.lookup import DatasetNotFoundError, require_version

MANY = ["1.0", "1.1", *(f"1.1.{stage}.post{run}" for run in range(2, 9) for stage in (3, 2, 1, 4))]


@pytest.mark.parametrize(
    ("versions", "wanted", "stage", "hint"),
    [
        (["1.0", "1.1", "1.1.1", "1.1.2", "1.1.3"], "9", "train", "--set train_dataset_version=1.1.2"),
        (["1.0", "1.1", "1.1.1", "1.1.2", "1.1.3"], "7.7.2", "test", "--set test_dataset_version=1.1.3"),
        (["1.0", "1.1"], "7.7.2", "test", "--set test_dataset_version=1.1"),
        (["1.0", "1.1", "1.1.1", "1.1.2"], "7.7", "", "--set dataset_version=1.1"),
        (["1.0", "1.1", "1.1.1", "1.1.2"], "9", "", "--set dataset_version=1.1"),
        (["1.0", "1.1", "1.1.1", "1.1.2"], "9.9.9", "", "--set dataset_version=1.1.2"),
        (MANY, "9", "train", "--set train_dataset_version=1.1.2.post8"),
        (["draft"], "9", "train", "--set train_dataset_version=draft"),
    ],
)
def test_the_hint_sets_the_parameter_that_was_given(versions, wanted, stage, hint):
    assert refusal(versions, wanted, stage).hint == hint


def test_the_newest_versions_are_listed_in_their_order():
    assert refusal(MANY, "9", "").message.endswith(
        "versions: 1.1.1.post7, 1.1.1.post8, 1.1.2.post7, 1.1.2.post8, 1.1.3.post7, 1.1.3.post8, 1.1.4.post7, "
        "1.1.4.post8 (the newest 8 of 30)"
    )


def refusal(versions, wanted, stage):
    found = [DatasetVersion(version, version, "completed", "", "", {}) for version in versions]
    server = SimpleNamespace(dataset_versions=lambda *_: found)
    with pytest.raises(DatasetNotFoundError) as refused:
        require_version(server, "Project", "Name", wanted, stage=stage)
    return refused.value
