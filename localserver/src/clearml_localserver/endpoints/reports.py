"""Service `reports`: reports (texts about tasks), and the data that they show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from clearml_localserver import lifecycle, reports, tags
from clearml_localserver.endpoints.events_samples import debug_images, get_multi_task_plots
from clearml_localserver.endpoints.events_scalars import (
    MAX_TASKS,
    get_task_single_value_metrics,
    multi_task_scalar_metrics_iter_histogram,
)
from clearml_localserver.errors import ApiError, validation_error
from clearml_localserver.lifecycle import Actor
from clearml_localserver.query import Clause, all_of, by_id, find_all_ex, only_company
from clearml_localserver.registry import Call, Data, endpoint
from clearml_localserver.rules import tasks as rules
from clearml_localserver.rules.events import MAX_SAMPLES
from clearml_localserver.rules.names import checked_name
from clearml_localserver.rules.tasks import Change, Fields
from clearml_localserver.store import Tx

TEXT = {"type": "string"}
NAME = {"type": "string", "minLength": 3}
WRITTEN = {"name": NAME, "comment": TEXT, "tags": tags.TEXTS, "report": TEXT, "report_assets": tags.TEXTS}
CREATE = {"type": "object", "required": ["name"], "properties": {**WRITTEN, "project": TEXT}}
TASK = {"type": "object", "required": ["task"], "properties": {"task": TEXT, "message": TEXT}}
UPDATE = {"type": "object", "required": ["task"], "properties": {**WRITTEN, "task": TEXT}}
MOVE = {
    "type": "object",
    "required": ["task"],
    "properties": {"task": TEXT, "project": TEXT, "project_name": TEXT},
}
ANY = {"type": "object"}
FLAG = {"type": "boolean"}
METRICS = {
    "type": "array",
    "items": {"type": "object", "required": ["metric"], "properties": {"metric": TEXT, "variants": tags.TEXTS}},
}
ITERATIONS = {"type": "object", "properties": {"iters": {"type": "integer", "minimum": 1}, "metrics": METRICS}}
CURVES = {
    "type": "object",
    "properties": {
        "metrics": METRICS,
        "samples": {"type": "integer", "minimum": 1, "maximum": MAX_SAMPLES},
        "key": {"enum": ["iter", "timestamp", "iso_time"]},
        "envelope": FLAG,
    },
}
TASK_DATA = {
    "type": "object",
    "properties": {
        "allow_public": FLAG,
        "model_events": FLAG,
        "plots": ITERATIONS,
        "debug_images": ITERATIONS,
        "scalar_metrics_iter_histogram": CURVES,
        "single_value_metrics": {"type": "object", "properties": {"metrics": METRICS}},
    },
}
SINCE_BLOCKS = (2, 7)
"""Oldest API version in which the events' endpoints answer as the blocks do."""


@endpoint("reports.create", writes=True, schema=CREATE, differs="`report` and `report_assets` are kept (genuine: lost)")
def create(call: Call, tx: Tx) -> Data:
    """Make a report in the `.reports` of a project, or of none."""
    actor = Actor.of(call)
    project = by_id(tx, "project", call.data["project"], call.company) if call.data.get("project") else None
    folder = reports.folder_in(tx, project["name"] if project else "", actor)
    given = {name: call.data[name] for name in ("comment", "tags") if name in call.data}
    request = {"name": call.data["name"], "type": reports.TYPE, "project": folder["id"], "system_tags": reports.TAGS}
    task = lifecycle.new_task(tx, request | given, actor)
    tx.put("task", task | {name: call.data[name] for name in ("report", "report_assets") if name in call.data})
    return {"id": task["id"], "project_id": folder["id"]}


@endpoint("reports.update", writes=True, schema=UPDATE)
def update(call: Call, tx: Tx) -> Data:
    """Change a report; its text only as long as it is a draft. `report: null` takes the text away."""
    task = reports.find_report(call, tx)
    fields: Fields = {name: call.data[name] for name in WRITTEN if name in call.data}
    if "name" in fields:
        fields["name"] = checked_name(fields["name"])
    shown = dict(fields)
    removed = frozenset[str]()
    if "report" in call.raw:
        if task["status"] != rules.CREATED:
            raise ApiError(400, 110, f"Invalid task status: expected={rules.CREATED}, status={task['status']}")
        if call.raw["report"] is None:
            removed, shown["report"] = frozenset({"report"}), None
    if not shown:
        return {"updated": 0, "fields": {}}
    stamp = Actor.of(call).stamp
    written = stamp.of_update() if "report" in call.raw else stamp.of_change()
    lifecycle.save(tx, task, Change(fields | written, removed))
    return {"updated": 1, "fields": shown}


@endpoint("reports.move", writes=True, schema=MOVE)
def move(call: Call, tx: Tx) -> Data:
    """Move a report to the `.reports` of a project, which is made if it is named and missing."""
    task, actor = reports.find_report(call, tx), Actor.of(call)
    if name := call.data.get("project_name"):
        path = lifecycle.ensure_project(tx, name, actor)["name"]
    elif id := call.data.get("project"):
        path = by_id(tx, "project", id, call.company)["name"]
    elif "project" in call.raw and call.raw["project"] is None:
        path = ""
    else:
        raise ApiError(400, 11, "Missing required fields (project or project_name is required)")
    before, folder = task.get("project"), reports.folder_in(tx, path, actor)
    lifecycle.save(tx, task, Change({"project": folder["id"]} | actor.stamp.of_change()))
    reports.leave_folder(tx, before)
    return {"project_id": folder["id"]}


@endpoint("reports.publish", writes=True, schema=TASK)
def publish(call: Call, tx: Tx) -> Data:
    """Publish a report, whatever its status."""
    actor = replace(Actor.of(call), reason="", message=call.data.get("message", ""))
    fields = lifecycle.change_status(tx, reports.find_report(call, tx), "publish", actor, force=True)
    return {"updated": 1, "fields": {name: value for name, value in fields.items() if name != "output"}}


@endpoint("reports.archive", writes=True, schema=TASK)
def archive(call: Call, tx: Tx) -> Data:
    """Tag a report as archived and note why."""
    _tag(call, tx, archived=True)
    return {"archived": 1}


@endpoint("reports.unarchive", writes=True, schema=TASK)
def unarchive(call: Call, tx: Tx) -> Data:
    """Restore an archived report."""
    _tag(call, tx, archived=False)
    return {"unarchived": 1}


@endpoint("reports.delete", writes=True, schema=TASK)
def delete(call: Call, tx: Tx) -> Data:
    """Delete a report, whatever its status."""
    task = reports.find_report(call, tx)
    lifecycle.delete_task(tx, task, Actor.of(call), force=True)
    reports.leave_folder(tx, task.get("project"))
    return {"deleted": 1}


@endpoint("reports.get_all_ex", schema=ANY, fields={"allow_public": FLAG})
def get_all_ex(call: Call, tx: Tx) -> Data:
    """Find reports, with references as objects; of a project those in its `.reports`."""
    asked = replace(call, data=reports.query_of(tx, call.data))
    where = all_of([reports.ONLY_REPORTS, *_own(call)])
    return find_all_ex(tx, "task", asked, where=where).reply("tasks")


@endpoint("reports.get_tags", schema=ANY)
def get_tags(call: Call, tx: Tx) -> Data:
    """List the tags of reports."""
    return tags.tags_in_use(tx, ("task",), {}, reports.ONLY_REPORTS)


@endpoint("reports.get_task_data", schema=TASK_DATA, differs="at most 100 tasks where a block is requested")
def get_task_data(call: Call, tx: Tx) -> Data:
    """Find tasks (or models) and return, block by block as asked for, what they have reported."""
    kind = "model" if call.data.get("model_events") else "task"
    found = list(find_all_ex(tx, kind, call, where=all_of(_own(call))))
    ids = [document["id"] for document in found]
    reply: Data = {"tasks": found}
    blocks = {name: block for name, block in BLOCKS.items() if name in call.data}
    if blocks and len(ids) > MAX_TASKS:
        raise validation_error(f"more than {MAX_TASKS} tasks: narrow the query, or ask for pages by page_size")
    for name, (empty, block) in blocks.items():
        asked = call.data[name] | {"tasks": ids, "model_events": kind == "model"}
        within = replace(call, data=asked, raw=asked, version=max(call.version, SINCE_BLOCKS))
        reply[name] = block(within, tx) if ids else empty
    return reply


def _curves(call: Call, tx: Tx) -> Data:
    curves: Data = multi_task_scalar_metrics_iter_histogram(call, tx)["metrics"]
    return curves


def _plots(call: Call, tx: Tx) -> Data:
    plots: Data = get_multi_task_plots(call, tx)["plots"]
    return plots


def _images(call: Call, tx: Tx) -> list[Data]:
    wanted = [{**item, "task": id} for id in call.data["tasks"] for item in call.data.get("metrics") or [{}]]
    images: list[Data] = debug_images(replace(call, data=call.data | {"metrics": wanted}), tx)["metrics"]
    return images


def _values(call: Call, tx: Tx) -> list[Data]:
    values: list[Data] = get_task_single_value_metrics(call, tx)["tasks"]
    return values


BLOCKS: dict[str, tuple[Data | list[Data], Callable[[Call, Tx], Data | list[Data]]]] = {
    "scalar_metrics_iter_histogram": ({}, _curves),
    "plots": ({}, _plots),
    "debug_images": ([], _images),
    "single_value_metrics": ([], _values),
}
"""What can be asked for beside the tasks: the answer for no tasks, and for some."""


def _tag(call: Call, tx: Tx, *, archived: bool) -> None:
    task = reports.find_report(call, tx)
    fields = {
        "system_tags": sorted(rules.with_archived_tag(task["system_tags"], archived)),
        "status_reason": "",
        "status_message": call.data.get("message", ""),
    }
    lifecycle.save(tx, task, Change(fields | Actor.of(call).stamp.of_change()))


def _own(call: Call) -> list[Clause]:
    """Return the condition that leaves out what other companies have made public, where a query asks for that."""
    if call.data.get("allow_public", True):
        return []
    return [only_company(call.company)]
