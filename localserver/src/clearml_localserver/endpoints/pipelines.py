"""Service `pipelines`: running a pipeline again, and deleting its runs."""

from __future__ import annotations

from clearml_localserver import lifecycle
from clearml_localserver.bulk_actions import for_each
from clearml_localserver.errors import ApiError
from clearml_localserver.lifecycle import Actor
from clearml_localserver.lifecycle.steps import PIPELINE
from clearml_localserver.query import by_id
from clearml_localserver.registry import Call, Data, Reply, endpoint
from clearml_localserver.rules import workers as worker_rules
from clearml_localserver.store import Document, Tx
from clearml_localserver.tables.tasks import tagged_in
from clearml_localserver.tables.workers import all_workers

TEXT = {"type": "string"}
ARGUMENT = {
    "type": "object",
    "required": ["name"],
    "properties": {"name": TEXT, "value": {"type": ["string", "null"]}},
}
START = {
    "type": "object",
    "required": ["task", "queue"],
    "properties": {
        "task": TEXT,
        "queue": TEXT,
        "args": {"type": "array", "items": ARGUMENT},
        "verify_watched_queue": {"type": "boolean"},
    },
}
DELETE = {
    "type": "object",
    "required": ["project", "ids"],
    "properties": {"project": TEXT, "ids": {"type": "array", "minItems": 1, "items": TEXT}},
}
SECTION = "Args"


@endpoint("pipelines.start_pipeline", writes=True, schema=START)
def start_pipeline(call: Call, tx: Tx) -> Data:
    """Run a pipeline again: a copy of one of its runs, with other arguments, goes into a queue."""
    source = by_id(tx, "task", call.data["task"], call.company)
    queue = by_id(tx, "queue", call.data["queue"], call.company)
    actor = Actor.of(call)
    run, _ = lifecycle.clone_task(tx, source, actor, {"new_task_parent": source["id"], **_name(tx, source)})
    parameters = run["hyperparams"].setdefault(SECTION, {})
    for argument in call.data.get("args") or []:
        name = argument["name"]
        known = parameters.get(name) or {"section": SECTION, "name": name}
        parameters[name] = known | {"value": argument.get("value") or ""}
    tx.put("task", run)
    lifecycle.enqueue_task(tx, run, actor, queue=queue["id"])
    reply: Data = {"pipeline": run["id"], "enqueued": True}
    if call.data.get("verify_watched_queue"):
        workers = worker_rules.alive(all_workers(tx), call.now)
        reply["queue_watched"] = any(queue["id"] in worker["queues"] for worker in workers)
    return reply


@endpoint(
    "pipelines.delete_runs",
    writes=True,
    schema=DELETE,
    differs="keeps later runs that were started from a deleted one",
)
def delete_runs(call: Call, tx: Tx) -> Reply:
    """Delete runs of a pipeline with their steps; one run must stay, because the next one is cloned from it."""
    project = call.data["project"]
    runs = tagged_in(tx, call.company, project, PIPELINE)
    ids = [id for id in dict.fromkeys(call.data["ids"]) if id in runs]
    if len(ids) >= len(runs):
        raise ApiError(400, 160, f"At least one pipeline run should be left: project={project}")
    if not ids:
        return {"succeeded": [], "failed": []}
    return for_each(tx, ids, lambda tx, id: _delete_run(call, tx, id))


def _delete_run(call: Call, tx: Tx, id: str) -> Data:
    actor = Actor.of(call)
    run = by_id(tx, "task", id, call.company)
    for step in lifecycle.steps_of(tx, run):
        lifecycle.delete_task(tx, step, actor, force=True)
    removal = lifecycle.delete_task(tx, run, actor, force=True)
    return {
        "deleted": True,
        "updated_children": 0,
        "updated_models": removal.updated_models,
        "deleted_models": removal.deleted_models,
        "urls": None,
    }


def _name(tx: Tx, source: Document) -> dict[str, str]:
    """Return the name of a new run: the pipeline's, which is its project's."""
    project = tx.get("project", source["project"]) if source.get("project") else None
    return {"new_task_name": project["basename"]} if project else {}
