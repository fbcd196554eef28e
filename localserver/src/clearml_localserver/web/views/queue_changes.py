"""Queues are made, renamed, emptied and deleted, and their entries moved to other queues.

What empties a queue has a confirmation page. Its form says which entries the person saw: where others have come or gone
since, nothing is changed and the page is shown again.
"""

from __future__ import annotations

import hashlib

from starlette.responses import Response

from clearml_localserver.errors import ApiError
from clearml_localserver.web.form_fields import Problem
from clearml_localserver.web.site import Json, Visit
from clearml_localserver.web.views.lists import find_queues, find_tasks

SHOWN_ENTRIES = 200
NAMED = 20
"""Entries that a confirmation names."""

TITLES = {"clear": "Clear", "delete": "Delete"}
CHANGED_MEANWHILE = "The queue has changed since this page was made. Nothing was done; look at it again."
NAME_TAKEN, NAME_INVALID, NOT_EMPTY, NOT_IN_QUEUE = 801, 800, 702, 703


def create(visit: Visit) -> Response:
    """Make a queue; a name that is refused comes back on a form with the reason."""
    name = visit.form().get("name", "").strip()
    try:
        visit.call("queues.create", {"name": name})
    except ApiError as error:
        return visit.render("queue_new.html", code=400, section="/queues", name=name, problem=_reason(error, name))
    return visit.redirect("/queues", "created")


def edit(visit: Visit) -> Response:
    """Show the form of one queue."""
    visit.require_change()
    return _edit_page(visit)


def rename(visit: Visit) -> Response:
    """Give a queue another name."""
    name = visit.form().get("name", "").strip()
    try:
        visit.call("queues.update", {"queue": visit.argument("queue"), "name": name})
    except ApiError as error:
        return _edit_page(visit, code=400, name=name, name_problem=_reason(error, name))
    return visit.redirect("/queues", "saved")


def move(visit: Visit) -> Response:
    """Move ticked entries, or all, to the end of another queue; name each that cannot be moved."""
    queue, others = _queue_and_others(visit)
    items = visit.form_items()
    form = dict(items)
    target = form.get("target", "")
    ids = [value for field, value in items if field == "entry"]
    if form.get("all"):
        ids = _ids(queue)
    problem = ""
    if not ids:
        problem = "Tick the entries to be moved."
    elif target not in {other["id"] for other in others}:
        problem = "Choose the queue to which they go; the one that was chosen is gone."
    if problem:
        return _edit_page(visit, code=400, ticked=ids, target=target, move_problems=[problem])
    moved, problems = _move(visit, queue["id"], target, ids)
    if problems:
        done = [f"Moved: {moved}."] if moved else []
        return _edit_page(visit, code=409, target=target, move_problems=done + problems)
    return visit.redirect(f"/queues?notice=move-many&changed={moved}")


def confirm(visit: Visit) -> Response:
    """Ask before a queue is emptied or deleted."""
    visit.require_change()
    return _confirm_page(visit)


def act(visit: Visit) -> Response:
    """Empty or delete a queue."""
    change = _change(visit)
    queue, others = _queue_and_others(visit)
    form = visit.form()
    if form.get("seen") != _seen(queue):
        return _confirm_page(visit, code=409, problem=CHANGED_MEANWHILE)
    id_ = queue["id"]
    if change == "clear":
        visit.call("queues.clear_queue", {"queue": id_})
        return visit.redirect(f"/queues?notice=dequeue-many&changed={len(queue['entries'])}")
    what = form.get("entries", "")
    if queue["entries"] and what == "move":
        target = form.get("target", "")
        if target not in {other["id"] for other in others}:
            return _confirm_page(visit, code=400, problem="Choose the queue to which the entries go.")
        _, problems = _move(visit, id_, target, _ids(queue))
        if problems:
            return _confirm_page(visit, code=409, problem=" ".join(problems))
    try:
        visit.call("queues.delete", {"queue": id_, "force": what == "out"})
    except ApiError as error:
        if error.subcode != NOT_EMPTY:
            raise
        return _confirm_page(visit, code=409, problem="The queue is not empty. Say what happens to its entries.")
    return visit.redirect("/queues", "delete")


def _change(visit: Visit) -> str:
    change = visit.argument("change")
    if change not in TITLES:
        raise ApiError(404, 0, f"There is no action called {change!r} for queues")
    return change


def _queue_and_others(visit: Visit) -> tuple[Json, list[Json]]:
    queues = find_queues(visit)
    id_ = visit.argument("queue")
    found = next((queue for queue in queues if queue["id"] == id_), None)
    if found is None:
        raise ApiError(404, 0, f"There is no queue with the id {id_}")
    return found, [queue for queue in queues if queue["id"] != id_]


def _ids(queue: Json) -> list[str]:
    return [entry["task"]["id"] for entry in queue["entries"]]


def _seen(queue: Json) -> str:
    return hashlib.sha256("\n".join(sorted(_ids(queue))).encode(errors="replace")).hexdigest()


def _names(visit: Visit, ids: list[str]) -> dict[str, str]:
    found = find_tasks(visit, {"id": ids}, size=len(ids), fields=["name"]) if ids else []
    return {id_: id_ for id_ in ids} | {task["id"]: task["name"] or task["id"] for task in found}


def _move(visit: Visit, source: str, target: str, ids: list[str]) -> tuple[int, list[str]]:
    """Move entries to the end of another queue; return how many were, and a sentence for each that was not.

    The entry leaves its queue first: in two queues at once, two workers could run the task. Where the other queue does
    not take it, it goes to the end of its own queue.
    """
    moved, problems = 0, []
    names = _names(visit, ids)
    for id_ in ids:
        entry = {"queue": source, "task": id_}
        try:
            visit.call("queues.remove_task", entry)
        except ApiError as error:
            gone = error.subcode == NOT_IN_QUEUE
            problems.append(f"“{names[id_]}” " + ("is no longer in this queue." if gone else f"stays: {error.msg}."))
            continue
        try:
            visit.call("queues.add_task", {"queue": target, "task": id_})
        except ApiError as error:
            visit.call("queues.add_task", entry)
            problems.append(f"“{names[id_]}” is now the last entry of this queue: {error.msg}.")
            continue
        moved += 1
    return moved, problems


def _edit_page(
    visit: Visit,
    *,
    code: int = 200,
    name: str | None = None,
    name_problem: str = "",
    ticked: list[str] | None = None,
    target: str = "",
    move_problems: list[str] | None = None,
) -> Response:
    queue, others = _queue_and_others(visit)
    ids = _ids(queue)[:SHOWN_ENTRIES]
    return visit.render(
        "queue_edit.html",
        code=code,
        section="/queues",
        queue=queue,
        others=others,
        names=_names(visit, ids),
        ids=ids,
        name=queue["name"] if name is None else name,
        name_problem=name_problem,
        wrong=[Problem("name", "Name", name_problem)] if name_problem else [],
        ticked=ticked or [],
        target=target,
        move_problems=move_problems or [],
    )


def _confirm_page(visit: Visit, *, code: int = 200, problem: str = "") -> Response:
    change = _change(visit)
    queue, others = _queue_and_others(visit)
    ids = _ids(queue)[:NAMED]
    return visit.render(
        "queue_confirm.html",
        code=code,
        section="/queues",
        change=change,
        title=TITLES[change],
        queue=queue,
        others=others,
        names=_names(visit, ids),
        ids=ids,
        seen=_seen(queue),
        problem=problem,
    )


def _reason(error: ApiError, name: str) -> str:
    if error.subcode == NAME_TAKEN:
        return f"There is already a queue called “{name}”."
    if error.subcode == NAME_INVALID:
        return "A name has at least 3 characters."
    return error.msg
