"""An option of a run is added in one place: a copy of the package gets one, and it is there wherever options are."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from clearml_localserver.pytest_plugin import ClearmlServer

from pipeline.provenance import PACKAGE
from tests.api_client import ApiClient
from tests.integration.pipeline_cli import BATCH_ROWS, PipelineCli, review_file

pytestmark = pytest.mark.integration

FIELD = '    pace: int = option(3, flag="--pace", least=1, most=9, help="How fast it goes.")\n'
BEFORE = "    from_run: str = option("


@pytest.fixture
def cli(clearml_server: ClearmlServer, tmp_path: Path) -> PipelineCli:
    shutil.copytree(PACKAGE, tmp_path / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(PACKAGE.parent / "helm", tmp_path / "helm")
    declaration = tmp_path / "pipeline" / "run_options.py"
    text = declaration.read_text(encoding="utf-8")
    assert text.count(BEFORE) == 1
    declaration.write_text(text.replace(BEFORE, FIELD + BEFORE), encoding="utf-8")
    return PipelineCli({**os.environ, **clearml_server.environment, "PYTHONPATH": str(tmp_path)}, tmp_path)


def test_a_new_option_is_in_the_help_on_the_controllers_task_and_in_a_rerun(cli: PipelineCli, api: ApiClient) -> None:
    assert "How fast it goes.  [default: 3; 1 to 9]" in cli("run", "--help").stdout
    reviews = review_file(cli.folder / "train.csv")
    assert cli("dataset", "upload", str(reviews), "--batch-size", str(BATCH_ROWS)).code == 0
    failed = cli("run", "--mode", "in-process", "--json", "--pace", "4", "--set", "test_size=0.0001")
    assert failed.code == 40, failed.stderr
    run = api("tasks.get_by_id", task=failed.document["run_id"])["task"]
    assert run["hyperparams"]["Options"]["pace"]["value"] == "4"

    again = cli("run", "--from-failed", "--dry-run", "--json")
    assert again.code == 0, again.stderr
    assert (again.document["pace"], again.document["from_run"]) == (4, failed.document["run_id"])

    clone = api("tasks.clone", task=run["id"], new_task_name=run["name"])["id"]
    misspelt = {"section": "Options", "name": "pace", "value": "fast"}
    api("tasks.edit_hyper_params", task=clone, hyperparams=[misspelt])
    api("tasks.failed", task=clone, force=True)
    refused = cli("run", "--from-failed", clone, "--dry-run")
    assert (refused.code, "pace fast: expected a whole number from 1 to 9" in refused.stderr) == (10, True)
    assert "Traceback" not in refused.stderr
