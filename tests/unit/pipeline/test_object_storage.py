"""Object storage that cannot be used is named with its reason before anything is uploaded.

boto3 is not in this environment: where it is, the SDK lists it for each task. What it says of each failure is here as
it was seen with versitygw, a real S3 server.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from clearml_access.errors import ConfigurationError
from pipeline.errors import StorageError
from pipeline.sdk import object_storage

KEY, SECRET, HOST = "key-of-a-test", "secret-of-a-test", "s3.example.com:9000"


class BotoCoreError(Exception):
    """The kind of all failures before an answer."""


class NoCredentialsError(BotoCoreError):
    """No key was found."""


class ClientError(Exception):
    """What the server answered."""

    def __init__(self, code: str, message: str = "No.", status: int = 400) -> None:
        super().__init__(code)
        self.response = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}


class Storage:
    """What boto3's client is asked, and what it raises."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.options: dict[str, Any] = {}

    def __call__(self, profile_name: str | None = None) -> Storage:
        return self

    def client(self, service: str, **options: Any) -> Storage:
        assert service == "s3"
        self.options = options
        return self

    def put_object(self, **place: Any) -> None:
        self.calls.append(("put", place))
        if self.failure:
            raise self.failure

    def delete_object(self, **place: Any) -> None:
        self.calls.append(("delete", place))


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Storage:
    storage = Storage()
    names = {
        "boto3": {"Session": storage},
        "botocore": {},
        "botocore.config": {"Config": dict},
        "botocore.exceptions": {
            "BotoCoreError": BotoCoreError, "ClientError": ClientError, "NoCredentialsError": NoCredentialsError
        },
    }  # fmt: skip
    for name, content in names.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    return storage


def settings(**fields: object) -> dict[str, object]:
    own = {"host": HOST, "bucket": "clearml", "key": KEY, "secret": SECRET, "secure": False}
    return {"credentials": [own | fields]}


def test_a_small_file_is_written_and_deleted_with_the_key_of_the_bucket(storage):
    object_storage.check(f"s3://{HOST}/clearml", settings(), "clearml.conf")
    (written, place), (deleted, same) = storage.calls
    assert (written, deleted, place.pop("Body")) == ("put", "delete", b"") and place == same
    assert place["Bucket"] == "clearml" and place["Key"].startswith(".clearml-pods.check-")
    assert storage.options["endpoint_url"] == f"http://{HOST}"
    assert (storage.options["aws_access_key_id"], storage.options["aws_secret_access_key"]) == (KEY, SECRET)


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (ClientError("NoSuchBucket"), "there is no bucket clearml"),
        (ClientError("SignatureDoesNotMatch"), "the server refuses the secret key (SignatureDoesNotMatch)"),
        (ClientError("InvalidAccessKeyId"), "the server does not know the access key (InvalidAccessKeyId)"),
        (ClientError("XAdminUserNotFound"), "the server does not know the access key (XAdminUserNotFound)"),
        (ClientError("AccessDenied"), "the server does not let this key write and delete there (AccessDenied)"),
        (ClientError("XUnknown", "No such user.", 403), "the server refuses the key: No such user. (XUnknown)"),
        (ClientError("SlowDown", "Later.", 503), "SlowDown Later."),
        (NoCredentialsError(), "clearml.conf has no access key for it"),
        (BotoCoreError("Could not connect"), "does not answer: Could not connect"),
    ],
)
def test_each_failure_is_told_by_its_reason(storage, failure, said):
    storage.failure = failure
    with pytest.raises(StorageError) as refused:
        object_storage.check(f"s3://{HOST}/clearml", settings(), "clearml.conf")
    assert str(refused.value).startswith(f"s3://{HOST}/clearml") and said in str(refused.value)
    assert SECRET not in str(refused.value)


def test_without_boto3_the_message_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(StorageError, match="needs the package boto3") as missing:
        object_storage.check("s3://bucket", {}, "clearml.conf")
    assert "build-image -- --s3" in str(missing.value.hint)


def test_a_setting_that_the_sdk_does_not_know_is_named(storage):
    with pytest.raises(ConfigurationError, match=r"sdk.aws.s3: .*'multiparts'"):
        object_storage.check(f"s3://{HOST}/clearml", settings(multiparts=False), "clearml.conf")


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
