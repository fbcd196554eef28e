"""Service `projects`: finding projects, and the figures that a list of projects shows."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from clearml_localserver.query import Clause, all_of, find_all, find_all_ex, untagged
from clearml_localserver.registry import Call, Data, endpoint
from clearml_localserver.rules.projects import HIDDEN
from clearml_localserver.rules.tasks import COMPLETED, PUBLISHED, STATUSES, STOPPED
from clearml_localserver.store import Tx
from clearml_localserver.times import iso

ANY = {"type": "object"}
ENDED = (COMPLETED, PUBLISHED, STOPPED)
"""Statuses of what counts as completed in the last 24 hours."""
TAGGED = "EXISTS (SELECT 1 FROM json_each(doc, '$.system_tags') WHERE value = '{}')"
CHILDREN = {
    "pipeline": ("controller", TAGGED.format("pipeline")),
    "dataset": ("data_processing", TAGGED.format("dataset")),
    "report": ("report", "1"),
}
"""What `children_type` asks for: the type of task and what else it must be."""

FLAG = {"type": "boolean"}
FIGURES = {
    "children_type": {"enum": list(CHILDREN)},
    "active_users": {"type": "array", "items": {"type": "string"}},
    # Without effect on a genuine server too: its figures are those of the active tasks.
    "stats_for_state": {"enum": ["active", "archived"]},
    **dict.fromkeys(("include_stats", "stats_with_children", "check_own_contents", "include_dataset_stats"), FLAG),
    "search_hidden": FLAG,
}
"""Fields that say which figures are wanted, and of what."""

TREE = (
    "tree (root, id) AS (SELECT value, value FROM json_each(?) UNION SELECT tree.root, project.id FROM tree "
    "CROSS JOIN project ON json_extract(project.doc, '$.parent') = tree.id)"
)
ACTIVE = untagged("doc", "archived")
RUNTIME_S = (
    "coalesce(max(0, round((julianday(json_extract(doc, '$.completed')) - julianday(json_extract(doc, '$.started'))) "
    "* 86400)), json_extract(doc, '$.active_duration'), 0)"
)
"""From start to end, in whole seconds; of a task that has not ended what it last said."""


@endpoint("projects.get_all")
def get_all(call: Call, tx: Tx) -> Data:
    """Find projects."""
    return find_all(tx, "project", call).reply("projects")


@endpoint("projects.get_all_ex", schema=ANY, fields=FIGURES)
def get_all_ex(call: Call, tx: Tx) -> Data:
    """Find projects, with references as objects and the figures that are asked for."""
    where = all_of([_with_children(call), _with_active_users(call)])
    reply = find_all_ex(tx, "project", call, where=where).reply("projects")
    page = reply["projects"] = list(reply["projects"])
    ids = [project["id"] for project in page]
    figures: dict[str, Data] = {id: {} for id in ids}
    if call.data.get("include_stats"):
        _add_stats(call, tx, figures)
    if call.data.get("check_own_contents"):
        for name, kind in (("own_tasks", "task"), ("own_models", "model")):
            counts = _own(tx, kind, ids)
            for id in ids:
                figures[id][name] = counts.get(id, 0)
    if call.data.get("include_dataset_stats"):
        for id in ids:
            figures[id]["dataset_stats"] = _dataset_stats(tx, id)
    for project in page:
        project |= figures[project["id"]]
        if HIDDEN in project.get("system_tags", ()):
            project["hidden"] = True
    return reply


def _with_children(call: Call) -> Clause:
    """Return the condition of `children_type`: such tasks or projects are in the project or below it."""
    wanted = call.data.get("children_type")
    if wanted is None:
        return all_of([])
    type, also = CHILDREN[wanted]
    start = (
        f"SELECT json_extract(doc, '$.project') FROM task WHERE json_extract(doc, '$.type') = ? AND {also} "
        f"UNION SELECT id FROM project WHERE {TAGGED.format(wanted)}"
    )
    return _above(start, type)


def _with_active_users(call: Call) -> Clause:
    """Return the condition of `active_users`: the project or one below it holds tasks of theirs."""
    users = call.data.get("active_users")
    if not users:
        return all_of([])
    start = (
        "SELECT json_extract(doc, '$.project') FROM task "
        "WHERE json_extract(doc, '$.user') IN (SELECT value FROM json_each(?))"
    )
    return _above(start, json.dumps(users))


def _above(start: str, *args: Any) -> Clause:
    """Return "is one of the projects that `start` selects, or lies above one"."""
    step = "SELECT json_extract(project.doc, '$.parent') FROM up CROSS JOIN project ON project.id = up.id"
    return Clause(f"id IN (WITH RECURSIVE up (id) AS ({start} UNION {step}) SELECT id FROM up)", args)


def _add_stats(call: Call, tx: Tx, figures: dict[str, Data]) -> None:
    deep = call.data.get("stats_with_children", True)
    users = call.data.get("active_users") or []
    for id, own in _stats(call, tx, list(figures), deep=deep, users=users).items():
        figures[id]["stats"] = {"active": own}
    for id, below in _below(call, tx, list(figures)).items():
        figures[id]["sub_projects"] = below


def _stats(call: Call, tx: Tx, ids: list[str], *, deep: bool, users: list[str]) -> dict[str, Data]:
    """Return the figures of projects. Each project's own tasks are counted once, then added up along the tree."""
    below: dict[str, list[str]] = {id: [id] for id in ids}
    if deep:
        rows = tx.rows(f"WITH RECURSIVE {TREE} SELECT root, id FROM tree WHERE root <> id", (json.dumps(ids),))
        for root, id in rows:
            below[root].append(id)
    sql = (
        "SELECT json_extract(doc, '$.project'), json_extract(doc, '$.status'), count(*), "
        f"sum({RUNTIME_S}), sum(json_extract(doc, '$.completed') > ?), max(json_extract(doc, '$.started')) FROM task "
        f"WHERE json_extract(doc, '$.project') IN (SELECT value FROM json_each(?)) AND {ACTIVE}"
    )
    every = json.dumps(sorted({id for tree in below.values() for id in tree}))
    args = [iso(call.now - timedelta(days=1)), every]
    if users:
        sql += " AND json_extract(doc, '$.user') IN (SELECT value FROM json_each(?))"
        args.append(json.dumps(users))
    own: dict[str, list[tuple[Any, ...]]] = {}
    for project, *figures in tx.rows(sql + " GROUP BY 1, 2", args):
        own.setdefault(project, []).append(tuple(figures))
    return {root: _sum([row for id in tree for row in own.get(id, ())]) for root, tree in below.items()}


def _sum(rows: list[tuple[Any, ...]]) -> Data:
    counts = dict.fromkeys(sorted(STATUSES), 0)
    for status, count, *_ in rows:
        counts[status if status in STATUSES else "unknown"] += count
    return {
        "status_count": counts,
        "total_tasks": sum(counts.values()),
        "total_runtime": int(sum(runtime or 0 for _, _, runtime, _, _ in rows)),
        "completed_tasks_24h": sum(done or 0 for status, _, _, done, _ in rows if status in ENDED),
        "last_task_run": max((last for *_, last in rows if last), default=None),
    }


def _below(call: Call, tx: Tx, ids: list[str]) -> dict[str, list[Data]]:
    sql = (
        f"WITH RECURSIVE {TREE} SELECT tree.root, project.id, json_extract(doc, '$.name') "
        "FROM tree JOIN project ON project.id = tree.id WHERE tree.root <> tree.id "
    )
    if not call.data.get("search_hidden"):
        sql += f"AND {untagged('doc', HIDDEN)} "
    found: dict[str, list[Data]] = {id: [] for id in ids}
    for root, id, name in tx.rows(sql + "ORDER BY 3", (json.dumps(ids),)):
        found[root].append({"id": id, "name": name})
    return found


def _own(tx: Tx, kind: str, ids: list[str]) -> dict[str, int]:
    sql = (
        f"SELECT json_extract(doc, '$.project'), count(*) FROM {kind} "
        f"WHERE json_extract(doc, '$.project') IN (SELECT value FROM json_each(?)) AND {ACTIVE} "
        "GROUP BY 1"
    )
    return dict(tx.rows(sql, (json.dumps(ids),)))


def _dataset_stats(tx: Tx, id: str) -> Data | None:
    """Return the size of the newest version of the dataset that a project holds."""
    sql = (
        "SELECT json_extract(doc, '$.runtime.ds_file_count'), json_extract(doc, '$.runtime.ds_total_size') FROM task "
        f"WHERE json_extract(doc, '$.project') = ? AND {TAGGED.format('dataset')} AND {ACTIVE} "
        "ORDER BY json_extract(doc, '$.last_update') DESC LIMIT 1"
    )
    rows = tx.rows(sql, (id,))
    return {"file_count": rows[0][0] or 0, "total_size": rows[0][1] or 0} if rows else None
