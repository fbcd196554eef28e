"""What a failed kubectl call means for the task: its own fault, nobody's, or unclear."""

from __future__ import annotations

import pytest

from tests.fakes import agent_image


@pytest.fixture(scope="module")
def kubectl():
    return agent_image.module("kubectl")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('Error from server (Forbidden): pods "x" is forbidden: exceeded quota: q, requested: pods=1', "NoRoomError"),
        ('Error from server (AlreadyExists): pods "x" already exists', "ExistsError"),
        ("The connection to the server 10.0.0.1:443 was refused - did you specify the right host?", "AwayError"),
        ("Unable to connect to the server: unexpected EOF", "AwayError"),
        ("Error from server: etcdserver: leader changed", "AwayError"),
        ('Error from server (Forbidden): User "a" cannot create resource "pods" in API group', "AwayError"),
        (
            'error: error validating "STDIN": error validating data: failed to download openapi: unknown; if you '
            "choose to ignore these errors, turn validation off with --validate=false",
            "AwayError",
        ),
        ('error: the server doesn\'t have a resource type "pods"', "AwayError"),
        ('error: unable to recognize "STDIN": no matches for kind "Pod" in version "v1"', "AwayError"),
        ('Error from server (Forbidden): pods "x" is forbidden: violates PodSecurity "restricted"', "RefusedError"),
        ('The Pod "x" is invalid: spec.containers[0].image: Invalid value', "RefusedError"),
        ('Error from server (BadRequest): strict decoding error: unknown field "spec.x"', "RefusedError"),
        ("Error from server (Conflict): the UID in the precondition does not match", "RefusedError"),
        ("error: something that kubectl has never said", "UnclearError"),
    ],
)
def test_what_kubectl_says(kubectl, text, kind):
    assert type(kubectl._error(text)).__name__ == kind
