"""Tags of many documents: which are in use, adding and removing them. Works on any kind of document."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from clearml_localserver.query import Clause, all_of, condition
from clearml_localserver.store import Document, Tx
from clearml_localserver.tables import contents

TEXTS = {"type": "array", "items": {"type": "string"}}
CHANGE = {
    "type": "object",
    "required": ["ids"],
    "properties": {"ids": TEXTS, "add_tags": TEXTS, "remove_tags": TEXTS},
}
"""Schema of `update_tags`."""


def tags_in_use(
    tx: Tx, kinds: Iterable[str], request: Mapping[str, Any], where: Clause | None = None
) -> dict[str, list[str]]:
    """Answer `get_tags`: the tags of all documents of `kinds`, sorted.

    Args:
        tx: The transaction.
        kinds: Kinds of documents to look at.
        request: `include_system` asks for system tags too; `filter` (list filters of `tags` and `system_tags`, as
            `get_all` takes them) narrows the documents.
        where: A further condition on the documents.

    Raises:
        ApiError: For a malformed filter.
    """
    fields = ("tags", "system_tags") if request.get("include_system") else ("tags",)
    spec = request.get("filter") or {}
    filters = {field: spec.get(field) for field in ("tags", "system_tags")}
    chosen = [(kind, all_of([*([where] if where else []), condition(kind, filters)])) for kind in kinds]
    return {
        field: sorted(set().union(*(contents.tags(tx, kind, field, clause) for kind, clause in chosen)))
        for field in fields
    }


def retagged(document: Document, added: Iterable[str], removed: Iterable[str]) -> Document:
    """Return a document with some tags more and others less."""
    gone = set(removed)
    return document | {"tags": [tag for tag in dict.fromkeys([*document["tags"], *added]) if tag not in gone]}
