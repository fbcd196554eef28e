"""Service `projects`: finding projects, and the figures that a list of projects shows."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from clearml_localserver.query import Clause, all_of, find_all, find_all_ex
from clearml_localserver.registry import Call, Data, endpoint
from clearml_localserver.rules.projects import HIDDEN
from clearml_localserver.rules.tasks import COMPLETED, PUBLISHED, STATUSES, STOPPED
from clearml_localserver.store import Tx
from clearml_localserver.tables import projects as tables
from clearml_localserver.times import iso

ANY = {"type": "object"}
ENDED = (COMPLETED, PUBLISHED, STOPPED)
"""Statuses of what counts as completed in the last 24 hours."""
CHILDREN = {
    "pipeline": ("controller", "pipeline"),
    "dataset": ("data_processing", "dataset"),
    "report": ("report", None),
}
"""What `children_type` asks for: the type of tasks, and their system tag."""

FLAG = {"type": "boolean"}
FIGURES = {
    "children_type": {"enum": list(CHILDREN)},
    "active_users": {"type": "array", "items": {"type": "string"}},
    # Without effect on a genuine server too: its figures are those of the active tasks.
    "stats_for_state": {"enum": ["active", "archived"]},
    **dict.fromkeys(("include_stats", "stats_with_children", "check_own_contents", "include_dataset_stats"), FLAG),
    "search_hidden": FLAG,
    # Of this server: of the figures only how many active tasks have each status, which is kept and need not be counted.
    "stats_counts_only": FLAG,
}
"""Fields that say which figures are wanted, and of what."""


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
    if call.data.get("include_stats") and call.data.get("stats_counts_only"):
        _add_counts(tx, figures)
    elif call.data.get("include_stats"):
        _add_stats(call, tx, figures)
    if call.data.get("check_own_contents"):
        for name, kind in (("own_tasks", "task"), ("own_models", "model")):
            counts = tables.active_counts(tx, kind, ids)
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
    task_type, tag = CHILDREN[wanted]
    return tables.holding(task_type, tag, project_tag=wanted)


def _with_active_users(call: Call) -> Clause:
    """Return the condition of `active_users`: the project or one below it holds tasks of theirs."""
    users = call.data.get("active_users")
    return tables.with_tasks_of(users) if users else all_of([])


def _add_stats(call: Call, tx: Tx, figures: dict[str, Data]) -> None:
    deep = call.data.get("stats_with_children", True)
    users = call.data.get("active_users") or []
    for id, own in _stats(call, tx, list(figures), deep=deep, users=users).items():
        figures[id]["stats"] = {"active": own}
    for id, below in _below(call, tx, list(figures)).items():
        figures[id]["sub_projects"] = below


def _add_counts(tx: Tx, figures: dict[str, Data]) -> None:
    """Add how many active tasks of each project itself have each status."""
    for own in figures.values():
        own["stats"] = {"active": {"status_count": dict.fromkeys(sorted(STATUSES), 0)}}
    for project, status, number in tables.task_counts(tx, figures):
        figures[project]["stats"]["active"]["status_count"][status if status in STATUSES else "unknown"] += number


def _stats(call: Call, tx: Tx, ids: list[str], *, deep: bool, users: list[str]) -> dict[str, Data]:
    """Return the figures of projects. Each project's own tasks are counted once, then added up along the tree."""
    below: dict[str, list[str]] = {id: [id] for id in ids}
    if deep:
        for root, id in tables.descendants(tx, ids):
            below[root].append(id)
    every = sorted({id for tree in below.values() for id in tree})
    own: dict[str, list[tuple[Any, ...]]] = {}
    for project, *figures in tables.task_figures(tx, every, users, since=iso(call.now - timedelta(days=1))):
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
    found: dict[str, list[Data]] = {id: [] for id in ids}
    without = None if call.data.get("search_hidden") else HIDDEN
    for root, id, name in tables.named_descendants(tx, ids, without_tag=without):
        found[root].append({"id": id, "name": name})
    return found


def _dataset_stats(tx: Tx, id: str) -> Data | None:
    """Return the size of the newest version of the dataset that a project holds."""
    size = tables.newest_dataset_size(tx, id)
    return {"file_count": size[0], "total_size": size[1]} if size else None
