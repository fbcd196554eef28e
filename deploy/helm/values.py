"""Values of the release: helm's own merge rules, `--set`, paths and a digest.

Pure. pyhelm3 is handed one finished mapping, because its own merge concatenates lists and ignores null, where helm
replaces lists and takes null for "delete this key".
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from clearml_access.errors import parse_error
from deploy.errors import ValuesError
from deploy.helm import documents

Values = dict[str, Any]


def merge(*layers: Mapping[str, Any]) -> Values:
    """Return the layers merged as helm merges `-f` files: mappings key by key, everything else replaced.

    A null stays: helm takes it for "delete the chart's default", which only helm can do.
    """
    merged: Values = {}
    for layer in layers:
        merged = _over(merged, layer)
    return merged


def _over(base: Mapping[str, Any], top: Mapping[str, Any]) -> Values:
    result = dict(base)
    for key, value in top.items():
        below = result.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        result[key] = _over(below, value) if both else copy.deepcopy(value)  # type: ignore[arg-type]
    return result


def by_name(below: Iterable[Mapping[str, Any]], top: Iterable[Mapping[str, Any]]) -> list[Any]:
    """Return two lists of `{name, …}` as one: the upper entry of a name replaces the lower one."""
    return list({item["name"]: item for item in (*below, *top)}.values())


def computed(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> Values:
    """Return what the chart's templates see: defaults under the given values, nulls removed."""
    return _without_nulls(merge(defaults, given))


def _without_nulls(values: Mapping[str, Any]) -> Values:
    return {
        key: _without_nulls(value) if isinstance(value, Mapping) else value
        for key, value in values.items()
        if value is not None
    }


def parse(text: str, source: str) -> Values:
    """Return the values in a YAML text.

    Raises:
        ValuesError: It is not YAML, or not a mapping.
    """
    try:
        document = documents.read(text)
    except yaml.YAMLError as error:
        raise ValuesError(
            f"{source} is not YAML: {parse_error(error)}",
            hint="correct that line (YAML is indented with blanks, not with tabs)",
        ) from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ValuesError(f"{source} holds a {type(document).__name__}, not a mapping of values")
    return document


_STEP = re.compile(r"([^.\[\]]+)((?:\[\d+\])*)")


def parse_set(text: str) -> Values:
    r"""Return the layer that one `--set path=value` means: dots nest, `\.` is a dot in a name.

    The value is read as YAML, so that `true`, `3` and `[a, b]` are what they look like.

    Raises:
        ValuesError: It is not `path=value`.
    """
    path, equals, raw = text.partition("=")
    steps = [step.replace("\0", ".") for step in path.replace("\\.", "\0").split(".")]
    if not equals or not all(steps):
        raise ValuesError(f"--set {path!r} is not path=value", hint="--set agentk8sglue.queue=pods")
    try:
        value: Any = documents.read(raw)
    except yaml.YAMLError as error:
        raise ValuesError(f"--set {path}: the value is not YAML: {parse_error(error)}") from None
    for step in reversed(steps):
        match = _STEP.fullmatch(step)
        if match and match[2]:
            raise ValuesError(
                f"--set {path!r}: helm replaces lists as a whole", hint=f"--set '{step.partition('[')[0]}=[…]'"
            )
        value = {step: value}
    assert isinstance(value, dict)  # noqa: S101  # there is at least one step
    return value


def get(values: Mapping[str, Any], path: str, default: Any = None) -> Any:
    """Return the value at a dotted path, or the default."""
    found: Any = values
    for step in path.split("."):
        if not isinstance(found, Mapping) or step not in found:
            return default
        found = found[step]
    return found


def nest(path: str, value: Any) -> Values:
    """Return the layer that holds `value` at a dotted path."""
    for step in reversed(path.split(".")):
        value = {step: value}
    assert isinstance(value, dict)  # noqa: S101  # there is at least one step
    return value


def environment(values: Mapping[str, Any], path: str = "agentk8sglue.extraEnvs") -> dict[str, str | None]:
    """Return a list of `{name, value}` as a mapping; None for one that comes from elsewhere."""
    listed = get(values, path) or []
    return {item["name"]: item.get("value") for item in listed if isinstance(item, dict) and "name" in item}


def digest(values: Mapping[str, Any]) -> str:
    """Return a text that is equal exactly for equal values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
