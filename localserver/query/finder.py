"""Find documents: what `get_all`, `get_all_ex`, `get_by_id_ex` and `get_by_id` of all kinds have in common."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol

from localserver.store import Document, Tx


class Query(Protocol):
    """The part of a `registry.Call` that a query needs."""

    @property
    def data(self) -> dict[str, Any]:
        """The body without its top-level nulls."""

    @property
    def raw(self) -> dict[str, Any]:
        """The body as sent."""

    @property
    def version(self) -> tuple[int, int]:
        """API version asked for."""

    @property
    def company(self) -> str:
        """Id of the caller's company."""

    @property
    def company_name(self) -> str:
        """Name of the caller's company."""

    @property
    def now(self) -> datetime:
        """Time of the request."""


class Page(list[Document]):
    """A page of documents, ready to be sent; `scroll_id` is set where the client scrolls."""

    scroll_id: str | None = None

    def reply(self, key: str) -> dict[str, Any]:
        """Return the reply's data: the documents under `key`, and the scroll id if there is one."""
        return {key: list(self)} | ({"scroll_id": self.scroll_id} if self.scroll_id else {})


def find_all(tx: Tx, kind: str, call: Query) -> Page:
    """Answer `get_all`: matching documents of `kind` ("task", "model", "project", "queue", "user"), references as ids.

    Usual use: `return find_all(tx, "task", call).reply("tasks")`.

    Raises:
        ApiError: For a malformed query, as the genuine server words it.
    """
    raise NotImplementedError


def find_all_ex(tx: Tx, kind: str, call: Query) -> Page:
    """Answer `get_all_ex`: as `find_all`, with references as objects (`project: {id, name}` for `project.name`)."""
    raise NotImplementedError


def find_by_ids_ex(tx: Tx, kind: str, call: Query) -> Page:
    """Answer `get_by_id_ex`: `find_all_ex` that needs a list `id`; unknown ids are passed over.

    Raises:
        ApiError: 400/11 without `id`.
    """
    raise NotImplementedError


def by_id(tx: Tx, kind: str, id: str, company: str, *, public: bool = False) -> Document:
    """Return the stored document (all fields, references as ids), fresh and free to change.

    Args:
        tx: The transaction.
        kind: "task", "model", "project", "queue" or "user".
        id: The document's id.
        company: The caller's company: another company's document does not exist for it.
        public: Whether a document made public may be returned too (reading, never changing).

    Raises:
        ApiError: 400/101 task, 400/201 model, 400/401 project, 400/701 queue, 400/301 user.
    """
    raise NotImplementedError


def render(kind: str, document: Document, version: tuple[int, int]) -> Document:
    """Return `document` as `get_by_id` shows it: without hidden fields, metadata as a list before API 2.17."""
    raise NotImplementedError
