"""Benchmarks that need neither agents nor a cluster, at small sizes: that they work; how long it takes is no matter."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from bench import harness, server
from bench.machine import ROOT


def kept(names: list[str]) -> dict[str, bytes]:
    paths = (path for name in names for path in harness.KEPT.glob(f"{name}*"))
    return {path.name: path.read_bytes() for path in paths}


NOT_QUICK = {"mlflow", server.EARLIER}
"""Of the server's benchmark: what needs an environment from the package index, or this clone's whole history."""


@pytest.mark.thorough
@pytest.mark.integration
@pytest.mark.parametrize(
    "names",
    [
        *(["split", "formats"], ["text"], ["train"], ["server"]),
        pytest.param(["serve"], marks=pytest.mark.timeout(600)),  # on a new machine it fetches clearml-serving first
        pytest.param(["web"], marks=pytest.mark.browser),
    ],
    ids=",".join,
)
def test_quick_runs_fill_their_tables_and_keep_nothing(names):
    before = kept(names)
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--only", ",".join(names), "--quick", "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=550,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    documents = [json.loads(line) for line in done.stdout.splitlines()]
    assert [document["benchmark"] for document in documents] == names
    for document in documents:
        filled = {(row["table"], key) for row in document["rows"] for key in row["cells"]}
        tables = harness.BENCHMARKS[document["benchmark"]].load().tables
        named = {(row["table"], row["name"]) for row in document["rows"]}
        assert filled == {
            (table.key, column.key)
            for table in tables
            if table.key not in NOT_QUICK
            for column in table.columns
            if not column.ratio_of or (table.key, table.baseline) in named or table.baseline not in NOT_QUICK
        }
        assert document["targets"] == []
    assert kept(names) == before
