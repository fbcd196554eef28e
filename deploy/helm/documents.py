"""Kubernetes objects as YAML text, and objects compared line by line. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

Document = Mapping[str, Any]

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's, ten times as fast, where PyYAML was built with it."""


class _Dumper(yaml.SafeDumper):
    """Writes a text of several lines as these lines: the chart keeps the pod template as YAML in a ConfigMap."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)

    def ignore_aliases(self, data: object) -> bool:
        """Write what occurs twice twice: anchors are hard to read, and not every tool takes them."""
        return True


_Dumper.add_representer(str, _Dumper.represent_text)


def read(text: str) -> Any:
    """Return the one document of a YAML text.

    Raises:
        yaml.YAMLError: It is not YAML.
    """
    return yaml.load(text, LOADER)  # noqa: S506  # both are safe loaders


def read_all(text: str) -> Iterator[dict[str, Any]]:
    """Return the documents of a YAML text, without empty ones.

    Raises:
        yaml.YAMLError: It is not YAML.
    """
    return filter(None, yaml.load_all(text, LOADER))


def text(documents: Sequence[Document | list[Any]]) -> str:
    """Return documents as YAML."""
    return yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def difference(before: Sequence[Document], wanted: Sequence[Document]) -> str:
    """Return what changes from one set of objects to another, as unified diffs; empty if nothing."""
    lines: list[str] = []
    old, new = ({_name(item): item for item in items} for items in (before, wanted))
    for name in sorted(old.keys() | new.keys()):
        now, then = (text([_trimmed(item[name])]).splitlines() if name in item else [] for item in (old, new))
        lines += difflib.unified_diff(now, then, f"now/{name}", f"wanted/{name}", lineterm="", n=2)
    return "\n".join(lines)


def _name(item: Document) -> str:
    return f"{item.get('kind')}/{(item.get('metadata') or {}).get('name')}"


def _trimmed(item: Any) -> Any:
    """Return an object whose texts have no blanks at their lines' ends, with which YAML cannot show them as lines."""
    if isinstance(item, dict):
        return {key: _trimmed(value) for key, value in item.items()}
    if isinstance(item, list):
        return [_trimmed(value) for value in item]
    if isinstance(item, str) and "\n" in item:
        return "\n".join(line.rstrip() for line in item.split("\n"))
    return item
