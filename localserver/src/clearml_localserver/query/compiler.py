"""From the body of a `get_all` to one SELECT.

Pure: no transaction, no clock. Every condition is one small function from a key of the body to a `Clause`; all are
joined by AND. Keys that are neither a filter of this kind of document nor a parameter are ignored, as the genuine
server does: clients send more than it knows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from clearml_localserver.errors import ApiError, validation_error
from clearml_localserver.query.clauses import (
    LITERAL,
    TRUE,
    Clause,
    Field,
    all_of,
    any_of,
    contained,
    document_contains,
    json_path,
    stored,
    unescaped,
    untagged,
)
from clearml_localserver.query.kinds import PROJECT, TASK, Kind, Scale, Shape
from clearml_localserver.query.select import READS_DOCUMENT, Select, index_for, is_in_halves
from clearml_localserver.query.terms import filters_clause, list_clause, require_few
from clearml_localserver.rules.projects import tidy
from clearml_localserver.timed_regex import check_pattern
from clearml_localserver.times import iso, parse

Data = Mapping[str, Any]

DEFAULT_PAGE_SIZE = 500
LARGEST = 2**53
"""Largest whole number that every JSON reader keeps; SQLite takes ten bits more."""

LEADING_SLASHES = re.compile(r"^\^(?:\\?/)+(?![?*+{|])")
"""At the beginning of a pattern for projects: no name begins so."""

MOST_KEYS = 100
"""Most keys of an order, most words of a search."""

COMPARISON = re.compile(r"(>=|<=|>|<|)(.*)", re.DOTALL)


def compile_query(kind: Kind, data: Data, company: str, *, cursor: int | None = None) -> Select:
    """Compile a query.

    Args:
        kind: What is looked for.
        data: The body without its top-level nulls.
        company: The caller's company; documents made public are seen by all.
        cursor: How many documents a scroll has handed out already; None where the client does not scroll.

    Raises:
        ApiError: For a malformed query.
    """
    conditions = filters_of(kind, data)
    conditions += [_visible(kind, data), Clause(f"{stored(kind.table, 'company')} IN (?, '')", (company,))]
    limit, offset = paging(data) if cursor is None else scrolling(data, cursor)
    last = None if limit is None else limit + offset
    index, in_order = index_for(data, last=last) if kind is TASK else ("", False)
    halves = kind is TASK and is_in_halves(data, last=last)
    return Select(kind.table, all_of(conditions), order_clause(kind, data), limit, offset, index, in_order, halves)


def filters_of(kind: Kind, data: Data) -> list[Clause]:
    """Return the conditions that the filters of a body make.

    Raises:
        ApiError: For a malformed filter.
    """
    conditions = [_condition(kind, key, value, data) for key, value in data.items() if value not in ([], "")]
    require_few("query", [condition for condition in conditions if condition != TRUE])
    return conditions


def field_of(kind: Kind, text: str) -> Field:
    """Return the field that a path with dots names; `%2E` and `%24` stand for a dot and a dollar inside a key."""
    return Field(kind, tuple(unquote(part) for part in text.split(".")))


def resolve(kind: Kind, text: Any) -> Field:
    """Return the field that a client names for sorting, searching or showing.

    Raises:
        ApiError: 400/14 where the kind has no such field, or the path leads through a plain value or a reference.
    """
    if not isinstance(text, str):
        raise validation_error(f"a field name must be a string: {text!r}")
    field = field_of(kind, text)
    root, rest = field.parts[0], field.parts[1:]
    if root not in kind.fields:
        raise unresolved(root)
    for length in range(1, len(field.parts)):
        if ".".join(field.parts[:length]) in kind.references:
            raise unresolved(field.parts[length])
    if rest and kind.fields[root] is not Shape.OBJECT:
        raise unresolved(rest[0])
    json_path(field.parts)
    return field


def field_names(parameter: str, value: Any) -> list[Any]:
    """Return a list of field names. A plain string is taken letter by letter, so that it is refused as one field.

    Raises:
        ApiError: 400/12 for anything else.
    """
    if not isinstance(value, list | str | None):
        raise validation_error(f"{parameter} must be a list of field names: {value!r}")
    return list(value or [])


def unresolved(name: str) -> ApiError:
    """Return the 400/14 for an unknown field."""
    text = "Lookup error (probably an invalid field name or unsupported nested field)"
    return ApiError(400, 14, f'{text}: err=Cannot resolve field "{name}"')


# --- conditions -------------------------------------------------------------------------------------------------------


def _condition(kind: Kind, key: str, value: Any, data: Data) -> Clause:
    if (special := SPECIAL.get(key)) is not None:
        return special(kind, value, data)
    if key in kind.patterns:
        return field_of(kind, key).matches(_as_stored(kind, value) if key == "name" else value)
    if key in kind.flags:
        return _flag(kind, key, value)
    if key in kind.dates:
        return _dates(field_of(kind, key), value)
    if key in kind.ranges:
        return _range(field_of(kind, key), value, kind.ranges[key])
    if key in kind.choices:
        return list_clause(key, value, _leaf(kind, key, data))
    if "." in key:
        return _nested(kind, key, value, data)
    return TRUE


def _as_stored(kind: Kind, pattern: Any) -> Any:
    """Return a pattern for names so that it finds what a client has named in an untidy way.

    Names are stored without spaces around them, and those of projects without slashes around them. The SDK looks for
    the project `/a//b ` by that very name before it makes it, and it would make it a second time in vain.
    """
    literal = LITERAL.fullmatch(pattern) if isinstance(pattern, str) else None
    if literal is not None and literal[2]:
        text = unescaped(literal[1])
        name = tidy(text) if kind is PROJECT else text.strip()
        return f"^{re.escape(name)}$" if name else pattern
    return LEADING_SLASHES.sub("^", pattern) if kind is PROJECT and isinstance(pattern, str) else pattern


def _leaf(kind: Kind, key: str, data: Data) -> Callable[[Sequence[Any]], Clause]:
    scanned = key in kind.coarse and not kind.selective.isdisjoint(data)
    field = replace(field_of(kind, key), scanned=scanned)
    with_subprojects = bool(data.get("include_subprojects")) and kind.references.get(key) == "project"
    descend = with_subprojects or (kind is PROJECT and key == "parent" and not data.get("shallow_search"))

    def leaf(values: Sequence[Any]) -> Clause:
        known = [value for value in values if value is not None]
        for value in known:
            expected = str if key in kind.choices else str | float | int
            if not isinstance(value, expected) or (isinstance(value, int) and abs(value) > LARGEST):
                text = f"(invalid value type, string expected): field={key}, value={value}"
                raise ApiError(400, 16, f"Invalid value for fields {text}")
        terms = [field.missing()] if len(known) < len(values) else []
        if known and descend:
            terms.append(field.below(known, hidden=bool(data.get("search_hidden")) or kind is PROJECT))
        elif known:
            terms.append(field.equals(known))
        return any_of(terms)

    return leaf


def _nested(kind: Kind, key: str, value: Any, data: Data) -> Clause:
    """Filter by a path into an object with keys of the users' making; other nested keys are ignored."""
    root, _, rest = key.partition(".")
    if root == "last_metrics" and root in kind.fields and isinstance(value, list) and len(value) == 2:
        return _range(field_of(kind, key), value, Scale.NUMBER)
    if root not in kind.dynamic:
        return TRUE
    field = field_of(kind, key)
    if not rest or len(field.parts) != (kind.dynamic[root] or len(field.parts)):
        raise ApiError(400, 12, f"Validation error ({kind.bad_path}): path={key}")
    return list_clause(key, value, _leaf(kind, key, data))


def _flag(kind: Kind, key: str, value: Any) -> Clause:
    if not isinstance(value, bool):
        raise validation_error(f"field={key}: {value!r} is not of type boolean")
    return field_of(kind, key).compares("=", int(value))


def _dates(field: Field, value: Any) -> Clause:
    items = value if isinstance(value, list) else [value]
    if all(item is None for item in items):
        raise ApiError(400, 16, f"Invalid value for fields (no date to compare with): field={field.path}")
    tests = [COMPARISON.fullmatch(item) if isinstance(item, str) else None for item in items]
    if len(items) == 2 and not any(test and test[1] for test in tests):
        # Two plain dates are a range. With an open start, what has no date yet lies in it too.
        bounds = [
            field.compares(operator, iso(moment))
            for operator, item in zip((">=", "<="), items, strict=True)
            if isinstance(item, str) and (moment := parse(item)) is not None
        ]
        return any_of([all_of(bounds), field.missing()]) if items[0] is None and bounds else all_of(bounds)
    return all_of(
        field.compares(test[1] or "=", iso(moment))
        for test in tests
        if test is not None and (moment := parse(test[2])) is not None
    )


def _range(field: Field, value: Any, scale: Scale) -> Clause:
    if not isinstance(value, list) or len(value) != 2:
        raise validation_error(f"Min and max values should be specified for range field {field.path}")
    if value == [None, None]:
        raise validation_error(f"At least one of min or max values should be provided for range field {field.path}")
    return all_of(
        field.compares(operator, _bound(field, bound, scale))
        for operator, bound in zip((">=", "<="), value, strict=True)
        if bound is not None
    )


def _bound(field: Field, bound: Any, scale: Scale) -> Any:
    if scale is Scale.TIME:
        moment = parse(bound) if isinstance(bound, str) else None
        if moment is not None:
            return iso(moment)
    else:
        try:
            return float(bound)
        except (TypeError, ValueError, OverflowError):
            pass
    raise validation_error(f"{bound!r} is not a {scale.value} for range field {field.path}")


def _filters(kind: Kind, value: Any, data: Data) -> Clause:
    if not isinstance(value, dict):
        raise validation_error(f"filters must be an object of fields: {value!r}")
    roots = {*kind.dynamic, "last_metrics"}  # a list of values for a metric is a range; here values can be left out
    return all_of(
        filters_clause(spec, _leaf(kind, key, data))
        for key, spec in value.items()
        if key in kind.choices or kind.ranges.get(key) is Scale.NUMBER or key.partition(".")[0] in roots
    )


def _on_fields(name: str, join: Callable[[list[Clause]], Clause]) -> Callable[[Kind, Any, Data], Clause]:
    def condition(kind: Kind, value: Any, data: Data) -> Clause:
        shaped = isinstance(value, dict) and isinstance(value.get("fields"), list)
        if not shaped or value.keys().isdisjoint(("pattern", "datetime")):
            text = f"(failed parsing query field): error=incorrect field format: field={name}"
            raise ApiError(400, 16, f"Invalid value for fields {text}")
        require_few(f"{name}.fields", value["fields"])
        fields = [resolve(kind, path) for path in value["fields"]]
        if "pattern" not in value:
            return join([_dates(field, value["datetime"]) for field in fields])
        check_pattern(value["pattern"])
        if not value["pattern"]:
            return TRUE
        found = join([field.matches(value["pattern"], any_case=True) for field in fields])
        text = contained(value["pattern"])
        if text and READS_DOCUMENT.search(found.sql) and all(field.holds_text for field in fields):
            return all_of([document_contains(text), found])
        return found

    return condition


def _text(kind: Kind, value: Any, data: Data) -> Clause:
    """Search for every word in any of the kind's text fields."""
    if not isinstance(value, str):
        raise validation_error(f"field=search_text: {value!r} is not a string")
    words = [re.escape(word) for word in value.split()]
    require_few("search_text", words, MOST_KEYS)
    return all_of(any_of([field_of(kind, name).matches(word, any_case=True) for name in kind.text]) for word in words)


def _visible(kind: Kind, data: Data) -> Clause:
    """Leave out what is hidden, unless asked for it or given ids; at projects also what lies deeper than asked."""
    conditions = []
    if not any(data.get(key) for key in kind.shown_by):
        conditions.append(Clause(untagged(kind.table, kind.hidden)))
    if kind is PROJECT and data.get("shallow_search") and not (data.get("parent") or data.get("id")):
        conditions.append(field_of(kind, "parent").missing())
    return all_of(conditions)


SPECIAL: Mapping[str, Callable[[Kind, Any, Data], Clause]] = {
    "filters": _filters,
    "_any_": _on_fields("_any_", any_of),
    "_all_": _on_fields("_all_", all_of),
    "search_text": _text,
}


# --- order and part ---------------------------------------------------------------------------------------------------


def order_clause(kind: Kind, data: Data) -> Clause:
    """Return the ORDER BY: the client's keys, then the order of creation in the direction of the last key.

    What lacks a key comes last in both directions: the first of an ascending list is the least value there is.

    Raises:
        ApiError: 400/14 for an unknown field, 400/16 for a score where nothing was searched, 400/12 for too many keys.
    """
    terms: list[str] = []
    args: list[Any] = []
    direction = ""
    keys = field_names("order_by", data.get("order_by"))
    require_few("order_by", keys, MOST_KEYS)
    for key in keys:
        descending = isinstance(key, str) and key.startswith("-")
        name = key[1:] if descending else key
        if name == "@text_score":
            if not data.get("search_text"):
                raise ApiError(400, 16, "Invalid value for fields (text score needs search_text): field=order_by")
            continue
        if descending and "." in name and name.partition(".")[0] not in kind.fields:
            continue  # without effect on the genuine server too, where the ascending form is refused
        value = resolve(kind, name).order_key()
        direction = " DESC" if descending else ""
        terms.append(f"{value.sql}{direction} NULLS LAST")
        args += value.args
    return Clause(", ".join([*terms, "rowid" + direction]), tuple(args))


def paging(data: Data) -> tuple[int | None, int]:
    """Return limit and offset of `page` and `page_size`.

    Raises:
        ApiError: 400/12 for a page before the first one or without room for a document.
    """
    if data.get("page") is None and data.get("page_size") is None:
        return None, 0
    page, size = whole(data, "page", 0), whole(data, "page_size", DEFAULT_PAGE_SIZE)
    if page < 0:
        raise ApiError(400, 12, "Validation error (page must be >=0): field=page")
    if size < 1:
        raise ApiError(400, 12, "Validation error (page_size must be >0): field=page_size")
    return size, min(page * size, LARGEST)


def scrolling(data: Data, cursor: int) -> tuple[int, int]:
    """Return limit and offset of a scroll that has come to `cursor`.

    Raises:
        ApiError: 400/12 without a usable `size`.
    """
    size = data.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= LARGEST:
        raise ApiError(400, 12, "Integer size parameter greater than 1 should be provided when working with scroll")
    return (cursor, 0) if cursor and data.get("refresh_scroll") else (size, cursor)


def whole(data: Data, key: str, default: int) -> int:
    """Return a whole number of the body, also one that was sent as text.

    Raises:
        ApiError: 400/12 for anything else.
    """
    value = data.get(key)
    try:
        number = default if value is None else int(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise validation_error(f"field={key}: {value!r} is not a whole number") from error
    if abs(number) > LARGEST:
        raise validation_error(f"field={key}: {number} is too large")
    return number
