"""FullPipeline against a live server: what it hands from step to step, what it reuses, and what a failure leaves."""

from __future__ import annotations

import httpx
import pytest

from clearml_access.own_server import STATE_VARIABLE
from pipeline.amazon_reviews.definitions import DATA_PREPARE
from pipeline.amazon_reviews.model.fit_model import FIT_MODEL
from pipeline.clearml_server import ClearmlServer
from pipeline.local_stack.settings import PORT_BASE_VARIABLE
from tests.integration.test_pipeline import versions
from tests.ports import free_port_base

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

INNER = list(DATA_PREPARE.steps)
METRICS = ["accuracy", "f1", "auc", "precision", "recall", "log loss"]


@pytest.fixture(scope="module")
def first(cli):
    done = cli("run-full", "--mode", "in-process", "--json", "--timeout", "140")
    assert done.code == 0, done.stderr
    return done.document


def models(client):
    return {model["id"]: model for model in client("models.get_all")["models"]}


def drafts(client):
    return sorted(task["name"] for task in client("tasks.get_all", status=["created"], search_hidden=True)["tasks"])


def test_a_run_ends_with_a_published_model_and_its_numbers(client, first):
    assert (first["status"], first["mode"]) == ("completed", "in-process")
    data_prepare, fit = first["steps"]
    assert [step["name"] for step in data_prepare["steps"]] == INNER
    assert fit["name"] == "fit_model"
    assert list(first["datasets"]) == ["1.2", "1.2.1", "1.2.2", "1.2.3", "1.2.4"]
    (model,) = first["models"]
    assert model["published"]
    assert models(client)[model["id"]]["ready"] is True
    assert list(model["metrics"]) == METRICS
    assert 0.5 < model["metrics"]["accuracy"] <= 1


def test_the_model_stands_where_models_are_looked_for(server, first, monkeypatch):
    """A step is in the pipeline's hidden project; `serve-model`, the web pages and people look into the open one."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    assert ClearmlServer.connect().newest_model(FIT_MODEL.project, FIT_MODEL.name) == first["models"][0]["id"]


def test_metrics_and_model_of_the_last_step_stand_on_the_pipeline(client, first):
    shown = client("events.scalar_metrics_iter_histogram", task=first["run_id"])["Test set"]
    assert set(shown) == set(METRICS)
    assert round(shown["auc"]["y"][-1], 6) == first["models"][0]["metrics"]["auc"]
    output = client("tasks.get_by_id", task=first["run_id"])["task"]["models"]["output"]
    assert [(entry["name"], entry["model"]) for entry in output] == [("TF-IDF", first["models"][0]["id"])]


def test_the_model_was_made_of_what_this_run_prepared(client, first):
    fit = client("tasks.get_by_id", task=first["steps"][1]["task_id"])["task"]["hyperparams"]["Args"]
    handed = {name: fit[name]["value"] for name in fit if name.endswith("dataset_version")}
    assert handed == {
        "train_dataset_version": "1.2.2",
        "test_dataset_version": "1.2.3",
        "dataset_version": "1.2.4",
    }
    features = versions(client)["1.2.4"]["hyperparams"]["Training"]
    assert features["train_dataset"]["value"] == first["datasets"]["1.2.2"]


def test_the_report_shows_the_model(cli, first):
    html = (cli.folder / "report.html").read_text()
    for text in ("FullPipeline", "data_prepare", "fit_model", "Confusion matrix", "ROC", "max_features", "1.2.4"):
        assert text in html


@pytest.mark.thorough
def test_the_same_run_again_makes_nothing_anew(cli, client, first):
    before = versions(client), models(client)
    done = cli("run-full", "--mode", "in-process", "--json")
    assert done.code == 0, done.stderr
    data_prepare, fit = done.document["steps"]
    assert [step["status"] for step in data_prepare["steps"]] == ["cached"] * 3
    assert (data_prepare["status"], fit["status"]) == ("completed", "cached")
    assert done.document["datasets"] == first["datasets"]
    assert [model["id"] for model in done.document["models"]] == [model["id"] for model in first["models"]]
    assert (versions(client), models(client)) == before
    assert drafts(client) == ["DataPrepare (template)", "TF-IDF"]


@pytest.mark.thorough
def test_another_model_is_made_of_the_same_prepared_data(cli, client, first):
    done = cli("run-full", "--mode", "in-process", "--json", "--set", "max_features=100")
    assert done.code == 0, done.stderr
    data_prepare, fit = done.document["steps"]
    assert [step["status"] for step in data_prepare["steps"]] == ["cached"] * 3
    assert fit["status"] == "completed"
    assert list(done.document["datasets"]) == ["1.2", "1.2.1", "1.2.2", "1.2.3", "1.2.4.post2"]
    assert versions(client)["1.2.4.post2"]["hyperparams"]["Training"]["features"]["value"] == "100"


@pytest.mark.thorough
def test_other_prepared_data_is_handed_on_under_its_own_numbers(cli, client, first):
    done = cli("run-full", "--mode", "in-process", "--json", "--set", "random_state=7", "--set", "model=linear")
    assert done.code == 0, done.stderr
    assert list(done.document["datasets"]) == [
        "1.2",
        *(f"1.2.{stage}.post3" for stage in (1, 2, 3, 4)),
    ], "one number for the whole run, although only 1.2.4.post2 was there before"
    facts = versions(client)["1.2.4.post3"]["hyperparams"]["Training"]
    assert facts["train_dataset"]["value"] == done.document["datasets"]["1.2.2.post3"]
    assert facts["model"]["value"] == "linear"


def test_drafts_are_made_once_and_never_run(client, first):
    assert drafts(client) == ["DataPrepare (template)", "TF-IDF"]


@pytest.mark.thorough
def test_a_failing_inner_step_is_named_with_its_reason(cli, client, first):
    before = set(versions(client, only_final=False)), set(models(client))
    done = cli("run-full", "--mode", "in-process", "--json", "--set", "test_size=0.0001", "--report", "failed.html")
    assert done.code == 40
    data_prepare, fit = done.document["steps"]
    assert (done.document["status"], data_prepare["status"], fit["status"]) == ("failed", "failed", "skipped")
    assert [step["status"] for step in data_prepare["steps"]] == ["failed", "skipped", "skipped"]
    assert "data_prepare.train_test_split failed: cannot split 500 reviews with test_size 0.0001" in done.stderr
    assert "cannot split 500 reviews" in (cli.folder / "failed.html").read_text()
    assert (set(versions(client, only_final=False)), set(models(client))) == before


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--set", "max_feature=10"], 10, "did you mean max_features"),
        (["--set", "train_dataset_version=1.2.2"], 10, "unknown parameter"),
        (["--set", "alpha=-1"], 10, "alpha"),
        (["--set", "dataset_version=7.7", "--mode", "in-process"], 26, "versions: 1.0, 1.1, 1.2"),
        (["--step-queue", "train_processing=default"], 10, "did you mean data_prepare.train_processing"),
    ],
)
def test_a_run_that_cannot_work_is_refused_before_anything_is_enqueued(
    cli_of_one_process, client, arguments, code, words
):
    def count():
        return len(client("tasks.get_all", search_hidden=True, only_fields=["id"])["tasks"])

    before = count()
    done = cli_of_one_process("run-full", *arguments)
    assert done.code == code, done.stderr
    assert words in done.stderr
    assert count() == before


def test_a_dry_run_shows_the_steps_inside(cli):
    done = cli("run-full", "--dry-run", "--json", CLEARML_API_HOST="http://127.0.0.1:1")
    assert done.code == 0
    assert [step["name"] for step in done.document["steps"]] == [
        "data_prepare",
        *(f"data_prepare.{step}" for step in INNER),
        "fit_model",
    ]


@pytest.mark.thorough
@pytest.mark.timeout(600)
def test_the_model_of_a_run_is_served(cli, first, tmp_path):
    own = {STATE_VARIABLE: str(tmp_path / "state"), PORT_BASE_VARIABLE: str(free_port_base())}
    done = cli("run-full", "--mode", "in-process", "--serve", "--json", **own)
    try:
        assert done.code == 0, done.stderr
        served = done.document["serving"]
        assert served["model_id"] == done.document["models"][0]["id"] == first["models"][0]["id"]
        reply = httpx.post(served["url"], json=served["request"], timeout=60, trust_env=False)
        assert (reply.status_code, reply.json()) == (200, served["answer"])
        (shown,) = cli("serve", "status", "--json", **own).document["models"]
        assert shown["datasets"] == {"train": "1.2.2", "test": "1.2.3"}
        assert shown["run_id"] in (first["run_id"], done.document["run_id"])
        assert f"First request: {served['answer']['predictions'][0]['label']}" in done.stderr
    finally:
        assert cli("serve", "down", **own).code == 0
