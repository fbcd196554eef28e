"""Which parts of a document are shown: `only_fields`, fields that are shown only when named, references as objects.

Pure. A projection is a tree of keys; an empty tree means "everything below here".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from clearml_localserver.errors import ApiError, validation_error
from clearml_localserver.query.clauses import Field
from clearml_localserver.query.compiler import field_names, field_of, resolve
from clearml_localserver.query.kinds import Kind, Shape

Tree = dict[str, Any]
Known = Mapping[tuple[str, str], Mapping[str, Any]]
"""Referenced documents by kind and id."""


@dataclass(frozen=True)
class Projection:
    """What to show of the documents of one kind."""

    kind: Kind
    shown: Tree = field(default_factory=dict)
    left_out: Tree = field(default_factory=dict)
    references: Mapping[str, Tree] = field(default_factory=dict)
    """For references as objects: path -> what to show of the document behind it. Empty: references stay ids."""

    def apply(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is shown of a document."""
        if self.shown:
            picked: dict[str, Any] = _pick(document, self.shown)
            return picked
        left: dict[str, Any] = _drop(document, self.left_out)
        return left

    def followed(self, documents: Iterable[Mapping[str, Any]]) -> dict[str, set[str]]:
        """Return the ids, by kind, of the referenced documents of which more than the id is shown."""
        wanted: dict[str, set[str]] = {}
        for path, tree in self.references.items():
            if tree.keys() - {"id"}:
                ids = wanted.setdefault(self.kind.references[path], set())
                for document in documents:
                    ids.update(id for id in _values(document, path.split(".")) if isinstance(id, str))
        return wanted

    def expand(self, document: dict[str, Any], known: Known) -> dict[str, Any]:
        """Turn the references of a shown document into objects, in place."""
        for path, tree in self.references.items():

            def to_object(id: Any, kind: str = self.kind.references[path], tree: Tree = tree) -> Any:
                if not isinstance(id, str):
                    return id
                target = known.get((kind, id)) if tree.keys() - {"id"} else None
                return {**(_pick(target, tree) if target else {}), "id": id}

            _replace(document, path.split("."), to_object)
        return document


def projection(kind: Kind, only_fields: Any, *, objects: bool) -> Projection:
    """Read `only_fields`.

    Args:
        kind: What is shown.
        only_fields: The client's list; None or empty shows everything but what is concealed.
        objects: Whether references become objects (`get_all_ex`) or stay ids (`get_all`).

    Raises:
        ApiError: 400/14 for a field that the kind does not have.
    """
    names = field_names("only_fields", only_fields)
    if not all(isinstance(name, str) for name in names):
        raise validation_error(f"only_fields must be a list of field names: {only_fields!r}")
    positive = [name for name in names if not name.startswith("-")]
    negative = [name[1:] for name in names if name.startswith("-")]
    references: dict[str, Tree] = {}
    if objects:
        _check(kind, [*positive, *negative])
        references = {path: {} for path in kind.references}
        for name in (*positive, *(() if positive else kind.expanded)):
            for path in kind.references:
                if name.startswith(f"{path}."):
                    _grow(references[path], name[len(path) + 1 :].split("."))
    else:
        for name in (*positive, *negative):
            resolve(kind, name)
    shown: Tree = {}
    for name in [*positive, *(["id"] if objects and positive else [])]:
        _grow(shown, field_of(kind, name).parts)
    left_out: Tree = {name: {} for name in kind.concealed}
    for name in negative:
        _grow(left_out, field_of(kind, name).parts)
    return Projection(kind, shown, left_out, references)


def _check(kind: Kind, names: Iterable[str]) -> None:
    unknown = [name for name in names if not _defined(field_of(kind, name))]
    if unknown:
        text = f"Fields not defined for object: fields=({', '.join(unknown)}), object={kind.label}"
        raise ApiError(400, 14, text)


def _defined(path: Field) -> bool:
    root, rest = path.parts[0], path.parts[1:]
    through_reference = any(path.path.startswith(f"{name}.") for name in path.kind.references)
    shape = path.kind.fields.get(root)
    return shape is Shape.OBJECT or (shape is not None and (not rest or through_reference))


def _grow(tree: Tree, parts: Iterable[str]) -> None:
    """Add a path to a tree of keys. A key that is already wanted whole stays so."""
    *way, last = parts
    for part in way:
        if part in tree and not tree[part]:
            return
        tree = tree.setdefault(part, {})
    tree[last] = {}


def _pick(source: Any, tree: Tree) -> Any:
    if not tree:
        return source
    if isinstance(source, list):
        return [_pick(item, tree) for item in source]
    if isinstance(source, Mapping):
        return {key: _pick(source[key], below) for key, below in tree.items() if key in source}
    return source


def _drop(source: Any, tree: Tree) -> Any:
    if isinstance(source, list):
        return [_drop(item, tree) for item in source]
    if isinstance(source, Mapping):
        return {
            key: _drop(value, tree[key]) if key in tree else value
            for key, value in source.items()
            if key not in tree or tree[key]
        }
    return source


def _values(node: Any, parts: list[str]) -> list[Any]:
    if isinstance(node, list):
        return [value for item in node for value in _values(item, parts)]
    if not parts:
        return [node]
    return _values(node[parts[0]], parts[1:]) if isinstance(node, Mapping) and parts[0] in node else []


def _replace(node: Any, parts: list[str], change: Callable[[Any], Any]) -> None:
    """Replace what stands at a path, in every element of the lists on the way."""
    if isinstance(node, list):
        for item in node:
            _replace(item, parts, change)
    elif isinstance(node, dict) and parts[0] in node:
        if len(parts) > 1:
            _replace(node[parts[0]], parts[1:], change)
        else:
            node[parts[0]] = change(node[parts[0]])
