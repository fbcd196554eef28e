"""Clean-up by age and project: events, debug samples and artifacts of tasks that have not changed for long.

It works on the database from outside, in short transactions, whether or not the server runs. Only a person or their
timer starts it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from clearml_localserver.database import Connection, connect, reading
from clearml_localserver.events.store import TABLE, Series, delete_series, find_series, sweep
from clearml_localserver.rules.events import IMAGE, LOG, PLOT, SCALAR, VECTOR
from clearml_localserver.store import Document, Tx
from clearml_localserver.times import iso
from clearml_localserver.upkeep.data_folder import (
    FILES,
    Tell,
    UpkeepError,
    reading_database,
    require_data_folder,
    running_pid,
)
from clearml_localserver.upkeep.file_references import ARTIFACT, PLOT_FILE, SAMPLE, all_named, documents, stored_name

EVENT_TYPES = {"console": (LOG,), "scalars": (SCALAR, VECTOR), "plots": (PLOT,), "samples": (IMAGE,)}
FILE_PARTS = {"plots": PLOT_FILE, "samples": SAMPLE, "artifacts": ARTIFACT}
WHAT = (*EVENT_TYPES, "artifacts")
"""What can be cleaned up."""

UNTOUCHED = frozenset(("queued", "in_progress", "publishing"))
"""Statuses of tasks that are never cleaned up."""

BATCH = 500
"""Tasks after which their files are removed: an interruption leaves only files that these name."""

PAUSE_S = 0.02
"""Between two transactions, so that the server gets its turn: SQLite's lock knows no queue."""

SCALAR_BYTES = 32
"""About what one point takes."""


@dataclass(frozen=True)
class Rule:
    """Which tasks are cleaned up, and of what.

    Attributes:
        before: Tasks whose last update is older.
        what: Some of `WHAT`.
        projects: Names of projects; their sub-projects count. Empty: all.
        published: Published tasks, too.
    """

    before: datetime
    what: frozenset[str]
    projects: tuple[str, ...] = ()
    published: bool = False

    def selects(self, task: Document, project: str) -> bool:
        """Return whether a task in a project of this name is cleaned up."""
        if task["status"] in UNTOUCHED or (task["status"] == "published" and not self.published):
            return False
        if self.projects and not any(project == name or project.startswith(f"{name}/") for name in self.projects):
            return False
        return bool(task["last_update"] < iso(self.before))

    def takes_artifacts(self, task: Document) -> bool:
        """Return whether a selected task's artifacts go: those of a dataset are its data and stay."""
        return "artifacts" in self.what and "dataset" not in task["system_tags"]


@dataclass
class Cleanup:
    """What is, or would be, removed."""

    tasks: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    def add(self, what: str, count: int, size: int) -> None:
        """Count more of a kind."""
        self.counts[what] = self.counts.get(what, 0) + count
        self.sizes[what] = self.sizes.get(what, 0) + size


@dataclass
class _Selection:
    ids: list[str] = field(default_factory=list)
    files: dict[str, list[str]] = field(default_factory=dict)
    """Names by task."""


def clean(data: Path, rule: Rule, tell: Tell, *, really: bool) -> Cleanup:
    """Remove what a rule selects, or with `really` false only count it.

    Raises:
        UpkeepError: There is no data folder, or no project of a name that the rule gives.
        StartError: The database cannot be used.
    """
    database = require_data_folder(data)
    cleanup = Cleanup()
    with reading_database(database) as tx:
        selection = _select(tx, rule, data / FILES)
        for id in selection.ids:
            _measure(tx, id, rule, cleanup)
    cleanup.tasks = len(selection.ids)
    doomed = {name for names in selection.files.values() for name in names}
    files = [path for path in (data / FILES / name for name in doomed) if path.is_file()]
    cleanup.add("files", len(files), sum(path.stat().st_size for path in files))
    if not really:
        return cleanup
    for start in range(0, len(selection.ids), BATCH):
        tell(f"task {start + 1} of {len(selection.ids)}")
        batch = selection.ids[start : start + BATCH]
        with reading(database), closing(connect(database)) as connection:
            cleaned = [id for id in batch if _clean_task(connection, id, rule)]
            _sweep(connection)
        names = [name for id in cleaned for name in selection.files.get(id, [])]
        _remove_files(database, data / FILES, names, folders=running_pid(data) is None)
    return cleanup


def _select(tx: Tx, rule: Rule, files: Path) -> _Selection:
    """Select tasks, and the files that these alone name."""
    names = _project_names(tx)
    for wanted in rule.projects:
        if wanted not in names.values():
            raise UpkeepError(f"there is no project {wanted!r}\nHint: give its whole name, parent/child")
    selected = {
        task["id"]: rule.takes_artifacts(task)
        for task in documents(tx, "task")
        if rule.selects(task, names.get(task.get("project") or "", ""))
    }
    parts = {FILE_PARTS[what] for what in rule.what & FILE_PARTS.keys()}
    doomed: dict[str, set[str]] = {}
    kept: set[str] = set()
    for item in all_named(tx):
        name = stored_name(item.url, files)
        if name is None:
            continue
        goes = item.id in selected and item.part in parts and (item.part != ARTIFACT or selected[item.id])
        if goes:
            doomed.setdefault(name, set()).add(item.id)
        else:
            kept.add(name)
    selection = _Selection(list(selected))
    for name in doomed.keys() - kept:
        for id in doomed[name]:  # the last of them that is cleaned takes the file along
            selection.files.setdefault(id, []).append(name)
    return selection


def _project_names(tx: Tx) -> dict[str, str]:
    return {project["id"]: project["name"] for project in documents(tx, "project")}


def _measure(tx: Tx, id: str, rule: Rule, cleanup: Cleanup) -> None:
    for what, series in _series(tx, id, rule):
        table = TABLE[series.type]
        size = (
            f"{SCALAR_BYTES} * count(*)"
            if table == "event_scalar"
            else "sum(length(content) + length(coalesce(extra, '')))"
        )
        ((count, total),) = tx.rows(f"SELECT count(*), {size} FROM {table} WHERE series = ?", (series.id,))
        cleanup.add(what, count, total or 0)
    task = tx.get("task", id)
    if task is not None and rule.takes_artifacts(task):
        cleanup.add("artifacts", len(_outputs(task)), 0)


def _series(tx: Tx, id: str, rule: Rule) -> Iterator[tuple[str, Series]]:
    for what in sorted(rule.what & EVENT_TYPES.keys()):
        for series in find_series(tx, id, EVENT_TYPES[what]):
            yield what, series


def _outputs(task: Document) -> list[Document]:
    return [artifact for artifact in task["execution"].get("artifacts") or [] if artifact.get("mode") != "input"]


def _clean_task(connection: Connection, id: str, rule: Rule) -> bool:
    """Take events and artifact entries from a task; False if it is not to be touched any more."""
    tx = Tx(connection)
    connection.execute("BEGIN IMMEDIATE")
    task = _still_selected(tx, id, rule)
    if task is not None:
        tx.note_outside_change()
        delete_series(tx, [series for _, series in _series(tx, id, rule)])
        if rule.takes_artifacts(task) and (outputs := _outputs(task)):
            kept = [artifact for artifact in task["execution"]["artifacts"] if artifact not in outputs]
            # A later run must not take this step for a cached one: it has no results any more.
            runtime = {name: value for name, value in (task.get("runtime") or {}).items() if "job_hash" not in name}
            tx.put("task", task | {"execution": task["execution"] | {"artifacts": kept}, "runtime": runtime})
    connection.execute("COMMIT")
    return task is not None


def _sweep(connection: Connection) -> None:
    """Delete the rows of what was taken, turn by turn."""
    more = True
    while more:
        connection.execute("BEGIN IMMEDIATE")
        tx = Tx(connection)
        tx.note_outside_change()
        more = sweep(tx)
        connection.execute("COMMIT")
        time.sleep(PAUSE_S)


def _still_selected(tx: Tx, id: str, rule: Rule) -> Document | None:
    """Return a task unless it was started, published or deleted meanwhile."""
    task = tx.get("task", id)
    if task is None:
        return None
    project = tx.get("project", task.get("project") or "") or {}
    return task if rule.selects(task, project.get("name", "")) else None


def _remove_files(database: Path, root: Path, names: list[str], *, folders: bool) -> None:
    """Remove files that nothing names any more, and the folders that this leaves empty.

    Folders stay while a server runs: it may just be making one for an upload.
    """
    if not names:
        return
    with reading_database(database) as tx:  # again: meanwhile something else may have come to name one
        kept = {stored_name(item.url, root) for item in all_named(tx)}
    for name in names:
        if name not in kept and (root / name).is_file():
            (root / name).unlink(missing_ok=True)
            if folders:
                _remove_empty((root / name).parent, root)


def _remove_empty(folder: Path, root: Path) -> None:
    while folder != root and folder.is_relative_to(root):
        try:
            folder.rmdir()
        except OSError:  # not empty: so are all above it
            return
        folder = folder.parent
