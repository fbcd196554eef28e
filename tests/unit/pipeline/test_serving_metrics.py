"""What an inference process counts, its probes, and that the dashboard asks for metrics that there are."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pipeline.serving import answering
from pipeline.serving.observed import Message, Observed, Receive, Scope, Send

DASHBOARD = Path(__file__).resolve().parents[3] / "helm" / "serving-dashboard.json"
MODEL = {"endpoint": "reviews", "version": "3", "model_id": "m1"}


async def served(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer as clearml-serving does: what is not found is refused before an endpoint has it."""
    status = int(scope["path"].rpartition("/")[2])
    if status != 404:
        answering.note(**MODEL)
    if status == 200:
        answering.note_texts(5)
    if status == 500:
        raise ZeroDivisionError
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b"{}"})


def ask(app: Observed, path: str, method: str = "POST") -> tuple[int, bytes]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    asyncio.run(app({"type": "http", "method": method, "path": path}, receive, send))
    return sent[0]["status"], sent[-1]["body"]


def samples(app: Observed) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    status, text = ask(app, "/metrics", "GET")
    assert status == 200
    found = [sample for family in text_string_to_metric_families(text.decode()) for sample in family.samples]
    return {(item.name, frozenset(item.labels.items())): item.value for item in found}


def key(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


@pytest.fixture
def app() -> Observed:
    return Observed(served, is_ready=lambda: True)


def test_requests_are_counted_by_endpoint_version_model_and_status(app: Observed) -> None:
    for path in ("/serve/reviews/200", "/serve/reviews/200", "/serve/reviews/422"):
        ask(app, path)
    with pytest.raises(ZeroDivisionError):
        ask(app, "/serve/reviews/500")
    found = samples(app)
    for status, count in (("200", 2), ("422", 1), ("500", 1)):
        assert found[key("serving_requests_total", **MODEL, status=status)] == count
    assert found[key("serving_request_seconds_count", **MODEL)] == 4
    assert found[key("serving_texts_total", **MODEL)] == 10
    assert found[key("serving_requests_in_progress")] == 0
    assert answering.CURRENT.get() is None


def test_what_clients_make_up_does_not_become_a_label(app: Observed) -> None:
    for number in range(20):
        ask(app, f"/serve/made-up-{number}/404")
    ask(app, "/serve/reviews/200")
    ask(app, "/serve/reviews/404")  # of an endpoint that has answered: its name is known
    nothing = {"endpoint": "", "version": "", "model_id": ""}
    found = {name: value for name, value in samples(app).items() if name[0] == "serving_requests_total"}
    assert found == {
        key("serving_requests_total", **nothing, status="404"): 20,
        key("serving_requests_total", **MODEL, status="200"): 1,
        key("serving_requests_total", **nothing | {"endpoint": "reviews"}, status="404"): 1,
    }


def test_probes_are_answered_and_other_paths_handed_on() -> None:
    ready = False
    app = Observed(served, is_ready=lambda: ready)
    assert ask(app, "/healthz", "GET") == (200, b"ok\n")
    assert ask(app, "/readyz", "GET")[0] == 503
    ready = True
    assert ask(app, "/readyz", "GET") == (200, b"ok\n")
    assert ask(app, "/docs/404", "GET")[0] == 404
    assert not [name for name, _ in samples(app) if name == "serving_requests_total"]


def test_every_query_of_the_dashboard_names_metrics_and_labels_that_there_are(app: Observed) -> None:
    ask(app, "/serve/reviews/200")
    labels: dict[str, set[str]] = {}
    for name, own in samples(app):
        labels.setdefault(name, {"job", "instance"}).update(label for label, _ in own)
    dashboard: dict[str, Any] = json.loads(DASHBOARD.read_text())
    variables = [item["query"] for item in dashboard["templating"]["list"] if item["type"] == "query"]
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]] + variables
    assert len(queries) > 10
    for query in queries:
        metrics = re.findall(r"\b(?:serving|process|python)_\w+", query)
        assert metrics and set(metrics) <= labels.keys(), query
        named = {word for group in re.findall(r"by \(([^)]*)\)", query) for word in group.split(", ")}
        named |= set(re.findall(r"(\w+)!?=~?\"", query))
        assert named <= set.intersection(*(labels[metric] for metric in metrics)), query


REASON = "Error: Failed loading preprocess code for 'py_code_reviews_2': no such model"


@pytest.mark.parametrize(
    ("status", "detail", "told"),
    [
        (422, f'{REASON}\n\nTraceback (most recent call last):\n  File "/opt/serving/x.py", line 1', REASON),
        (422, "text 1 of 1 is empty", "text 1 of 1 is empty"),
        (422, [{"loc": ["body"], "msg": "is no JSON"}], [{"loc": ["body"], "msg": "is no JSON"}]),
        (200, "a text\n\nTraceback (most recent call last):", "a text\n\nTraceback (most recent call last):"),
    ],
)
def test_the_reason_of_an_error_is_told_and_its_traceback_goes_to_the_log(
    status: int, detail: Any, told: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    async def answers(scope: Scope, receive: Receive, send: Send) -> None:
        body = json.dumps({"detail": detail}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    app = Observed(answers, is_ready=lambda: True)
    asyncio.run(app({"type": "http", "method": "POST", "path": "/serve/reviews"}, receive, send))
    start, body = sent
    assert (start["status"], json.loads(body["body"])) == (status, {"detail": told})
    assert dict(start["headers"])[b"content-length"] == str(len(body["body"])).encode()
    assert ("/opt/serving/x.py" in capsys.readouterr().err) == (told == REASON)
