"""Find what is wrong with a data folder: damage (data is lost or wrong) and notes (worth knowing)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from clearml_localserver.bootstrap import last_addresses, read_credentials, refuse_lost_database
from clearml_localserver.database import (
    Connection,
    LockedError,
    applied_steps,
    connect_read_only,
    integrity_problems,
    reading,
    scripts,
)
from clearml_localserver.errors import OperatorError
from clearml_localserver.events.store import NOBODY, TABLES
from clearml_localserver.lifecycle.removal import DELETED
from clearml_localserver.store import KINDS, Tx
from clearml_localserver.upkeep.data_folder import FILES, Tell, UpkeepError, require_data_folder, stored_files
from clearml_localserver.upkeep.file_references import PAGE, all_named, host_of, stored_name

DAMAGE, NOTE = "damage", "note"
EXAMPLES = 10
"""Names kept of each kind of finding."""

REFERENCES = (
    # kind, path of the reference, kind referred to, level
    ("task", "$.project", "project", DAMAGE),
    ("model", "$.project", "project", DAMAGE),
    ("project", "$.parent", "project", DAMAGE),
    ("task", "$.parent", "task", NOTE),  # clients may name any parent
    ("model", "$.task", "task", NOTE),
)


@dataclass
class Finding:
    """One kind of trouble: what, how often, a few names, and what `--repair` does about it."""

    level: str
    code: str
    text: str
    repair: str | None = None
    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, name: str) -> None:
        """Count one more."""
        self.count += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(name)

    def as_json(self) -> dict[str, Any]:
        """Return it for scripts."""
        return asdict(self)


def check(data: Path, tell: Tell, *, quick: bool = False) -> list[Finding]:
    """Look through a data folder, on which a server may run.

    Args:
        data: Data folder.
        tell: Called with the progress.
        quick: Leave out the stored files and the comparison of indexes with tables.

    Raises:
        UpkeepError: It is not a data folder, or another user's.
        StartError: Another process locks its database.
    """
    try:
        refuse_lost_database(data)
    except OperatorError as error:
        return [_counted(Finding(DAMAGE, "database-lost", str(error)))]
    database = require_data_folder(data)
    if not all(os.access(path, os.R_OK | os.W_OK) for path in (data, database)):  # else that would pass for damage
        raise UpkeepError(f"{data} belongs to another user\nHint: check it as the user that runs its server")
    findings = [*_folder(data)]
    tell("reading the whole database")
    findings += _guarded(database, lambda: _pages(database, full=not quick))
    parts: list[Callable[[Tx, Connection], Iterable[Finding]]] = [_schema, _documents, _references, _queues, _events]
    if not quick:
        parts.append(lambda tx, connection: _files(data, tx))
    for part in parts:
        tell(f"looking at {part.__name__.strip('_<>')}")

        def look(part: Callable[[Tx, Connection], Iterable[Finding]] = part) -> list[Finding]:
            with closing(connect_read_only(database)) as connection:
                connection.execute("BEGIN")
                return list(part(Tx(connection), connection))

        # The same damage stops several looks: it is told once.
        findings += [finding for finding in _guarded(database, look) if finding not in findings]
    return [finding for finding in findings if finding.count]


def is_damaged(findings: Iterable[Finding]) -> bool:
    """Return whether anything is lost or wrong."""
    return any(finding.level == DAMAGE for finding in findings)


def _guarded(database: Path, look: Callable[[], list[Finding]]) -> list[Finding]:
    """Return what a look finds; where the database cannot be read there, that is the finding."""
    try:
        with reading(database):
            return look()
    except LockedError:
        raise
    except (OperatorError, orjson.JSONDecodeError) as error:
        text = str(error).splitlines()[0]
        return [_counted(Finding(DAMAGE, "database-unreadable", text, repair="rebuild"))]


def _counted(finding: Finding, *names: str) -> Finding:
    for name in names:
        finding.add(name)
    finding.count = finding.count or 1
    return finding


def _folder(data: Path) -> Iterator[Finding]:
    if data.stat().st_mode & 0o077:
        yield _counted(Finding(NOTE, "open-folder", f"other users of this machine can read {data}", repair="chmod"))
    try:
        if read_credentials(data) is None:
            yield _counted(Finding(NOTE, "no-credentials", f"{data} has no credentials.json; the next start makes one"))
    except OperatorError as error:
        yield _counted(Finding(DAMAGE, "credentials-unreadable", str(error).splitlines()[0]))


def _pages(database: Path, *, full: bool) -> list[Finding]:
    with closing(connect_read_only(database)) as connection:
        problems = integrity_problems(connection, full=full)
        foreign = connection.execute("PRAGMA foreign_key_check").fetchall()
    finding = Finding(
        DAMAGE, "damaged-pages", f"{database} is damaged: pages or indexes are not sound", repair="rebuild"
    )
    for line in [*problems, *(f"row {row} of {table} refers to nothing" for table, row, *_ in foreign)]:
        finding.add(line)
    return [finding]


def _schema(tx: Tx, connection: Connection) -> Iterator[Finding]:
    applied, known = applied_steps(connection), scripts()
    newer = Finding(
        DAMAGE,
        "newer-schema",
        "the database was written by a newer version; this version does not know its schema steps",
    )
    older = Finding(NOTE, "older-schema", "the next start updates the database with the schema steps")
    for number in sorted(applied - known.keys()):
        newer.add(str(number))
    for number in sorted(known.keys() - applied):
        older.add(known[number][0])
    yield from (newer, older)


def _documents(tx: Tx, connection: Connection) -> Iterator[Finding]:
    finding = Finding(DAMAGE, "bad-documents", "documents are not valid JSON", repair="rebuild")
    foreign = Finding(DAMAGE, "foreign-documents", "documents have another id than the one they are stored under")
    for kind in KINDS:
        last = -1
        query = f"SELECT rowid, id, CAST(doc AS BLOB) FROM {kind} WHERE rowid > ? ORDER BY rowid LIMIT {PAGE}"
        while rows := tx.rows(query, (last,)):
            for last, id, text in rows:  # noqa: B007  the last one is where the next page begins
                try:
                    document = orjson.loads(text)
                except orjson.JSONDecodeError as error:
                    finding.add(f"{kind} {id}: {error}")
                    continue
                if not isinstance(document, dict) or document.get("id") != id:
                    foreign.add(f"{kind} {id}")
    yield from (finding, foreign)


def _references(tx: Tx, connection: Connection) -> Iterator[Finding]:
    for kind, path, target, level in REFERENCES:
        name = path.removeprefix("$.")
        repair = "unlink" if level == DAMAGE else None
        finding = Finding(
            level, f"{kind}-without-{name}", f"{kind}s refer to a {name} that does not exist", repair=repair
        )
        for id, missing in tx.rows(
            f"SELECT id, json_extract(doc, '{path}') AS ref FROM {kind} WHERE json_valid(doc) AND ref IS NOT NULL"
            f" AND ref <> '' AND substr(ref, 1, {len(DELETED)}) <> '{DELETED}' AND NOT EXISTS"
            f" (SELECT 1 FROM {target} AS other WHERE other.id = json_extract({kind}.doc, '{path}'))"
        ):
            finding.add(f"{kind} {id}: {missing}")
        yield finding
    finding = Finding(NOTE, "task-without-model", "tasks refer to models that do not exist")
    for task, model in tx.rows(
        f"SELECT task, model FROM task_model WHERE substr(model, 1, {len(DELETED)}) <> '{DELETED}'"
        " AND NOT EXISTS (SELECT 1 FROM model WHERE id = task_model.model)"
    ):
        finding.add(f"task {task}: {model}")
    yield finding


def _queues(tx: Tx, connection: Connection) -> Iterator[Finding]:
    entries = (
        "SELECT queue.id, json_extract(entry.value, '$.task') FROM queue, json_each(queue.doc, '$.entries') AS entry"
    )
    absent = Finding(DAMAGE, "entry-without-task", "queues hold entries of tasks that do not exist", repair="unlink")
    waiting = {}
    for queue, task in tx.rows(entries):
        waiting[task] = queue
        if tx.get("task", task) is None:
            absent.add(f"queue {queue}: {task}")
    yield absent
    handed_out = {task for (task,) in tx.rows("SELECT task FROM handed_out")}
    stuck = Finding(NOTE, "queued-nowhere", "tasks are queued but in no queue; enqueue them again")
    for (task,) in tx.rows("SELECT id FROM task WHERE field_status = 'queued'"):
        if task not in waiting and task not in handed_out:
            stuck.add(f"task {task}")
    yield stuck


def _events(tx: Tx, connection: Connection) -> Iterator[Finding]:
    finding = Finding(
        NOTE, "events-without-owner", "events remain of tasks or models that no longer exist", repair="delete"
    )
    for (owner,) in tx.rows(
        "SELECT DISTINCT owner FROM event_series WHERE owner <> ? AND NOT EXISTS (SELECT 1 FROM task WHERE id = owner)"
        " AND NOT EXISTS (SELECT 1 FROM model WHERE id = owner)",
        (NOBODY,),
    ):
        finding.add(f"events of {owner}")
    yield finding
    loose = Finding(
        DAMAGE, "events-without-series", "event rows do not belong to a series, so nothing shows them", repair="delete"
    )
    for table in TABLES:
        rows = f"SELECT series, count(*) FROM {table} WHERE series NOT IN (SELECT id FROM event_series) GROUP BY series"
        for series, count in tx.rows(rows):
            loose.add(f"{count} rows of {table}, series {series}")
    yield loose


def _files(data: Path, tx: Tx) -> Iterator[Finding]:
    root, own = data / FILES, last_addresses(data).get("files_server")
    missing = Finding(
        DAMAGE, "missing-files", f"files are referred to but missing in {data / FILES}; a backup may have them"
    )
    text = f"files in {data / FILES} are empty, but were not when they were uploaded; a backup may have them"
    emptied = Finding(DAMAGE, "emptied-files", text)
    elsewhere = Finding(
        NOTE, "files-elsewhere", "files are referred to under other servers' addresses; they were not checked"
    )
    named: set[str] = set()
    # Files are looked for after their names were read: a client uploads a file before it stores its name.
    for item in all_named(tx):
        name = stored_name(item.url, root)
        if name is None or name in named:
            continue
        if (root / name).is_file():
            named.add(name)
            if item.size and not (root / name).stat().st_size:
                emptied.add(f"{item.owner}: {name}")
        elif host_of(item.url) == own:
            missing.add(f"{item.owner}: {name}")
        else:
            elsewhere.add(f"{item.owner}: {item.url}")
    yield from (missing, emptied, elsewhere)
    stray = {name: status.st_size for name, status in stored_files(root) if name not in named}
    text = f"stored files that no artifact, model or debug sample refers to ({sum(stray.values())} bytes)"
    finding = Finding(NOTE, "stray-files", text)
    for name in sorted(stray):
        finding.add(name)
    yield finding


def as_json(findings: list[Finding]) -> str:
    """Return findings for scripts."""
    return json.dumps({"damaged": is_damaged(findings), "findings": [finding.as_json() for finding in findings]})
