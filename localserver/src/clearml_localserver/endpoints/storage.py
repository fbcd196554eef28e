"""Service `storage`: the company's keys of object stores. Admins set and read them; others see which are set."""

from __future__ import annotations

from clearml_localserver.errors import validation_error
from clearml_localserver.registry import Call, Data, endpoint
from clearml_localserver.rules import roles, storage
from clearml_localserver.store import Tx
from clearml_localserver.tables.settings import read_setting, write_setting
from clearml_localserver.times import iso

TEXT = {"type": ["string", "null"]}
FLAG = {"type": ["boolean", "null"]}


def _items(fields: storage.Settings) -> Data:
    shapes: Data = {"str": TEXT, "bool": FLAG, "NoneType": {}}
    properties = {name: shapes[type(value).__name__] for name, value in fields.items()}
    return {"type": ["array", "null"], "items": {"type": "object", "properties": properties}}


SET = {
    "type": "object",
    "properties": {
        name: {
            "type": "object",
            "properties": {
                **dict.fromkeys(("key", "secret", "token", "region", "project", "credentials_json"), TEXT),
                "use_credentials_chain": FLAG,
                storage.LISTS[name]: _items(storage.ITEMS[name]),
            },
        }
        for name in storage.FRESH
    },
}
RESET = {"type": "object", "properties": {"keys": {"type": "array", "items": {"enum": list(storage.FRESH)}}}}
SETTING = "storage"


@endpoint(
    "storage.get_settings",
    schema={"type": "object"},
    differs="secrets are shown to admins only (genuine: to everybody)",
)
def get_settings(call: Call, tx: Tx) -> Data:
    """Return the settings; secrets only to admins."""
    kept = _kept(tx)
    shown = {name: kept.get(name, fresh) for name, fresh in storage.FRESH.items()}
    if not roles.reaches(call.role, roles.ADMIN):
        shown = storage.masked(shown)
    return {"settings": shown | {"last_update": kept.get("last_update")}}


@endpoint(
    "storage.set_settings", writes=True, role=roles.ADMIN, schema=SET, differs="admins may call it (genuine: everybody)"
)
def set_settings(call: Call, tx: Tx) -> Data:
    """Replace the settings of the stores that are given; the others stay."""
    given = {name: storage.checked(name, call.data[name]) for name in storage.FRESH if name in call.data}
    if not given:
        raise validation_error("No settings were provided")
    _keep(call, tx, _kept(tx) | given)
    return {"updated": 1}


@endpoint(
    "storage.reset_settings",
    writes=True,
    role=roles.ADMIN,
    schema=RESET,
    differs="admins may call it (genuine: everybody); without keys it answers `updated: 0`",
)
def reset_settings(call: Call, tx: Tx) -> Data:
    """Remove the settings of the named stores."""
    kept, named = _kept(tx), set(call.data.get("keys", []))
    if not named & kept.keys():
        return {"updated": 0}
    _keep(call, tx, {name: value for name, value in kept.items() if name not in named})
    return {"updated": 1}


def _kept(tx: Tx) -> Data:
    found: Data = read_setting(tx, SETTING) or {}
    return found


def _keep(call: Call, tx: Tx, settings: Data) -> None:
    write_setting(tx, SETTING, settings | {"last_update": iso(call.now)})
