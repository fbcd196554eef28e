"""References to stored files in the documents and events of a database."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import orjson

from clearml_localserver.errors import ApiError
from clearml_localserver.events.store import NOBODY
from clearml_localserver.rules.events import IMAGE, PLOT
from clearml_localserver.store import Document, Tx
from clearml_localserver.stored_files import require_storable, spellings

PAGE = 500
"""Documents read at a time: a database may hold more than fits into memory."""

ARTIFACT, WEIGHTS, SAMPLE, PLOT_FILE = "artifact", "weights", "debug sample", "plot"


@dataclass(frozen=True)
class Named:
    """An address of a file, and what names it."""

    url: str
    kind: str
    id: str
    part: str
    name: str = ""
    size: int = 0
    """Its bytes as the client told them; 0 where it did not."""

    @property
    def owner(self) -> str:
        """What refers to it, as text for a message."""
        return f"{' '.join(filter(None, (self.part, self.name)))} of {self.kind} {self.id}"


def documents(tx: Tx, kind: str) -> Iterator[Document]:
    """Yield all documents of a kind in the order of their creation."""
    last = -1
    while rows := tx.rows(f"SELECT rowid, doc FROM {kind} WHERE rowid > ? ORDER BY rowid LIMIT {PAGE}", (last,)):
        for last, text in rows:  # noqa: B007  the last one is where the next page begins
            yield orjson.loads(text)


def named_by(kind: str, document: Document) -> Iterator[Named]:
    """Yield the addresses that one document names."""
    if kind == "model" and document.get("uri"):
        yield Named(document["uri"], kind, document["id"], WEIGHTS)
    if kind == "task":
        for artifact in (document.get("execution") or {}).get("artifacts") or []:
            if artifact.get("uri"):
                size = artifact.get("content_size") or 0
                yield Named(artifact["uri"], kind, document["id"], ARTIFACT, str(artifact.get("key")), size)


def named_by_events(tx: Tx) -> Iterator[Named]:
    """Yield the addresses that debug images and plots name."""
    last = -1
    select = f"""
        SELECT e.id, s.owner, s.type, s.metric, e.content, coalesce(e.extra, s.common)
        FROM event_sample e JOIN event_series s ON s.id = e.series
        WHERE e.id > ? AND s.owner <> '{NOBODY}' AND s.type IN ('{IMAGE}', '{PLOT}') ORDER BY e.id LIMIT {PAGE}"""
    while rows := tx.rows(select, (last,)):
        for last, owner, type_, metric, content, extra in rows:  # noqa: B007
            urls = [content] if type_ == IMAGE else orjson.loads(extra).get("source_urls") or []
            for url in filter(None, urls):
                yield Named(url, "task", owner, SAMPLE if type_ == IMAGE else PLOT_FILE, metric)


def all_named(tx: Tx) -> Iterator[Named]:
    """Yield every address that the database names."""
    for kind in ("task", "model"):
        for document in documents(tx, kind):
            yield from named_by(kind, document)
    yield from named_by_events(tx)


def stored_name(url: str, files: Path) -> str | None:
    """Return the stored file that an address means on a file server; None for any other address.

    Args:
        url: The address.
        files: The folder of the stored files, in which the address may have another spelling.
    """
    try:
        address = urlsplit(url)
        if address.scheme not in ("http", "https") or not address.netloc:
            return None
        name = unquote(address.path)
        require_storable(name)
        names = ["/".join(parts) for parts in spellings(name)]
    except (ValueError, ApiError):  # no address, or no file's name
        return None
    return next((name for name in names if os.path.lexists(files / name)), names[0])


def host_of(url: str) -> str:
    """Return scheme, host and port of an address."""
    address = urlsplit(url)
    return f"{address.scheme}://{address.netloc}"
