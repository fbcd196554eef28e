"""The `*_many` endpoints of all services: one action for every id, none held up by another's refusal."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from localserver.errors import ApiError, validation_error
from localserver.store import Tx

Data = dict[str, Any]


def for_each(tx: Tx, ids: Iterable[str], run: Callable[[str], Data]) -> Data:
    """Run an action for every id; return `{succeeded: [{id, …}], failed: [{id, error}]}`.

    What a refused action has written before its refusal is undone, the others stay.

    Raises:
        ApiError: 400/12 without ids.
    """
    wanted = list(ids)
    if not wanted:
        raise validation_error("error for field 'ids'. value '[]' length is lower than allowed minimum '1'")
    succeeded, failed = [], []
    for id in wanted:
        tx.execute("SAVEPOINT one_of_many")
        try:
            succeeded.append({"id": id, **run(id)})
        except ApiError as error:
            tx.execute("ROLLBACK TO one_of_many")
            failed.append({"id": id, "error": _shown(error)})
        tx.execute("RELEASE one_of_many")
    return {"succeeded": succeeded, "failed": failed}


def _shown(error: ApiError) -> Data:
    """Return an error with the facts that its text ends in (`…: id=x, company=y`) as data of their own."""
    _, _, facts = error.msg.rpartition(": ")
    pairs = [part.split("=", 1) for part in facts.split(", ") if "=" in part]
    return {"codes": [error.code, error.subcode], "msg": error.msg, "data": dict(pairs)}
