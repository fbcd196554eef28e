import json

import pytest

from pipeline.sdk.datasets import merge_lineages


def lineage(**entries):
    return json.dumps({place: {"job_id": job, "parents": parents} for place, (job, parents) in entries.items()})


def test_lineages_are_merged_by_id():
    one = lineage(**{"0": ("root", []), "1": ("first", ["0"])})
    other = lineage(**{"0": ("second", ["1"]), "1": ("root", [])})
    merged = merge_lineages([one, other])
    assert {job: entry["parents"] for job, entry in merged.items()} == {
        "root": [],
        "first": ["root"],
        "second": ["root"],
    }


def test_a_version_without_parents_has_no_lineage_but_its_own():
    assert merge_lineages([]) == {}


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"0": {}}', '{"0": {"job_id": "a", "parents": ["9"]}}'])
def test_what_is_no_lineage_is_refused(text):
    with pytest.raises(ValueError):
        merge_lineages([text])
