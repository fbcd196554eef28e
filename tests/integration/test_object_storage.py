"""Object storage that cannot be used is named with its reason before anything is uploaded. The server is moto's."""

from __future__ import annotations

import http.server
import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from clearml_access.errors import ConfigurationError
from pipeline.errors import StorageError
from pipeline.sdk import object_storage
from tests.integration.pipeline_cli import BATCH_ROWS, PipelineCli, review_file
from tests.ports import free_port_base

pytestmark = pytest.mark.integration

KEY, SECRET = "key-of-a-test", "secret-of-a-test"


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    name, port = server.get_host_and_port()
    client = boto3.client(
        "s3", endpoint_url=f"http://{name}:{port}", aws_access_key_id=KEY, aws_secret_access_key=SECRET,
        region_name="us-east-1",
    )  # fmt: skip
    client.create_bucket(Bucket="clearml")
    yield f"{name}:{port}"
    server.stop()


def bucket(host: str) -> list[str]:
    """Return the names of what is stored."""
    client = boto3.client(
        "s3", endpoint_url=f"http://{host}", aws_access_key_id=KEY, aws_secret_access_key=SECRET,
        region_name="us-east-1",
    )  # fmt: skip
    return [row["Key"] for row in client.list_objects_v2(Bucket="clearml").get("Contents", [])]


def settings(host: str, **fields: object) -> dict[str, object]:
    return {"credentials": [{"host": host, "key": KEY, "secret": SECRET, "secure": False, **fields}]}


def test_a_bucket_that_takes_files_is_left_as_it_was(host):
    object_storage.check(f"s3://{host}/clearml/folder", settings(host, bucket="clearml"), "clearml.conf")
    assert bucket(host) == []


def test_a_bucket_that_does_not_exist_is_named(host):
    with pytest.raises(StorageError, match=rf"s3://{host}/gone: there is no bucket gone$"):
        object_storage.check(f"s3://{host}/gone", settings(host, bucket="gone"), "clearml.conf")


def test_a_key_that_is_refused_is_told_by_the_servers_reason():
    codes = ["SignatureDoesNotMatch", "AccessDenied", "SlowDown"]

    class Refuses(http.server.BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            code = self.path.split("/")[1]
            body = f"<Error><Code>{code}</Code><Message>No.</Message></Error>".encode()
            self.send_response(403)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    said = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refuses) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host = f"127.0.0.1:{server.server_port}"
        for code in codes:
            with pytest.raises(StorageError) as refused:
                object_storage.check(f"s3://{host}/{code}", settings(host, bucket=code), "clearml.conf")
            said.append(str(refused.value).partition(": ")[2])
        server.shutdown()
    assert said == [
        "the server refuses the secret key (SignatureDoesNotMatch)",
        "the server does not let this key write and delete there (AccessDenied)",
        "SlowDown No.",
    ]
    assert SECRET not in "".join(said)


def test_a_server_that_does_not_answer_is_named():
    with pytest.raises(StorageError, match=r"s3://127\.0\.0\.1:9/clearml does not answer"):
        object_storage.check("s3://127.0.0.1:9/clearml", settings("127.0.0.1:9"), "clearml.conf")


def test_without_boto3_the_message_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(StorageError, match="needs the package boto3") as missing:
        object_storage.check("s3://bucket", {}, "clearml.conf")
    assert "build-image -- --s3" in str(missing.value.hint)


def test_without_a_key_the_file_is_named(monkeypatch, tmp_path):
    for name, value in {"AWS_EC2_METADATA_DISABLED": "true", "HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(StorageError, match=r"my\.conf has no access key for it"):
        object_storage.check("s3://127.0.0.1:9/clearml", {"credentials": []}, "my.conf")


def test_a_setting_that_the_sdk_does_not_know_is_named():
    with pytest.raises(ConfigurationError, match=r"sdk.aws.s3: .*'multiparts'"):
        object_storage.check("s3://h:1/b", settings("h:1", multiparts=False), "clearml.conf")


@pytest.mark.parametrize(
    ("text", "variable", "checked"),
    [
        ("", "", []),
        ('sdk.development.default_output_uri: "https://files.example.com"', "", []),
        ('sdk.development.default_output_uri: "s3://bucket/a"', "", ["s3://bucket/a"]),
        ('sdk.development.default_output_uri: "s3://bucket/a"', "s3://other", ["s3://other"]),
    ],
)
def test_only_s3_is_checked(monkeypatch, tmp_path: Path, text, variable, checked):
    file = tmp_path / "clearml.conf"
    file.write_text(text)
    seen: list[str] = []
    monkeypatch.setattr(object_storage, "check", lambda target, *_: seen.append(target))
    object_storage.check_default({"CLEARML_CONFIG_FILE": str(file), "CLEARML_DEFAULT_OUTPUT_URI": variable})
    assert seen == checked


@pytest.mark.thorough
@pytest.mark.timeout(600)
def test_datasets_artifacts_and_models_are_stored_in_s3_and_read_from_there(host, tmp_path):
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("CLEARML_", "TRAINS_"))}
    own = {"HOME": str(tmp_path), "CLEARML_PODS_STATE": str(tmp_path / "state")}
    cli = PipelineCli(environ | own | {"CLEARML_PODS_PORT_BASE": str(free_port_base())}, tmp_path)
    try:
        assert cli("server", "up", "--no-workers").code == 0
        conf = tmp_path / "clearml.conf"
        bucket_settings = json.dumps(settings(host, bucket="clearml", multipart=False))
        theirs = (tmp_path / "state/server/clearml.conf").read_text()
        conf.write_text(
            f'{theirs}\nsdk.development.default_output_uri: "s3://{host}/clearml"\nsdk.aws.s3: {bucket_settings}\n'
        )
        cli = PipelineCli(cli.environ | {"CLEARML_CONFIG_FILE": str(conf)}, tmp_path)
        csv = review_file(tmp_path / "train.csv")
        for words in (
            ("dataset", "upload", str(csv), "--batch-size", str(BATCH_ROWS)),
            ("run", "--mode", "in-process"),
            ("fit-model", "--mode", "in-process"),
        ):
            # Each reads what the one before has stored, without the SDK's cache.
            done = cli(*words, CLEARML_CACHE_DIR=str(tmp_path / f"cache of {words[0]}"))
            assert done.code == 0, done.stderr + done.stdout
        names = " ".join(bucket(host))
        assert all(name in names for name in ("reviews_00001.csv.zip", "processed_train", "models/", "result.json"))
        assert [file for file in (tmp_path / "state/server/data/files").rglob("*") if file.is_file()] == []
    finally:
        cli("server", "down")
