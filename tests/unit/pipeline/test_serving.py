"""What an endpoint answers and refuses, and how a service's configuration is read. No clearml-serving is needed."""

from __future__ import annotations

import importlib.util
import json
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pipeline.amazon_reviews.training.errors import ModelError
from pipeline.amazon_reviews.training.model import FILE_NAME, Model
from pipeline.amazon_reviews.training.predictor import Predictor
from pipeline.clearml_server import ClearmlServer
from pipeline.cli import main
from pipeline.commands.serve import age, model_lines
from pipeline.errors import SettingsError
from pipeline.serving import environment, preprocess, service, settings
from pipeline.serving.errors import ServingEnvironmentError
from pipeline.serving.lifecycle import sample_text
from pipeline.serving.preprocess import MAX_CHARACTERS, MAX_TEXTS, Preprocess, RequestError
from pipeline.serving.status import Origin, models_of, origin_of

ROOT = Path(__file__).resolve().parents[3]
MODEL = Model(
    kind="bernoulli-nb",
    terms=("awful", "book", "great"),
    idf=np.ones(3),
    weights=np.array([[2.0, -1.0], [0.1, 0.2], [-1.0, 2.5]]),
    intercepts=np.array([0.1, 0.2]),
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    MODEL.save(tmp_path / FILE_NAME)
    return tmp_path / FILE_NAME


@pytest.fixture
def endpoint(file: Path) -> Preprocess:
    made = Preprocess()
    made.model_endpoint = SimpleNamespace(serving_url="reviews", version="3", model_id="m1")
    assert made.load(str(file)) is not None
    return made


def ask(endpoint: Preprocess, body: Any) -> dict[str, Any]:
    """Call the endpoint as clearml-serving does."""
    state: dict[str, Any] = {}
    return endpoint.postprocess(endpoint.process(endpoint.preprocess(body, state), state), state)


def test_an_answer_is_what_the_model_says_of_each_text(endpoint: Preprocess, file: Path) -> None:
    texts = ["AWFUL!! an awful book", "A great book; great books", "A book"] * 900  # more than one batch
    answer = ask(endpoint, {"texts": texts})
    expected = Predictor.load(file).predict(texts)
    assert (answer["model_id"], answer["version"]) == ("m1", "3")
    assert [(item["label"], item["polarity"], item["probability"], item["known_terms"])
            for item in answer["predictions"]] == [
        (item.label, item.polarity, item.probability, item.known_terms) for item in expected
    ]  # fmt: skip
    for item in answer["predictions"][:3]:
        assert sum(item["probabilities"].values()) == pytest.approx(1)
        assert item["probabilities"][item["label"]] == item["probability"] >= 0.5
    assert json.loads(json.dumps(answer)) == answer


@pytest.mark.parametrize("body", [{"text": "great book"}, b'{"text": "great book"}', '{"texts": ["great book"]}'])
def test_a_request_is_an_object_or_its_text(endpoint: Preprocess, body: Any) -> None:
    assert [item["label"] for item in ask(endpoint, body)["predictions"]] == ["positive"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (None, "the body is empty: send a JSON object"),
        (b"", "the body is not JSON"),
        (b"\xff", "the body is not JSON"),
        ("nonsense", "the body is not JSON"),
        (b"[1]", "the body is not a JSON object"),
        ({}, 'neither "text" nor "texts"'),
        ({"text": "a", "texts": ["a"]}, 'both "text" and "texts"'),
        ({"texts": []}, '"texts" is not a list of one text or more'),
        ({"texts": "great"}, '"texts" is not a list'),
        ({"texts": ["great", 5]}, "text 2 of 2 is int, and not a string"),
        ({"text": None}, "text 1 of 1 is NoneType, and not a string"),
        ({"texts": ["great", " \n"]}, "text 2 of 2 is empty"),
        ({"text": ""}, "text 1 of 1 is empty"),
        ({"text": "great " * 170_000}, "text 1 of 1 has 1,020,000 characters: at most 100,000 are read"),
        ({"texts": ["great"] * (MAX_TEXTS + 1)}, "10,001 texts are too many: at most 10,000 in one request"),
        ({"text": "great \ud800"}, "text 1 of 1 has half a character at place 7"),
        ({"texts": ["great", "qqzx"]}, "text 2 of 2 has no word that the model knows: 'qqzx'"),
        ({"text": "great", "allow_unseen": "yes"}, "\"allow_unseen\" is 'yes', and not true or false"),
    ],
)
def test_what_cannot_be_answered_says_why(endpoint: Preprocess, body: Any, message: str) -> None:
    with pytest.raises(RequestError) as caught:  # a ValueError, for which clearml-serving answers 422
        ask(endpoint, body)
    assert message in str(caught.value)


def test_the_longest_texts_are_read(endpoint: Preprocess) -> None:
    assert ask(endpoint, {"text": "great" + " " * (MAX_CHARACTERS - 5)})["predictions"][0]["label"] == "positive"


def test_a_text_without_a_known_word_is_answered_on_request(endpoint: Preprocess) -> None:
    (item,) = ask(endpoint, {"text": "qqzx", "allow_unseen": True})["predictions"]
    assert (item["label"], item["known_terms"]) == ("positive", 0)


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    made = Preprocess()
    made.model_endpoint = SimpleNamespace(serving_url="reviews", version="", model_id=None)
    with pytest.raises(RequestError, match="endpoint reviews names no model"):
        made.load(None)
    (tmp_path / "x").write_text("[]")
    with pytest.raises(ModelError, match="is not a model of this package"):
        made.load(str(tmp_path / "x"))


def test_the_first_request_has_words_of_both_classes_that_the_model_knows() -> None:
    assert sample_text(Predictor(MODEL)) == "great awful"


def test_the_code_of_an_endpoint_runs_by_its_path(file: Path) -> None:
    """clearml-serving runs the uploaded file outside any package, under a name that `sys.modules` does not have."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("Preprocess", service.CODE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = module.Preprocess()
    made.model_endpoint = SimpleNamespace(serving_url="reviews", version="1", model_id="m")
    made.load(str(file))
    assert ask(made, {"text": "an awful book"})["predictions"][0]["label"] == "negative"


# -- presence on the server


class Telemetry:
    """The SDK's, without a server: its first report fails."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def container_status_report(self) -> None:
        self.calls.append("report")
        if len(self.calls) == 1:
            raise ConnectionError("no server")

    def on_request(self) -> None:
        self.calls.append("request")

    def on_response(self) -> None:
        self.calls.append("response")


def test_the_presence_goes_on_where_the_server_is_gone_and_ends_with_its_endpoint(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(preprocess, "REPORT_S", 0.001)
    monkeypatch.setattr(preprocess.threading, "Thread", lambda **_: SimpleNamespace(start=lambda: None))
    telemetry = Telemetry()
    presence = [preprocess._Presence(telemetry)]

    import weakref

    reference = weakref.ref(presence[0])
    original = telemetry.container_status_report

    def third_is_the_last() -> None:
        if len(telemetry.calls) == 2:
            presence.clear()
        original()

    telemetry.container_status_report = third_is_the_last  # type: ignore[method-assign]
    preprocess._report(reference)
    assert telemetry.calls == ["report"] * 3
    assert "was not told about this endpoint: no server" in capsys.readouterr().out


def test_a_model_is_served_since_its_first_load_also_when_it_is_loaded_again(
    monkeypatch: pytest.MonkeyPatch, file: Path
) -> None:
    made: list[SimpleNamespace] = []

    def telemetry(**_: Any) -> SimpleNamespace:
        made.append(SimpleNamespace(uptime_timestamp=1e12, container_status_report=lambda: None))
        return made[-1]

    monkeypatch.setenv("CLEARML_DEFAULT_BASE_SERVE_URL", "http://here/serve")
    monkeypatch.setattr("clearml.router.endpoint_telemetry.EndpointTelemetry", telemetry)
    monkeypatch.setattr("clearml.Model", lambda **_: SimpleNamespace(name="TF-IDF"))
    for model in ("m1", "m1", "m2"):
        spec = importlib.util.spec_from_file_location("of_endpoint", service.CODE)  # as clearml-serving loads it
        assert spec is not None and spec.loader is not None
        code = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(code)
        endpoint = code.Preprocess()
        endpoint.model_endpoint = SimpleNamespace(serving_url="reviews", version="since", model_id=model)
        endpoint.load(str(file))
    first, again, other = (each.uptime_timestamp for each in made)
    assert first == again < other < 1e12


def test_the_status_of_a_version_has_the_time_that_the_web_pages_show() -> None:
    url = "http://127.0.0.1:8082/serve/reviews/1"
    rows = [{"url": url, "uptime_sec": 3600, "last_update": "2026-11-28T10:00:00+00:00"}, {"url": "http://y"}]

    class Sender:
        url = "http://x"

        def send(self, endpoint: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
            return 200, {"data": {"endpoints": rows} if endpoint == "serving.get_endpoints" else {}}

    found = ClearmlServer(Sender(), "http://w").served_since()
    assert {at: moment.isoformat() for at, moment in found.items()} == {url: "2026-11-28T09:00:00+00:00"}


def test_requests_are_counted_and_refused_ones_are_not_answers(endpoint: Preprocess) -> None:
    telemetry = Telemetry()
    endpoint._presence = telemetry  # type: ignore[assignment]
    ask(endpoint, {"text": "great"})
    with pytest.raises(RequestError):
        ask(endpoint, {"text": ""})
    assert telemetry.calls == ["request", "response", "request"]


# -- the service as the server has it

ENDPOINTS = """reviews/1 {
  engine_type = "custom"
  serving_url = "reviews"
  model_id = "a"
  version = "1"
  preprocess_artifact = "py_code_reviews_1"
}
reviews/2 {
  model_id = "b"
  version = "2"
  preprocess_artifact = "py_code_reviews_2"
}"""
MONITORED = 'reviews-best/7 {\n  model_id = "c"\n  version = "7"\n  preprocess_artifact = "py_code_reviews-best"\n}'


def read(**configuration: str) -> service.Service:
    task = {
        "id": "t",
        "status": "in_progress",
        "project": "p",
        "configuration": {name: {"value": value} for name, value in configuration.items()},
        "execution": {"artifacts": [{"key": "py_code_reviews_1", "hash": service.code_digest()}]},
    }
    server = SimpleNamespace(call=lambda *_, **__: {"projects": [{"id": "p"}]}, tasks=lambda *_, **__: [task])
    found = service.find(server)  # type: ignore[arg-type]
    assert found is not None
    return found


def test_a_service_is_read_as_the_sdk_writes_it() -> None:
    canary = (
        'reviews {\n  endpoint = "reviews"\n  weights = [0.9, 0.1]\n  load_endpoints = ["reviews/1", "reviews/2"]\n}'
    )
    found = read(endpoints=ENDPOINTS, canary=canary, model_monitoring="{}")
    assert found.shares == pytest.approx({"reviews/1": 0.9, "reviews/2": 0.1})
    assert found.current is not None and found.current.model_id == "a"
    two = found.of_model("b")
    assert two is not None and (two.url, two.version) == ("reviews/2", "2")
    assert found.next_version() == "3" and not found.auto_update
    assert found.has_code("py_code_reviews_1") and not found.has_code("py_code_reviews_2")


def test_a_model_that_was_deleted_while_it_is_served_is_named_so() -> None:
    rows = [{"id": "a", "name": "TF-IDF", "project": "p", "task": ""}]
    server = SimpleNamespace(pages=lambda *_, **__: iter(rows), model_page=lambda *_: "http://page", served_since=dict)
    kept, deleted = models_of(server, read(endpoints=ENDPOINTS), "http://a/serve")  # type: ignore[arg-type]
    assert (kept.is_deleted, deleted.is_deleted) == (False, True)
    assert model_lines(deleted) == [
        "Version:  2        0% of the requests, model b (deleted from the server)",
        "          a process that starts now cannot load it; serve another: ./task serve-model -- --model ID",
    ]
    assert "deleted" not in "".join(model_lines(kept))


def test_a_service_that_follows_a_tag_is_at_its_newest_model() -> None:
    canary = 'reviews {\n  weights = [1.0]\n  load_endpoint_prefix = "reviews-best/"\n}'
    found = read(
        endpoints=ENDPOINTS,
        canary=canary,
        model_monitoring='reviews-best {\n  monitor_tags = ["best"]\n}',
        model_monitoring_eps=MONITORED,
    )
    assert found.auto_update and found.shares == {"reviews-best/7": 1.0}
    assert found.current is not None and found.current.model_id == "c"
    assert found.of_model("c") is None  # no version that a person added
    assert read(endpoints=ENDPOINTS, model_monitoring="{}", model_monitoring_eps=MONITORED).current is None


@pytest.mark.parametrize(("status", "looks"), [("in_progress", 3), ("stopped", 1), ("created", 1)])
def test_the_route_to_a_tag_is_set_when_the_process_has_written_its_models(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, status: str, looks: int
) -> None:
    """Both write all configuration objects of the service: at one moment, the process lost its models for good."""
    monitored = {"model_monitoring": {"value": 'reviews-best {\n  monitor_tags = ["best"]\n}'}}
    seen: list[str] = []

    def tasks(*_: Any, **__: Any) -> list[dict[str, Any]]:
        seen.append("look")
        has_written = seen.count("look") == looks
        eps = {"model_monitoring_eps": {"value": MONITORED}} if has_written else {}
        return [{"id": "t", "status": status, "project": "p", "configuration": monitored | eps}]

    server = SimpleNamespace(call=lambda *_, **__: {"projects": [{"id": "p"}]}, tasks=tasks)
    plane = service.ControlPlane(server, tmp_path / "python", {})  # type: ignore[arg-type]
    monkeypatch.setattr(plane, "_run", lambda *words: seen.append(words[3]))
    monkeypatch.setattr(service, "POLL_S", 0.0)
    plane.follow_best(service.Service("t", "p", status))
    assert seen == ["auto-update", *["look"] * looks, "canary"]


def test_an_empty_service_has_nothing() -> None:
    found = read()
    assert (found.current, found.shares, dict(found.endpoints), found.next_version()) == (None, {}, {}, "1")
    nothing = SimpleNamespace(call=lambda *_, **__: {"projects": []})
    assert service.find(nothing) is None  # type: ignore[arg-type]


def test_a_process_is_in_step_when_it_has_copied_what_it_works_by() -> None:
    found = read(endpoints=ENDPOINTS, canary="{}", model_monitoring="{}", metric_logging="{}")
    copied = {"configuration": {name: {"value": text} for name, text in found.configuration.items()}}
    assert service.is_synced(found, copied)
    del copied["configuration"]["metric_logging"]
    assert service.is_synced(found, copied)
    # What clearml-serving makes of a route by a prefix.
    copied["configuration"]["canary"] = {"value": "reviews {\n  weights = [1.0]\n  load_endpoints = []\n}"}
    assert service.is_synced(read(endpoints=ENDPOINTS, canary="reviews {\n  weights = [1.0]\n}"), copied)
    assert not service.is_synced(found, copied)
    assert not service.is_synced(found, {})


# -- environment and settings


def locked(path: str) -> dict[str, str]:
    packages = tomllib.loads((ROOT / path).read_text(encoding="utf-8"))["package"]
    return {package["name"]: package["version"] for package in packages if "version" in package}


def test_the_serving_environment_has_the_versions_that_trained_the_model() -> None:
    here, there = locked("uv.lock"), locked("images/serving/uv.lock")
    for name in ("numpy", "polars", "pyarrow", "scipy", "clearml"):
        assert there[name] == here[name], f"uv lock --project images/serving --upgrade-package {name}=={here[name]}"


def test_who_serves_nothing_fetches_nothing() -> None:
    assert not {"clearml-serving", "fastapi", "grpcio"} & locked("uv.lock").keys()


def test_an_environment_that_cannot_be_made_names_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ServingEnvironmentError, match="uv is not on PATH"):
        environment.ensure(None, {"PATH": str(tmp_path)}, print)
    with pytest.raises(ServingEnvironmentError, match=f"{settings.PYTHON_VARIABLE}=.*nothing cannot serve models"):
        environment.ensure(tmp_path / "nothing", {}, print)
    uv = tmp_path / "uv"
    uv.write_text("#!/bin/sh\necho 'no route to the index' >&2\nexit 2\n")
    uv.chmod(0o700)
    with pytest.raises(ServingEnvironmentError, match="uv sync ended with exit code 2") as caught:
        environment.ensure(None, {"UV": str(uv), "PATH": "/usr/bin:/bin"}, lambda _: None)
    assert caught.value.evidence == ("no route to the index",)
    monkeypatch.setattr(environment, "FOLDER", tmp_path)
    with pytest.raises(ServingEnvironmentError, match=r"uv\.lock is missing"):
        environment.ensure(None, {}, print)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--model", "x"), "--model 'x' is not an id"),
        (("--auto-update", "--canary", "0.1"), "--canary says nothing"),
        (("--auto-update", "--model", "0" * 32), "--model says nothing"),
        (("--canary", "1"), "1.0 is not in the range 0<x<1"),
        (("--canary", "nan"), "'nan' is not a number"),
    ],
)
def test_options_that_make_no_sense_are_refused_before_anything_is_fetched(
    words: tuple[str, ...], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "up", *words]) == 2
    assert message in capfd.readouterr().err


def test_the_port_follows_the_port_base() -> None:
    found = settings.ServingSettings.from_environ({"CLEARML_PODS_PORT_BASE": "9000", "CLEARML_PODS_STATE": "/x"})
    assert (found.address, found.log) == ("http://127.0.0.1:9082/serve", Path("/x/serving/serving.log"))
    with pytest.raises(SettingsError):
        settings.ServingSettings.from_environ({"CLEARML_PODS_PORT_BASE": "many"})


def test_the_newest_model_is_the_one_made_last() -> None:
    asked: dict[str, Any] = {}

    class Sender:
        url = "http://x"

        def send(self, endpoint: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
            asked[endpoint] = body
            rows = {"projects": [{"id": "p"}]} if endpoint == "projects.get_all" else {"models": [{"id": "newest"}]}
            return 200, {"data": rows}

    assert ClearmlServer(Sender(), "http://w").newest_model("Amazon reviews", "TF-IDF") == "newest"
    query = asked["models.get_all"]
    assert (query["project"], query["ready"], query["order_by"]) == (["p"], True, ["-created"])


class Records(ClearmlServer):
    """Has models and tasks, and answers from them."""

    def __init__(self, models: list[dict[str, Any]], tasks: list[dict[str, Any]]) -> None:
        self.models, self.known = models, tasks

    def pages(self, service: str, **query: Any) -> Any:
        yield from (model for model in self.models if model["id"] in query["id"])

    def tasks(self, fields: list[str], **query: Any) -> list[dict[str, Any]]:
        return [task for task in self.known if task["id"] in query["id"]]


@pytest.mark.parametrize(("parent", "run"), [("run", "run"), ("draft", ""), ("gone", ""), (None, "")])
def test_only_a_pipeline_is_the_run_of_a_model(parent: str | None, run: str) -> None:
    tasks = [
        {"id": "fit", "type": "training", "parent": parent},
        {"id": "run", "type": "controller"},
        {"id": "draft", "type": "training"},
    ]
    server = Records([{"id": "m1", "name": "TF-IDF", "task": "fit", "created": "2026-11-28T00:00:00Z"}], tasks)
    assert origin_of(server, "m1") == Origin("TF-IDF", "2026-11-28T00:00:00Z", run)
    assert origin_of(server, "m2") == Origin("", "", "")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-5, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h"), (172800, "2 days")],
)
def test_an_age_has_the_largest_unit_of_which_there_are_two(seconds: float, said: str) -> None:
    assert age(seconds) == said


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        ([], "has no published model to serve", "./task run-full-pipeline"),
        (["--auto-update"], "there is no published model of", "./task tune sets the tag best"),
    ],
)
def test_a_model_is_looked_for_before_anything_is_fetched(
    words: list[str], message: str, hint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = SimpleNamespace(newest_model=lambda *_: None, api_url="http://api")
    monkeypatch.setattr("pipeline.commands.serve.connect", lambda say: SimpleNamespace(server=server))
    monkeypatch.setattr("pipeline.amazon_reviews.model.registry.Model.query_models", lambda **_: [])
    monkeypatch.setattr(environment, "ensure", lambda *_: pytest.fail("packages are fetched"))
    assert main(["serve", "up", *words]) == 29
    error = capsys.readouterr().err
    assert message in error and hint in error


def test_ctrl_c_while_a_model_is_served_names_what_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.commands.serve._wanted", lambda *_, **__: (None, None, None, None))
    monkeypatch.setattr("pipeline.serving.lifecycle.up", interrupted)
    for process, said in ((SimpleNamespace(pid=1), True), (None, False)):
        monkeypatch.setattr("pipeline.serving.process.find", lambda _, process=process: process)
        assert main(["serve", "up"]) == 130
        assert ("goes on. End it: ./task serve-down" in capsys.readouterr().out) is said
