"""Files in a real S3 server: what a run and a plain script store there is read back, and what is wrong is said.

boto3 is in an environment of its own, a copy of this one: where it is installed, the SDK lists it for each task.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from clearml_access import credentials
from pipeline.local_stack.environment import copy_environment
from tests.integration.pipeline_cli import COMMAND_TIMEOUT_S, PROJECT, PipelineCli, review_file, versions
from tests.ports import free_port_base
from tests.s3_server import S3Server, running

# The first one on a machine builds the S3 server.
pytestmark = [pytest.mark.integration, pytest.mark.thorough, pytest.mark.timeout(1_800)]

ROOT = Path(__file__).parents[2]
BUCKET = "clearml"
ROWS = 300

CONFIGURATION = """
sdk.development.default_output_uri: "s3://{host}/{bucket}"
sdk.aws.s3.credentials: [
    {{ host: "{host}", bucket: "{bucket}", key: "{key}", secret: "{secret}", secure: false, multipart: false }}
]
"""

STORE = """
import pathlib, sys
from clearml import Dataset, OutputModel, Task
task = Task.init("elsewhere", "store", output_uri=sys.argv[1], reuse_last_task_id=False)
task.upload_artifact("numbers", {"a": [1, 2, 3]}, wait_on_upload=True)
pathlib.Path("weights.bin").write_bytes(b"weights" * 1000)
OutputModel(task, name="weights").update_weights("weights.bin", auto_delete_file=False)
task.close()
made = Dataset.create(dataset_name="files", dataset_project="elsewhere", output_uri=sys.argv[1])
made.add_files("weights.bin")
made.upload()
made.finalize()
print("stored", task.id, made.id)
"""

READ = """
import pathlib, sys
from clearml import Dataset, Task
task = Task.get_task(task_id=sys.argv[1])
assert task.artifacts["numbers"].get() == {"a": [1, 2, 3]}
[model] = task.get_models()["output"]
files = pathlib.Path(Dataset.get(sys.argv[2]).get_local_copy())
for copy in (pathlib.Path(model.get_local_copy(raise_on_error=True)), files / "weights.bin"):
    assert copy.read_bytes() == b"weights" * 1000
"""


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    with running(tmp_path_factory.mktemp("s3"), free_port_base() + 8) as server:
        server.make_bucket(BUCKET)
        yield server


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    """The interpreter of a copy of this environment, with the extra `s3` as it is locked."""
    copy = tmp_path_factory.mktemp("with-boto3") / "env"
    found = copy_environment(Path(sys.prefix), copy)
    words = ["uv", "sync", "--frozen", "--quiet", "--inexact", "--all-packages", "--no-dev", "--group", "step"]
    environ = os.environ | {"UV_PROJECT_ENVIRONMENT": str(copy)}
    subprocess.run([*words, "--extra", "s3"], cwd=ROOT, env=environ, check=True, timeout=COMMAND_TIMEOUT_S)
    return found


def configuration(folder: Path, environ: dict[str, str], s3: S3Server, **changes: str) -> dict[str, str]:
    """Write a `clearml.conf` with the lines of docs/scale.md; return variables by which commands use it."""
    access = credentials.find(environ)
    lines = {
        "api_server": access.api,
        "web_server": access.web,
        "files_server": access.files,
        "credentials.access_key": access.access_key,
        "credentials.secret_key": access.secret_key,
    }
    text = "".join(f'api.{name}: "{value}"\n' for name, value in lines.items())
    values = {"host": s3.host, "bucket": BUCKET, "key": s3.key, "secret": s3.secret} | changes
    file = folder / "clearml.conf"
    file.write_text(text + CONFIGURATION.format(**values))
    return {"CLEARML_CONFIG_FILE": str(file)}


@pytest.fixture(scope="module")
def cli(server, s3, python, tmp_path_factory):
    """The command line where boto3 is, and its workers, with files in S3."""
    folder = tmp_path_factory.mktemp("files-in-s3")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("CLEARML_", "TRAINS_"))}
    environ |= {"CLEARML_PODS_STATE": str(folder / "state"), "CLEARML_CACHE_DIR": str(folder / "cache")}
    cli = PipelineCli(environ | configuration(folder, server.environment, s3), folder, python)
    yield cli
    assert cli("workers", "down", "--all").code == 0


def stored(bucket: Path) -> list[str]:
    """Return the names of all objects of a bucket."""
    return sorted(str(file.relative_to(bucket)) for file in bucket.rglob("*") if file.is_file())


def test_a_run_and_a_training_have_all_their_files_in_s3(cli, client, server, s3):
    csv = review_file(cli.folder / "train.csv", ROWS)
    uploaded = cli("dataset", "upload", str(csv), "--batch-size", str(ROWS // 2))
    assert uploaded.code == 0, uploaded.stderr
    up = cli("workers", "up", "--steps", "2")
    assert up.code == 0, up.stderr
    ran = cli("run", "--json")
    assert ran.code == 0, ran.stdout + ran.stderr
    fitted = cli("fit-model", "--json")
    assert fitted.code == 0, fitted.stdout + fitted.stderr

    tasks = client("tasks.get_all", search_hidden=True, page_size=200)["tasks"]
    uris = {item["uri"] for task in tasks for item in task.get("execution", {}).get("artifacts", []) if item.get("uri")}
    uris |= {model["uri"] for model in client("models.get_all", project=None)["models"] if model.get("uri")}
    prefix = f"s3://{s3.host}/{BUCKET}/"
    assert len(uris) > 10 and [uri for uri in uris if not uri.startswith(prefix)] == []
    names = stored(s3.folder / BUCKET)
    assert {uri.removeprefix(prefix) for uri in uris} <= set(names)
    assert [path for path in (server.data / "files").rglob("*") if path.is_file()] == []
    assert [name for name in names if "clearml-pods.check" in name] == []
    assert sorted(versions(client)) == ["1.0", "1.1", "1.2", "1.2.1", "1.2.2", "1.2.3", "1.2.4"]
    assert {name.partition("/")[0] for name in names} >= {PROJECT}


def test_a_plain_script_stores_and_another_reads(cli, python, s3, tmp_path):
    """`output_uri` in the script; nothing of this repository."""
    target = f"s3://{s3.host}/{BUCKET}/elsewhere"

    def run(code: str, *arguments: str) -> str:
        (tmp_path / "script.py").write_text(code)
        environ = cli.environ | {"CLEARML_CACHE_DIR": str(tmp_path / f"cache of {len(arguments)}")}
        done = subprocess.run(
            [python, "script.py", *arguments], cwd=tmp_path, env=environ, capture_output=True, text=True,
            timeout=COMMAND_TIMEOUT_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    (ids,) = [line.split()[1:] for line in run(STORE, target).splitlines() if line.startswith("stored ")]
    assert sum(name.endswith("weights.bin") for name in stored(s3.folder / BUCKET / "elsewhere")) == 1
    run(READ, *ids)


UPLOAD, WORKERS = ("dataset", "upload", "train.csv"), ("workers", "up")


@pytest.mark.parametrize(
    ("command", "changes", "said"),
    [
        (UPLOAD, {"key": "another"}, "the server does not know the access key ("),
        (WORKERS, {"secret": "another"}, "the server refuses the secret key (SignatureDoesNotMatch)"),
        (UPLOAD, {"bucket": "elsewhere"}, "there is no bucket elsewhere"),
        (WORKERS, {"host": "127.0.0.1:9"}, "does not answer: Could not connect"),
    ],
    ids=["key", "secret", "bucket", "host"],
)
def test_what_is_wrong_is_said_before_anything_is_made(cli, client, server, s3, tmp_path, command, changes, said):
    def there() -> tuple[int, list[str]]:
        return len(client("tasks.get_all", search_hidden=True, page_size=200)["tasks"]), stored(s3.folder)

    before = there()
    review_file(tmp_path / "train.csv", ROWS)
    wrong = configuration(tmp_path, server.environment, s3, **changes)
    elsewhere = PipelineCli(cli.environ | {"CLEARML_PODS_STATE": str(tmp_path / "state")} | wrong, tmp_path, cli.python)
    done = elsewhere(*command)
    assert done.code == 38 and said in done.stderr, done.stderr
    assert "Hint: " in done.stderr and "docs/scale.md" in done.stderr and "Traceback" not in done.stderr
    assert s3.secret not in done.stdout + done.stderr
    assert there() == before


def test_without_boto3_the_command_to_get_it_is_said(cli, tmp_path):
    csv = review_file(tmp_path / "train.csv", ROWS)
    done = PipelineCli(cli.environ, tmp_path)("dataset", "upload", str(csv))
    assert done.code == 38, done.stderr
    assert "needs the package boto3" in done.stderr and "build-image -- --s3" in done.stderr
