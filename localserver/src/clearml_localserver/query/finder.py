"""Find documents: what `get_all`, `get_all_ex`, `get_by_id_ex` and `get_by_id` of all kinds have in common."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Protocol

import orjson

from clearml_localserver.errors import ApiError
from clearml_localserver.ids import new_id
from clearml_localserver.query.clauses import TRUE, Clause, all_of
from clearml_localserver.query.compiler import compile_query, filters_of
from clearml_localserver.query.kinds import KINDS, TASK, Kind
from clearml_localserver.query.projection import projection
from clearml_localserver.query.select import MOST_LOOKED_UP, Select
from clearml_localserver.query.task_texts import find_texts
from clearml_localserver.rules import old_clients
from clearml_localserver.store import Document, Tx

CHUNK = 200
"""Documents that are made ready at once: what they refer to is looked up together."""


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


class Page:
    """Documents that match, ready to be sent: read one after the other as they are taken, in the transaction.

    Args:
        documents: Runs the query.
        scroll_id: Set where the client scrolls.
    """

    def __init__(self, documents: Callable[[], Iterator[Document]], scroll_id: str | None) -> None:
        self._documents = documents
        self.scroll_id = scroll_id

    def __iter__(self) -> Iterator[Document]:
        return self._documents()

    def reply(self, key: str) -> dict[str, Any]:
        """Return the reply's data: the documents under `key`, and the scroll id if there is one."""
        return {key: iter(self)} | ({"scroll_id": self.scroll_id} if self.scroll_id else {})


class Scrolls:
    """Positions of clients' scrolls: a number of documents under an id that stays the same.

    Kept in memory: an id that a restart has forgotten starts from the beginning, as an unknown one does.
    """

    def __init__(self, most: int = 10_000) -> None:
        self._most = most
        self._cursors: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()  # the store's readers run side by side

    def resume(self, scroll_id: Any) -> tuple[str, int]:
        """Return the scroll of this id, a new one where there is none."""
        with self._lock:
            if isinstance(scroll_id, str) and scroll_id in self._cursors:
                return scroll_id, self._cursors[scroll_id]
            return new_id(), 0

    def advance(self, scroll_id: str, cursor: int) -> None:
        """Record the position of a scroll; drop the least recently used one when there are too many."""
        with self._lock:
            self._cursors[scroll_id] = cursor
            self._cursors.move_to_end(scroll_id)
            if len(self._cursors) > self._most:
                self._cursors.popitem(last=False)


SCROLLS = Scrolls()


def find_all(tx: Tx, kind: str, call: Query) -> Page:
    """Answer `get_all`: matching documents of `kind` ("task", "model", "project", "queue", "user"), references as ids.

    Usual use: `return find_all(tx, "task", call).reply("tasks")`.

    Raises:
        ApiError: For a malformed query, as the genuine server words it.
    """
    return _find(tx, KINDS[kind], call, objects=False)


def find_all_ex(tx: Tx, kind: str, call: Query, *, where: Clause = TRUE) -> Page:
    """Answer `get_all_ex`: as `find_all`, with references as objects (`project: {id, name}` for `project.name`).

    Args:
        tx: The transaction.
        kind: What is looked for.
        call: The request.
        where: A further condition of the endpoint's own.

    Raises:
        ApiError: For a malformed query, as the genuine server words it.
    """
    return _find(tx, KINDS[kind], call, objects=True, where=where)


def find_by_ids_ex(tx: Tx, kind: str, call: Query) -> Page:
    """Answer `get_by_id_ex`: `find_all_ex` that needs a list `id`; unknown ids are ignored.

    Raises:
        ApiError: 400/11 without `id`.
    """
    if not call.data.get("id"):
        raise ApiError(400, 11, "Missing required fields: missing=(id)")
    return find_all_ex(tx, kind, call)


def count(tx: Tx, kind: str, data: Mapping[str, Any], company: str, *, where: Clause = TRUE) -> int:
    """Return how many documents a `get_all` with the body `data` would find without paging."""
    select = _compiled(tx, KINDS[kind], data, company).narrowed(where).count()
    return int(tx.rows(select.sql, select.args)[0][0])


def matching(tx: Tx, kind: str, data: Mapping[str, Any], company: str) -> list[Document]:
    """Return the stored documents that a `get_all` with the body `data` would find."""
    statement = compile_query(KINDS[kind], data, company).statement()
    return tx.docs(statement.sql, statement.args)


def condition(kind: str, filters: Mapping[str, Any]) -> Clause:
    """Return the condition that some filters of a `get_all` make; nulls are ignored.

    Raises:
        ApiError: For a malformed filter.
    """
    return all_of(filters_of(KINDS[kind], {name: value for name, value in filters.items() if value is not None}))


def by_id(tx: Tx, kind: str, id: str, company: str, *, public: bool = False) -> Document:
    """Return the stored document (all fields, references as ids), fresh and free to change.

    Args:
        tx: The transaction.
        kind: "task", "model", "project", "queue" or "user".
        id: The document's id.
        company: The caller's company: another company's document does not exist for it.
        public: Whether a document made public may be returned too (reading, never changing).

    Raises:
        ApiError: 400/101 task, 400/201 model, 400/401 project, 400/701 queue, 400/301 user; 403/21 for a task or
            project made public, which may only be read.
    """
    document = tx.get(kind, id)
    if document is not None and document.get("company") == company:
        return document
    if document is not None and not document.get("company"):
        if public:
            return document
        if KINDS[kind].guarded:
            raise public_only(kind, [id])
    raise unknown(kind, id, company)


def unknown(kind: str, id: str, company: str) -> ApiError:
    """Return the 400 that answers an unknown id."""
    spec = KINDS[kind]
    return ApiError(400, spec.subcode, spec.unknown.format(id=id, company=company))


def public_only(kind: str, ids: Iterable[str]) -> ApiError:
    """Return the 403/21 that answers a change of documents made public."""
    text = f"cannot modify public {KINDS[kind].guarded}, ids={tuple(ids)}"
    return ApiError(403, 21, f"Forbidden (modification not allowed) ({text})")


def render(kind: str, document: Document, version: tuple[int, int]) -> Document:
    """Return `document` as `get_by_id` shows it: without hidden fields, in the shape of the client's API version."""
    concealed = KINDS[kind].concealed
    shown = old_clients.shown(document, version)
    return {key: value for key, value in shown.items() if key not in concealed}


def _find(tx: Tx, kind: Kind, call: Query, *, objects: bool, where: Clause = TRUE) -> Page:
    data = call.data
    only_fields = None if objects and kind.whole else data.get("only_fields")
    shape = projection(kind, only_fields, objects=objects)
    # "scroll_id": null starts a scroll, so the body as sent has to be asked.
    scroll = SCROLLS.resume(data.get("scroll_id")) if "scroll_id" in call.raw else None
    cursor = scroll[1] if scroll else None
    select = _compiled(tx, kind, data, call.company, cursor=cursor).narrowed(where)

    def documents() -> Iterator[Document]:
        found = 0
        # Whole documents: taking one apart here is many times faster than SQLite's reading of single fields.
        statement = select.statement()
        stored = tx.each_doc(statement.sql, statement.args)
        while chunk := list(islice(stored, CHUNK)):
            found += len(chunk)
            shown = [shape.apply(old_clients.shown(document, call.version)) for document in chunk]
            if objects:
                known = _referenced(tx, shape.followed(shown), call)
                shown = [shape.expand(document, known) for document in shown]
            yield from shown
        if scroll:
            SCROLLS.advance(scroll[0], select.offset + found)

    return Page(documents, scroll[0] if scroll else None)


def _compiled(tx: Tx, kind: Kind, data: Mapping[str, Any], company: str, *, cursor: int | None = None) -> Select:
    """Compile a query; one that looks for a text in tasks reads only those in which it occurs."""
    found = find_texts(tx, data["_any_"], company) if kind is TASK and "_any_" in data else None
    if found is None or not (found.is_exact or len(found.rows) <= MOST_LOOKED_UP):
        return compile_query(kind, data, company, cursor=cursor)
    rest = {key: value for key, value in data.items() if key != "_any_"} if found.is_exact else data
    return compile_query(kind, rest, company, cursor=cursor).among(found.rows)


def _referenced(tx: Tx, wanted: Mapping[str, set[str]], call: Query) -> dict[tuple[str, str], Document]:
    known = {("company", call.company): {"id": call.company, "name": call.company_name}}
    for kind, ids in wanted.items():
        if kind != "company":
            sql = f"SELECT doc FROM {KINDS[kind].table} WHERE id IN (SELECT value FROM json_each(?))"
            documents = tx.docs(sql, (orjson.dumps(sorted(ids)).decode(),))
            known |= {(kind, document["id"]): document for document in documents}
    return known
