"""The texts of all tasks in memory, so that a search reads the tasks that it finds and no others.

What a person looks for in a task is its id, name, comment, tags and the values of its parameters: 100 to 300 bytes of a
document of 2 KB and more. An index of them in the database would make every change of a task dearer. So they are read
when somebody first searches, and later only those of the tasks that have changed since.
"""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import orjson

from clearml_localserver.query.clauses import UNREACHABLE, contained
from clearml_localserver.query.compiler import field_of
from clearml_localserver.query.kinds import TASK
from clearml_localserver.store import DamagedError, Document, Reading, SlowReadError, Tx

Path = tuple[str, ...]
Parameter = tuple[str, str]

FIELD, ROW = b"\x1f", b"\x1e"
"""Between the texts of a task, and after the last one."""

NO_MARK = bytes.maketrans(FIELD + ROW, b"\0\0")

BASE: frozenset[Path] = frozenset({("id",), ("name",), ("comment",), ("tags",)})
"""Paths of what is looked for in every task; those of parameters are found in the tasks."""

CHUNK = 1024
"""Tasks whose texts lie together: a change of one has them joined again."""

MOST_BYTES = 256 * 2**20
"""Texts that are kept; of more, the database is searched."""


@dataclass(frozen=True)
class _Labels:
    """The part of a task that lists to choose from are made of."""

    company: str
    tags: tuple[str, ...]
    parameters: tuple[Parameter, ...]


_labels = lru_cache(maxsize=10_000)(_Labels)
"""Makes labels; those that many tasks have once."""


@dataclass
class _Chunk:
    """Rows in ascending order with their labels; their texts in the same order, joined."""

    rows: list[int] = field(default_factory=list)
    labels: list[_Labels] = field(default_factory=list)
    texts: bytes = b""

    def with_changes(self, changed: Mapping[int, tuple[_Labels, bytes] | None]) -> _Chunk:
        """Return a chunk with other rows; None stands for a row that is gone."""
        now = dict(zip(self.rows, zip(self.labels, self.texts.split(ROW), strict=False), strict=True))
        now.update({row: item for row, item in changed.items() if item is not None})
        rows = sorted(row for row in now if changed.get(row, ()) is not None)
        return _Chunk(rows, [now[row][0] for row in rows], b"".join(now[row][1] + ROW for row in rows))

    def containing(self, text: bytes) -> Iterator[int]:
        """Yield the rows in which a text occurs."""
        start, index, texts = 0, 0, self.texts
        while (at := texts.find(text, start)) >= 0:
            index += texts.count(ROW, start, at)
            yield self.rows[index]
            start = texts.index(ROW, at)


class _Texts:
    """The texts of all tasks as of one moment, and how many have each label."""

    def __init__(self) -> None:
        self.chunks: dict[int, _Chunk] = {}
        self.tags: Counter[str] = Counter()
        self.parameters: Counter[tuple[str, tuple[Parameter, ...]]] = Counter()
        self.size = 0

    def change(self, changed: Mapping[int, Document | None]) -> None:
        """Enter tasks by row; None stands for one that is gone."""
        by_chunk: dict[int, dict[int, tuple[_Labels, bytes] | None]] = {}
        for row, document in changed.items():
            by_chunk.setdefault(row // CHUNK, {})[row] = None if document is None else _read(document)
        for number, items in by_chunk.items():
            before = self.chunks.get(number, _Chunk())
            self.enter(number, before.with_changes(items))

    def enter(self, number: int, chunk: _Chunk) -> None:
        """Put a chunk in the place of what is there."""
        before = self.chunks.get(number, _Chunk())
        for labels, count in (Counter(chunk.labels) - Counter(before.labels)).items():
            self._count(labels, count)
        for labels, count in (Counter(before.labels) - Counter(chunk.labels)).items():
            self._count(labels, -count)
        self.size += len(chunk.texts) - len(before.texts)
        self.chunks[number] = chunk

    def _count(self, labels: _Labels, by: int) -> None:
        for tag in labels.tags:
            self.tags[tag] += by
        self.parameters[labels.company, labels.parameters] += by

    def rows_of(self, ids: set[bytes]) -> list[int]:
        """Return the rows of tasks by their ids."""
        return [
            row
            for chunk in self.chunks.values()
            for row, text in zip(chunk.rows, chunk.texts.split(ROW), strict=False)
            if text.partition(FIELD)[0] in ids
        ]


class TaskTexts:
    """The texts of all tasks, brought up to date by each transaction that uses them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._texts = _Texts()
        self._commit: int | None = None
        self._outside = ""

    @property
    def are_read(self) -> bool:
        """Whether somebody has needed them since the server started."""
        return self._commit is not None

    def bring_up_to_date(self, tx: Tx, reading: Reading) -> bool:
        """Read what has changed; return whether the texts can be used.

        Raises:
            SlowReadError: All must be read, and this transaction is expected to be quick.
        """
        if not self._lock.acquire(blocking=not reading.is_quick):
            raise SlowReadError
        try:
            outside = tx.outside_changes()
            changed = None
            if self._commit is not None and self._outside == outside:
                changed = reading.changes.since(TASK.table, self._commit)
            if changed is None:
                if reading.is_quick:
                    reading.changes.since(TASK.table, reading.commit)  # from now on they are noted
                    raise SlowReadError
                if reading.changes.since(TASK.table, reading.commit) is None:
                    return False
                self._commit = None
                self._texts = _all_texts(tx)
            elif self._commit is not None and self._commit < reading.commit:
                self._read_again(tx, [str(id) for id in changed])
            self._commit, self._outside = max(self._commit or 0, reading.commit), outside
            return self._texts.size <= MOST_BYTES
        finally:
            self._lock.release()

    def _read_again(self, tx: Tx, ids: list[str]) -> None:
        found = tx.rows(
            "SELECT rowid, id, doc FROM task WHERE id IN (SELECT value FROM json_each(?))",
            (orjson.dumps(ids).decode(),),
        )
        changed: dict[int, Document | None] = {}
        if gone := {_folded(id) for id in set(ids) - {id for _, id, _ in found}}:
            changed.update(dict.fromkeys(self._texts.rows_of(gone)))
        # Afterwards: a new task may have got the row of one that is gone.
        self._texts.change(changed | {row: _document(text) for row, _, text in found})

    def containing(self, text: str) -> list[int]:
        """Return the rows of the tasks in which a text occurs, in any case of ASCII letters."""
        wanted = _folded(text)
        return [row for chunk in list(self._texts.chunks.values()) for row in chunk.containing(wanted)]

    def parameters(self, company: str) -> list[Parameter]:
        """Return section and name of all parameters of a company's tasks, sorted."""
        with self._lock:
            owned = [
                names for (owner, names), count in self._texts.parameters.items() if count and owner in (company, "")
            ]
        return sorted(set().union(*owned))

    def tags(self) -> set[str]:
        """Return the tags of all tasks."""
        with self._lock:
            return {tag for tag, count in self._texts.tags.items() if count}

    def paths(self, company: str) -> frozenset[Path]:
        """Return the paths of all fields that the texts are of."""
        reached: set[Path] = {
            ("hyperparams", *pair, "value") for pair in self.parameters(company) if _is_reachable(pair)
        }
        return BASE | reached


def task_texts(tx: Tx) -> TaskTexts | None:
    """Return the texts of all tasks; None in a transaction that writes, or where they are too many to be kept.

    Raises:
        SlowReadError: They must be read, and this transaction is expected to be quick.
    """
    if tx.reading is None:
        return None
    texts = tx.reading.kept(TaskTexts)
    return texts if texts.bring_up_to_date(tx, tx.reading) else None


def known_tags(tx: Tx) -> set[str] | None:
    """Return the tags of all tasks; None where reading all texts for them would take longer than the database does.

    Raises:
        SlowReadError: As of `task_texts`.
    """
    if tx.reading is None or not tx.reading.kept(TaskTexts).are_read:
        return None
    texts = task_texts(tx)
    return None if texts is None else texts.tags()


@dataclass(frozen=True)
class Hits:
    """Tasks in which a text occurs."""

    rows: list[int]
    is_exact: bool
    """Whether it occurs where it was looked for; else it may also be in another field."""


def find_texts(tx: Tx, condition: Any, company: str) -> Hits | None:
    """Return the tasks that the condition `_any_` of a query can be true of; None where the texts do not tell.

    Raises:
        SlowReadError: The texts must be read, and this transaction is expected to be quick.
    """
    fields = condition.get("fields") if isinstance(condition, dict) else None
    if not isinstance(fields, list) or not fields or not all(isinstance(name, str) for name in fields):
        return None
    wanted = contained(condition.get("pattern"))
    if not wanted or not wanted.isprintable() or (texts := task_texts(tx)) is None:
        return None
    asked, kept = {field_of(TASK, name).parts for name in fields}, texts.paths(company)
    return Hits(texts.containing(wanted), asked == kept) if asked <= kept else None


def _all_texts(tx: Tx) -> _Texts:
    texts = _Texts()
    stored = tx.each("SELECT rowid, doc FROM task ORDER BY rowid")
    for number, some in itertools.groupby(stored, key=lambda item: int(item[0]) // CHUNK):
        read = [(row, *_read(_document(text))) for row, text in some]
        rows, labels, parts = map(list, zip(*read, strict=True))
        texts.enter(number, _Chunk(rows, labels, ROW.join([*parts, b""])))
    return texts


def _document(text: str) -> Document:
    try:
        document: Document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise DamagedError(f"a task is not JSON: {error}") from error
    return document


def _read(task: Document) -> tuple[_Labels, bytes]:
    tags = tuple(tag for tag in _listed(task.get("tags")) if isinstance(tag, str))
    sections = task.get("hyperparams")
    values = {
        (section, name): item.get("value") if isinstance(item, dict) else None
        for section, items in (sections.items() if isinstance(sections, dict) else ())
        for name, item in (items.items() if isinstance(items, dict) else ())
    }
    texts = [task["id"], task.get("name"), task.get("comment"), *tags]
    texts += [value for pair, value in values.items() if _is_reachable(pair)]
    parts = [text if isinstance(text, str) else _as_text(text) for text in texts if text is not None]
    joined = _folded(FIELD.decode().join(parts))
    if joined.count(FIELD) >= len(parts) or ROW in joined:
        joined = FIELD.join(_folded(part).translate(NO_MARK) for part in parts)
    return _labels(str(task.get("company") or ""), tags, tuple(values)), joined


def _listed(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list) else ()


@lru_cache(maxsize=10_000)
def _is_reachable(parameter: Parameter) -> bool:
    """Return whether a query has a path to a parameter's value."""
    return all(part and not UNREACHABLE.search(part) for part in parameter)


def _as_text(value: Any) -> str:
    """Return a value other than a text as SQLite writes it."""
    if isinstance(value, bool | int):
        return str(int(value))
    return orjson.dumps(value).decode()


def _folded(text: str) -> bytes:
    """Return a text in which ASCII letters, and only these, are small: what SQLite's LIKE compares."""
    return text.encode(errors="replace").lower()
