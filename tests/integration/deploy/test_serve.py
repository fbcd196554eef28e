"""`deploy serve` on a fake cluster: what it makes, proves, leaves alone, rolls back and removes.

clearml-serving's part, `python -m pipeline serve register`, is played by a script, and the inference process by a
server of the test, which pods ask for real.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from clearml_access import serving_values
from deploy.serving import proof, registration
from tests.fakes.kubernetes.cluster import PODS_ONLY
from tests.fakes.kubernetes.faults import RequestFault
from tests.integration.deploy.deployer import NAMESPACE, Deployer

pytestmark = [pytest.mark.integration, pytest.mark.slow]

NAME = "clearml-serving"
FIRST, SECOND = "1" * 32, "2" * 32
SERVICE = "5" * 32
REQUEST = {"text": "a great book"}
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}

REGISTER = """
import json, os, pathlib, signal, sys, time
file, command, *words = sys.argv[1:]
known = json.loads(pathlib.Path(file).read_text())
if command == "models":
    if known.get("refused"):
        print(json.dumps({"error": known["refused"], "exit_code": 31}))
        sys.exit(31)
    rows = [{
        "version": version, "model_id": model, "share": float(model == known["current"]), "name": "TF-IDF",
        "run_id": "", "datasets": {"train": "1.2.2"}, "since": "", "is_deleted": model in known.get("deleted", ()),
    } for model, version in known["versions"].items()]
    print(json.dumps({"status": "in_progress", "auto_update": False, "models": rows}))
    sys.exit(0)
known["calls"].append(words)
if len(known["calls"]) == known.get("interrupts_at"):
    pathlib.Path(file).write_text(json.dumps({**known, "interrupts_at": 0}))
    os.kill(os.getppid(), signal.SIGINT)
    time.sleep(30)
model = words[words.index("--model") + 1] if "--model" in words else known["newest"]
if model.startswith("0"):
    print(json.dumps({"error": f"there is no model {model}", "hint": "./task serve-model -- --help", "exit_code": 29}))
    sys.exit(29)
previous, route = known["current"], "--no-route" not in words
if known.get("published_meanwhile"):
    known["newest"] = known["published_meanwhile"]
if not route or "--model" not in words:
    print(f"Model {model} (made now)", file=sys.stderr)
changed = model not in known["versions"] or (route and previous != model)
version = known["versions"].setdefault(model, str(len(known["versions"]) + 1))
paths = [f"reviews/{version}"]
if route:
    known["current"] = model
    paths.append("reviews")
pathlib.Path(file).write_text(json.dumps(known))
print(json.dumps({
    "service_id": known["service"], "page": "http://page", "version": version, "paths": paths, "model_id": model,
    "changed": changed, "request": {"text": "a great book"}, "label": "positive", "probability": 0.75,
    "previous_model_id": previous,
}))
"""


@dataclass
class Serving:
    """The service as the stand-in keeps it, and how the process answers."""

    file: Path
    deploy: Deployer
    wrong: str = ""
    """A model that answers otherwise than it should."""

    asked: int = 0

    def known(self) -> dict[str, Any]:
        return dict(json.loads(self.file.read_text()))

    def start_service(self, api: Any) -> Callable[[], str]:
        """Make the service a task of the server's that is at work; return what tells its status."""
        task = api("tasks.create", name="Serving", type="service")["id"]
        api("tasks.started", task=task)
        self.file.write_text(json.dumps(self.known() | {"service": task}))
        return lambda: str(api("tasks.get_by_id", task=task)["task"]["status"])

    def answer(self, path: str) -> dict[str, Any]:
        self.asked += 1
        known = self.known()
        models = {f"/serve/reviews/{version}": model for model, version in known["versions"].items()}
        model = models.get(path, known["current"])
        probability = 0.5 if model == self.wrong else 0.75
        return {"predictions": [{"label": "positive", "probability": probability}], "model_id": model}

    def serve(self, *words: str, code: int = 0) -> dict[str, Any]:
        return self.deploy.json("serve", "--values", str(self.file.with_name("serving.yaml")), *words, code=code)

    def said(self, *words: str, code: int = 0) -> str:
        return self.deploy("serve", "--values", str(self.file.with_name("serving.yaml")), *words, code=code)

    def interrupt(self, method: str, path: str, number: signal.Signals = signal.SIGINT, *, times: int = 1) -> None:
        """Send this process a signal before the first requests that match."""
        faults = self.deploy.cluster.faults
        left = times

        def before(asked: str, where: str) -> None:
            nonlocal left
            if left and asked == method and where.endswith(path):
                left -= 1
                os.kill(os.getpid(), number)

        faults.before = before

    def objects(self) -> list[str]:
        """Return all that is there, once what was deleted has gone."""
        self.deploy.cluster.settle()
        store = self.deploy.cluster.store
        kinds = ("deployments", "services", "secrets", "pods", "leases", "namespaces")
        return [f"{kind}/{item['metadata']['name']}" for kind in kinds for item in store.select(kind, "")]

    def pod(self) -> dict[str, Any]:
        (found,) = [
            pod
            for pod in self.deploy.cluster.store.select("pods", NAMESPACE)
            if pod["spec"]["containers"][0]["name"] == "serving" and not pod["metadata"].get("deletionTimestamp")
        ]
        return found


@pytest.fixture
def serving(deploy: Deployer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serving]:
    (tmp_path / "register.py").write_text(REGISTER)
    file = tmp_path / "service.json"
    file.write_text(json.dumps({"newest": FIRST, "current": None, "versions": {}, "calls": [], "service": SERVICE}))
    api = str(deploy.api.http.base_url).replace("127.0.0.1", f"clearml{PODS_ONLY}")
    (tmp_path / "serving.yaml").write_text(yaml.safe_dump({"server": {"api": api}}))
    monkeypatch.setattr(registration, "COMMAND", (sys.executable, str(tmp_path / "register.py"), str(file)))
    monkeypatch.setattr(proof, "SYNC_S", 0)
    found = Serving(file, deploy)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert json.loads(self.rfile.read(int(self.headers["Content-Length"]))) == REQUEST
            body = json.dumps(found.answer(self.path)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    deploy.cluster.dns[f"{NAME}.{NAMESPACE}.svc:8080"] = f"127.0.0.1:{server.server_port}"
    yield found
    server.shutdown()
    server.server_close()


def test_a_model_is_served_proved_from_a_pod_and_left_alone_the_second_time(serving: Serving) -> None:
    done = serving.serve()
    assert (done["result"], done["model_id"], done["version"]) == ("installed", FIRST, "1")
    assert done["paths"] == ["reviews/1", "reviews"]
    assert done["address"] == f"http://{NAME}.{NAMESPACE}.svc:8080/serve"
    assert serving.asked == 3, "the version alone before other requests go to it, then both addresses"
    assert ["--no-route" in words for words in serving.known()["calls"]] == [True, False]
    uid = serving.pod()["metadata"]["uid"]
    again = serving.serve()
    assert (again["result"], serving.pod()["metadata"]["uid"]) == ("unchanged", uid)
    assert [name for name in serving.objects() if name.startswith("pods/")] == [
        f"pods/{serving.pod()['metadata']['name']}"
    ]
    text = serving.said()
    assert text.count("(made now)") == 1
    assert f"kubectl -n {NAMESPACE} port-forward service/{NAME} 8080" in text
    assert "as the model itself says" in text


def test_what_is_made_is_the_releases_own_and_holds_no_key(serving: Serving, api: Any) -> None:
    serving.serve()
    store = serving.deploy.cluster.store
    secret = store.get("secrets", NAMESPACE, f"{NAME}-keys")
    made = [store.get(kind, NAMESPACE, NAME) for kind in ("deployments", "services")]
    for item in (secret, *made):
        assert item["metadata"]["labels"]["clearml-pods/release"] == NAME
        assert item["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "clearml-pods"
    assert api.credentials[1] not in json.dumps(made)
    pod = made[0]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == serving_values.image()
    assert {"startupProbe", "readinessProbe", "livenessProbe", "resources"} <= container.keys()
    assert container["securityContext"]["readOnlyRootFilesystem"] and pod["securityContext"]["runAsNonRoot"]
    assert made[0]["spec"]["template"]["metadata"]["annotations"]["prometheus.io/path"] == "/metrics"


def test_a_newer_model_needs_no_new_pod(serving: Serving) -> None:
    serving.serve()
    uid = serving.pod()["metadata"]["uid"]
    done = serving.serve("--model", SECOND)
    assert (done["result"], done["version"], serving.pod()["metadata"]["uid"]) == ("upgraded", "2", uid)
    assert serving.known()["current"] == SECOND


def test_a_model_that_is_published_meanwhile_gets_no_requests_unproved(serving: Serving) -> None:
    serving.file.write_text(json.dumps(serving.known() | {"published_meanwhile": SECOND}))
    assert serving.serve()["model_id"] == FIRST
    assert serving.known()["versions"].keys() == {FIRST}
    assert serving.serve()["model_id"] == SECOND


def test_a_version_that_answers_wrongly_gets_no_other_requests(serving: Serving) -> None:
    serving.serve()
    serving.wrong = SECOND
    said = serving.said("--model", SECOND, code=37)
    assert f"for model {SECOND}: answers positive (0.5) by model {SECOND}" in said
    assert "undo: what there was before is back" in said or "undo: what was there before is back" in said
    assert serving.known()["current"] == FIRST
    assert serving.serve("--model", FIRST)["result"] == "unchanged"


def test_a_first_install_that_does_not_prove_itself_is_removed(serving: Serving, api: Any) -> None:
    serving.wrong = FIRST
    status = serving.start_service(api)
    said = serving.said(code=37)
    assert "nothing was installed before" in said
    assert serving.objects() == []
    assert status() == "stopped"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--set", "image=missing:1"), 34, "./task build-image -- serving"),
        (("--set", "server.api=http://nowhere.pods.fake:9"), 41, "--set server.api=URL"),
        (("--model", "0" * 32), 29, f"there is no model {'0' * 32}"),
        (("--model", "0" * 32), 29, "./task deploy-serve -- --help"),
        (("--set", "imag=x"), 11, "there is no value imag"),
        (("--set", "replicas=two"), 11, "replicas is 'two'"),
        (("--set", "server.apis=x"), 11, "there is no value server.apis"),
    ],
)
def test_what_cannot_be_served_is_named_and_leaves_nothing(
    serving: Serving, words: tuple[str, ...], code: int, said: str
) -> None:
    serving.deploy.cluster.faults.missing_images = {"missing:1"}
    assert said in serving.said(*words, code=code)
    assert serving.objects() == []


PROBES = (f"pods/{NAME}-probe-server", f"pods/{NAME}-probe-request")


@pytest.mark.parametrize(
    ("method", "path", "number", "code"),
    [
        ("GET", f"/{PROBES[0]}", signal.SIGINT, 130),
        ("PATCH", f"/services/{NAME}", signal.SIGINT, 130),
        ("PATCH", f"/deployments/{NAME}", signal.SIGTERM, 143),
        ("GET", "/pods", signal.SIGINT, 130),
        ("GET", f"/{PROBES[1]}", signal.SIGTERM, 143),
    ],
    ids=["while the image is looked at", "after the Secret", "after the Service", "waiting for pods", "in the proof"],
)
def test_a_first_install_that_is_interrupted_leaves_nothing_and_the_next_completes(
    serving: Serving, api: Any, method: str, path: str, number: signal.Signals, code: int
) -> None:
    status = serving.start_service(api)
    serving.interrupt(method, path, number)
    said = serving.said(code=code)
    assert said.count("Error: ") == 1 and "the same command again serves the model" in said
    assert serving.objects() == []
    assert serving.known()["current"] is None, "no request goes to a model that was not proved"
    if PROBES[0] not in path:
        assert "undo: nothing was installed before: Deployment, Service and Secret are removed again" in said
        assert status() == "stopped"
    assert serving.serve()["result"] == "installed"


@pytest.mark.parametrize("call", [1, 2], ids=["without a route", "with a route"])
def test_an_interrupt_while_a_model_is_registered_lets_that_end(serving: Serving, call: int) -> None:
    serving.file.write_text(json.dumps(serving.known() | {"interrupts_at": call}))
    serving.said(code=130)
    assert serving.objects() == []
    assert serving.serve()["result"] == "installed"


def test_an_upgrade_that_is_interrupted_is_undone(serving: Serving) -> None:
    serving.serve()
    before = serving.deploy.cluster.store.get("deployments", NAMESPACE, NAME)["spec"]
    serving.interrupt("POST", "/pods")  # at first the pod that is to ask for the server
    serving.said("--model", SECOND, "--set", "replicas=2", code=130)
    serving.interrupt("GET", f"/{PROBES[1]}")
    said = serving.said("--model", SECOND, "--set", "replicas=2", code=130)
    assert "undo: what was there before is back" in said
    assert serving.deploy.cluster.store.get("deployments", NAMESPACE, NAME)["spec"] == before
    assert serving.known()["current"] == FIRST
    assert serving.serve("--model", SECOND)["result"] == "upgraded"


def test_a_second_interrupt_leaves_what_is_there_to_the_next_command(serving: Serving, api: Any) -> None:
    status = serving.start_service(api)
    serving.interrupt("GET", "/pods", times=2)  # the wait for the pods, and that for their end
    said = serving.said(code=130)
    assert "Ctrl-C again leaves it as it is" in said and "./task undeploy-serve removes what is left" in said
    assert status() == "in_progress"
    assert serving.serve()["result"] == "installed"
    serving.deploy("unserve", "--yes")
    assert serving.objects() == [f"namespaces/{NAMESPACE}"]


def test_a_version_that_a_killed_command_has_left_is_proved_before_requests_go_to_it(serving: Serving) -> None:
    serving.file.write_text(json.dumps(serving.known() | {"versions": {FIRST: "1"}}))
    serving.wrong = FIRST
    serving.said(code=37)
    assert serving.known()["current"] is None
    serving.wrong = ""
    serving.serve()
    assert serving.known()["current"] == FIRST


def test_what_a_killed_command_has_left_is_in_nobodys_way(serving: Serving) -> None:
    store = serving.deploy.cluster.store
    store.create("namespaces", "", {"metadata": {"name": NAMESPACE}, "status": {"phase": "Active"}})
    labels = {"clearml-pods/release": NAME, "app.kubernetes.io/managed-by": "clearml-pods"}

    def leave() -> None:
        for kind, name in [probe.split("/") for probe in PROBES] + [("secrets", f"{NAME}-keys")]:
            body = {"metadata": {"name": name, "labels": labels}, "data": {}, "spec": {"containers": [{"name": "x"}]}}
            store.create(kind, NAMESPACE, body)

    leave()
    assert serving.deploy.json("unserve", "--yes")["removed"] == [f"secret/{NAME}-keys"]
    assert serving.objects() == [f"namespaces/{NAMESPACE}"]
    leave()
    assert serving.serve()["result"] == "installed"
    assert not set(PROBES) & set(serving.objects())


def test_a_process_that_runs_out_of_memory_is_rolled_back_to_what_was_there(serving: Serving) -> None:
    serving.serve()
    before = serving.deploy.cluster.store.get("deployments", NAMESPACE, NAME)["spec"]
    image = serving_values.image()
    faults = serving.deploy.cluster.faults

    def before_request(method: str, path: str) -> None:
        if method == "PATCH" and path.endswith(f"/deployments/{NAME}"):  # the pods that ask before have less
            faults.image_needs_mb[image] = 300

    faults.before = before_request
    said = serving.said("--set", "resources={requests: {memory: 64Mi}, limits: {memory: 280Mi}}", code=34)
    assert "OOMKilled" in said and "--set resources.limits.memory=4Gi" in said
    assert "undo: what was there before is back" in said
    assert serving.deploy.cluster.store.get("deployments", NAMESPACE, NAME)["spec"] == before


def test_a_restricted_namespace_admits_it_and_what_it_refuses_is_named_first(serving: Serving) -> None:
    store = serving.deploy.cluster.store
    metadata = {"name": NAMESPACE, "labels": RESTRICTED}
    store.create("namespaces", "", {"metadata": metadata, "status": {"phase": "Active"}})
    volumes = "volumes=[{name: x, hostPath: {path: /}}]"
    said = serving.said("--set", volumes, code=36)
    assert "violates PodSecurity" in said and "hostPath" in said
    assert serving.objects() == [f"namespaces/{NAMESPACE}"]
    assert serving.serve()["result"] == "installed"


def test_somebody_elses_service_is_not_taken_over(serving: Serving) -> None:
    store = serving.deploy.cluster.store
    store.create("namespaces", "", {"metadata": {"name": NAMESPACE}, "status": {"phase": "Active"}})
    store.create("services", NAMESPACE, {"kind": "Service", "metadata": {"name": NAME}, "spec": {}})
    assert f"Service {NAME} in namespace {NAMESPACE} is not ours" in serving.said(code=26)
    assert "is not ours" in serving.deploy("unserve", "--yes", code=26)
    assert serving.serve("--release", "other", "--dry-run")["result"] == "planned"


def test_a_user_without_rights_is_told_which(serving: Serving) -> None:
    serving.deploy.cluster.faults.forbidden = {("create", "services")}
    assert "create services" in serving.said(code=33)
    assert serving.objects() == []


def test_a_user_who_may_not_see_service_monitors_needs_none(serving: Serving) -> None:
    text = 'servicemonitors.monitoring.coreos.com is forbidden: User "x" cannot get resource "servicemonitors"'
    serving.deploy.cluster.faults.requests.append(RequestFault("*", "/servicemonitors", 403, text))
    assert serving.serve()["result"] == "installed"
    assert serving.deploy.json("unserve", "--yes")["removed"]


def test_a_dry_run_names_what_would_change(serving: Serving) -> None:
    assert serving.serve("--dry-run")["changes"][:4] == [
        f"make namespace {NAMESPACE}",
        f"write Secret {NAME}-keys",
        f"make Service {NAME}",
        f"make Deployment {NAME}",
    ]
    assert serving.objects() == [] and serving.known()["calls"] == []
    serving.serve()
    assert serving.serve("--dry-run")["changes"][:-1] == []
    assert serving.serve("--dry-run", "--set", "replicas=2")["changes"][:-1] == [f"change Deployment {NAME}"]


def test_status_shows_the_models_and_the_pods_in_every_case(serving: Serving) -> None:
    def state(code: int = 0) -> tuple[dict[str, Any], str]:
        return serving.deploy.json("serve", "--status", code=code), serving.deploy("serve", "--status", code=code)

    assert (state(3)[0]["models"], state(3)[0]["pods"]) == ([], [])
    serving.serve()
    body, said = state()
    assert [(row["model_id"], row["share"]) for row in body["models"]] == [(FIRST, 1.0)]
    assert f"model: version 1, 100% of the requests, {FIRST}: TF-IDF, trained on version 1.2.2" in said
    assert f"pod: {serving.pod()['metadata']['name']}: ready, 0 restarts\n" in said

    serving.file.write_text(json.dumps(serving.known() | {"deleted": [FIRST]}))
    faults = serving.deploy.cluster.faults
    faults.image_needs_mb[serving_values.image()] = 99_999
    serving.deploy.cluster.store.delete("pods", NAMESPACE, serving.pod()["metadata"]["name"])
    body, said = state(3)
    (pod,) = [row for row in body["pods"] if row["state"] == "failed"]
    assert (pod["reason"], pod["restarts"], pod["last_end"]) == ("OOMKilled", 3, "OOMKilled (exit code 137)")
    assert "3 restarts, ended last by OOMKilled (exit code 137)" in said
    assert f"{FIRST}: deleted from the server; a pod that starts now cannot load it" in said

    serving.file.write_text(json.dumps(serving.known() | {"refused": "the server does not answer"}))
    body, said = state(3)
    assert (body["models"], body["models_problem"]) == ([], "the server does not answer")
    assert "models: not known: the server does not answer" in said and "pod: " in said


def test_status_says_why_there_are_no_pods(serving: Serving) -> None:
    serving.serve()
    serving.deploy.cluster.faults.pod_quota = 0
    serving.deploy.cluster.store.delete("pods", NAMESPACE, serving.pod()["metadata"]["name"])
    serving.deploy.cluster.settle()
    assert "exceeded quota" in serving.deploy.json("serve", "--status", code=3)["problem"]
    said = serving.deploy("serve", "--status", code=3)
    assert (
        "problem: " in said and "exceeded quota" in said and f"model: version 1, 100% of the requests, {FIRST}" in said
    )


def test_status_and_the_end_beside_an_agent(serving: Serving, installed: Deployer) -> None:
    status = installed.json("serve", "--status", code=3)
    assert (status["installed"], status["ready"]) == (False, 0)
    assert "nothing" not in installed("unserve", "--yes") and installed.json("unserve")["removed"] == []
    before = serving.objects()
    service = serving.start_service(installed.api)
    serving.serve()
    status = installed.json("serve", "--status")
    assert (status["installed"], status["ready"], status["service_id"]) == (True, 1, serving.known()["service"])
    assert [pod["state"] for pod in status["pods"]] == ["ready"]
    assert "1 of 1 pods are ready" in installed("serve", "--status")
    assert installed.json("check")["ok"] and "serving" not in json.dumps(installed.json("uninstall", "--dry-run"))
    assert "add --yes" in installed("unserve", code=4)
    ours, theirs = f"http://{NAME}.{NAMESPACE}.svc:8080/serve/reviews/1", "http://elsewhere/serve/reviews/1"

    def report(url: str, name: str) -> None:
        facts = {"container_id": name, "endpoint_name": "reviews", "model_name": "m", "endpoint_url": url}
        installed.api("serving.container_status_report", **facts)

    report(ours, "ours")
    report(theirs, "theirs")
    removed = installed.json("unserve", "--yes")["removed"]
    assert removed == [f"deployment/{NAME}", f"service/{NAME}", f"secret/{NAME}-keys"]
    assert serving.objects() == before
    known = {row["url"] for row in installed.api("serving.get_endpoints")["endpoints"]}
    assert ours not in known and theirs in known
    assert service() == "in_progress", "another address answers for the same model"
    installed.api("serving.unregister_container", container_id="theirs")
    serving.serve()
    report(ours, "ours")
    assert installed.json("unserve", "--yes")["removed"]
    assert service() == "stopped"
    assert installed.json("check")["ok"]
