"""Preprocessing spread over steps: the same rows, a bound on what runs at once, and what a dead shard costs."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import psutil
import pytest

from pipeline.sdk.jobs import COMM
from tests.integration.pipeline_cli import download, made_by, rows_digest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

PATIENCE_S = 120
BOTH = ("train", "test")
KILLS = {"train_processing_2": 1, "test_processing_1": 2}


@pytest.fixture(scope="module")
def whole(cli):
    done = cli("run", "--mode", "in-process", "--json")
    assert done.code == 0, done.stderr
    return done.document


@pytest.fixture(scope="module")
def sharded(cli, client, whole):
    """A run of three shards of which one is killed once, and one with a number of its own twice."""
    own = ("--step-retries", "test_processing_1=code:2")
    process = cli.start("run", "--mode", "in-process", "--json", "--shards", "3", "--max-parallel", "2", *own)
    killed = kill_steps(client, process, KILLS)
    stdout, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, stderr
    return json.loads(stdout.splitlines()[-1]) | {"killed": killed}


@pytest.fixture(scope="module")
def failed(cli, client, whole):
    """A run of two shards of which one is killed until it fails."""
    own = ("--step-retries", "train_processing_1=code:3")
    process = cli.start("run", "--mode", "in-process", "--json", "--shards", "2", *own)
    tasks = kill_steps(client, process, {"train_processing_2": 2})
    stdout, stderr = process.communicate(timeout=PATIENCE_S)
    assert stdout, stderr
    return json.loads(stdout.splitlines()[-1]), tasks


def kill_steps(client, process, times):
    """Kill the processes of steps as soon as they run, each so many times; return the steps' tasks."""
    times = dict(times)
    killed, tasks = set(), {}
    deadline = time.monotonic() + PATIENCE_S
    while any(times.values()):
        assert time.monotonic() < deadline, f"not killed: {times}"
        assert process.poll() is None, process.communicate()[1]
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(process.pid).children(recursive=True):
                with contextlib.suppress(psutil.Error, OSError):
                    comm = Path(f"/proc/{child.pid}/comm").read_text().strip()
                    if not comm.startswith(COMM) or child.pid in killed:
                        continue
                    running = client("tasks.get_all", status=["in_progress"], search_hidden=True)["tasks"]
                    mine = {step["id"]: step["name"] for step in running if step["id"].startswith(comm[len(COMM) :])}
                    for task_id, name in mine.items():
                        if not times.get(name):
                            continue
                        child.kill()
                        killed.add(child.pid)
                        times[name] -= 1
                        tasks[name] = task_id
        time.sleep(0.05)
    return tasks


def steps_of(run):
    return {step["name"]: step for step in run["steps"]}


def task(client, task_id):
    return client("tasks.get_by_id", task=task_id)["task"]


def files_of(client, run, part):
    """Return the version that a run has made of a part, and its files."""
    return made_by(client, steps_of(run)[f"{part}_processing"]["task_id"])


def run_python(server, code, *arguments, **variables):
    """Run code in a process that has the server's access key; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, **server.environment, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_shards_give_the_same_rows(client, whole, sharded):
    for part in BOTH:
        _, one = files_of(client, whole, part)
        _, three = files_of(client, sharded, part)
        assert list(one) == [f"processed_{part}.parquet"]
        assert list(three) == [f"processed_{part}_{number:03}_of_003.parquet" for number in (1, 2, 3)]
        assert rows_digest(three.values()) == rows_digest(one.values())


def test_an_unmodified_sdk_reads_a_version_that_consists_of_parts(client, server, whole, sharded, tmp_path):
    for part in BOTH:
        _, one = files_of(client, whole, part)
        version, three = files_of(client, sharded, part)
        code = f"from clearml import Dataset; print(Dataset.get('{version}').get_local_copy())"
        folder = Path(run_python(server, code, CLEARML_CACHE_DIR=str(tmp_path / part)).splitlines()[-1])
        names = sorted(file.name for file in folder.glob("processed_*.parquet"))
        assert names == list(three)
        assert rows_digest(pl.read_parquet(folder / name) for name in names) == rows_digest(one.values())
        assert {file.name for file in folder.glob("raw_*")} == {f"raw_{it}_dataframe.parquet" for it in BOTH}


def test_the_parts_go_with_the_version_and_not_with_the_shard(client, sharded):
    for part in BOTH:
        version, three = files_of(client, sharded, part)
        owned = {item["uri"]: item["mode"] for item in task(client, version)["execution"]["artifacts"]}
        for number, name in enumerate(three, 1):
            shard = task(client, steps_of(sharded)[f"{part}_processing_{number}"]["task_id"])
            (item,) = shard["execution"]["artifacts"]
            assert (item["key"], item["mode"]) == (name, "input")
            assert owned[item["uri"]] == "output"


def test_every_shard_is_a_step_before_its_own(sharded):
    assert [step["name"] for step in sharded["steps"]] == [
        "train_test_split",
        *("train_processing_1", "train_processing_2", "train_processing_3", "train_processing"),
        *("test_processing_1", "test_processing_2", "test_processing_3", "test_processing"),
    ]
    assert sharded["steps"][0]["cached"]  # the split knows nothing of shards


def test_the_versions_are_those_of_a_run_without_shards(client, whole, sharded):
    """The joined versions have the split for their parent; no shard publishes anything."""
    split = whole["datasets"]["1.2.1"]
    assert list(sharded["datasets"]) == ["1.2", "1.2.1", "1.2.2.post2", "1.2.3.post2"]
    for part, number in (("train", "1.2.2.post2"), ("test", "1.2.3.post2")):
        made = task(client, sharded["datasets"][number])
        assert made["parent"] == steps_of(sharded)[f"{part}_processing"]["task_id"]
        assert made["hyperparams"]["Preparation"]["split_dataset"]["value"] == split


def test_no_more_than_two_shards_ran_at_once(client, sharded):
    names = [name for name in steps_of(sharded) if name[-1].isdigit()]
    tasks = [task(client, steps_of(sharded)[name]["task_id"]) for name in names]
    moments = sorted(
        [(item["started"], 1) for item in tasks] + [(item["completed"], -1) for item in tasks], key=lambda at: at
    )
    count = most = 0
    for _, change in moments:
        count += change
        most = max(most, count)
    assert (len(tasks), most) == (6, 2)


def test_a_shard_that_was_killed_is_run_again_alone(client, sharded):
    for name, step in steps_of(sharded).items():
        console = "".join(event["msg"] for event in client("events.get_task_log", task=step["task_id"])["events"])
        assert console.count("Retrying") == KILLS.get(name, 0), name
        assert len(step.get("earlier_attempts", ())) == KILLS.get(name, 0), name
    assert {name: steps_of(sharded)[name]["task_id"] for name in KILLS} == sharded["killed"]
    assert steps_of(sharded)["test_processing"]["status"] == "completed"


@pytest.mark.thorough
def test_a_shard_that_fails_every_time_fails_the_run_and_nothing_of_its_set_is_published(failed):
    document, killed = failed
    assert document["status"] == "failed"
    steps = steps_of(document)
    assert steps["train_processing_2"]["task_id"] == killed["train_processing_2"]
    assert {name: step["status"] for name, step in steps.items() if name.startswith("train_p")} == {
        "train_processing_1": "completed",
        "train_processing_2": "failed",
        "train_processing": "skipped",
    }
    assert steps["test_processing"]["status"] == "completed"
    assert not any(number.startswith("1.2.2") for number in document["datasets"])


@pytest.mark.thorough
def test_a_failed_run_goes_on_with_what_is_missing(cli, client, whole, failed):
    document, killed = failed
    dry = cli("run", "--from-failed", "--dry-run", "--json")
    assert dry.code == 0, dry.stderr
    told = (dry.document["from_run"], dry.document["shards"], dry.document["mode"])
    assert told == (document["run_id"], 2, "in-process")
    done = cli("run", "--from-failed", document["run_id"], "--json", "--report", "again.html")
    assert done.code == 0, done.stderr
    assert "run: train_processing_2, train_processing\n" in done.stderr
    before, after = steps_of(document), steps_of(done.document)
    assert {name for name, step in after.items() if not step["cached"]} == {"train_processing_2", "train_processing"}
    assert after["train_processing_2"]["task_id"] != killed["train_processing_2"]
    assert all(step["task_id"] == before[name]["task_id"] for name, step in after.items() if step["cached"])
    for part in BOTH:
        assert rows_digest(files_of(client, done.document, part)[1].values()) == rows_digest(
            files_of(client, whole, part)[1].values()
        )


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--shards", "0"], 10, "--shards 0: expected a whole number from 1 to 64"),
        (["--shards", "-1"], 10, "--shards -1"),
        (["--shards", "65"], 10, "--shards 65"),
        (["--shards", "many"], 2, "'many' is not a valid integer"),
        (["--retries", "-1"], 10, "--retries -1"),
        (["--max-parallel", "-1"], 10, "--max-parallel -1"),
        (["--shards", "64", "--set", "test_size=0.1"], 20, "64 shards are too many: the test set has 50 reviews"),
        (["--shards", "2", "--step-queue", "train_processing_3=q"], 10, "did you mean train_processing_"),
        (["--step-retries", "train_processing=lsot:1"], 10, "did you mean lost?"),
        (["--from-failed", "--shards", "2"], 2, "--shards cannot be changed"),
        (["--from-failed", "0" * 32], 40, "does not exist"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_enqueued(cli_of_one_process, client, arguments, code, words):
    def count():
        return len(client("tasks.get_all", search_hidden=True, only_fields=["id"])["tasks"])

    before = count()
    done = cli_of_one_process("run", "--mode", "in-process", *arguments)
    assert done.code == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert count() == before


def test_a_run_that_did_not_fail_is_not_run_again(cli, whole):
    done = cli("run", "--from-failed", whole["run_id"])
    assert done.code == 10
    assert "did not fail" in done.stderr


def test_a_task_that_is_no_run_is_not_run_again(cli, whole):
    done = cli("run", "--from-failed", whole["steps"][0]["task_id"])
    assert done.code == 10
    assert "is not a run of DataPrepare" in done.stderr


FAILED_VERSION = """
import sys
from clearml import Task
from pipeline.clearml_server import ClearmlServer
from pipeline.datasets import datasets
from pipeline.sdk.stored_files import StoredFile
uri, shard = sys.argv[1:]
server = ClearmlServer.connect()
try:
    with datasets.new_version(server, project="Amazon reviews", name="unfinished", version="1.0") as draft:
        draft.refer("part.parquet", StoredFile(uri, "0" * 64, 1))
        draft.upload()
        raise KeyError
except KeyError:
    pass
Task.get_task(task_id=shard).delete(raise_on_error=True)
"""


def test_neither_a_version_that_fails_nor_the_end_of_a_shard_removes_its_file(client, server, sharded):
    """Last in order: it deletes a shard's task as a person does, with its artifacts."""
    shard = steps_of(sharded)["test_processing_3"]["task_id"]
    (item,) = task(client, shard)["execution"]["artifacts"]
    run_python(server, FAILED_VERSION, item["uri"], shard)
    assert client("tasks.get_all", id=[shard])["tasks"] == []
    assert client("tasks.get_all", name="unfinished", search_hidden=True)["tasks"] == []
    assert len(download(client, item)) > 0
