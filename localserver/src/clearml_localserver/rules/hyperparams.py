"""Hyperparameters and configuration objects of a task: flat lists as clients send them, nested as they are stored.

Pure. Stored shape: `hyperparams = {section: {name: item}}`, `configuration = {name: item}`; an item carries its own
section and name. Names may hold any character.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from clearml_localserver.errors import validation_error

Item = dict[str, Any]
Hyperparams = dict[str, dict[str, Item]]
Configuration = dict[str, Item]

PROPERTIES = "properties"
"""The section of user properties: notes on a task, changeable at any time."""

LEGACY_SECTION, LEGACY_DEFINES, LEGACY_TYPE = "Args", "TF_DEFINE", "legacy"


def merge(current: Hyperparams, items: Iterable[Item], replace: str = "none") -> Hyperparams:
    """Return `current` with `items` in it, each replacing the whole item of its section and name.

    Args:
        current: Stored hyperparameters; left as they are.
        items: Flat items `{section, name, value, type?, description?}`.
        replace: "none" merges, "section" first empties the sections that occur in `items`, "all" empties everything.

    Raises:
        ApiError: 400/12, no items or an item without section, name or value.
    """
    new = [_checked(item, ("section", "name", "value", "type", "description"), 3) for item in _some(items)]
    gone = {item["section"] for item in new} if replace == "section" else set()
    kept = {} if replace == "all" else {name: dict(items) for name, items in current.items() if name not in gone}
    for item in new:
        kept.setdefault(item["section"], {})[item["name"]] = item
    return kept


def without(current: Hyperparams, keys: Iterable[Mapping[str, Any]]) -> Hyperparams:
    """Return `current` less `keys` (`{section, name}`; without a name the whole section). Missing ones are fine.

    Raises:
        ApiError: 400/12, a key without section.
    """
    kept = {section: dict(items) for section, items in current.items()}
    for key in _some(keys):
        section, name = _text(key, "section"), key.get("name")
        if not name:
            kept.pop(section, None)
        elif section in kept:
            kept[section].pop(name, None)
    return kept


def only_properties(items: Iterable[Mapping[str, Any]]) -> bool:
    """Whether all items belong to the user properties, which stay editable after a run."""
    return all(item.get("section") == PROPERTIES for item in items)


def flat(hyperparams: Hyperparams) -> list[Item]:
    """Return all items as one list, by section and name."""
    return [items[name] for _, items in sorted(hyperparams.items()) for name in sorted(items)]


def nested(hyperparams: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Hyperparams:
    """Return a dict as `tasks.edit` takes it, every item with its own section and name filled in."""
    return {
        section: {name: {"section": section, "name": name} | _present(item) for name, item in items.items()}
        for section, items in hyperparams.items()
    }


def from_legacy(parameters: Mapping[str, Any]) -> Hyperparams:
    """Return the flat parameters of old clients as hyperparameters: `TF_DEFINE/x` has a section of its own."""
    found: Hyperparams = {}
    for key, value in parameters.items():
        section, name = LEGACY_SECTION, key
        if key.startswith(f"{LEGACY_DEFINES}/"):
            section, name = LEGACY_DEFINES, key.removeprefix(f"{LEGACY_DEFINES}/")
        item = {"section": section, "name": name, "value": str(value), "type": LEGACY_TYPE}
        found.setdefault(section, {})[name] = item
    return found


def to_legacy(hyperparams: Hyperparams) -> dict[str, str]:
    """Return the parameters that an old client has given, as it gave them."""
    return {
        f"{section}/{name}" if section == LEGACY_DEFINES else name: item.get("value", "")
        for section in (LEGACY_SECTION, LEGACY_DEFINES)
        for name, item in hyperparams.get(section, {}).items()
        if item.get("type") == LEGACY_TYPE
    }


def merge_configuration(current: Configuration, items: Iterable[Item], *, replace: bool = False) -> Configuration:
    """Return `current` (or nothing, with `replace`) with `items` in it, each replacing the item of its name.

    Raises:
        ApiError: 400/12, no items or an item without name or value.
    """
    new = [_checked(item, ("name", "value", "type", "description"), 2) for item in _some(items)]
    return ({} if replace else dict(current)) | {item["name"]: item for item in new}


def configuration_without(current: Configuration, names: Iterable[str]) -> Configuration:
    """Return `current` less `names`. Missing ones are fine."""
    gone = set(_some(names))
    return {name: item for name, item in current.items() if name not in gone}


def configuration_items(configuration: Configuration, names: Iterable[str] | None = None) -> list[Item]:
    """Return the items of `names` (all of them by default), by name."""
    wanted = set(configuration) if names is None else set(names)
    return [configuration[name] for name in sorted(configuration) if name in wanted]


def named(configuration: Mapping[str, Mapping[str, Any]]) -> Configuration:
    """Return a dict as `tasks.edit` takes it, every item with its own name filled in."""
    return {name: {"name": name} | _present(item) for name, item in configuration.items()}


def configuration_from_legacy(model_desc: Mapping[str, Any]) -> Configuration:
    """Return the model description of old clients as configuration objects."""
    return {name: {"name": name, "value": str(value), "type": LEGACY_TYPE} for name, value in model_desc.items()}


def configuration_to_legacy(configuration: Configuration) -> dict[str, str]:
    """Return the model description that an old client has given, as it gave it."""
    return {name: item.get("value", "") for name, item in configuration.items() if item.get("type") == LEGACY_TYPE}


def _some(items: Iterable[Any]) -> list[Any]:
    listed = list(items)
    if not listed:
        raise validation_error("value '[]' length is lower than allowed minimum '1'")
    return listed


def _checked(item: Item, fields: tuple[str, ...], required: int) -> Item:
    """Return the known fields of an item; all `required` first ones are texts, and all but the value not empty."""
    for name in fields[:required]:
        _text(item, name)
    return _present({name: item.get(name) for name in fields})


def _text(item: Mapping[str, Any], name: str) -> str:
    value = item.get(name)
    if not isinstance(value, str):
        raise validation_error(f"error for field '{name}'. field is required!")
    if not value and name != "value":
        raise validation_error(f"error for field '{name}'. value '' length is lower than allowed minimum '1'")
    return value


def _present(item: Mapping[str, Any]) -> Item:
    return {name: value for name, value in item.items() if value is not None}
