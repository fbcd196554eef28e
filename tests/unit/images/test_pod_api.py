"""What an answer of the Kubernetes API means for the task: its own fault, nobody's, or unclear."""

from __future__ import annotations

import json

import pytest

from tests.fakes import agent_image
from tests.fakes.pod_server import status


@pytest.fixture(scope="module")
def pod_api():
    return agent_image.module("pod_api")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ((403, "Forbidden", 'pods "x" is forbidden: exceeded quota: q, requested: pods=1'), "NoRoomError"),
        ((409, "AlreadyExists", 'pods "x" already exists'), "ExistsError"),
        ((409, "AlreadyExists", 'object is being deleted: pods "x" already exists'), "ExistsError"),
        ((409, "Conflict", 'Operation cannot be fulfilled on resourcequotas "q"'), "UnclearError"),
        ((500, "InternalError", "Internal error occurred: failed calling webhook"), "AwayError"),
        ((503, "ServiceUnavailable", "the server is currently unable to handle the request"), "AwayError"),
        ((504, "Timeout", "Timeout: request did not complete within requested timeout"), "AwayError"),
        ((429, "TooManyRequests", "too many requests"), "AwayError"),
        ((401, "Unauthorized", "Unauthorized"), "AwayError"),
        ((403, "Forbidden", 'pods is forbidden: User "a" cannot create resource "pods" in API group ""'), "AwayError"),
        ((403, "Forbidden", 'pods "x" is forbidden: violates PodSecurity "restricted"'), "RefusedError"),
        ((403, "Forbidden", "unable to create new content in namespace x because it is terminated"), "RefusedError"),
        ((422, "Invalid", 'Pod "x" is invalid: spec.containers[0].image: Invalid value'), "RefusedError"),
        ((400, "BadRequest", 'strict decoding error: unknown field "spec.x"'), "RefusedError"),
        ((404, "NotFound", 'pods "x" not found'), "NotThereError"),
        ((500, "", "etcdserver: request is too large"), "RefusedError"),
        ((413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728"), "RefusedError"),
        ((500, "", "etcdserver: leader changed"), "AwayError"),
    ],
)
def test_what_a_refusal_means(pod_api, answer, kind):
    body = {key: value for key, value in status(*answer).items() if value}  # a reason of nothing is left out
    found = pod_api.refusal(answer[0], json.dumps(body).encode())
    assert (type(found).__name__, str(found)) == (kind, answer[2])


@pytest.mark.parametrize("body", [b"404 page not found", b"<html>Bad Gateway</html>", b"", b"[]", b'{"kind": "Pod"}'])
def test_what_the_api_server_itself_did_not_say_may_pass(pod_api, body):
    assert type(pod_api.refusal(404, body)).__name__ == "AwayError"


def test_documents_of_a_stream_however_it_is_cut(pod_api):
    objects = [{"a": {"b": "}"}}, {"c": [1, {}], "d": "grüß"}]
    text = b"".join(json.dumps(item, ensure_ascii=False).encode() + b"\n" for item in objects)
    for size in (1, 7, len(text)):
        chunks = [text[at : at + size] for at in range(0, len(text), size)]
        assert list(pod_api.documents([*chunks, b'{"cut off'])) == objects


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}, "https://10.96.0.1:443"),
        ({"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"}, "https://[fd00::1]:6443"),
        ({}, "https://kubernetes.default.svc:443"),
    ],
)
def test_where_the_api_server_is(pod_api, environ, url):
    assert pod_api.address(environ) == url


def test_a_pod_without_an_account_says_which_file_it_misses(pod_api, tmp_path, monkeypatch):
    monkeypatch.setattr(pod_api, "ACCOUNT", tmp_path)
    with pytest.raises(pod_api.AwayError, match=f"{tmp_path}/token"):
        pod_api.PodApi("clearml", "a=b").pods()
