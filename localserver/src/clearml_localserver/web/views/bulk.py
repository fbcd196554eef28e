"""What people do to selected tasks or models at once: one confirmation page, one POST, and what can be undone.

The ids are in the address of the confirmation page, and in the form that it sends. Where some tasks are refused, the
answer names each with the reason; where none is, it leads back to the list with a count and, where there is one, an
undo.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlencode

from starlette.responses import Response

from clearml_localserver.errors import ApiError
from clearml_localserver.web import runs, text
from clearml_localserver.web.api_words import PUBLIC
from clearml_localserver.web.form_fields import path_problem
from clearml_localserver.web.site import Json, Visit
from clearml_localserver.web.views.actions import QUEUE_BEFORE, REASON, archived, queue_of
from clearml_localserver.web.views.lists import TASK_ROW, count, find_queues, find_tasks
from clearml_localserver.web.views.session import own_path

MAX_SELECTED = 1000
NAMED = 20
"""Tasks that a confirmation names."""

MAX_UNDONE = 200
"""Tasks of a change that can be undone: their ids are part of an address."""

MAX_TAG = 200


@dataclass(frozen=True)
class BulkAction:
    """Something that can be done to selected tasks."""

    title: str
    explanation: str
    call: str
    done: str
    """What the list says afterwards; `{count}` stands for how many."""

    undo: str = ""
    """The action that takes this one back; empty where nothing does."""

    danger: bool = False


BULK = {
    "archive": BulkAction(
        "Archive",
        "They disappear from the lists; nothing is deleted. What waits leaves its queue, what runs is stopped.",
        "tasks.archive_many",
        "Archived: {count}.",
        undo="restore",
    ),
    "restore": BulkAction(
        "Restore", "They appear in the lists again.", "tasks.unarchive_many", "Restored: {count}.", undo="archive"
    ),
    "enqueue": BulkAction(
        "Enqueue",
        "Workers of the chosen queue will run them.",
        "tasks.enqueue_many",
        "Enqueued: {count}.",
        undo="dequeue",
    ),
    "dequeue": BulkAction(
        "Dequeue", "They become again what they were before.", "tasks.dequeue_many", "Taken out of the queue: {count}."
    ),
    "abort": BulkAction(
        "Abort",
        "Workers end their processes within a few seconds; of pipelines also the waiting and running steps.",
        "tasks.stop_many",
        "Abort requested: {count}.",
        danger=True,
    ),
    "tag": BulkAction("Tag", "", "tasks.update_tags", "Tags changed: {count}.", undo="tag"),
    "move": BulkAction(
        "Move", "A project that does not exist yet is made.", "tasks.move", "Moved: {count}.", undo="move"
    ),
    "reset": BulkAction(
        "Reset",
        "They become drafts again: console, scalars, plots, output models and artifacts of their runs are deleted. "
        "This cannot be undone.",
        "tasks.reset_many",
        "Reset to drafts: {count}.",
        danger=True,
    ),
    "publish": BulkAction(
        "Publish",
        "They and their models become read-only. This cannot be undone.",
        "tasks.publish_many",
        "Published: {count}.",
        danger=True,
    ),
    "delete": BulkAction(
        "Delete",
        "Their console, scalars, plots and draft models are deleted. This cannot be undone.",
        "tasks.delete_many",
        "Deleted: {count}.",
        danger=True,
    ),
}


MODELS = {
    "archive": BulkAction(
        "Archive",
        "They disappear from the lists; nothing is deleted.",
        "models.archive_many",
        "Archived: {count}.",
        undo="restore",
    ),
    "restore": BulkAction(
        "Restore", "They appear in the lists again.", "models.unarchive_many", "Restored: {count}.", undo="archive"
    ),
    "tag": BulkAction("Tag", "", "models.update_tags", "Tags changed: {count}.", undo="tag"),
    "move": BulkAction(
        "Move", "A project that does not exist yet is made.", "models.move", "Moved: {count}.", undo="move"
    ),
    "publish": BulkAction(
        "Publish",
        "They count as ready. The tasks that made them stay as they are. This cannot be undone.",
        "models.publish_many",
        "Published: {count}.",
        danger=True,
    ),
    "delete": BulkAction(
        "Delete",
        "Their entries are deleted. Models that tasks use are refused. This cannot be undone.",
        "models.delete_many",
        "Deleted: {count}.",
        danger=True,
    ),
}
MODEL_ROW = ["name", "ready", "tags", "system_tags", "project"]

NEVER_IDLE: tuple[Callable[[Json], bool], str] = (lambda _: False, "")
IDLE: dict[str, tuple[Callable[[Json], bool], str]] = {
    "archive": (archived, "It is archived already"),
    "restore": (lambda item: not archived(item), "It is not archived"),
    "dequeue": (lambda item: item["status"] != "queued", "It waits in no queue"),
    "abort": (
        lambda item: item["status"] not in ("queued", "in_progress") and not runs.is_pipeline(item),
        "It neither waits nor runs",
    ),
    "delete": (
        lambda item: item.get("status", "created") != "created" and not archived(item),
        "It is neither a draft nor archived: archive it first",
    ),
}
"""Actions that leave some documents as they are, and why. The API answers them as done, or refuses the deletion:
that is said before. The steps of a pipeline can run on after it has ended, so it can be aborted."""


@dataclass(frozen=True)
class Kind:
    """What can be selected."""

    plural: str
    noun: str
    actions: dict[str, BulkAction]
    back: str


KINDS = {
    "tasks": Kind("tasks", "task", BULK, "/projects/*"),
    "models": Kind("models", "model", MODELS, "/projects/*/models"),
}


def selected(values: Iterable[str], most: int = MAX_SELECTED, done: str = "changed at once") -> list[str]:
    """Return the ids in the values of a form or an address, each once; one value may hold several.

    Args:
        values: What the form or the address says.
        most: How many can be `done`.
        done: What is done to them.

    Raises:
        ApiError: There is none, or there are too many.
    """
    ids = list(dict.fromkeys(id_.strip() for value in values for id_ in value.split(",") if id_.strip()))
    if not ids:
        raise ApiError(400, 0, "Nothing is selected. Go back and tick some rows first")
    if len(ids) > most:
        raise ApiError(400, 0, f"{len(ids):,} are selected; at most {most:,} can be {done}")
    return ids


def confirm(visit: Visit) -> Response:
    """Ask before what is selected is changed: say how many, and what goes."""
    kind, name, _ = _wanted(visit)
    ids = selected(visit.request.query_params.getlist("ids"))
    back = own_path(visit.query.get("back", kind.back))
    return _question(visit, kind, name, ids, _find(visit, kind, ids), back)


def _question(
    visit: Visit,
    kind: Kind,
    name: str,
    ids: list[str],
    tasks: list[Json],
    back: str,
    *,
    form: dict[str, str] | None = None,
    problem: str = "",
) -> Response:
    """Return the question before a change; after a refused form with what was written and the reason."""
    found = {task["id"] for task in tasks}
    is_idle, why = IDLE.get(name, NEVER_IDLE)
    going = [task for task in tasks if not is_idle(task)]
    own = {"task": [task["id"] for task in going], "ready": False}
    deletes = name == "delete" and kind.noun == "task" and bool(going)
    queues = find_queues(visit) if name == "enqueue" else []
    return visit.render(
        "selection.html",
        code=400 if problem else 200,
        kind=kind,
        name=name,
        action=kind.actions[name],
        ids=ids,
        tasks=tasks,
        named=tasks[:NAMED],
        idle=len(tasks) - len(going),
        why=why,
        unknown=[id_ for id_ in ids if id_ not in found],
        queues=queues,
        default_queue=_queue_of_all(tasks, queues) if queues else "",
        artifacts=sum(len(task["execution"]["artifacts"]) for task in going) if deletes else 0,
        models=count(visit, own, "models") if deletes else 0,
        tags=sorted({tag for task in tasks for tag in task["tags"]}),
        back=back,
        form=form or {},
        problem=problem,
    )


def act(visit: Visit) -> Response:
    """Change what is selected."""
    kind, name, action = _wanted(visit)
    items = visit.form_items()
    form = dict(items)
    ids = selected(value for field, value in items if field == "ids")
    back = own_path(form.get("back") or kind.back)
    tasks = {task["id"]: task for task in _find(visit, kind, ids)}
    try:
        data, reverse = _request(kind, name, form, list(tasks.values()))
    except ApiError as refusal:
        return _question(visit, kind, name, ids, list(tasks.values()), back, form=form, problem=refusal.msg)
    failed = [(id_, id_, f"There is no such {kind.noun}") for id_ in ids if id_ not in tasks]
    is_idle, why = IDLE.get(name, NEVER_IDLE)
    failed += [(id_, task["name"], why) for id_, task in tasks.items() if is_idle(task)]
    wanted = [id_ for id_, task in tasks.items() if not is_idle(task)]
    done: list[str] = []
    left = 0
    if wanted:
        reply = _call(visit, action.call, wanted, data)
        done = [item["id"] for item in reply["succeeded"]]
        failed += [(item["id"], tasks[item["id"]]["name"], _reason(item)) for item in reply["failed"]]
        if name == "delete" and form.get("files"):
            left = _delete_files(visit, [url for item in reply["succeeded"] for url in _urls(item)])
    undo = ""
    if action.undo and reverse is not None and 0 < len(done) <= MAX_UNDONE:
        fields = {"kind": kind.plural, "action": action.undo, "ids": ",".join(done), **reverse}
        undo = urlencode(fields, errors="replace")
    if not failed and not left:
        passing = {"notice": f"{name}-many", "changed": len(done)} | ({"undo": undo} if undo else {})
        return visit.redirect(f"{back}{'&' if '?' in back else '?'}{urlencode(passing)}")
    return visit.render(
        "selection_result.html",
        kind=kind,
        action=action,
        count=len(done),
        done=action.done.format(count=len(done)),
        failed=failed,
        left=left,
        undo=undo_of(undo),
        back=back,
    )


def _reason(item: Json) -> str:
    """Return why one was refused; the API calls what is public unknown to those who would change it."""
    told: str = item["error"]["msg"]
    return PUBLIC if told.startswith("There is no") and item["id"] in told else told


def undo_of(written: str) -> dict[str, str] | None:
    """Return the fields of the form that takes a change back, from the address; None for anything else."""
    fields = dict(parse_qsl(written))
    kind = KINDS.get(fields.setdefault("kind", "tasks"))
    return fields if kind and fields.get("action") in {action.undo for action in kind.actions.values()} - {""} else None


def _wanted(visit: Visit) -> tuple[Kind, str, BulkAction]:
    kind, name = KINDS[visit.request.url.path.split("/")[2]], visit.argument("action")
    if name not in kind.actions:
        raise ApiError(404, 0, f"There is no action called {name!r} for selected {kind.plural}")
    return kind, name, kind.actions[name]


def _find(visit: Visit, kind: Kind, ids: list[str]) -> list[Json]:
    if kind.noun == "task":
        fields = [*TASK_ROW, "execution.artifacts", "execution.queue", QUEUE_BEFORE]
        return find_tasks(visit, {"id": ids}, size=len(ids), fields=fields)
    query = {"id": ids, "page": 0, "page_size": len(ids), "only_fields": MODEL_ROW, "search_hidden": True}
    models: list[Json] = visit.call("models.get_all_ex", query)["models"]
    return models


def _queue_of_all(tasks: list[Json], queues: list[Json]) -> str:
    """Return the queue to propose: that of the tasks where it is the same for all; else one with a worker."""
    wanted = {queue_of(task, queues) for task in tasks}
    return wanted.pop() if len(wanted) == 1 else next((queue["id"] for queue in queues if queue["alive"]), "")


def _request(kind: Kind, name: str, form: dict[str, str], tasks: list[Json]) -> tuple[Json, dict[str, str] | None]:
    """Return what the API is sent beside the ids, and the fields that undo it (None: nothing does).

    Raises:
        ApiError: The form is incomplete.
    """
    if name == "tag":
        added, removed = (_tags(form.get(field, "")) for field in ("add", "remove"))
        if not added and not removed:
            raise ApiError(400, 0, "Name a tag to be added or removed")
        # Only what was changed on all of them can be taken back as one change.
        whole = all(not set(added) & set(task["tags"]) and set(removed) <= set(task["tags"]) for task in tasks)
        reverse = {"add": ",".join(removed), "remove": ",".join(added)}
        return {"add_tags": added, "remove_tags": removed}, reverse if whole else None
    if name == "move":
        project, project_name = form.get("project_id", ""), form.get("project", "").strip().strip("/")
        if not project and not project_name:
            raise ApiError(400, 0, "Name the project to move them to")
        if not project and (problem := path_problem(project_name)):
            raise ApiError(400, 0, problem)
        before = {task["project"]["id"] for task in tasks}
        target = {"project": project} if project else {"project_name": project_name}
        return target, {"project_id": before.pop()} if len(before) == 1 and "" not in before else None
    if name == "enqueue":
        if not form.get("queue"):
            raise ApiError(400, 0, "Choose a queue")
        return {"queue": form["queue"], "status_reason": REASON}, {}
    if name == "abort":
        return {"include_pipeline_steps": True, "status_reason": REASON}, None
    if name == "delete":
        return {"return_file_urls": bool(form.get("files"))} if kind.noun == "task" else {}, None
    if name == "publish" and kind.noun == "model":
        return {"publish_tasks": False}, None
    return {}, {}


def _tags(written: str) -> list[str]:
    tags = list(dict.fromkeys(tag.strip() for tag in written.split(",") if tag.strip()))
    if long := next((tag for tag in tags if len(tag) > MAX_TAG), None):
        raise ApiError(400, 0, f"A tag has at most {MAX_TAG} characters; “{long[:40]}…” has {len(long)}")
    return tags


def _call(visit: Visit, name: str, ids: list[str], data: Json) -> Json:
    """Call an endpoint for all ids; where it knows only all or nothing and refuses, for each by itself."""
    if name.endswith("_many"):
        return visit.call(name, {"ids": ids} | data)
    try:
        visit.call(name, {"ids": ids} | data)
    except ApiError as refusal:
        if len(ids) == 1:
            return {"succeeded": [], "failed": [{"id": ids[0], "error": {"msg": refusal.msg}}]}
        replies = [_call(visit, name, [id_], data) for id_ in ids]
        return {key: [item for reply in replies for item in reply[key]] for key in ("succeeded", "failed")}
    return {"succeeded": [{"id": id_} for id_ in ids], "failed": []}


def _urls(item: Json) -> list[str]:
    return [url for urls in item["urls"].values() for url in urls] + ([item["url"]] if item["url"] else [])


def _delete_files(visit: Visit, urls: list[str]) -> int:
    """Delete files of this server; return how many of the addresses lie elsewhere, where the pages delete nothing."""
    elsewhere = 0
    for url in dict.fromkeys(urls):
        link = visit.file_link(url)
        if link is None or not link.startswith("/files/"):
            elsewhere += 1
            continue
        address = text.address(url)
        if address is not None:
            visit.delete_file(unquote(address.path))
    return elsewhere
