"""The code of an endpoint: what clearml-serving's engine `custom` calls for each request.

clearml-serving uploads this one file to the server, and an inference process runs it by path. The text code is not in
it: the inference process has the packages `pipeline` and `clearml_access` (`pipeline.serving.environment`), so that a
text is prepared by the very code that prepared the training set. The file is not an imported module there, which is why
it declares no dataclass.

clearml-serving answers a `ValueError` with the status 422 and its text, and every other exception with 500.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipeline.amazon_reviews.reviews.frames import CLASSES
from pipeline.amazon_reviews.training.predictor import Prediction, Predictor
from pipeline.serving import answering

MAX_TEXTS = 10_000
MAX_CHARACTERS = 100_000
"""Of a text. Reviews have a few thousand; one request must not keep all others waiting."""

BATCH_TEXTS = 1_000
REPORT_S = 30.0

USAGE = 'send a JSON object: {"text": "..."} or {"texts": ["...", "..."]}'

Collect = Callable[[Mapping[str, Any]], None] | None


class RequestError(ValueError):
    """A request that cannot be answered; the text says why."""


class Preprocess:
    """Answers requests with a model: texts in, labels and probabilities out."""

    model_endpoint: Any = None
    """Set by clearml-serving before `load`: which model is served, and as which version."""

    def __init__(self) -> None:
        self._presence: _Presence | None = None

    def load(self, local_file_name: str | None) -> Predictor:
        """Read the model's file, and tell the server that it is served.

        Raises:
            RequestError: The endpoint names no model.
            ModelError: The file is not one that this version reads.
        """
        if not local_file_name:
            raise RequestError(f"endpoint {self._name} names no model")
        self._predictor = Predictor.load(Path(local_file_name))
        self._presence = _Presence.of(self.model_endpoint)
        return self._predictor

    def preprocess(self, body: Any, state: dict[str, Any], collect_custom_statistics_fn: Collect = None) -> list[str]:
        """Return the texts of a request.

        Raises:
            RequestError: The body is not what `USAGE` says, or a text is empty or too long.
        """
        if self._presence is not None:
            self._presence.on_request()
        model = self.model_endpoint
        answering.note(endpoint=str(model.serving_url), version=str(model.version), model_id=str(model.model_id))
        request = _object(body)
        state["allow_unseen"] = _flag(request, "allow_unseen")
        texts = _texts(request)
        answering.note_texts(len(texts))
        return texts

    def process(
        self, data: list[str], state: dict[str, Any], collect_custom_statistics_fn: Collect = None
    ) -> list[Prediction]:
        """Return what the model says of each text.

        Raises:
            RequestError: The model knows no word of a text, and the request does not allow that.
        """
        found: list[Prediction] = []
        for start in range(0, len(data), BATCH_TEXTS):
            found += self._predictor.predict(data[start : start + BATCH_TEXTS], allow_unseen=True)
        if not state["allow_unseen"]:
            for number, prediction in enumerate(found, start=1):
                if not prediction.known_terms:
                    raise RequestError(
                        f"text {number} of {len(found)} has no word that the model knows: {data[number - 1][:80]!r} "
                        '(for an answer nevertheless, send "allow_unseen": true)'
                    )
        return found

    def postprocess(
        self, data: list[Prediction], state: dict[str, Any], collect_custom_statistics_fn: Collect = None
    ) -> dict[str, Any]:
        """Return the answer."""
        answer = {
            "predictions": [_answer(prediction) for prediction in data],
            "model_id": self.model_endpoint.model_id,
            "version": str(self.model_endpoint.version),
        }
        if self._presence is not None:
            self._presence.on_response()
        return answer

    @property
    def _name(self) -> str:
        return f"{self.model_endpoint.serving_url}/{self.model_endpoint.version}".rstrip("/")


def _object(body: Any) -> dict[str, Any]:
    """Return a request's JSON object. A body of another content type arrives as bytes: `curl -d` names a form's."""
    if isinstance(body, str | bytes):
        try:
            body = json.loads(body)
        except ValueError as error:
            raise RequestError(f"the body is not JSON ({error}): {USAGE}") from error
    if not isinstance(body, dict):
        raise RequestError(f"the body is not a JSON object: {USAGE}" if body else f"the body is empty: {USAGE}")
    return body


def _flag(request: Mapping[str, Any], name: str) -> bool:
    value = request.get(name, False)
    if not isinstance(value, bool):
        raise RequestError(f'"{name}" is {value!r}, and not true or false')
    return value


def _texts(request: Mapping[str, Any]) -> list[str]:
    given = [name for name in ("text", "texts") if name in request]
    if len(given) != 1:
        raise RequestError(
            f'the body has {"both" if given else "neither"} "text" {"and" if given else "nor"} "texts": {USAGE}'
        )
    texts = request["texts"] if given == ["texts"] else [request["text"]]
    if not isinstance(texts, list) or not texts:
        raise RequestError(f'"texts" is not a list of one text or more: {USAGE}')
    if len(texts) > MAX_TEXTS:
        raise RequestError(f"{len(texts):,} texts are too many: at most {MAX_TEXTS:,} in one request")
    for number, text in enumerate(texts, start=1):
        which = f"text {number} of {len(texts)}"
        if not isinstance(text, str):
            raise RequestError(f"{which} is {type(text).__name__}, and not a string")
        if not text.strip():
            raise RequestError(f"{which} is empty")
        if len(text) > MAX_CHARACTERS:
            raise RequestError(f"{which} has {len(text):,} characters: at most {MAX_CHARACTERS:,} are read")
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise RequestError(f"{which} has half a character at place {error.start + 1}") from error
    return texts


def _answer(prediction: Prediction) -> dict[str, Any]:
    other = 1 - prediction.probability
    return {
        "label": prediction.label,
        "polarity": prediction.polarity,
        "probability": prediction.probability,
        "probabilities": {
            label: prediction.probability if label == prediction.label else other for label in CLASSES.values()
        },
        "known_terms": prediction.known_terms,
    }


class _Presence:
    """Tells the server where a model is served and how much, for as long as its endpoint lives.

    By the SDK's own telemetry. Its thread ends for good when the server cannot be reached once; this one goes on.
    """

    def __init__(self, telemetry: Any) -> None:
        self._telemetry = telemetry
        threading.Thread(target=_report, args=(weakref.ref(self),), daemon=True).start()

    @classmethod
    def of(cls, endpoint: Any) -> _Presence | None:
        """Return the presence of an endpoint; None where the process does not know its own address."""
        address = os.environ.get("CLEARML_DEFAULT_BASE_SERVE_URL")
        if not address:
            return None
        from clearml import Model
        from clearml.router.endpoint_telemetry import EndpointTelemetry

        url = "/".join(part.strip("/") for part in (address, endpoint.serving_url, str(endpoint.version)) if part)
        telemetry = EndpointTelemetry(
            endpoint_name=str(endpoint.serving_url),
            model_name=str(Model(model_id=endpoint.model_id).name),
            model=endpoint.model_id,
            model_version=str(endpoint.version),
            # The same at each load: a new configuration makes clearml-serving load everything again.
            container_id=f"{socket.gethostname()}-{os.getpid()}-{endpoint.serving_url}-{endpoint.version}",
            input_type="text",
            endpoint_url=url,
            report_statistics=False,
        )
        telemetry.uptime_timestamp = answering.served_since(url, str(endpoint.model_id))  # not since this load
        return cls(telemetry)

    def on_request(self) -> None:
        """Note that a request has come."""
        self._telemetry.on_request()

    def on_response(self) -> None:
        """Note that it is answered."""
        self._telemetry.on_response()

    def report(self) -> None:
        """Tell the server once."""
        self._telemetry.container_status_report()


def _report(presence: weakref.ref[_Presence]) -> None:
    ended = threading.Event()
    while (found := presence()) is not None:
        try:
            found.report()
        except Exception as error:  # whatever the SDK raises without a server; the endpoint answers all the same
            print(f"The server was not told about this endpoint: {error}")
        del found
        ended.wait(REPORT_S)
