"""`build-image --project`: the image of a small project runs on the real cluster, and a registry has it by its tag."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import httpx
import pytest

from clearml_access import processes
from images.project import PYTHON
from tests.e2e.cluster_cli import ENDED, go_task, stage, until
from tests.e2e.deployer import ROOT
from tests.e2e.images import BUILD_TIMEOUT_S
from tests.e2e.other_python import offered
from tests.ports import free_port_base
from tests.s3_server import running
from tests.server_package import interpreter

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3_600)]

PYPROJECT = """
[project]
name = "Houses"
version = "0.3.0"
requires-python = ">={python}"
dependencies = ["six==1.16.0"]
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[tool.hatch.build.targets.wheel]
packages = ["houses"]
"""

IN_A_STEP = """
set -e
[ "$(id -u)" = 1000 ] && touch ~/writable && echo "user is 1000"
(cd / && python -c 'import clearml, houses, six; print("rooms", houses.ROOMS, "six", six.__version__)')
step-python -c 'import sys; print("step", *sys.version_info[:2])'
step-python -m pip install --upgrade {pip}
step-python -m pip install six==1.16.0
$LOCAL_PYTHON -c 'from importlib.metadata import version; print("agent", version("clearml-agent"))'
$LOCAL_PYTHON -c 'import sys; print("its Python", *sys.version_info[:2])'
find /opt/step -name "*.pyc" -path "*/clearml/*" | grep -q . && echo "bytecode is there"
test ! -e /project && echo "sources are not there"
"""

STORE_AND_READ = """
import pathlib
from clearml import StorageManager
file = pathlib.Path("/tmp/from-a-pod")
file.write_text("by a pod")
address = StorageManager.upload_file(str(file), "{target}/from-a-pod")
file.unlink()
print("read what was stored", pathlib.Path(StorageManager.get_local_copy(address)).read_text())
"""

S3_CONFIGURATION = """
sdk.aws.s3.credentials: [
    {{ host: "{s3.host}", bucket: "{bucket}", key: "{s3.key}", secret: "{s3.secret}", secure: false, multipart: false }}
]
"""

REGISTRY = """
version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}/data}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry of Debian's package, unpacked and not installed; its address."""
    folder, port = tmp_path_factory.mktemp("registry"), free_port_base() + 8
    download = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", "docker-registry"]
    with stage("registry fetched from Debian"):
        subprocess.run(["apt-get", "update", "-qq"], check=True, timeout=300)
        subprocess.run(download, cwd=folder, check=True, timeout=300)
        (package,) = folder.glob("*.deb")
        subprocess.run(["dpkg", "-x", package, folder / "files"], check=True, timeout=120)
    (folder / "config.yml").write_text(REGISTRY.format(folder=folder, port=port))
    command = [folder / "files/usr/bin/docker-registry", "serve", folder / "config.yml"]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        address = f"127.0.0.1:{port}"
        try:
            assert processes.wait_until(lambda: answers(address), 60), (folder / "log").read_text()
            yield address
        finally:
            process.terminate()


def answers(address: str) -> bool:
    try:
        return httpx.get(f"http://{address}/v2/").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize(
    ("wanted", "python", "pip"),
    [
        pytest.param("3.10", "3.11", "pip<22.3", id="3.11", marks=pytest.mark.thorough),
        pytest.param("3.12", "3.12", "pip>=23,<24.3", id="3.12"),
    ],
)
def test_the_image_of_a_project_is_pushed_and_runs_steps(cluster_with_images, registry, tmp_path, wanted, python, pip):
    """With the Python of the base, and with another one and boto3; the agent beside it keeps its own Python."""
    project = tmp_path / "project"
    (project / "houses").mkdir(parents=True)
    (project / "houses/__init__.py").write_text("ROOMS = 4\n")
    (project / "pyproject.toml").write_text(PYPROJECT.replace("{python}", wanted))
    lock = ["uv", "lock", "--quiet", "--python", str(interpreter(python) or python)]
    subprocess.run(lock, cwd=project, check=True, timeout=300)
    # buildah and podman speak TLS to every registry that is not listed; docker not to those of this machine.
    (tmp_path / "registries.conf").write_text(f'[[registry]]\nlocation = "{registry}"\ninsecure = true\n')
    options = ["--debian-base", "--project", str(project), "--package", "--image", f"{registry}/team/houses-{python}"]
    options += ["--push", "--archives", str(tmp_path), "--json", *(["--s3"] if python != PYTHON else [])]
    environ = os.environ | {"CONTAINERS_REGISTRIES_CONF": str(tmp_path / "registries.conf")}
    with (
        offered(python, tmp_path / "offered") if python != PYTHON else nullcontext([]) as places,
        stage("build-image --project"),
    ):
        argv = [go_task(), "--silent", "build-image", "--", *options, *places]
        done = subprocess.run(
            argv, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, check=False
        )
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = json.loads(done.stdout.splitlines()[-1])["images"]
    name, _, tag = built["image"].rpartition(":")
    assert (name, httpx.get(f"http://{registry}/v2/team/houses-{python}/tags/list").json()["tags"]) == (
        f"{registry}/team/houses-{python}",
        [tag],
    )
    assert tag.endswith(f"-py{python}")
    cluster_with_images.run("load-image", Path(built["archive"]))
    script, pod = IN_A_STEP.replace("{pip}", f"'{pip}'"), f"houses-{python.replace('.', '-')}"
    phase, said = cluster_with_images.run_pod(pod, built["image"], "bash", "-c", script, command=True)
    assert phase == "Succeeded", said
    assert f"step {python.replace('.', ' ')}" in said and f"its Python {PYTHON.replace('.', ' ')}" in said
    for line in ("user is 1000", "rooms 4 six 1.16.0", "1 requirement(s) already satisfied", "agent 1.9.2"):
        assert line in said
    assert "bytecode is there" in said and "sources are not there" in said
    if "--s3" in options:
        stores_files_in_s3(cluster_with_images, built["image"], tmp_path / "s3")


def stores_files_in_s3(cluster, image, folder):
    """The SDK of a step stores a file in a real S3 server and reads it; the key is in a Secret, as in docs/scale.md."""
    address = cluster.run("status")["host_address"]
    with running(folder, free_port_base(address) + 8, address) as s3:
        bucket = s3.make_bucket("clearml")
        (folder / "s3.conf").write_text(S3_CONFIGURATION.format(s3=s3, bucket=bucket.name))
        cluster.kubectl("create", "secret", "generic", "s3-conf", f"--from-file=clearml.conf={folder}/s3.conf")
        code = STORE_AND_READ.format(target=f"s3://{s3.host}/{bucket.name}")
        container = {
            "name": "stores",
            "image": image,
            "command": ["step-python", "-c", code],
            "env": [{"name": "CLEARML_CONFIG_FILE", "value": "/conf/clearml.conf"}],
            "volumeMounts": [{"name": "conf", "mountPath": "/conf"}],
        }
        volume = {"name": "conf", "secret": {"secretName": "s3-conf"}}
        spec = {"containers": [container], "volumes": [volume], "restartPolicy": "Never"}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "stores"}, "spec": spec}
        cluster.kubectl("create", "--filename=-", stdin=json.dumps(pod))
        until("pod stores ended", lambda: cluster.phase("stores") in ENDED)
        assert "read what was stored by a pod" in cluster.kubectl("logs", "stores")
        assert (bucket / "from-a-pod").read_text() == "by a pod"
