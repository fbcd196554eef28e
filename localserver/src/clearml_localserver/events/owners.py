"""Tasks and models as owners of events: finding them, protecting locked ones, and what a batch does to them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from clearml_localserver.errors import ApiError
from clearml_localserver.rules.events import SCALAR, Event, last_iteration, merge_last_metrics, metric_stats
from clearml_localserver.store import Document, Tx
from clearml_localserver.times import iso

INVALID_ID = {"task": 101, "model": 201}
"""Subcodes of an id that is unknown, or whose document cannot be changed."""


def kind_of(is_model: bool) -> str:
    """Return the kind of document that owns such events."""
    return "model" if is_model else "task"


def is_locked(kind: str, owner: Document) -> bool:
    """Return whether an owner has been published: its events are locked, unless a request says `allow_locked`."""
    return bool(owner.get("ready")) if kind == "model" else owner.get("status") == "published"


def find_owners(tx: Tx, ids: Iterable[str], is_model: bool = False) -> dict[str, Document]:
    """Return the documents of tasks (or models) by id, in the order asked for.

    Raises:
        ApiError: 400/101 (400/201), naming every id that does not exist.
    """
    kind = kind_of(is_model)
    found = {id_: tx.get(kind, id_) for id_ in ids}
    if missing := [id_ for id_, doc in found.items() if doc is None]:
        raise ApiError(400, INVALID_ID[kind], f"Invalid {kind} id: ids=({', '.join(missing)})")
    return {id_: doc for id_, doc in found.items() if doc is not None}


def require_unlocked(tx: Tx, id_: str, company: str, is_model: bool, allow_locked: bool) -> None:
    """Check that an owner's events may be deleted.

    Raises:
        ApiError: 400/101 (400/201), it does not exist, or it is published and `allow_locked` is not given.
    """
    kind = kind_of(is_model)
    owner = tx.get(kind, id_)
    if owner is None:
        raise ApiError(400, INVALID_ID[kind], f"Invalid {kind} id: id={id_}, company={company}")
    if is_locked(kind, owner) and not allow_locked:
        text = f"Cannot update events for a published {kind}: company={company}, id={id_}"
        raise ApiError(400, INVALID_ID[kind], text)


def record_batch(tx: Tx, owner: Document, events: Sequence[Event], now: datetime) -> None:
    """Bring an owner's document up to date after a batch of its events has been stored."""
    moment = iso(now)
    changes = {
        "last_iteration": last_iteration(owner.get("last_iteration") or 0, events),
        "last_metrics": merge_last_metrics(
            owner.get("last_metrics") or {}, [event for event in events if event.type == SCALAR]
        ),
        "last_update": moment,
        "last_change": moment,
    }
    if not events[0].is_model:
        changes["metric_stats"] = metric_stats(owner.get("metric_stats") or {}, events, moment)
    tx.put(kind_of(events[0].is_model), owner | changes)
