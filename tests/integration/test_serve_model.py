"""A model behind HTTP by the unmodified clearml-serving, from its own environment, against a live server.

`./task serve-model` makes that environment of `images/serving/uv.lock`: 660 MB from the package index, the first time.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from clearml_localserver.pytest_plugin import ClearmlServer
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from clearml_access.own_server import STATE_VARIABLE
from pipeline.amazon_reviews.reviews.generate import generate
from pipeline.amazon_reviews.reviews.text import preprocess
from pipeline.amazon_reviews.training.model import FILE_NAME
from pipeline.amazon_reviews.training.tables import Processed
from pipeline.amazon_reviews.training.train import Options, Trained, train
from pipeline.local_stack.settings import PORT_BASE_VARIABLE
from pipeline.serving import process
from pipeline.serving.settings import ServingSettings
from tests.api_client import ApiClient
from tests.integration.pipeline_cli import PROJECT, PipelineCli
from tests.ports import free_port_base

pytestmark = [pytest.mark.integration, pytest.mark.thorough, pytest.mark.timeout(600)]

DASHBOARD = Path(__file__).resolve().parents[2] / "helm" / "serving-dashboard.json"
DEADLINE_S = 120
TRAIN_ROWS, TEST_ROWS = 400, 100


@dataclass
class Fitted:
    """A model, and what its own training said of its test set."""

    id: str
    trained: Trained
    texts: list[str]
    labels: list[str]
    probabilities: list[float]


Fit = Callable[[str], Fitted]


def serving_cli(server: ClearmlServer, folder: Path) -> PipelineCli:
    own = {STATE_VARIABLE: str(folder / "state"), PORT_BASE_VARIABLE: str(free_port_base())}
    return PipelineCli({**os.environ, **server.environment, **own}, folder)


@pytest.fixture(scope="module")
def cli(server: ClearmlServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PipelineCli]:
    cli = serving_cli(server, tmp_path_factory.mktemp("serving"))
    yield cli
    done = cli("serve", "down")
    assert done.code == 0, done.stderr


@pytest.fixture(scope="module")
def processed(cli: PipelineCli) -> pl.DataFrame:
    csv = cli.folder / "reviews.csv"
    csv.write_bytes(b"".join(generate(TRAIN_ROWS + TEST_ROWS, 7)))
    columns = ["Polarity", "Title", "Review"]
    whole = preprocess(pl.read_csv(csv, has_header=False, new_columns=columns), "Review")
    whole.head(TRAIN_ROWS).write_parquet(cli.folder / "train.parquet")
    whole.tail(TEST_ROWS).write_parquet(cli.folder / "test.parquet")
    return whole


@pytest.fixture(scope="module")
def fit(cli: PipelineCli, processed: pl.DataFrame, client: ApiClient, server: ClearmlServer) -> Fit:
    """Train a model as the task TF-IDF does, and put it onto the server as a published one."""
    project = client("projects.create", name=PROJECT)["id"]

    def make(kind: str) -> Fitted:
        folder = cli.folder / kind
        folder.mkdir()
        sets = [Processed(f"{part} set", [cli.folder / f"{part}.parquet"]) for part in ("train", "test")]
        trained = train(*sets, Options(kind=kind, max_features=1000, ngram_max=1, alpha=1.0), folder)
        trained.model.save(folder / FILE_NAME)
        features = pl.read_parquet(trained.test_features)
        positive = features["probability"].to_list()
        run = client("tasks.create", name="FullPipeline", type="controller", project=project)["id"]
        task = client("tasks.create", name="TF-IDF", type="training", project=project, parent=run)["id"]
        model = upload(client, server, folder / FILE_NAME, kind, task, project)
        return Fitted(
            model,
            trained,
            processed["Review"].tail(TEST_ROWS).to_list(),
            ["positive" if share > 0.5 else "negative" for share in positive],
            [max(share, 1 - share) for share in positive],
        )

    return make


def upload(
    client: ApiClient, server: ClearmlServer, file: Path, kind: str, task: str, project: str, *, ready: bool = True
) -> str:
    token = client("auth.login")["token"]
    name = f"models/{task}/{file.name}"
    reply = httpx.post(
        f"{server.files_url}/",
        files={name: (name, file.read_bytes())},
        headers={"Authorization": f"Bearer {token}"},
        trust_env=False,
    )
    reply.raise_for_status()
    metadata = {"train_version": {"key": "train_version", "type": "str", "value": "1.2.2"}}
    made = client(
        "models.create",
        name=f"TF-IDF {kind}",
        uri=f"{server.files_url}/{name}",
        task=task,
        project=project,
        metadata=metadata,
        ready=ready,
    )
    return str(made["id"])


@pytest.fixture(scope="module")
def first(fit: Fit) -> Fitted:
    return fit("bernoulli-nb")


@pytest.fixture(scope="module")
def served(cli: PipelineCli, first: Fitted) -> dict[str, Any]:
    """What the first `serve up` has said."""
    done = cli("serve", "up", "--json")
    assert done.code == 0, done.stderr
    return done.document


def post(url: str, **request: Any) -> httpx.Response:
    return httpx.post(url, json=request, timeout=60, trust_env=False)


def answer(url: str, **request: Any) -> dict[str, Any]:
    reply = post(url, **request)
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_server_without_a_model_has_nothing_to_serve(cli: PipelineCli) -> None:
    """The first test: nothing has been trained yet."""
    for words, next_command in (((), "./task run-full-pipeline"), (("--auto-update",), "./task tune")):
        done = cli("serve", "up", *words)
        assert (done.code, next_command in done.stderr) == (29, True), done.stderr
    status = cli("serve", "status")
    assert (status.code, "not running (start it: ./task serve-model)" in status.stdout) == (3, True)
    assert cli("serve", "down").stdout == "Nothing was served.\n"


def test_the_served_model_answers_as_the_training_did(served: dict[str, Any], first: Fitted) -> None:
    assert (served["model_id"], served["version"], served["share"]) == (first.id, "1", 1.0)
    assert (served["started"], served["changed"]) == (True, True)
    assert served["version_url"] == f"{served['url']}/1" and served["url"].endswith("/serve/reviews")
    for url in (served["url"], served["version_url"]):
        found = answer(url, texts=first.texts, allow_unseen=True)
        assert found["model_id"] == first.id
        assert [item["label"] for item in found["predictions"]] == first.labels
        assert [item["probability"] for item in found["predictions"]] == pytest.approx(first.probabilities, abs=1e-12)
    assert served["answer"] == answer(served["version_url"], **served["request"])


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b'{"text": ""}', 422, "text 1 of 1 is empty"),
        (b'{"text": "qqzx zzqx"}', 422, "text 1 of 1 has no word that the model knows: 'qqzx zzqx'"),
        (json.dumps({"text": "book " * 200_000}).encode(), 422, "has 1,000,000 characters: at most 100,000 are read"),
        (b'{"text": ', 422, "JSON decode error"),
        (b'["a text"]', 422, "valid dictionary"),
        (b'{"words": "book"}', 422, "neither"),
        (b"", 422, "the body is empty"),
    ],
)
def test_a_bad_request_is_a_clear_error(served: dict[str, Any], body: bytes, status: int, message: str) -> None:
    reply = httpx.post(
        served["version_url"], content=body, headers={"Content-Type": "application/json"}, timeout=60, trust_env=False
    )
    assert (reply.status_code, message in json.dumps(reply.json()["detail"])) == (status, True), reply.text
    assert "Traceback" not in reply.text


def test_a_model_that_is_not_served_is_not_found(served: dict[str, Any]) -> None:
    for url in (f"{served['url']}/99", f"{served['url']}s"):
        reply = post(url, text="a book")
        assert reply.status_code == 404 and "not found" in reply.json()["detail"]


def test_prometheus_reads_what_was_answered_and_refused(served: dict[str, Any], first: Fitted) -> None:
    answer(served["url"], texts=["a book", served["request"]["text"]], allow_unseen=True)
    post(served["version_url"], text="")
    post(f"{served['url']}/99", text="a book")
    own = served["url"].partition("/serve/")[0]
    reply = httpx.get(f"{own}/metrics", timeout=60, trust_env=False)
    found: dict[str, list[Sample]] = {}
    for family in text_string_to_metric_families(reply.text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample)
    labels = ("endpoint", "version", "model_id", "status")
    counted = {tuple(sample.labels[name] for name in labels) for sample in found["serving_requests_total"]}
    assert {("reviews", "1", first.id, "200"), ("reviews", "1", first.id, "422"), ("reviews", "", "", "404")} <= counted
    assert {sample.labels["model_id"] for sample in found["serving_texts_total"]} == {first.id}
    asked = set(re.findall(r"\b(?:serving|process)_\w+", DASHBOARD.read_text()))
    assert asked and asked <= found.keys(), "every query of the dashboard"
    for path in ("healthz", "readyz"):
        assert httpx.get(f"{own}/{path}", timeout=60, trust_env=False).status_code == 200


def test_the_same_again_changes_nothing(served: dict[str, Any], cli: PipelineCli) -> None:
    before = cli("serve", "status", "--json").document
    again = cli("serve", "up", "--json")
    assert again.code == 0, again.stderr
    assert again.document == served | {"started": False, "changed": False}
    after = cli("serve", "status", "--json").document
    assert after == before
    assert before["complete"] and before["pid"] and before["problem"] is None


def test_a_process_elsewhere_is_told_the_same_service(served: dict[str, Any], first: Fitted, cli: PipelineCli) -> None:
    """What `python -m deploy serve` asks for its pods."""
    for words, paths in ((("--no-route",), ["reviews/1"]), ((), ["reviews/1", "reviews"])):
        done = cli("serve", "register", "--model", first.id, *words, "--json")
        assert done.code == 0, done.stderr
        found = done.document
        assert (found["service_id"], found["version"], found["paths"]) == (served["service_id"], "1", paths)
        assert (found["changed"], found["previous_model_id"]) == (False, first.id)
        (prediction,) = served["answer"]["predictions"]
        assert (found["label"], found["probability"]) == (prediction["label"], prediction["probability"])
        assert found["request"] == served["request"]
    address = served["url"].rpartition("/")[0]
    listed = cli("serve", "models", "--service", served["service_id"], "--address", address, "--json").document
    assert [row["model_id"] for row in listed["models"]] == [first.id]
    assert listed["models"] == cli("serve", "status", "--json").document["models"]
    unknown = cli("serve", "models", "--service", "0" * 32, "--address", address)
    assert (unknown.code, f"service {'0' * 32} is not on" in unknown.stderr) == (46, True)


def test_status_says_which_run_and_dataset_a_version_comes_from(
    served: dict[str, Any], first: Fitted, cli: PipelineCli, client: ApiClient
) -> None:
    done = cli("serve", "status", "--json")
    assert done.code == 0
    (model,) = [row for row in done.document["models"] if row["model_id"] == first.id]
    task = client("tasks.get_all", name="^TF-IDF$", only_fields=["id", "parent"])["tasks"][0]
    assert (model["task_id"], model["run_id"], model["datasets"]) == (task["id"], task["parent"], {"train": "1.2.2"})
    text = cli("serve", "status").stdout
    assert f"of run {task['parent']}" in text and "trained on version 1.2.2" in text


def test_the_server_is_told_where_the_model_is_served(
    served: dict[str, Any], first: Fitted, cli: PipelineCli, client: ApiClient, server: ClearmlServer
) -> None:
    answer(served["version_url"], text=served["request"]["text"])  # loads the model
    eventually(lambda: served["version_url"] in [row["url"] for row in client("serving.get_endpoints")["endpoints"]])
    (instance,) = client("serving.get_endpoint_details", endpoint_url=served["version_url"])["instances"]
    assert {"type": "model", "value": first.id} in instance["reference"]
    (row,) = [row for row in cli("serve", "status", "--json").document["models"] if row["model_id"] == first.id]
    page = httpx.get(f"{server.web_url}/models/{first.id}", headers={"Accept": "text/html"}, trust_env=False).text
    (since,) = re.findall(r"since <time datetime=\"([^\"]+)\"", page)
    assert abs((datetime.fromisoformat(since) - datetime.fromisoformat(row["since"])).total_seconds()) <= 2
    facts = page[page.index("<dt>Made by</dt>") : page.index("<dt>Lineage</dt>")]
    shown = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", facts))
    assert re.search(
        r"Made by TF-IDF .*Run FullPipeline .*Served at reviews version 1 since (just now|\d+ \w+ ago)", shown
    )


def test_a_file_that_is_no_model_is_refused_and_what_runs_stays(
    served: dict[str, Any], cli: PipelineCli, client: ApiClient, server: ClearmlServer, tmp_path: Path
) -> None:
    (tmp_path / FILE_NAME).write_text("{}")
    (project,) = client("projects.get_all", name=f"^{PROJECT}$", only_fields=["id"])["projects"]
    task = client("tasks.create", name="another", type="training", project=project["id"])["id"]
    wrong = upload(client, server, tmp_path / FILE_NAME, "wrong", task, project["id"], ready=False)
    done = cli("serve", "up", "--model", wrong)
    assert (done.code, "is not a model of this package" in done.stderr) == (29, True), done.stderr
    for words, code in (
        (("--model", "0" * 32), 29),
        (("--auto-update",), 29),
        (("--canary", "0.1"), 2),
    ):
        done = cli("serve", "up", *words)
        assert (done.code, "Error: " in done.stderr, "Hint: " in done.stderr) == (code, True, True), done.stderr
    assert answer(served["url"], **served["request"]) == served["answer"]


def test_from_canary_to_current_to_the_best_to_a_server_that_is_gone(
    served: dict[str, Any], first: Fitted, fit: Fit, cli: PipelineCli, client: ApiClient, server: ClearmlServer
) -> None:
    url = served["url"]
    second = fit("linear")

    done = cli("serve", "up", "--canary", "0.25", "--json")  # the newest published model
    assert done.code == 0, done.stderr
    canary = done.document
    assert (canary["model_id"], canary["version"], canary["share"]) == (second.id, "2", 0.25)
    assert (canary["started"], canary["changed"]) == (False, True)
    found = answer(canary["version_url"], texts=second.texts, allow_unseen=True)
    assert [item["probability"] for item in found["predictions"]] == pytest.approx(second.probabilities, abs=1e-12)
    assert answer(served["version_url"], **served["request"]) == served["answer"]
    versions = [answer(url, text=canary["request"]["text"], allow_unseen=True)["version"] for _ in range(200)]
    assert 5 < versions.count("2") < 100 and versions.count("1") + versions.count("2") == 200

    done = cli("serve", "up", "--model", second.id, "--json")
    assert done.code == 0, done.stderr
    assert (done.document["share"], done.document["version"]) == (1.0, "2")
    assert {answer(url, text=canary["request"]["text"])["version"] for _ in range(20)} == {"2"}
    shares = {row["version"]: row["share"] for row in cli("serve", "status", "--json").document["models"]}
    assert shares == {"1": 0.0, "2": 1.0}

    client("models.edit", model=first.id, tags=["best"])
    done = cli("serve", "up", "--auto-update", "--json")
    assert done.code == 0, done.stderr
    assert done.document["model_id"] == first.id
    assert answer(url, text=served["request"]["text"])["model_id"] == first.id
    client("models.edit", model=first.id, tags=[])
    client("models.edit", model=second.id, tags=["best"])
    eventually(lambda: answer(url, text=served["request"]["text"], allow_unseen=True)["model_id"] == second.id)
    assert cli("serve", "status", "--json").document["auto_update"] is True

    done = cli("serve", "up", "--model", first.id, "--json")  # and by hand again
    assert done.code == 0, done.stderr
    assert (done.document["version"], done.document["share"]) == ("1", 1.0)
    assert answer(url, **served["request"]) == served["answer"]

    server.kill()
    for _ in range(3):
        assert answer(url, **served["request"]) == served["answer"]
    done = cli("serve", "status", "--json")
    assert (done.code, done.document["answers"]) == (0, True), done.stderr
    assert "does not answer" in done.document["problem"] or "refused" in done.document["problem"]
    done = cli("serve", "down", "--json")
    assert (done.code, done.document) == (0, {"stopped": ["serving"], "had_ended": False}), done.stderr
    done = cli("serve", "status", "--json")
    assert (done.code, done.document["pid"], done.document["complete"]) == (3, None, False)

    server.restart()
    done = cli("serve", "up", "--model", first.id, "--json")  # all as it was
    assert done.code == 0, done.stderr
    assert (done.document["version"], done.document["started"], done.document["changed"]) == ("1", True, False)
    endpoint = done.document["version_url"]
    done = cli("serve", "down")
    assert (done.code, done.stdout) == (0, "Stopped: the inference process.\n"), done.stderr
    assert endpoint not in [row["url"] for row in client("serving.get_endpoints")["endpoints"]]
    (service,) = client("tasks.get_all", name="^Serving$", type=["service"], only_fields=["status"])["tasks"]
    assert service["status"] == "stopped"
    assert cli("serve", "down").stdout == "Nothing was served.\n"


def test_a_service_that_ended_is_taken_up_again_and_ends_also_after_a_process_that_was_killed(
    served: dict[str, Any], first: Fitted, cli: PipelineCli, client: ApiClient
) -> None:
    settings = ServingSettings.from_environ(cli.environ)

    def status() -> str:
        return str(client("tasks.get_by_id", task=served["service_id"])["task"]["status"])

    assert cli("serve", "down").code == 0
    assert status() == "stopped"
    done = cli("serve", "up", "--model", first.id, "--json")
    assert done.code == 0, done.stderr
    assert (done.document["service_id"], done.document["changed"]) == (served["service_id"], False)
    assert status() == "in_progress"

    running, noted = process.find(settings), process.facts(settings)
    assert running is not None
    running.kill()
    eventually(lambda: process.find(settings) is None)
    assert "had ended without serve-down" in cli("serve", "down").stdout
    assert cli("serve", "down").stdout == "Nothing was served.\n"
    assert status() == "stopped"
    assert client("tasks.get_by_id", task=noted["instance"])["task"]["status"] == "stopped"
    urls = [row["url"] for row in client("serving.get_endpoints")["endpoints"]]
    assert done.document["version_url"] not in urls
