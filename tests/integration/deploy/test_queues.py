"""A deployment of several queues: one release for each file, changed, proved and removed apart from the others."""

from __future__ import annotations

import pytest
import yaml

from clearml_access.agent_values import AGENT_POD_PIN
from deploy.helm import values
from tests.integration.deploy.deployer import HELD, NAMESPACE, QUEUE
from tests.integration.deploy.test_install import TASK_IMAGE, memory, other_settings

pytestmark = [pytest.mark.integration, pytest.mark.slow]

BASE, GPU, LARGE = "clearml-agent", "clearml-agent-gpu", "clearml-agent-large"
GPU_QUEUE = "GPU größe/2 (with a name that is far longer than any label of Kubernetes may be)"
GPU_FILE = {
    "queue": GPU_QUEUE,
    "defaultContainerImage": "gpu-image:1",
    "extraEnvs": [{"name": "K8S_GLUE_MAX_PODS", "value": "2"}],
    "basePodTemplate": {
        "nodeSelector": {"accelerator": "nvidia"},
        "priorityClassName": "training",
        "env": [{"name": "HF_HOME", "value": "/cache"}],
        "resources": {"limits": {"nvidia.com/gpu": 1}},
    },
}
LARGE_FILE = {"queue": "fake-large", "basePodTemplate": {"resources": {"requests": {"memory": "1Gi"}}}}


@pytest.fixture
def folder(deploy, tmp_path, monkeypatch):
    """The folder of queue files, with no file that counts."""
    folder = tmp_path / "queues"
    folder.mkdir()
    monkeypatch.setenv("AGENT_QUEUES", str(folder))
    (folder / "gpu.yaml.example").write_text("is no queue file")
    yield folder
    for queue in deploy.api("queues.get_all")["queues"]:
        if queue["name"] in (GPU_QUEUE, LARGE_FILE["queue"], "fake-base"):
            deploy.api("queues.delete", queue=queue["id"], force=True)


@pytest.fixture
def several(installed, folder):
    """Two releases that work."""
    write(folder, "gpu", GPU_FILE)
    installed("install", "--no-canary")
    return installed


def write(folder, name, glue):
    (folder / f"{name}.yaml").write_text(yaml.safe_dump({"agentk8sglue": glue}, allow_unicode=True))


def changed(**glue):
    return {**GPU_FILE, **glue}


def did(body):
    return {each["release"]: (each["result"], each.get("revision")) for each in body["releases"]}


def deployed(deploy):
    return [item["metadata"]["name"] for item in deploy.cluster.store.select("deployments", NAMESPACE)]


def test_each_file_makes_a_release_whose_pods_are_as_the_file_says(deploy, folder):
    write(folder, "gpu", GPU_FILE)
    write(folder, "large", LARGE_FILE)
    first = deploy.json("install")
    assert did(first) == {BASE: ("installed", 1), GPU: ("installed", 1), LARGE: ("installed", 1)}
    assert (first["release"], first["queues"]) == (BASE, [QUEUE]), "what is said of one release is said of the base"
    assert all(each["canary"]["python"] for each in first["releases"])
    assert deploy.json("check")["ok"]

    for queue in (QUEUE, GPU_QUEUE):
        pod = deploy.cluster.store.get("pods", NAMESPACE, f"clearml-id-{deploy.enqueue(queue=queue, tags=HELD)}")
        spec, (container,) = pod["spec"], pod["spec"]["containers"]
        is_gpu = queue == GPU_QUEUE
        assert container["image"] == ("gpu-image:1" if is_gpu else TASK_IMAGE)
        assert (spec.get("nodeSelector") or {}) == ({"accelerator": "nvidia"} if is_gpu else {})
        assert spec.get("priorityClassName") == ("training" if is_gpu else None)
        assert ("nvidia.com/gpu" in container["resources"]["limits"]) is is_gpu
        assert container["resources"]["limits"]["memory"] == "4Gi", "what a file leaves out is the base's"
        assert ("HF_HOME" in [item["name"] for item in container["env"]]) is is_gpu
    agent = deploy.cluster.store.get("deployments", NAMESPACE, GPU)["spec"]["template"]["spec"]["containers"][0]
    environment = {item["name"]: item.get("value") for item in agent["env"]}
    assert (environment["K8S_GLUE_MAX_PODS"], environment[AGENT_POD_PIN]) == ("2", "==1.9.2")


def test_only_what_changed_is_upgraded(several, folder):
    assert did(several.json("install", "--no-canary")) == {BASE: ("unchanged", 1), GPU: ("unchanged", 1)}
    write(folder, "gpu", changed(defaultContainerImage="gpu-image:2"))
    planned = several.json("install", "--dry-run")["releases"]
    assert [each["changes"] for each in planned] == [[], [f"upgrade release {GPU} to clearml-agent-5.3.99"]]
    assert "+          value: gpu-image:2" in several("diff")
    assert several.json("diff")["changed"] is True
    assert did(several.json("install", "--no-canary")) == {BASE: ("unchanged", 1), GPU: ("upgraded", 2)}
    assert did(several.json("install", *other_settings("600Mi"))) == {BASE: ("upgraded", 2), GPU: ("upgraded", 3)}


def test_a_release_whose_file_is_gone_is_removed_after_saying_so(several, folder):
    several("install", "--no-canary", "--release", f"{BASE}-other", "--set", "agentk8sglue.queue=fake-base")
    (folder / "gpu.yaml").unlink()
    assert f"release: {GPU} revision 1" in several("status")
    assert "is gone, so the next install removes it" in several("check")
    assert "-kind: Deployment" in several("diff")
    assert f"would remove release {GPU}, as its queue file is gone" in several("install", "--dry-run")
    task = several.enqueue(queue=GPU_QUEUE, tags=HELD)
    said = several("install", "--no-canary", code=24)
    assert f"is gone from {folder}, but its pods run 1 tasks: {task}" in said
    assert "./task undeploy-agent -- --only gpu --yes" in said
    assert GPU in deployed(several) and several.task(task)["status"] == "in_progress"

    several.cluster.end_task_pod(NAMESPACE, task, "Completed")
    several.cluster.settle()
    out, err = several.run("install", "--no-canary")
    assert f"{GPU}: the queue file of release {GPU} is gone from {folder}: the release is removed" in err
    assert f"release {GPU} in namespace {NAMESPACE} is removed" in out
    other = f"{BASE}-other"
    assert deployed(several) == [BASE, other, f"{other}-gpu"], "another deployment's releases are left alone"
    assert GPU_QUEUE in [queue["name"] for queue in several.api("queues.get_all")["queues"]]


def test_a_release_that_fails_leaves_the_others_alone(several, folder):
    write(folder, "gpu", changed(defaultContainerImage="none:none"))
    write(folder, "large", LARGE_FILE)
    several.cluster.faults.missing_images.add("none:none")
    body = several.json("install", *other_settings("600Mi"), code=34)
    assert did(body) == {BASE: ("upgraded", 2), GPU: ("failed", None), LARGE: ("installed", 1)}
    assert "1 of 3 releases failed: clearml-agent-gpu" in body["error"]
    assert memory(several) == "600Mi"
    agent = several.cluster.store.get("deployments", NAMESPACE, GPU)
    assert "gpu-image:1" in str(agent), "it stays as it was"


def test_one_release_can_be_chosen(several, folder):
    write(folder, "gpu", changed(defaultContainerImage="gpu-image:2"))
    write(folder, "large", LARGE_FILE)
    assert did(several.json("install", "--no-canary", "--only", "large")) == {LARGE: ("installed", 1)}
    assert [each["release"] for each in several.json("status", "--only", GPU, "--only", BASE)["releases"]] == [
        BASE,
        GPU,
    ]
    refused = several("status", "--only", "tpu", code=10)
    assert "there is no such release in this deployment; there are: clearml-agent, gpu, large" in refused
    assert "--set" not in several("uninstall", "--yes", "--only", "large")
    assert deployed(several) == [BASE, GPU]


def test_status_shows_every_queue_with_its_image_resources_worker_and_pods(several, folder):
    write(folder, "large", LARGE_FILE)
    task = several.enqueue(queue=GPU_QUEUE, tags=HELD)
    out, _ = several.run("status", code=3)
    gpu = out[out.index(f"release: {GPU}") :].splitlines()
    assert gpu[1] == (
        "tasks: image gpu-image:1; requests cpu 50m, memory 256Mi; limits memory 4Gi, nvidia.com/gpu 1; "
        "on nodes with accelerator=nvidia; priority training; at most 2 pods"
    )
    assert f"worker: {GPU} serves {GPU_QUEUE}," in out
    assert f"task pod: clearml-id-{task} on fake-node: ready" in gpu
    assert f"queue: {GPU_QUEUE}, 0 waiting" in gpu
    assert f"release: {LARGE} is not installed" in gpu
    body = several.json("status", code=3)
    assert [each["release"] for each in body["releases"]] == [BASE, GPU, LARGE]
    assert (body["task_pods"], len(body["releases"][1]["task_pods"])) == ([], 1)
    assert body["releases"][1]["tasks"]["max_pods"] == 2


def test_check_and_doctor_ask_of_each_release_what_is_its_own(several):
    several.api("queues.delete", queue=several.api("queues.get_all", name="^GPU")["queues"][0]["id"], force=True)
    body = several.json("check", code=43)
    asked = [(check["id"], check["release"]) for check in body["checks"]]
    assert [release for id_, release in asked if id_ == "kubernetes"] == [None]
    assert [release for id_, release in asked if id_ == "queue"] == [BASE, GPU]
    failed = {(check["id"], check["release"]) for check in body["checks"] if check["result"] == "fail"}
    assert failed <= {("queue", GPU), ("agent-log", GPU), ("serves", GPU)} and ("queue", GPU) in failed
    assert "✗ clearml-agent-gpu: queue exists" in several("check", code=43)
    assert "serves" in {check["id"] for check in several.json("doctor", code=43)["checks"]}


def test_the_doctor_asks_the_release_that_a_task_is_for(several):
    several.cluster.faults.agent_takes_nothing = True
    task = several.enqueue(queue=GPU_QUEUE)
    checks = {check["id"]: check for check in several.json("doctor", "--task", task)["checks"] if "task" in check["id"]}
    assert checks["task-image"]["evidence"] == "gpu-image:1 (the release's default)"
    assert checks["task-slot"]["evidence"] == "0 of 2 slots are taken"


@pytest.mark.parametrize(
    ("name", "glue", "code", "said"),
    [
        ("gpu", {"queue": QUEUE}, 11, f"queue {QUEUE} would be served by two releases with different pods"),
        ("large", {"queue": GPU_QUEUE.upper()}, 11, "would be served by two releases"),
        ("gpu", {"defaultContainerImage": "x"}, 11, "gpu.yaml names no queue"),
        (
            "gpu",
            {"queue": "x", "basePodTemplate": {"nodeSelektor": {}}},
            11,
            "gpu.yaml: agentk8sglue.basePodTemplate.nodeSelektor: "
            "no such key in the chart; did you mean agentk8sglue.basePodTemplate.nodeSelector?",
        ),
        ("My_GPU", {"queue": "x"}, 10, "its name becomes part of the release's name clearml-agent-My_GPU"),
        ("a" * 50, {"queue": "x"}, 10, "at most 53 characters"),
    ],
    ids=["base's queue", "another's queue", "no queue", "unknown key", "name", "long name"],
)
def test_a_file_that_cannot_work_is_refused_before_anything_is_changed(deploy, folder, name, glue, code, said):
    write(folder, "gpu", GPU_FILE)
    write(folder, name, glue)
    assert said in deploy("install", code=code)
    assert deploy.cluster.store.select("namespaces", "") == []


def test_a_release_that_was_not_made_from_the_file_is_not_taken_over(installed, folder):
    installed("install", "--no-canary", "--release", GPU, "--set", f"agentk8sglue.queue={LARGE_FILE['queue']}")
    assert BASE in installed("uninstall", "--dry-run") and GPU not in installed("uninstall", "--dry-run")
    write(folder, "gpu", GPU_FILE)
    said = installed("install", "--no-canary", code=26)
    assert f"release {GPU} in namespace {NAMESPACE} is there already, and was not made from" in said


def test_a_rollback_undoes_the_last_install(several, folder):
    several("install", *other_settings("600Mi"))
    write(folder, "gpu", changed(defaultContainerImage="gpu-image:2"))
    write(folder, "large", LARGE_FILE)
    several("install", *other_settings("600Mi"))
    assert several.json("rollback", "--dry-run")["releases"] == [{"release": GPU, "from": 3, "would_go_back_to": 2}]
    assert "each release counts its own revisions" in several("rollback", "1", code=2)
    out, err = several.run("rollback", "--no-canary")
    assert f"release {GPU} in namespace {NAMESPACE} is rolled back (revision 4), serves {GPU_QUEUE}" in out
    assert f"release {LARGE} was made by that install" in err
    assert memory(several) == "600Mi"
    several("rollback", "1", "--only", BASE, "--no-canary")
    assert memory(several) == "512Mi"


def test_render_prints_the_objects_of_all_releases(deploy, folder):
    write(folder, "gpu", GPU_FILE)
    out, _ = deploy.run("render")
    names = [item["metadata"]["name"] for item in yaml.safe_load_all(out) if item["kind"] == "Deployment"]
    assert names == [BASE, GPU]
    (template,) = [
        yaml.safe_load(item["data"]["template.yaml"])
        for item in yaml.safe_load_all(deploy.json("render", "--only", "gpu")["manifest"])
        if item["kind"] == "ConfigMap"
    ]
    assert values.get(template, "metadata.labels")["clearml-pods/release"] == GPU


def test_an_uninstall_removes_the_whole_deployment(several):
    out, err = several.run("uninstall", "--yes", "--delete-queue", "--delete-namespace")
    assert f"release {GPU} (revision 1)" in err and f"release {BASE} (revision 1)" in err
    assert f"namespace {NAMESPACE}" in out and f"queue {GPU_QUEUE}" in out
    assert several.cluster.store.select("namespaces", "") == []


def test_files_for_git_hold_every_release_and_one_kustomization_applies_all(deploy, folder, tmp_path):
    write(folder, "gpu", GPU_FILE)
    deploy("render", "--gitops", str(tmp_path / "git"))
    outer, inner = (
        yaml.safe_load((tmp_path / "git" / path / "kustomization.yaml").read_text()) for path in (".", "gpu")
    )
    assert "gpu" in outer["resources"] and "gpu" not in inner["resources"]
    given = yaml.safe_load((tmp_path / "git/gpu/values.yaml").read_text())
    assert values.get(given, "agentk8sglue.queue") == GPU_QUEUE
    assert values.get(given, "clearml.existingAgentk8sglueSecret") == f"{GPU}-keys"
    assert f"name: {GPU}\n" in (tmp_path / "git/gpu/agent.yaml").read_text()
