"""Pure rules of the company's storage settings: keys of object stores, for those who read them from the server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from clearml_localserver.errors import ApiError, validation_error

Settings = dict[str, Any]

FRESH: Mapping[str, Settings] = {
    "aws": {"key": "", "secret": "", "token": "", "region": "", "use_credentials_chain": False, "buckets": []},
    "google": {"project": None, "credentials_json": None, "buckets": []},
    "azure": {"containers": []},
}
"""What is shown of a store of which nothing was ever set, or that was reset."""

LISTS = {"aws": "buckets", "google": "buckets", "azure": "containers"}
SECRETS = frozenset({"secret", "token", "credentials_json", "account_key", "extra_args"})
"""Fields that only an admin reads. Among `extra_args` may be keys, which boto3 takes there (`SSECustomerKey`)."""

AWS_BUCKET: Settings = {
    "bucket": "",
    "subdir": "",
    "host": "",
    "key": "",
    "secret": "",
    "token": "",
    "multipart": True,
    "acl": "",
    "secure": True,
    "region": "",
    "verify": True,
    "use_credentials_chain": False,
    "extra_args": None,
    "profile": "",
}
GOOGLE_BUCKET: Settings = {
    "bucket": "",
    "subdir": "",
    "project": "",
    "credentials_json": "",
    "pool_connections": None,
    "pool_maxsize": None,
}
AZURE_CONTAINER: Settings = {
    "account_name": "",
    "account_key": "",
    "container_name": "",
    "use_default_credential": False,
}
ITEMS = {"aws": AWS_BUCKET, "google": GOOGLE_BUCKET, "azure": AZURE_CONTAINER}


def checked(name: str, given: Mapping[str, Any]) -> Settings:
    """Return a store's settings as they are kept: all of them are replaced, what is not given is null.

    Raises:
        ApiError: 400/12 for credentials that are not JSON, 400/800 for an Azure container without its key.
    """
    fresh = FRESH[name]
    kept = {field: given.get(field, value if value is False else None) for field, value in fresh.items()}
    items = [{field: item.get(field, value) for field, value in ITEMS[name].items()} for item in _items(name, given)]
    if name == "aws":
        items = [item for item in items if item["key"] and item["secret"]]
    for number, item in enumerate(items):
        if name == "azure" and not item["account_key"]:
            what = f"{{{number}: {{'account_key': ValidationError(Field is required,)}}}}"
            raise ApiError(400, 800, f"Data validation error: containers={what}")
    for holder in (kept, *items):
        _require_json(holder.get("credentials_json"))
    return kept | {LISTS[name]: items}


def masked(settings: Any) -> Any:
    """Return settings without their secrets; whether there is one is still seen."""
    if isinstance(settings, list):
        return [masked(item) for item in settings]
    if not isinstance(settings, dict):
        return settings
    return {name: ("***" if value else value) if name in SECRETS else masked(value) for name, value in settings.items()}


def _items(name: str, given: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [
        {field: value for field, value in item.items() if value is not None} for item in given.get(LISTS[name]) or []
    ]


def _require_json(text: str | None) -> None:
    if not text:
        return
    try:
        json.loads(text)
    except ValueError as error:
        raise validation_error(f"Invalid json credentials: {error}") from error
