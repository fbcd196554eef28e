"""Repair what `check` finds, as far as no guessing is needed; the original database is kept beside the new one."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from clearml_localserver.bootstrap import prepare_folder
from clearml_localserver.database import FILE_NAME, connect, open_database, reading, snapshot
from clearml_localserver.errors import StartError
from clearml_localserver.events.store import NOBODY, TABLES, count, delete_task_events, find_series
from clearml_localserver.recovery import recover
from clearml_localserver.store import Tx
from clearml_localserver.times import utcnow
from clearml_localserver.upkeep.check import DAMAGE, REFERENCES, Finding
from clearml_localserver.upkeep.data_folder import Tell, UpkeepError


def repair(data: Path, findings: Iterable[Finding], tell: Tell) -> list[str]:
    """Repair what can be; return what was done, a line each.

    Raises:
        StartError: A server runs on the folder, or the database cannot be used.
    """
    kinds = {finding.repair for finding in findings if finding.repair}
    if not kinds:
        return []
    lock = prepare_folder(data)
    database = data / FILE_NAME
    stamp = f"{utcnow():%Y%m%dT%H%M%S}"
    done: list[str] = []
    if "chmod" in kinds:
        data.chmod(0o700)
        done.append(f"{data} can now be read by its owner only")
    if "rebuild" in kinds:
        done += _rebuild(database, stamp, tell)
    if kinds & {"unlink", "delete"}:
        before = database.with_name(f"{FILE_NAME}.before-repair-{stamp}")
        with reading(database):
            snapshot(database, before)
        done.append(f"the original database is kept as {before}")
        done += _mend(database)
    lock.close()
    return done


def _rebuild(database: Path, stamp: str, tell: Tell) -> list[str]:
    """Make a new database of all rows that can be read; the damaged one stays beside it."""
    fresh, damaged = database.with_name(f"{FILE_NAME}.rebuilt"), database.with_name(f"{FILE_NAME}.damaged-{stamp}")
    for suffix in ("", "-wal", "-shm"):
        fresh.with_name(fresh.name + suffix).unlink(missing_ok=True)
    open_database(fresh)
    tell("reading every row that can be read")
    try:
        with reading(database):
            lost = recover(database, fresh)
    except StartError as error:
        raise UpkeepError(
            f"nothing can be read from {database}: {str(error).splitlines()[0]}\nHint: restore a backup"
        ) from error
    fresh.chmod(0o600)
    # The database before its log: a database without its log would pass for whole, and lack what was written last.
    for suffix in ("", "-wal", "-shm"):
        path = database.with_name(database.name + suffix)
        if path.exists():
            path.rename(damaged.with_name(damaged.name + suffix))
    fresh.rename(database)
    done = [f"the database was rebuilt from what can be read; the damaged one is kept as {damaged}"]
    return done + [f"lost: {line}" for line in lost]


def _mend(database: Path) -> list[str]:
    with reading(database), closing(connect(database)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        done = [*_unlink(Tx(connection)), *_delete_orphans(Tx(connection))]
        connection.execute("COMMIT")
    return done


def _unlink(tx: Tx) -> Iterable[str]:
    for kind, path, target, level in REFERENCES:
        if level != DAMAGE:
            continue
        count = tx.execute(
            f"UPDATE {kind} SET doc = json_remove(doc, '{path}') WHERE json_extract(doc, '{path}') IS NOT NULL"
            f" AND NOT EXISTS (SELECT 1 FROM {target} AS other WHERE other.id = json_extract({kind}.doc, '{path}'))"
        )
        if count:
            yield f"{count} {kind}s no longer refer to a {path.removeprefix('$.')} that does not exist"
    for queue in tx.docs("SELECT doc FROM queue"):
        kept = [entry for entry in queue["entries"] if tx.get("task", entry["task"]) is not None]
        if len(kept) < len(queue["entries"]):
            removed = len(queue["entries"]) - len(kept)
            yield f"{removed} entries of tasks that do not exist were removed from queue {queue['name']}"
            tx.put("queue", queue | {"entries": kept})


def _delete_orphans(tx: Tx) -> Iterable[str]:
    owners = tx.rows(
        "SELECT DISTINCT owner FROM event_series WHERE owner <> ? AND NOT EXISTS (SELECT 1 FROM task WHERE id = owner)"
        " AND NOT EXISTS (SELECT 1 FROM model WHERE id = owner)",
        (NOBODY,),
    )
    if deleted := sum(count(tx, find_series(tx, owner)) for (owner,) in owners):
        yield f"{deleted} events of tasks and models that no longer exist were deleted"
    for (owner,) in owners:
        delete_task_events(tx, owner)
    for table in TABLES:
        if deleted := tx.execute(f"DELETE FROM {table} WHERE series NOT IN (SELECT id FROM event_series)"):
            yield f"{deleted} rows of {table} that did not belong to a series were deleted"
