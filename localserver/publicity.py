"""Documents that every company may read: `make_public` and `make_private` of projects and models."""

from __future__ import annotations

from typing import Any, Protocol

from localserver.query import by_id
from localserver.store import Tx

IDS = {
    "type": "object",
    "required": ["ids"],
    "properties": {"ids": {"type": "array", "minItems": 1, "items": {"type": "string"}}},
}
"""Schema of endpoints that take a list of ids which may not be empty."""


class Caller(Protocol):
    """The part of a `registry.Call` that is needed here."""

    @property
    def data(self) -> dict[str, Any]:
        """The request's body."""

    @property
    def company(self) -> str:
        """Id of the calling user's company."""


def make_public(tx: Tx, kind: str, call: Caller) -> dict[str, int]:
    """Let every company read documents; until they are private again nobody may change them.

    Raises:
        ApiError: The kind's own, for an unknown id.
    """
    documents = [by_id(tx, kind, id, call.company) for id in dict.fromkeys(call.data["ids"])]
    for document in documents:
        tx.put(kind, document | {"company": "", "company_origin": call.company})
    return {"updated": len(documents)}


def make_private(tx: Tx, kind: str, call: Caller) -> dict[str, int]:
    """Take back `make_public`; a document that is private already stays so.

    Raises:
        ApiError: The kind's own, for an unknown id or one of another company's.
    """
    documents = [by_id(tx, kind, id, call.company, public=True) for id in dict.fromkeys(call.data["ids"])]
    taken = [document for document in documents if document.get("company_origin") == call.company]
    for document in taken:
        del document["company_origin"]
        tx.put(kind, document | {"company": call.company})
    return {"updated": len(documents)}
