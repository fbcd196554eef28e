from __future__ import annotations

import random

import pytest
from clearml.utilities.version import Version

from pipeline.errors import SettingsError
from pipeline.versions import (
    child_version,
    next_batch_version,
    sibling_version,
    unique_version,
    version_key,
    version_to_hold,
)

CHILDREN = [
    ("1.2", "split", "1.2.1"),
    ("1.2", "train", "1.2.2"),
    ("1.2", "test", "1.2.3"),
    ("1.0", "split", "1.0.1"),
    ("7", "test", "7.3"),
    ("1.2.1.post2", "train", "1.2.1.2.post2"),
]
SIBLINGS = [("1.2.1", "train", "1.2.2"), ("1.2.1.post3", "test", "1.2.3.post3"), ("1.12.1", "split", "1.12.1")]
BATCHES = [
    ([], "1.1"),
    (["1.0"], "1.1"),
    (["1.0", "1.1"], "1.2"),
    (["1.10", "1.9", "1.0"], "1.11"),
    (["1.1", "1.2", "1.2.1", "1.2.2.post2", "2.7", "draft", "1.9-rc1"], "1.3"),
]
UNIQUE = [
    ("1.2.1", [], "1.2.1"),
    ("1.2.1", ["1.2", "1.2.11", "1.3.2"], "1.2.1"),
    # A split begins a run: what an earlier run has left of a later stage would give that one another number.
    ("1.2.1", ["1.2.2"], "1.2.1.post2"),
    ("1.2.1", ["1.2.1", "1.2.1.post3", "1.2.2.post4"], "1.2.1.post5"),
    ("1.2.1.post2", ["1.2.1", "1.2.4.post2"], "1.2.1.post3"),
    ("1.2.2.post4", ["1.2.1.post4", "1.2.3.post4"], "1.2.2.post4"),
    ("1.2.1", ["1.2.1"], "1.2.1.post2"),
    ("1.2.1", ["1.2.1", "1.2.1.post2", "1.2.1.post10", "draft"], "1.2.1.post11"),
    ("1.2.2.post2", ["1.2.2"], "1.2.2.post2"),
    ("1.2.2.post2", ["1.2.2", "1.2.2.post2"], "1.2.2.post3"),
]


@pytest.mark.parametrize(("base", "stage", "version"), CHILDREN)
def test_child_version(base: str, stage: str, version: str) -> None:
    assert child_version(base, stage) == version


@pytest.mark.parametrize(("version", "stage", "sibling"), SIBLINGS)
def test_sibling_version(version: str, stage: str, sibling: str) -> None:
    assert sibling_version(version, stage) == sibling


@pytest.mark.parametrize(("versions", "following"), BATCHES)
def test_next_batch_version(versions: list[str], following: str) -> None:
    assert next_batch_version(versions) == following
    assert following not in versions


@pytest.mark.parametrize(("wanted", "taken", "version"), UNIQUE)
def test_unique_version(wanted: str, taken: list[str], version: str) -> None:
    assert unique_version(wanted, taken) == version
    assert version not in taken


HOLD = [
    # Nobody else has it.
    ("b", {"a": "1.2.1", "b": "1.2.1.post2"}, [], "1.2.1.post2"),
    # One that is finished stays; the other takes the next.
    ("b", {"a": "1.2.1", "b": "1.2.1"}, ["a"], "1.2.1.post2"),
    # Both move, to different numbers.
    ("a", {"a": "1.2.1", "b": "1.2.1"}, [], "1.2.1.post2"),
    ("b", {"a": "1.2.1", "b": "1.2.1"}, [], "1.2.1.post3"),
    ("c", {"a": "1.2.2", "b": "1.2.2", "c": "1.2.2", "d": "1.2.2.post2"}, [], "1.2.2.post5"),
    # What another tool made is nobody's rival.
    ("b", {"a": "latest", "b": "1.2.1"}, ["a"], "1.2.1"),
]


@pytest.mark.parametrize(("claimant", "claims", "settled", "version"), HOLD)
def test_version_to_hold(claimant: str, claims: dict[str, str], settled: list[str], version: str) -> None:
    assert version_to_hold(claimant, claims, settled) == version


@pytest.mark.parametrize("seed", range(200))
def test_claimants_end_with_different_versions_in_any_order_of_their_reads_and_writes(seed: int) -> None:
    """Ten pipelines that started together once ended with 1.2.1.post11 twice."""
    chance = random.Random(seed)
    claims = {"finished": "1.2.1"}
    sees: dict[str, str] = {}
    moving = [f"{name:02}" for name in chance.sample(range(100), 10)]
    while moving:
        claimant = chance.choice(moving)
        if claimant not in claims:  # chosen by what was there some time ago
            claims[claimant] = chance.choice(["1.2.1", "1.2.1.post2", "1.2.1.post3"])
        elif claimant not in sees:
            sees[claimant] = version_to_hold(claimant, claims, ["finished"])
            if sees[claimant] == claims[claimant]:
                moving.remove(claimant)
        else:
            claims[claimant] = sees.pop(claimant)
    assert len(set(claims.values())) == 11, claims


@pytest.mark.parametrize("version", ["", "v1", "1.", "1.2-rc1", "1.2+3", "latest", "1,2", "１.2", "1.2\n"])
def test_what_is_no_version(version: str) -> None:
    with pytest.raises(SettingsError, match="is not of the form"):
        version_key(version)


def test_clearml_takes_and_sorts_them_as_we_do() -> None:
    made = ["1.0", "1.1", "1.2", "1.2.1", "1.2.1.post2", "1.2.1.post10", "1.2.2", "1.2.2.post2", "1.2.3", "1.10", "2.0"]

    assert all(Version.is_valid_version_string(version) for version in made)
    assert [str(Version(version)) for version in made] == made
    assert sorted(made, key=Version) == sorted(made, key=version_key) == made
