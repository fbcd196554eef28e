"""Fields that several endpoints of service `events` take: their schemas, and whose events are asked for."""

from __future__ import annotations

from clearml_localserver.errors import validation_error
from clearml_localserver.events.owners import find_owners
from clearml_localserver.registry import Call
from clearml_localserver.store import Tx

TEXT = {"type": "string"}
TEXTS = {"type": "array", "items": TEXT}
FLAG = {"type": "boolean"}
METRICS = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {"metric": {"type": ["string", "null"]}, "variants": {"type": ["array", "null"], "items": TEXT}},
    },
}


def owner_of(call: Call, tx: Tx) -> str:
    """Return the task (or model) whose events are asked for.

    Raises:
        ApiError: 400/12, none is named; 400/101 (400/201), it does not exist.
    """
    if not (owner := call.data.get("task")):
        raise validation_error("task: field is required!")
    find_owners(tx, [owner], call.data.get("model_events", False))
    return str(owner)
