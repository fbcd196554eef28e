"""The `*_many` endpoints of all services: one action per id; one that is refused does not stop the others."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from clearml_localserver.errors import ApiError, validation_error
from clearml_localserver.registry import Unfinished
from clearml_localserver.store import Tx

Data = dict[str, Any]

MAX_IDS = 20_000
"""Most ids of a call. The reply names each of them with what became of it, and is made in one piece."""


def for_each(
    tx: Tx, ids: Iterable[str], run: Callable[[Tx, str], Data], more: Callable[[Tx, list[str]], Data] | None = None
) -> Data | Unfinished:
    """Run an action for every id; return `{succeeded: [{id, …}], failed: [{id, error}]}`.

    What a refused action has written before its refusal is undone, the others stay. Where there are many, other writes
    go between: the whole is not one transaction.

    Args:
        tx: The first transaction.
        ids: Whose turn it is, in this order.
        run: The action, for one id.
        more: Returns what the reply holds besides, given the ids that succeeded.

    Raises:
        ApiError: 400/12 without ids, or with more than `MAX_IDS`.
    """
    waiting = deque(ids)
    if not waiting:
        raise validation_error("error for field 'ids'. value '[]' length is lower than allowed minimum '1'")
    if len(waiting) > MAX_IDS:
        raise validation_error(f"field=ids: {len(waiting)} ids are more than the {MAX_IDS} of one call: send several")
    succeeded: list[Data] = []
    failed: list[Data] = []

    def go_on(tx: Tx) -> Data | Unfinished:
        while waiting:
            id = waiting.popleft()
            tx.execute("SAVEPOINT one_of_many")
            try:
                succeeded.append({"id": id, **run(tx, id)})
            except ApiError as error:
                tx.execute("ROLLBACK TO one_of_many")
                failed.append({"id": id, "error": _shown(error)})
            tx.execute("RELEASE one_of_many")
            if waiting and tx.turn_is_over:
                return Unfinished(go_on)
        return {"succeeded": succeeded, "failed": failed} | (
            more(tx, [item["id"] for item in succeeded]) if more else {}
        )

    return go_on(tx)


def _shown(error: ApiError) -> Data:
    """Return an error with the facts that its text ends in (`…: id=x, company=y`) as data of their own."""
    _, _, facts = error.msg.rpartition(": ")
    pairs = [part.split("=", 1) for part in facts.split(", ") if "=" in part]
    return {"codes": [error.code, error.subcode], "msg": error.msg, "data": dict(pairs)}
