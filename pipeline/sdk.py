"""The SDK, made quick: for what it has no setting, changed from outside for this process only.

`check_schemas_once`: the SDK checks every request against its JSON schema, which is right, and before each check the
schema itself against the schema of schemas, which takes 6 to 16 ms of each of the hundred calls that a step makes.
The schemas are constants of the SDK's wheel; one check each is enough.

It must stay harmless: what it does not recognise (another SDK version) it leaves alone. No outside system.
"""

from __future__ import annotations

from typing import Any


def check_schemas_once() -> None:
    """Let the SDK check each of its schemas once per process instead of at each call."""
    from clearml.backend_api.session import datamodel

    validator = getattr(datamodel, "_CustomValidator", None)
    check = getattr(getattr(validator, "check_schema", None), "__func__", None)
    if validator is None or check is None or getattr(check, "once", False):
        return
    known: dict[int, Any] = {}

    def check_once(cls: Any, schema: Any, *args: Any, **kwargs: Any) -> None:
        if known.get(id(schema)) is not schema:
            check(cls, schema, *args, **kwargs)
            known[id(schema)] = schema  # keeps the schema alive, so that its id stays its own

    check_once.once = True  # type: ignore[attr-defined]
    validator.check_schema = classmethod(check_once)
