"""Serving: the service as the server has it, its environment and settings, and the model that is chosen."""

from __future__ import annotations

import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.clearml_server import ClearmlServer
from pipeline.cli import main
from pipeline.commands.serve import age, model_lines
from pipeline.errors import SettingsError
from pipeline.serving import environment, service, settings
from pipeline.serving.errors import ServingEnvironmentError
from pipeline.serving.status import Origin, models_of, origin_of

ROOT = Path(__file__).resolve().parents[3]


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
