"""What an endpoint answers and refuses, and its presence on the server. No clearml-serving is needed."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pipeline.amazon_reviews.training.errors import ModelError
from pipeline.amazon_reviews.training.model import FILE_NAME, Model
from pipeline.amazon_reviews.training.predictor import Predictor
from pipeline.clearml_server import ClearmlServer
from pipeline.serving import preprocess, service
from pipeline.serving.lifecycle import sample_text
from pipeline.serving.preprocess import MAX_CHARACTERS, MAX_TEXTS, Preprocess, RequestError

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
