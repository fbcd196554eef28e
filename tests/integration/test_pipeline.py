"""The pipeline's command line against a live server: uploads, runs without agents, and everything that can be wrong."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections import Counter

import polars as pl
import pytest

from pipeline.amazon_reviews.reviews.text import preprocess
from tests.integration.pipeline_cli import (
    BATCH_ROWS,
    KINDS_OF_SERVER,
    PROJECT,
    ROWS,
    PipelineCli,
    artifacts,
    calls,
    download,
    review_file,
    versions,
)

pytestmark = pytest.mark.integration
SERVERS = KINDS_OF_SERVER


@pytest.fixture(scope="module")
def cli(server, tmp_path_factory) -> PipelineCli:
    """The command line, with nothing uploaded yet."""
    return PipelineCli({**os.environ, **server.environment}, tmp_path_factory.mktemp("cli"))


@pytest.fixture(scope="module")
def calls_of_upload():
    """How often each endpoint was called in the first upload."""
    return Counter()


@pytest.fixture(scope="module")
def uploaded(cli, server, calls_of_upload):
    """The versions of a dataset of 500 reviews: number → id."""
    csv = review_file(cli.folder / "train.csv")
    before = calls(server)
    done = cli("dataset", "upload", str(csv), "--batch-size", str(BATCH_ROWS), "--json")
    assert done.code == 0, done.stderr
    calls_of_upload.clear()  # those of another server
    calls_of_upload.update(calls(server) - before)
    return done.document["made"]


@pytest.fixture(scope="module")
def calls_of_first_run():
    """How often each endpoint was called in the first run."""
    return Counter()


@pytest.fixture(scope="module")
def first_run(cli, uploaded, server, calls_of_first_run):
    before = calls(server)
    done = cli("run", "--mode", "in-process", "--json")
    assert done.code == 0, done.stderr
    calls_of_first_run.clear()  # those of another server
    calls_of_first_run.update(calls(server) - before)
    return done.document


# Uploads


def test_an_upload_makes_an_empty_root_and_a_child_per_batch(client, uploaded):
    assert list(uploaded) == ["1.0", "1.1", "1.2"]
    found = versions(client)
    assert {number: found[number]["id"] for number in uploaded} == uploaded
    facts = found["1.2"]["hyperparams"]["Upload"]
    assert (facts["rows"]["value"], facts["batch"]["value"], facts["source"]["value"]) == ("250", "2", "train.csv")
    plots = client("events.get_task_plots", task=uploaded["1.2"])["plots"]
    assert {("Preview", "reviews_00002.csv"), ("Class distribution", "batch")} <= {
        (plot["metric"], plot["variant"]) for plot in plots
    }


def test_a_version_takes_a_third_of_the_sdks_calls(uploaded, calls_of_upload):
    """The SDK alone takes about 76 for a version, 25 of them for the list of its files."""
    made = len(uploaded)
    most = {
        "tasks.create": made,
        "tasks.get_by_id": made,
        "tasks.edit": 3 * made,
        "tasks.edit_hyper_params": 2 * made,
        "tasks.add_or_update_artifacts": 2 * made,
        "tasks.get_all": 6 * made + 3,
        "tasks.started": made,
        "tasks.completed": made,
    }
    assert {name: calls_of_upload[name] for name in most if calls_of_upload[name] > most[name]} == {}, most
    projects = sum(count for name, count in calls_of_upload.items() if name.startswith("projects."))
    assert projects <= made + 12


OPEN = """
import sys
import time
from pathlib import Path
from pipeline.datasets.datasets import open_version
folder = open_version(dataset_id=sys.argv[1], alias="input").local_folder()
print(*sorted(path.name for path in Path(folder).rglob("*.csv")))
"""
OPEN_WITH_THE_SDK = """
import sys
import time
from pathlib import Path
from clearml import Dataset
dataset = Dataset.get(dataset_id=sys.argv[1])
folder = dataset.get_local_copy()
assert dataset.verify_dataset_hash(folder) == [], "files differ from the hashes of the version"
print(*sorted(path.name for path in Path(folder).rglob("*.csv")))
"""


def test_a_version_opens_with_one_look_at_each_ancestor(cli, server, uploaded, tmp_path):
    before = calls(server)
    assert python(cli, OPEN, uploaded["1.2"], cache=tmp_path) == "reviews_00001.csv reviews_00002.csv"
    made = calls(server) - before
    assert made["tasks.get_by_id"] <= len(uploaded)
    assert made["projects.get_by_id"] <= len(uploaded)
    assert made["tasks.get_all"] <= 1


def test_the_unmodified_sdk_opens_a_version_of_ours_and_finds_its_hashes_right(cli, uploaded, tmp_path):
    found = python(cli, OPEN_WITH_THE_SDK, uploaded["1.2"], cache=tmp_path)
    assert found == "reviews_00001.csv reviews_00002.csv"


def python(cli, code: str, *arguments: str, cache) -> str:
    """Run code in a new process with an empty cache; return the last line that it prints."""
    environ = cli.environ | {"CLEARML_CACHE_DIR": str(cache)}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, env=environ, cwd=cli.folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_a_second_upload_adds_nothing(cli, uploaded):
    done = cli("dataset", "upload", "train.csv", "--batch-size", str(BATCH_ROWS), "--json")
    assert done.code == 0, done.stderr
    assert (done.document["made"], done.document["kept"]) == ({}, uploaded)


def test_a_killed_upload_is_finished_by_the_next(cli, client):
    csv = review_file(cli.folder / "killed.csv", rows=400)
    arguments = ("dataset", "upload", str(csv), "--name", "killed", "--batch-size", "100", "--json")
    process = cli.start(*arguments)
    deadline = time.monotonic() + 60
    while len(versions(client, "killed", only_final=False)) < 3:
        assert time.monotonic() < deadline, "the upload does not get anywhere"
        time.sleep(0.05)
    process.kill()
    process.communicate()
    done = cli(*arguments)
    assert done.code == 0, done.stderr
    assert set(done.document["made"]) | set(done.document["kept"]) == {"1.0", "1.1", "1.2", "1.3", "1.4"}
    assert "1.0" in done.document["kept"]
    assert versions(client, "killed", only_final=False) == versions(client, "killed")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--batch-size", "100"], "it was made with --batch-size 250"),
        (["--batch-size", "250"], "it was made from other rows"),
    ],
)
def test_other_rows_never_replace_a_version(cli, client, uploaded, options, message):
    review_file(cli.folder / "train2.csv", seed=8)
    before = versions(client)
    done = cli("dataset", "upload", "train2.csv", *options)
    assert done.code == 27
    assert message in done.stderr
    assert versions(client) == before


def test_a_file_with_too_many_bad_rows_publishes_nothing(cli, client):
    good = review_file(cli.folder / "bad.csv", rows=100).read_bytes()
    (cli.folder / "bad.csv").write_bytes(good + b"3,no such polarity,x\n" * 5 + b'1,"\xff\xfe","not utf-8"\n')
    done = cli("dataset", "upload", "bad.csv", "--name", "spoilt")
    assert done.code == 23
    assert "6 of 106 rows" in done.stderr
    assert len((cli.folder / "bad.csv.quarantine.jsonl").read_text().splitlines()) == 6
    assert versions(client, "spoilt", only_final=False) == {}
    done = cli("dataset", "upload", "bad.csv", "--name", "mended", "--max-bad", "0.1", "--json")
    assert (done.code, done.document["rows"], done.document["bad_rows"]) == (0, 100, 6)


def test_an_empty_file_is_refused(cli, client):
    (cli.folder / "empty.csv").touch()
    done = cli("dataset", "upload", "empty.csv", "--name", "empty")
    assert done.code == 22
    assert versions(client, "empty", only_final=False) == {}


# Runs


def test_a_run_says_what_it_did_in_one_json_object(first_run, uploaded):
    assert (first_run["status"], first_run["mode"]) == ("completed", "in-process")
    assert [step["name"] for step in first_run["steps"]] == ["train_test_split", "train_processing", "test_processing"]
    for step in first_run["steps"]:
        assert set(step) == {"name", "task_id", "status", "cached", "queue_wait_s", "startup_s", "run_s"}
        assert (step["status"], step["cached"]) == ("completed", False)
        assert step["startup_s"] > 0
        assert step["run_s"] > 0
    assert list(first_run["datasets"]) == ["1.2", "1.2.1", "1.2.2", "1.2.3"]
    assert first_run["datasets"]["1.2"] == uploaded["1.2"]


def test_a_run_makes_no_more_calls_than_it_did(first_run, calls_of_first_run):
    """What a run changes and reads: three steps, two versions. Its questions for a status take as long as it does."""
    made = {name: calls_of_first_run[f"tasks.{name}"] for name in ("create", "edit", "get_by_id")}
    made["artifacts"] = calls_of_first_run["tasks.add_or_update_artifacts"]
    made["projects"] = sum(count for name, count in calls_of_first_run.items() if name.startswith("projects."))
    most = {"create": 7, "edit": 120, "get_by_id": 200, "artifacts": 23, "projects": 50}
    assert {name: made[name] for name in most if made[name] > most[name]} == {}, f"most: {most}"


def test_frames_travel_as_parquet_and_are_right(client, server, first_run):
    split, train, _ = (artifacts(client, step["task_id"]) for step in first_run["steps"])
    assert set(split) == {"raw_train_dataframe", "raw_test_dataframe"}
    assert all(item["uri"].endswith(".parquet") for item in [*split.values(), *train.values()])
    raw = download(client, split["raw_train_dataframe"])
    processed = download(client, train["processed_train_dataframe"])
    assert len(raw) == ROWS * 0.8
    assert processed.equals(preprocess(raw, "Review"))


def test_the_versions_know_what_they_were_made_from(client, first_run):
    found = versions(client)
    split = found["1.2.1"]["hyperparams"]["Preparation"]
    assert split["input_version"]["value"] == "1.2"
    assert split["test_size"]["value"] == "0.2"
    assert split["random_state"]["value"] == "42"
    assert found["1.2.1"]["parent"] == first_run["steps"][0]["task_id"]
    assert found["1.2.2"]["hyperparams"]["Preparation"]["split_dataset"]["value"] == first_run["datasets"]["1.2.1"]


def test_the_classes_are_plotted_on_the_step_and_on_the_dataset(client, first_run):
    for task in (first_run["steps"][0]["task_id"], first_run["datasets"]["1.2.1"]):
        plots = client("events.get_task_plots", task=task)["plots"]
        assert {("Class distribution", "train"), ("Class distribution", "test")} <= {
            (plot["metric"], plot["variant"]) for plot in plots
        }


def test_requirements_are_pinned_and_recorded(client, first_run):
    task = client("tasks.get_by_id", task=first_run["steps"][0]["task_id"])["task"]
    lines = task["script"]["requirements"]["pip"].splitlines()
    assert {line.partition("==")[0] for line in lines} >= {"clearml", "polars", "scikit-learn"}
    assert all("==" in line for line in lines if line.strip())


def test_the_report_stands_alone(cli, first_run):
    html = (cli.folder / "report.html").read_text()
    assert first_run["report"] == str(cli.folder / "report.html")
    for text in ("train_test_split", "1.2.3", "Class distribution", "random_state", first_run["run_id"]):
        assert text in html
    assert not re.search(r'<(script|link|img)\b[^>]*(src|href)="http', html)


def test_the_same_run_again_reuses_every_step_and_says_so(cli, client, first_run):
    before = versions(client)
    done = cli("run", "--mode", "in-process", "--json", "--report", "again.html")
    assert done.code == 0, done.stderr
    assert [step["task_id"] for step in done.document["steps"]] == [step["task_id"] for step in first_run["steps"]]
    assert all(step["cached"] and step["status"] == "cached" for step in done.document["steps"])
    assert "Reused from an earlier run" in done.stderr
    assert done.document["datasets"] == first_run["datasets"]
    assert versions(client) == before


def test_a_run_with_another_parameter_leaves_the_earlier_versions_alone(cli, client, first_run):
    before = versions(client)
    done = cli("run", "--mode", "in-process", "--json", "--set", "random_state=43")
    assert done.code == 0, done.stderr
    assert list(done.document["datasets"]) == ["1.2", "1.2.1.post2", "1.2.2.post2", "1.2.3.post2"]
    after = versions(client)
    assert {number: after[number] for number in before} == before
    hashes = [
        artifacts(client, run["steps"][0]["task_id"])["raw_train_dataframe"]["hash"]
        for run in (first_run, done.document)
    ]
    assert hashes[0] != hashes[1]


@pytest.mark.thorough
def test_a_run_that_looked_at_no_cache_can_be_reused(cli, uploaded):
    first, second = (
        cli("run", "--mode", "in-process", "--json", "--set", "dataset_version=1.1", *options)
        for options in (["--no-cache"], [])
    )
    assert (first.code, second.code) == (0, 0), first.stderr + second.stderr
    assert not any(step["cached"] for step in first.document["steps"])
    assert all(step["cached"] for step in second.document["steps"])


def test_a_failing_step_fails_the_run_with_its_reason(cli, client, uploaded):
    before = set(versions(client, only_final=False))
    done = cli("run", "--mode", "in-process", "--json", "--set", "test_size=0.0001", "--report", "failed.html")
    assert done.code == 40
    assert done.document["status"] == "failed"
    assert [step["status"] for step in done.document["steps"]] == ["failed", "skipped", "skipped"]
    assert "cannot split 500 reviews with test_size 0.0001" in done.stderr
    run = done.document["run_id"]
    error, hint = done.stderr.splitlines()[-2:]
    assert error.startswith(f"Error: run {run} failed: step train_test_split: cannot split 500 reviews")
    assert hint == f"Hint: run its missing steps again: python -m pipeline run --from-failed {run}"
    assert (f"Error: {done.document['error']}", f"Hint: {done.document['hint']}") == (error, hint)
    assert done.document["exit_code"] == 40
    assert "cannot split 500 reviews" in (cli.folder / "failed.html").read_text()
    assert set(versions(client, only_final=False)) == before


AGAIN = """
import sys
import time
from pathlib import Path
from clearml import Task
from pipeline.amazon_reviews.step_work import process_part
from pipeline.sdk.steps import prepare

prepare()
task = Task.init(sys.argv[1], "second attempt", task_type="data_processing")
print("<made>", process_part("train", Path(sys.argv[2]), sys.argv[3])[1])
"""


@pytest.mark.parametrize("completed", [False, True])
def test_a_version_that_a_failed_attempt_has_finished_is_used_by_the_next(cli, client, first_run, completed):
    """A version of the same content but of another number would stand beside the split's own."""
    made = first_run["datasets"]["1.2.2"]
    maker = client("tasks.get_by_id", task=made)["task"]["parent"]
    if not completed:
        client("tasks.failed", task=maker, force=True, status_reason="worker lost")
    raw = cli.folder / "raw.parquet"
    pl.DataFrame({"Polarity": [1, 2], "Title": ["a", "b"], "Review": ["a good book", "a bad film"]}).write_parquet(raw)
    done = subprocess.run(
        [sys.executable, "-c", AGAIN, PROJECT, str(raw), first_run["datasets"]["1.2.1"]],
        env=cli.environ,
        cwd=cli.folder,
        capture_output=True,
        text=True,
        timeout=90,
    )
    if not completed:
        client("tasks.completed", task=maker, force=True)
    assert "<made>" in done.stdout, done.stderr
    assert (done.stdout.split("<made> ")[1].split()[0] == made) is not completed
