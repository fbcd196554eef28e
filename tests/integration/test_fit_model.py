"""The task TF-IDF against a live server: what it makes, what it refuses, and that a refusal leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any

import polars as pl
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.naive_bayes import BernoulliNB

from pipeline.amazon_reviews.reviews.generate import generate
from pipeline.amazon_reviews.reviews.text import preprocess
from tests.integration.fit_model_process import (
    ask_for_the_draft,
    begin_a_model_and_clear_up,
    begin_a_version_and_clear_up,
    fetch,
    load,
    make_versions,
    refused_work,
    serve,
    work,
    work_without_room,
)
from tests.integration.pipeline_cli import NAME, PROJECT, PipelineCli, command, enter

pytestmark = pytest.mark.integration

TRAIN_ROWS, TEST_ROWS = 400, 100

InProcess = Callable[..., Any]
"""Calls a function in a process whose SDK knows this module's server."""


@pytest.fixture(scope="module")
def cli(server, tmp_path_factory) -> PipelineCli:
    return PipelineCli({**os.environ, **server.environment}, tmp_path_factory.mktemp("fit"))


@pytest.fixture(scope="module")
def in_process(server) -> Iterator[InProcess]:
    """One process for all: the SDK takes two seconds to start, and knows one server for the life of a process."""
    with ProcessPoolExecutor(1, get_context("spawn"), enter, (server.environment,)) as pool:
        yield lambda function, *arguments: pool.submit(function, *arguments).result(timeout=100)


@pytest.fixture(scope="module")
def frames(cli) -> dict[str, pl.DataFrame]:
    """The processed training and test set, and a test set in another language."""
    csv = cli.folder / "reviews.csv"
    csv.write_bytes(b"".join(generate(TRAIN_ROWS + TEST_ROWS, 7)))
    columns = ["Polarity", "Title", "Review"]
    whole = preprocess(pl.read_csv(csv, has_header=False, new_columns=columns), "Review")
    train, test = whole.head(TRAIN_ROWS), whole.tail(TEST_ROWS)
    return {
        "1.2.2": train,
        "1.2.3": test,
        "2.4.3": test.with_columns(corpus=pl.lit(["qqzx", "zzqx"], pl.List(pl.String))),
    }


@pytest.fixture(scope="module")
def versions(cli, in_process, frames):
    """Those on the server, and a raw batch."""
    raw = cli.folder / "reviews_00001.csv"
    frames["1.2.2"].select("Polarity", "Title", "Review").write_csv(raw)
    files = {"1.1": str(raw)}
    for version, frame in frames.items():
        folder = cli.folder / version
        folder.mkdir()
        files[version] = str(folder / "processed.parquet")
        frame.write_parquet(files[version])
    in_process(make_versions, files)
    return files


@pytest.fixture(scope="module")
def fitted(in_process, versions):
    done = in_process(command, "fit-model", "--mode", "in-process", "--json")
    assert done.code == 0, done.stderr
    return done.document


def dataset_versions(client) -> dict[str, dict]:
    project = client("projects.get_all", name=f"^{re.escape(f'{PROJECT}/.datasets/{NAME}')}$", search_hidden=True)
    ids = [row["id"] for row in project["projects"]]
    tasks = client("tasks.get_all", project=ids, search_hidden=True, system_tags=["dataset"])["tasks"]
    return {task["runtime"]["version"]: task for task in tasks}


def models(client) -> dict[str, dict]:
    return {model["id"]: model for model in client("models.get_all")["models"]}


def in_memory(frames, **options):
    """Scikit-learn's own way, everything in memory."""
    train, test = (frames[version] for version in ("1.2.2", "1.2.3"))
    vectorizer = TfidfVectorizer(analyzer="word", **options)
    features = vectorizer.fit_transform(train["corpus"].list.join(" "))
    model = BernoulliNB().fit(features, train["Polarity"].to_numpy())
    return model, vectorizer.transform(test["corpus"].list.join(" "))


def test_the_result_is_that_of_scikit_learn(cli, in_process, frames, fitted):
    assert (fitted["status"], fitted["train_rows"], fitted["test_rows"]) == ("completed", TRAIN_ROWS, TEST_ROWS)
    folder = cli.folder / "features"
    in_process(fetch, fitted["dataset_id"], str(folder))
    terms = json.loads((folder / "model.json").read_text())["terms"]
    model, test = in_memory(frames, vocabulary=terms)
    written = pl.read_parquet(folder / "test_features.parquet")
    assert written["probability"].to_list() == pytest.approx(model.predict_proba(test)[:, 1].tolist())
    accuracy = (model.predict(test) == frames["1.2.3"]["Polarity"].to_numpy()).mean()
    assert fitted["metrics"]["accuracy"] == pytest.approx(accuracy)
    assert len(terms) == 1000


def test_the_model_is_published_with_all_that_describes_it(client, fitted):
    model = client("models.get_by_id", model=fitted["model_id"])["model"]
    assert model["ready"] is True
    assert model["labels"] == {"negative": 1, "positive": 2}
    assert model["framework"] == "ScikitLearn"
    assert model["task"] == fitted["task_id"]
    assert model["uri"].endswith("/model.json")
    assert "texts" in model["design"]["design"]
    assert float(model["metadata"]["accuracy"]["value"]) == fitted["metrics"]["accuracy"]
    output = client("tasks.get_by_id", task=fitted["task_id"])["task"]["models"]["output"]
    assert [item["model"] for item in output] == [fitted["model_id"]]


def test_the_features_are_a_version_with_both_parents(client, fitted, frames):
    found = dataset_versions(client)
    version = found["1.2.4"]
    assert (version["id"], version["status"], version["parent"]) == (
        fitted["dataset_id"],
        "completed",
        fitted["task_id"],
    )
    facts = version["hyperparams"]["Training"]
    assert facts["train_dataset"]["value"] == found["1.2.2"]["id"]
    assert facts["test_dataset"]["value"] == found["1.2.3"]["id"]
    assert facts["model_id"]["value"] == fitted["model_id"]
    lineage = json.loads(version["configuration"]["Dataset Struct"]["value"])
    entry = next(item for item in lineage.values() if item["job_id"] == version["id"])
    assert {lineage[parent]["job_id"] for parent in entry["parents"]} == {found[v]["id"] for v in ("1.2.2", "1.2.3")}


def test_the_page_has_report_plots_and_scalars(client, fitted):
    plots = client("events.get_task_plots", task=fitted["task_id"])["plots"]
    assert {(plot["metric"], plot["variant"]) for plot in plots} >= {
        ("Classification report", "test set"),
        ("Confusion matrix", "test set"),
        ("ROC", "test set"),
        ("Heaviest terms", "model"),
    }
    task = client("tasks.get_by_id", task=fitted["task_id"])["task"]
    scalars = {
        (variant["metric"], variant["variant"]): variant["value"]
        for metric in task["last_metrics"].values()
        for variant in metric.values()
    }
    for name in ("accuracy", "f1", "auc"):
        assert scalars["Test set", name] == pytest.approx(fitted["metrics"][name], abs=1e-5)
        assert scalars["Summary", name] == pytest.approx(fitted["metrics"][name], abs=1e-5)


def test_a_serving_process_loads_the_newest_published_model(in_process, fitted):
    texts = ["An awful, terrible waste. Broken, useless junk!", "Excellent: a wonderful classic"]
    assert in_process(serve, texts) == [(1, "negative", True), (2, "positive", True)]


def test_there_is_one_draft_however_often_it_is_asked_for(in_process, client, fitted):
    first, second = in_process(ask_for_the_draft), in_process(ask_for_the_draft)
    assert first == second
    draft = client("tasks.get_by_id", task=first)["task"]
    assert (draft["name"], draft["type"], draft["status"]) == ("TF-IDF", "training", "created")
    arguments = draft["hyperparams"]["Args"]
    assert (arguments["max_features"]["type"], arguments["train_dataset_version"]["value"]) == ("int", "1.2.2")
    assert all(item["description"] for item in arguments.values())
    assert client("tasks.get_by_id", task=fitted["task_id"])["task"]["hyperparams"]["Args"].keys() == arguments.keys()


def test_a_trial_registers_a_model_and_publishes_nothing(in_process, client, fitted):
    before = dataset_versions(client).keys()
    trial = in_process(partial(work, publish="false", model="linear", ngram_max="2", max_features="500"))
    assert models(client)[trial["model_id"]]["ready"] is False
    assert "dataset_version" not in trial
    assert dataset_versions(client).keys() == before


UNKNOWN_WORDS = "not one word of the test set (version 2.4.3) was seen in training"


@pytest.mark.parametrize(
    ("parameters", "code", "words"),
    [
        ({"test_dataset_version": "2.4.3"}, 28, UNKNOWN_WORDS),
        ({"train_dataset_version": "1.1"}, 28, "is not processed: it adds reviews_00001.csv"),
        ({"max_features": "0"}, 10, "parameter max_features: 0 is less than 1"),
    ],
)
def test_data_of_the_wrong_kind_leaves_nothing(in_process, client, fitted, parameters, code, words):
    before = dataset_versions(client).keys(), models(client).keys()
    found, message = in_process(partial(refused_work, **parameters))
    assert (found, words in message) == (code, True), message
    assert (dataset_versions(client).keys(), models(client).keys()) == before


def test_the_commands_error_is_that_of_the_tasks_process(in_process, client, fitted):
    done = in_process(command, "fit-model", "--mode", "in-process", "--set", "test_dataset_version=2.4.3")
    assert (done.code, UNKNOWN_WORDS in done.stderr) == (28, True), done.stderr
    assert "Traceback" not in done.stderr
    newest = client("tasks.get_all", name="^TF-IDF$", order_by=["-created"])["tasks"][0]
    assert newest["status"] == "failed"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--set", "max_feature=10"], 10, "did you mean max_features"),
        (["--set", "model=forest"], 10, "'forest' is none of bernoulli-nb, linear"),
        (["--set", "alpha=0"], 10, "is not a number above 0"),
        (["--mode", "in-process", "--set", "train_dataset_version=7.7.2"], 26, "versions: 1.1, 1.2.2, 1.2.3"),
        (["--mode", "in-process", "--set", "dataset_name=Nothing"], 26, f"datasets there: {NAME}"),
        (["--queue", "nowhere"], 33, "queue 'nowhere' does not exist"),
    ],
)
def test_what_cannot_work_is_refused_before_a_task_is_made(in_process, client, versions, arguments, code, words):
    before = len(client("tasks.get_all", search_hidden=True, only_fields=["id"])["tasks"])
    done = in_process(command, "fit-model", *arguments)
    assert (done.code, words in done.stderr) == (code, True), done.stderr
    assert len(client("tasks.get_all", search_hidden=True, only_fields=["id"])["tasks"]) == before


@pytest.mark.parametrize(
    "wanted", [{"model_id": "0" * 32}, {"project": PROJECT, "name": "No such"}, {"project": "None"}]
)
def test_a_model_that_is_not_there_is_one_clear_error(in_process, fitted, wanted):
    assert in_process(load, wanted) == 29


def test_a_server_that_refuses_the_features_gets_no_model(in_process, client, fitted):
    """The model is there by then; it goes again with the version that could not be stored."""
    before = dataset_versions(client).keys(), models(client).keys()
    seen, message = in_process(work_without_room)
    assert (len(seen - before[1]), message.startswith("version 1.2.4 of dataset")) == (1, True), message
    assert (dataset_versions(client).keys(), models(client).keys()) == before


@pytest.mark.parametrize("has_started", [False, True])
def test_a_version_whose_maker_was_killed_at_once_is_removed(in_process, client, fitted, has_started):
    """It has neither number nor maker then, by which it could be told to be that task's."""
    before = dataset_versions(client)
    in_process(begin_a_version_and_clear_up, has_started)
    assert dataset_versions(client) == before


def test_a_model_whose_maker_was_killed_at_once_is_known_to_be_that_tasks(in_process, client, fitted):
    """The SDK gives it its task by a second call, which never comes then."""
    before = models(client).keys()
    in_process(begin_a_model_and_clear_up)
    assert models(client).keys() == before


def test_an_interrupted_task_leaves_nothing_behind(cli, client, fitted):
    """Stopped between its model and its publication."""
    before = dataset_versions(client).keys(), models(client).keys()
    process = cli.start("fit-model", "--mode", "in-process")
    deadline = time.monotonic() + 100
    while models(client).keys() == before[1]:
        assert time.monotonic() < deadline, "no model"
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert (dataset_versions(client).keys(), models(client).keys()) == before
    assert client("tasks.get_all", status=["in_progress", "queued"], search_hidden=True)["tasks"] == []
