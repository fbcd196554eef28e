"""The objects that serve models, and what `deploy` and `pipeline` say to each other."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from clearml_access import serving_values
from clearml_access.credentials import Secret, Server
from deploy.errors import ValuesError
from deploy.serving import manifest as m
from deploy.serving.manifest import Manifest

ROOT = Path(__file__).resolve().parents[3]
SERVICE = "5" * 32


def made(*layers: dict[str, Any], key: str = "hidden", service: str = SERVICE) -> Manifest:
    server = Server(
        api="http://server:8008", web="http://server:8080", files="http://server:8081", access_key="key",
        secret_key=Secret(key), source="a test",
    )  # fmt: skip
    return Manifest.of("clearml-serving", "clearml", serving_values.load(), layers, server, service)


def deployment(found: Manifest) -> dict[str, Any]:
    return next(body for kind, body in found.objects() if kind == m.DEPLOYMENTS)


def env(found: Manifest) -> dict[str, Any]:
    return {item["name"]: item for item in found.pod_spec()["containers"][0]["env"]}


def test_a_key_is_in_the_secret_alone() -> None:
    found = made()
    assert found.keys == {"access_key": "key", "secret_key": "hidden"}
    assert "hidden" not in json.dumps([body for _, body in found.objects()])
    reference = env(found)["CLEARML_API_SECRET_KEY"]["valueFrom"]["secretKeyRef"]
    assert reference == {"name": "clearml-serving-keys", "key": "secret_key"}


@pytest.mark.parametrize("other", [made({"image": "a/b:2"}), made(key="new"), made(service="6" * 32)])
def test_whatever_a_pod_is_made_from_makes_a_new_one(other: Manifest) -> None:
    pod = {"metadata": deployment(made())["spec"]["template"]["metadata"]}
    assert made().is_new(pod) and made({"replicas": 3}).is_new(pod)
    assert not other.is_new(pod)


def test_values_reach_the_pod() -> None:
    values = {
        "env": [{"name": "HTTPS_PROXY", "value": "http://proxy"}, {"name": "TMPDIR", "value": "/other"}],
        "nodeSelector": {"team": "a"},
        "volumes": [{"name": "ca", "configMap": {"name": "ca"}}],
        "volumeMounts": [{"name": "ca", "mountPath": "/ca"}],
        "server": {"api": "http://inside:8008/"},
        "serviceMonitor": True,
    }
    found = made(values)
    spec = found.pod_spec()
    assert (spec["nodeSelector"], spec["volumes"][-1]["name"]) == ({"team": "a"}, "ca")
    assert "tolerations" not in spec, "what is empty is left out"
    assert spec["containers"][0]["volumeMounts"][-1] == {"name": "ca", "mountPath": "/ca"}
    variables = {name: item.get("value") for name, item in env(found).items()}
    assert (variables["HTTPS_PROXY"], variables["TMPDIR"]) == ("http://proxy", "/other")
    assert (variables["CLEARML_API_HOST"], variables["CLEARML_FILES_HOST"]) == (
        "http://inside:8008",
        "http://server:8081",
    )
    assert [kind for kind, _ in found.objects()] == [m.SERVICES, m.DEPLOYMENTS, m.MONITORS]


@pytest.mark.parametrize(
    ("layer", "said"),
    [({"imag": "x"}, "no value imag"), ({"replicas": "2"}, "replicas is '2'"), ({"server": {"x": ""}}, "server.x")],
)
def test_a_value_that_would_be_ignored_is_refused(layer: dict[str, Any], said: str) -> None:
    with pytest.raises(ValuesError, match=said):
        made(layer)


def test_an_object_carries_what_it_was_applied_as() -> None:
    for _, body in made().objects():
        live = {**body, "status": {}, "metadata": {**body["metadata"], "uid": "u"}}
        assert m.applied(live) == body
    assert m.service_task(deployment(made())) == SERVICE


def test_the_image_runs_what_the_pod_asks() -> None:
    dockerfile = (ROOT / "images" / "Dockerfile").read_text()
    stage = dockerfile[dockerfile.index("FROM base AS serving\n") :].partition("\n\n\n")[0]
    assert re.search(r"^USER 1000:1000$", stage, re.MULTILINE)
    assert "pipeline.serving.application:app" in stage and f'"--port", "{m.PORT}"' in stage
    assert "pip install" not in stage.partition("CMD")[2]
