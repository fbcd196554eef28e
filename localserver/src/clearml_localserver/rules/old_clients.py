"""Conversion between the documents of old API versions and the stored ones.

Pure. Before API 2.17 metadata was a list; before 2.9 hyperparameters and configuration objects were parts of
`execution`; before 2.3 there was one list of tags for everything.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from clearml_localserver.rules import hyperparams

Version = tuple[int, int]
Document = dict[str, Any]

METADATA_BY_KEY = (2, 17)
HYPERPARAMS = (2, 9)
SYSTEM_TAGS = (2, 3)

KNOWN_SYSTEM_TAGS = frozenset(("archived", "dataset", "development", "hidden", "pipeline", "reports"))
"""Tags that mean something to servers and SDKs."""


def shown(document: Document, version: Version) -> Document:
    """Return a stored document in the shape that clients of an API version know."""
    if version < METADATA_BY_KEY and isinstance(metadata := document.get("metadata"), dict):
        document = document | {"metadata": list(metadata.values())}
    if version < HYPERPARAMS and isinstance(execution := document.get("execution"), dict):
        parameters = hyperparams.to_legacy(document.get("hyperparams") or {})
        model_desc = hyperparams.configuration_to_legacy(document.get("configuration") or {})
        document = document | {"execution": execution | {"parameters": parameters, "model_desc": model_desc}}
    if version < SYSTEM_TAGS and (system_tags := document.get("system_tags")):
        document = document | {"tags": [*document.get("tags", ()), *system_tags]}
    return document


def understood(request: Mapping[str, Any], version: Version, current: Collection[str] = ()) -> dict[str, Any]:
    """Return a request that describes a document, with system tags separated from tags.

    Args:
        request: What the client sent.
        version: Its API version.
        current: The document's system tags: the client has read them as tags, and sends them back so.
    """
    tags = request.get("tags")
    if version >= SYSTEM_TAGS or not isinstance(tags, list):
        return dict(request)
    known = {*KNOWN_SYSTEM_TAGS, *current}
    system_tags = [*(request.get("system_tags") or []), *(tag for tag in tags if tag in known)]
    return {
        **request,
        "tags": [tag for tag in tags if tag not in known],
        "system_tags": list(dict.fromkeys(system_tags)),
    }
