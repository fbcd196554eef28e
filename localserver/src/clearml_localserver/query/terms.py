"""The grammar of list filters: `["a", "-b"]`, `["__$all", "a", "__$not", "b"]`, `{"any": {"include": [...]}}`.

Pure. It knows nothing of fields: what "holds one of these values" means is the caller's `leaf`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from clearml_localserver.errors import ApiError, validation_error
from clearml_localserver.query.clauses import TRUE, Clause, all_of, any_of, none_of

Leaf = Callable[[Sequence[Any]], Clause]
"""Makes the condition "holds one of these values"; None among them stands for "is missing"."""

OPERATORS: dict[str, Callable[[Any], Clause] | None] = {
    "__$and": all_of,
    "__$all": all_of,
    "__$or": any_of,
    "__$any": any_of,
    "__$not": None,
}
END = "__$nop"
"""Ends the reach of the operator before it: what follows is an ordinary list again."""

MOST_TERMS = 1_000
"""Most terms that one part of a query may have: each is looked at for every document."""


def require_few(name: str, terms: Sequence[Any], most: int = MOST_TERMS) -> None:
    """Refuse more terms than a query can be answered with in reasonable time.

    Raises:
        ApiError: 400/12.
    """
    if len(terms) > most:
        raise validation_error(f"field={name}: {len(terms)} items, at most {most} are allowed")


@dataclass
class _Group:
    """Terms that one operator joins; `join` of None is the default: any of the wanted, none of the unwanted."""

    join: Callable[[Any], Clause] | None = None
    wanted: list[Any] = field(default_factory=list)
    unwanted: list[Any] = field(default_factory=list)

    def clause(self, leaf: Leaf) -> Clause:
        if self.join is None:
            parts = [leaf(self.wanted)] if self.wanted else []
            return all_of([*parts, *([none_of(leaf(self.unwanted))] if self.unwanted else [])])
        terms = [leaf([value]) for value in self.wanted] + [none_of(leaf([value])) for value in self.unwanted]
        return self.join(terms) if terms else TRUE


def list_clause(name: str, value: Any, leaf: Leaf) -> Clause:
    """Return the condition of a list filter on field `name`.

    One operator anywhere rules the whole list; with several, each rules what follows it, and all must hold. `__$nop`
    ends the reach of an operator.

    Raises:
        ApiError: 400/16 for an unknown operator, a lone `-` or a value that is not a text.
    """
    groups = [_Group()]
    negate = False
    for item in value if isinstance(value, list) else [value]:
        if item == END:
            groups.append(_Group())
            continue
        if isinstance(item, str) and item.startswith("__$"):
            if item not in OPERATORS:
                raise _invalid("Unsupported operator", f"field={name}, operator={item}")
            join = OPERATORS[item]
            if join is None:
                negate = True
            elif len(groups) == 1 and groups[0].join is None:
                groups[0].join = join
            else:
                groups.append(_Group(join))
            continue
        if item == "-":
            raise _invalid("Missing value after the exclude prefix -", f"field={name}")
        if isinstance(item, str) and item.startswith("-"):
            groups[-1].unwanted.append(item[1:])
        elif negate and item is not None:
            groups[-1].unwanted.append(item)
        else:
            groups[-1].wanted.append(item)
        negate = False
    require_few(name, [value for group in groups if group.join for value in (*group.wanted, *group.unwanted)])
    if len({group.join for group in groups}) == 1:
        rule = groups[0]
        return _Group(
            rule.join,
            [value for group in groups for value in group.wanted],
            [value for group in groups for value in group.unwanted],
        ).clause(leaf)
    return all_of([group.clause(leaf) for group in groups])


def filters_clause(spec: Any, leaf: Leaf) -> Clause:
    """Return the condition of one field's entry in `filters`: `{any|all: {include, exclude}, op: and|or}`.

    Raises:
        ApiError: 400/12 where the entry has another shape.
    """
    if not isinstance(spec, dict):
        raise validation_error(f"a filter must be an object with any, all and op: {spec!r}")
    if unknown := spec.keys() - {"any", "all", "op"}:
        raise validation_error(f"unknown keys in filter: {', '.join(sorted(unknown))}")
    op = spec.get("op") or "and"
    if op not in ("and", "or"):
        raise ApiError(400, 12, f"Invalid list query filter operator: {op}. Should be one of ['and', 'or']")
    parts = [
        join(terms)
        for name, join in (("any", any_of), ("all", all_of))
        if (terms := _filter_terms(name, spec.get(name), leaf))
    ]
    return (all_of if op == "and" else any_of)(parts) if parts else TRUE


def _filter_terms(name: str, spec: Any, leaf: Leaf) -> list[Clause]:
    if spec is None:
        return []
    if not isinstance(spec, dict) or spec.keys() - {"include", "exclude"}:
        raise validation_error(f"filter {name} must be an object with include and exclude: {spec!r}")
    terms = []
    for key in ("include", "exclude"):
        values = spec.get(key) or []
        if not isinstance(values, list):
            raise validation_error(f"{key} of filter {name} must be a list: {values!r}")
        require_few(f"filters.{name}.{key}", values)
        clauses = [leaf([value]) for value in values]
        terms += clauses if key == "include" else [none_of(clause) for clause in clauses]
    return terms


def _invalid(text: str, rest: str) -> ApiError:
    return ApiError(400, 16, f"Invalid value for fields ({text}): {rest}")
