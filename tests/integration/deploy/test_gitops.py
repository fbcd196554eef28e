"""`render --gitops`: files for Argo CD and Flux without a key in them, and an agent that they applied."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.helm import values
from tests.fakes.helm import fake_chart, fake_helm
from tests.integration.deploy.deployer import NAMESPACE, QUEUE, Deployer

pytestmark = pytest.mark.integration

NAME = "clearml-agent"
TRACKED = {"argocd.argoproj.io/tracking-id": f"agents:apps/Deployment:{NAMESPACE}/{NAME}"}
FILES = {
    *("values.yaml", "agent.yaml", "configuration.yaml", "account.yaml", "kustomization.yaml"),
    *("examples/external-secret.yaml", "examples/sealed-secret.yaml"),
}


def documents(path: Path) -> list[Any]:
    return [item for item in yaml.safe_load_all(path.read_text()) if item]


@pytest.fixture
def rendered(deploy: Deployer, tmp_path: Path) -> Path:
    deploy("render", "--gitops", str(tmp_path / "git"))
    return tmp_path / "git"


@pytest.fixture
def queue_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two queue files."""
    folder = tmp_path / "queues"
    folder.mkdir()
    for name in ("gpu", "large"):
        (folder / f"{name}.yaml").write_text(f"agentk8sglue: {{queue: {QUEUE}-{name}}}\n")
    monkeypatch.setenv("AGENT_QUEUES", str(folder))
    return folder


def apply(deploy: Deployer, folder: Path) -> None:
    """Do with the files what kustomize and `kubectl apply` do, and put the keys where the examples put them."""
    store = deploy.cluster.store
    store.create("namespaces", "", {"metadata": {"name": NAMESPACE}, "status": {"phase": "Active"}})
    kustomization = documents(folder / "kustomization.yaml")[0]
    objects = [item for name in kustomization["resources"] for item in documents(folder / name)]
    for item in objects:
        item["metadata"]["annotations"] = TRACKED
        for patch in kustomization["patches"]:
            if (item["kind"], item["metadata"]["name"]) == (patch["target"]["kind"], patch["target"]["name"]):
                (change,) = yaml.safe_load(patch["patch"])
                *above, last = change["path"].strip("/").split("/")
                (item[above[0]] if above else item)[last] = change["value"]
        kind = "secrets" if item["kind"] == "Secret" else fake_helm.key(item)[0]
        store.create(kind, kustomization["namespace"], item)
    access_key, secret_key = deploy.api.credentials
    keys = {"agentk8sglue_key": access_key, "agentk8sglue_secret": secret_key}
    external = documents(folder / "examples/external-secret.yaml")[0]
    assert {item["secretKey"] for item in external["spec"]["data"]} == keys.keys()
    name = external["spec"]["target"]["name"]
    data = {key: fake_helm.base64.b64encode(value.encode()).decode() for key, value in keys.items()}
    store.create("secrets", NAMESPACE, {"metadata": {"name": name}, "type": "Opaque", "data": data})
    deploy.make_queue()
    deploy.cluster.settle()


def test_the_files_hold_no_key_and_name_the_secret(deploy, rendered):
    found = {str(path.relative_to(rendered)): path.read_text() for path in rendered.rglob("*") if path.is_file()}
    assert found.keys() == FILES
    for name, text in found.items():
        assert not any(key in text for key in deploy.api.credentials), name
        assert "clearml-pods/keys" not in text, f"{name} changes with the keys of this machine"
    (deployment,) = (item for item in documents(rendered / "agent.yaml") if item["kind"] == "Deployment")
    (agent,) = deployment["spec"]["template"]["spec"]["containers"]
    variables = {item["name"]: item for item in agent["env"]}
    assert variables["CLEARML_API_SECRET_KEY"]["valueFrom"]["secretKeyRef"]["name"] == f"{NAME}-keys"
    assert "--create-queue" in variables["K8S_GLUE_EXTRA_ARGS"]["value"]


def test_the_values_file_gives_the_same_objects(rendered):
    given = yaml.safe_load((rendered / "values.yaml").read_text())
    defaults = yaml.safe_load((fake_chart.CHART / "values.yaml").read_text())
    made = fake_chart.rendered(NAME, NAMESPACE, values.computed(defaults, given))
    assert list(map(fake_chart.comparable, made)) == list(
        map(fake_chart.comparable, documents(rendered / "agent.yaml"))
    )


def test_the_files_are_the_same_each_time(deploy, rendered):
    before = {path: path.read_bytes() for path in rendered.rglob("*.yaml")}
    body = deploy.json("render", "--gitops", str(rendered))
    assert sorted(body["files"]) == sorted(map(str, before))
    assert {path: path.read_bytes() for path in rendered.rglob("*.yaml")} == before


@pytest.mark.parametrize("name", ["kustomization.yaml", "gpu/values.yaml", "examples/sealed-secret.yaml"])
def test_a_file_of_the_user_is_never_overwritten(deploy, queue_files, tmp_path, name):
    folder = tmp_path / "git"
    mine = folder / name
    mine.parent.mkdir(parents=True)
    mine.write_text("resources: [agent]\n")
    said = deploy("render", "--gitops", str(folder), code=10)
    assert f"{mine} was not written by this command" in said
    assert f"name a folder of its own, such as {folder}/agent" in said
    assert [path for path in folder.rglob("*") if path.is_file()] == [mine]
    assert mine.read_text() == "resources: [agent]\n"


def test_what_is_not_made_any_more_is_removed(deploy, queue_files, tmp_path):
    folder = tmp_path / "git"
    deploy("render", "--gitops", str(folder))
    (folder / "external-secret.yaml").write_text((folder / "examples/external-secret.yaml").read_text())
    (queue_files / "gpu.yaml").unlink()
    assert deploy.json("render", "--gitops", str(folder), "--only", "large")["removed"] == []
    said = deploy("render", "--gitops", str(folder), "--set", "clearml.existingAgentk8sglueSecret=mine")
    assert not (folder / "gpu").exists() and not (folder / "examples").exists()
    assert {f"removed: {folder}/gpu/{name}" for name in FILES} <= set(said.splitlines())
    assert f"removed: {folder}/examples/sealed-secret.yaml" in said
    assert (folder / "external-secret.yaml").is_file(), "a copy that the user completes"
    deploy("render", "--gitops", str(folder), "--set", "clearml.existingAgentk8sglueSecret=mine")
    (queue_files / "large.yaml").unlink()
    (folder / "large/own.yaml").write_text("kind: Mine\n")
    deploy("render", "--gitops", str(folder))
    assert [path.name for path in (folder / "large").iterdir()] == ["own.yaml"]


def test_a_key_in_the_values_is_refused(deploy, tmp_path):
    secret = deploy.api.credentials[1]
    env = f"agentk8sglue.basePodTemplate.env=[{{name: A, value: {secret}}}]"
    said = deploy("render", "--gitops", str(tmp_path / "git"), "--set", env, code=11)
    assert "would hold the access key" in said and secret not in said
    assert not (tmp_path / "git").exists()


def test_without_keys_the_addresses_come_from_the_values(deploy, tmp_path):
    env = dict.fromkeys(("CLEARML_API_ACCESS_KEY", "CLEARML_API_SECRET_KEY", "CLEARML_CONFIG_FILE"), "")
    env |= {"CLEARML_API_HOST": "", "CLEARML_WEB_HOST": "", "CLEARML_FILES_HOST": "", "HOME": str(tmp_path)}
    deploy("render", "--gitops", str(tmp_path / "git"), **env)
    assert (tmp_path / "git/agent.yaml").is_file()
    deploy.values.write_text("{}")
    said = deploy("render", "--gitops", str(tmp_path / "other"), code=10, **env)
    assert "the server's addresses are not known: CLEARML_API_HOST, CLEARML_WEB_HOST, CLEARML_FILES_HOST" in said
    assert "agentk8sglue.fileServerUrlReference" in said
    hosts = {f"CLEARML_{name}_HOST": f"https://{name.lower()}.example.com" for name in ("API", "WEB", "FILES")}
    deploy("render", "--gitops", str(tmp_path / "other"), **{**env, **hosts})
    (given,) = documents(tmp_path / "other/values.yaml")
    assert given["agentk8sglue"]["fileServerUrlReference"] == "https://files.example.com"
    loopback = "agentk8sglue.apiServerUrlReference=http://127.0.0.1:8008"
    assert "loopback" in deploy("render", "--gitops", str(tmp_path / "other"), "--set", loopback, code=10, **env)


def test_a_secret_of_ones_own_needs_no_example(deploy, tmp_path):
    deploy("render", "--gitops", str(tmp_path / "git"), "--set", "clearml.existingAgentk8sglueSecret=mine")
    found = {str(path.relative_to(tmp_path / "git")) for path in (tmp_path / "git").rglob("*.yaml")}
    assert found == {name for name in FILES if not name.startswith("examples/")}
    assert "name: mine" in (tmp_path / "git/agent.yaml").read_text()


def test_check_proves_what_argo_cd_has_installed(deploy, rendered):
    apply(deploy, rendered)
    results = deploy.results("check")
    assert {item["result"] for item in results.values()} == {"ok"}, results
    assert "Argo CD (agents) applied clearml-agent-" in results["release"]["evidence"]
    status = deploy.json("status")
    assert (status["revision"], status["applied"]["by"]) == (None, "Argo CD (agents)")
    assert status["worker"]["serves"] == [QUEUE]
    assert "applied by Argo CD (agents)" in deploy("status")
    results = deploy.results("doctor")
    assert (results["strategy"]["result"], results["access"]["result"]) == ("ok", "ok")


def test_check_finds_what_is_broken_in_it(deploy, rendered):
    apply(deploy, rendered)
    deploy.cluster.store.remove("secrets", NAMESPACE, f"{NAME}-keys")
    results = deploy.results("check", code=10)
    assert f"Secret {NAME}-keys is not there" in results["agent-keys"]["evidence"]
    assert "repair it in git" in results["agent-keys"]["fix"] and "deploy-agent" not in results["agent-keys"]["fix"]


def test_helms_commands_leave_it_alone(deploy, rendered):
    apply(deploy, rendered)
    said = deploy("install", code=24)
    assert "Argo CD (agents) applied it" in said and "change it in git" in said
    for command in ("upgrade", "rollback"):
        assert "change it in git" in deploy(command, code={"upgrade": 24, "rollback": 25}[command])


def test_a_folder_that_cannot_be_written_is_said_so(deploy, tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot be written" in deploy("render", "--gitops", str(tmp_path / "file/below"), code=10)
