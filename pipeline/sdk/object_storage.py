"""Whether the S3 storage that `clearml.conf` names for files can be used, and if not, what is wrong with it.

The SDK answers every failure with "Insufficient permissions (delete failed)" or "Could not get access credentials".
Outside systems: an S3 server, through boto3, which is there only where it was installed (extra `s3`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from clearml_access import credentials
from clearml_access.errors import ConfigurationError
from pipeline.errors import StorageError

DEFAULT_VARIABLE = "CLEARML_DEFAULT_OUTPUT_URI"
SCHEME = "s3://"
CHECKED = ".clearml-pods.check"
TIMEOUT_S = 10
GUIDE = "docs/scale.md, Larger files"
REFUSED_KEYS = {
    "InvalidAccessKeyId": "does not know the access key",
    "XAdminUserNotFound": "does not know the access key",  # versitygw's
    "SignatureDoesNotMatch": "refuses the secret key",
    "AccessDenied": "does not let this key write and delete there",
    "ExpiredToken": "refuses the session token: it has expired",
}


def check_default(environ: Mapping[str, str]) -> None:
    """Write and delete a small file where the configuration has the SDK store files, if that is S3.

    Raises:
        StorageError: It cannot be used; the message says why.
        ConfigurationError: `clearml.conf` cannot be read.
    """
    file = credentials.configuration_file(environ)
    sdk = credentials.read_section(file, "sdk") if file.is_file() else {}
    target = environ.get(DEFAULT_VARIABLE) or str((sdk.get("development") or {}).get("default_output_uri") or "")
    if target.startswith(SCHEME):
        check(target, (sdk.get("aws") or {}).get("s3") or {}, file.name)


def check(target: str, settings: Mapping[str, Any], file: str) -> None:
    """Write and delete a small file.

    Args:
        target: An address, as `s3://bucket/folder`, or `s3://host:port/bucket/folder`.
        settings: The section `sdk.aws.s3`.
        file: Where that is from.

    Raises:
        StorageError: It does not work; the message says why.
        ConfigurationError: The section is not as the SDK reads it.
    """
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
    except ImportError as missing:
        raise StorageError(
            f"{target}: S3 needs the package boto3, which this Python environment does not have",
            hint=f"uv pip install --python .venv boto3; images: ./task build-image -- --s3 ({GUIDE})",
        ) from missing
    from clearml.backend_config.bucket_config import S3BucketConfigurations

    try:
        found = S3BucketConfigurations.from_config(dict(settings)).get_config_by_uri(target)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{file}, section sdk.aws.s3: {error}", hint=GUIDE) from error
    named = found.key and not found.use_credentials_chain
    client = boto3.Session(profile_name=found.profile or None).client(
        "s3",
        endpoint_url=f"http{'s' if found.secure else ''}://{found.host}" if found.host else None,
        verify=None if found.verify is True else found.verify,
        region_name=found.region or None,
        aws_access_key_id=found.key if named else None,
        aws_secret_access_key=found.secret if named else None,
        aws_session_token=found.token or None if named else None,
        config=Config(connect_timeout=TIMEOUT_S, read_timeout=TIMEOUT_S, retries={"max_attempts": 1}),
    )
    place = {
        "Bucket": found.bucket,
        "Key": "/".join(part for part in (found.subdir, f"{CHECKED}-{os.getpid()}") if part),
    }
    try:
        client.put_object(Body=b"", **place)
        client.delete_object(**place)
    except NoCredentialsError as error:
        raise StorageError(
            f"{target}: {file} has no access key for it, and the environment has none", hint=GUIDE
        ) from error
    except ClientError as error:
        raise StorageError(f"{target}: {_said(error.response, found.bucket)}", hint=GUIDE) from error
    except BotoCoreError as error:
        raise StorageError(f"{target} does not answer: {error}", hint=f"is its address right? {GUIDE}") from error


def _said(response: Mapping[str, Any], bucket: str) -> str:
    code, message = (str(response.get("Error", {}).get(field, "")) for field in ("Code", "Message"))
    if code == "NoSuchBucket":
        return f"there is no bucket {bucket}"
    if code in REFUSED_KEYS:
        return f"the server {REFUSED_KEYS[code]} ({code})"
    # Servers other than Amazon's have codes of their own.
    if response.get("ResponseMetadata", {}).get("HTTPStatusCode") in (401, 403):
        return f"the server refuses the key: {message} ({code})"
    return f"{code} {message}".strip()
