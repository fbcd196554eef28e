"""Service `events`, writing: what tasks and models report, and its deletion.

A bad event does not stop its batch: it is counted in the reply, by message. Good ones are on disk when the reply goes
out, together with what they change in their task's document.
"""

from __future__ import annotations

from collections import Counter

from clearml_localserver.endpoints.events_fields import TEXTS
from clearml_localserver.errors import ApiError
from clearml_localserver.events import store as events_store
from clearml_localserver.events.owners import is_locked, kind_of, record_batch, require_unlocked
from clearml_localserver.json_bodies import Unread
from clearml_localserver.registry import Call, Data, Reply, Unfinished, endpoint
from clearml_localserver.rules.events import LOG, MAX_TIMESTAMP, Event, EventRefusedError, invalid_owner, parse_event
from clearml_localserver.store import Document, Tx
from clearml_localserver.times import epoch_ms

SHOWN_MESSAGES = 10
"""How many different refusals the text of an error names."""


@endpoint("events.add", writes=True, schema={"type": "object"})
def add(call: Call, tx: Tx) -> Data:
    """Store one event."""
    return _add(call, tx, [call.data])


@endpoint(
    "events.add_batch",
    writes=True,
    json_lines=True,
    differs="a bad event is counted in `errors_info`; the others are stored",
)
def add_batch(call: Call, tx: Tx) -> Data:
    """Store events, one JSON object per line."""
    if not call.data["lines"]:
        raise ApiError(400, 17, "Batch request contains no items")
    return _add(call, tx, call.data["lines"])


def _add(call: Call, tx: Tx, reported: list[Data]) -> Data:
    now_ms = epoch_ms(call.now)
    owners: dict[tuple[str, str], Document | None] = {}
    batches: dict[tuple[str, str], list[Event]] = {}
    refused: Counter[str] = Counter()
    for raw in reported:
        if isinstance(raw, Unread):
            refused[raw.reason] += 1
            continue
        try:
            event = parse_event(raw, call.worker, now_ms)
            key = (kind_of(event.is_model), event.owner)
            if key not in owners:
                owners[key] = tx.get(*key)
            owner = owners[key]
            if owner is None or (is_locked(key[0], owner) and not raw.get("allow_locked")):
                raise invalid_owner(event.owner, event.is_model)
        except EventRefusedError as error:
            refused[str(error)] += 1
        else:
            batches.setdefault(key, []).append(event)
    if not batches:
        shown = ", ".join(f"{message}={count}" for message, count in refused.most_common(SHOWN_MESSAGES))
        raise ApiError(400, 131, f"Events not added: {shown}")
    for key, events in batches.items():
        owner = owners[key]
        if owner is not None:
            events_store.write(tx, events, now_ms)
            record_batch(tx, owner, events, call.now)
    added = sum(map(len, batches.values()))
    return {"added": added, "errors": refused.total(), "errors_info": dict(refused)}


@endpoint("events.delete_for_task", writes=True)
def delete_for_task(call: Call, tx: Tx) -> Data:
    """Delete all events of a task; what its document keeps of them stays."""
    return _delete(call, tx, call.data["task"], is_model=False)


@endpoint("events.delete_for_model", writes=True)
def delete_for_model(call: Call, tx: Tx) -> Data:
    """Delete all events of a model."""
    return _delete(call, tx, call.data["model"], is_model=True)


def _delete(call: Call, tx: Tx, owner: str, is_model: bool) -> Data:
    require_unlocked(tx, owner, call.company, is_model, call.data.get("allow_locked", False))
    deleted = events_store.count(tx, events_store.find_series(tx, owner))
    events_store.delete_task_events(tx, owner)
    return {"deleted": deleted}


@endpoint("events.clear_task_log", writes=True, fields={"include_metrics": TEXTS, "exclude_metrics": TEXTS})
def clear_task_log(call: Call, tx: Tx) -> Reply:
    """Delete a task's console lines, or those older than `threshold_sec`; only those of some metrics, or of others."""
    task, seconds = call.data["task"], call.data.get("threshold_sec", 0)
    require_unlocked(tx, task, call.company, False, call.data.get("allow_locked", False))
    before = max(-MAX_TIMESTAMP, epoch_ms(call.now) - 1000 * seconds) if seconds > 0 else None
    include, exclude = call.data.get("include_metrics"), call.data.get("exclude_metrics", [])
    lines = [
        series
        for series in events_store.find_series(tx, task, [LOG])
        if series.metric not in exclude and (not include or series.metric in include)
    ]
    deleted = 0

    def go_on(tx: Tx) -> Reply:
        nonlocal deleted
        count, done = events_store.delete_log(tx, lines, before)
        deleted += count
        return {"deleted": deleted} if done else Unfinished(go_on)

    return go_on(tx)
