"""Documents that every company may read: `make_public` and `make_private` of projects and models."""

from __future__ import annotations

from typing import Any, Protocol

from clearml_localserver.query import by_id, unknown
from clearml_localserver.store import Document, Tx

IDS = {
    "type": "object",
    "required": ["ids"],
    "properties": {"ids": {"type": "array", "minItems": 1, "items": {"type": "string"}}},
}
"""Schema of endpoints that take a non-empty list of ids."""


class Caller(Protocol):
    """The part of a `registry.Call` that is needed here."""

    @property
    def data(self) -> dict[str, Any]:
        """The request's body."""

    @property
    def company(self) -> str:
        """Id of the calling user's company."""


def make_public(tx: Tx, kind: str, call: Caller) -> dict[str, int]:
    """Let every company read documents; until they are private again they cannot be changed.

    Raises:
        ApiError: The kind's own, for an unknown id.
    """
    documents = [by_id(tx, kind, id, call.company) for id in dict.fromkeys(call.data["ids"])]
    for document in documents:
        tx.put(kind, document | {"company": "", "company_origin": call.company})
    return {"updated": len(documents)}


def make_private(tx: Tx, kind: str, call: Caller) -> dict[str, int]:
    """Undo `make_public`.

    Raises:
        ApiError: The kind's own, for an unknown id, one of another company's and one that is not public.
    """
    ids = dict.fromkeys(call.data["ids"])
    documents = [document for id in ids if (document := tx.get(kind, id)) and taken_back(document, call.company)]
    if len(documents) < len(ids):
        known = {document["id"] for document in documents}
        raise unknown(kind, next(id for id in ids if id not in known), call.company)
    for document in documents:
        del document["company_origin"]
        tx.put(kind, document | {"company": call.company})
    return {"updated": len(documents)}


def taken_back(document: Document, company: str) -> bool:
    """Whether `company` has made a document public and may make it private again."""
    return not document["company"] and document.get("company_origin") == company
