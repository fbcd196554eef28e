"""Conditions in SQL over a JSON document: small pieces that carry their bound values with them.

Pure. Nothing that a client sends ever becomes SQL text: field names come from `kinds`, and paths, patterns and values
are bound. Two spellings matter: the indexes are on `field_name` where a kind has that column and on
`json_extract(doc, '$.name')` elsewhere (`stored`), and NOT is always taken of a value that cannot be NULL, so that a
missing field counts as "is not x".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from clearml_localserver.errors import validation_error
from clearml_localserver.query.kinds import KINDS, Kind, Shape
from clearml_localserver.timed_regex import check_pattern

LITERAL = re.compile(r"\^((?:[^\\.^$*+?{}\[\]()|]|\\[^A-Za-z0-9])*)(\$?)")
"""A pattern that only anchors a text: what the SDK sends for "the project of this name"."""
LAST_CHARACTER = "\U0010ffff"


@dataclass(frozen=True)
class Clause:
    """A piece of SQL and the values of its question marks."""

    sql: str
    args: tuple[Any, ...] = ()


TRUE, FALSE = Clause("1"), Clause("0")
ARCHIVED, ACTIVE = Clause("field_archived = 1"), Clause("field_archived = 0")
DATASET = Clause("field_dataset = 1")
"""Of tasks only."""

UNREACHABLE = re.compile(r'["\\\x00-\x1f]')
"""Characters of a key that SQLite's paths cannot express."""

PLAIN_TEXT = re.compile(r'[^"\\\x00-\x1f\ud800-\udfff]+')
"""A text that JSON writes as it is, between quotes."""


def all_of(clauses: Iterable[Clause]) -> Clause:
    """Return the conjunction; of nothing, true."""
    return _joined([clause for clause in clauses if clause != TRUE], " AND ", TRUE)


def any_of(clauses: Iterable[Clause]) -> Clause:
    """Return the disjunction; of nothing, false."""
    return _joined([clause for clause in clauses if clause != FALSE], " OR ", FALSE)


def _joined(clauses: Sequence[Clause], word: str, empty: Clause) -> Clause:
    """Join clauses as a balanced tree: SQLite takes expressions of a depth of 1,000, and a chain is as deep as long."""
    if len(clauses) < 2:
        return clauses[0] if clauses else empty
    left, right = (_joined(half, word, empty) for half in (clauses[: len(clauses) // 2], clauses[len(clauses) // 2 :]))
    return Clause(f"({left.sql}{word}{right.sql})", left.args + right.args)


def none_of(clause: Clause) -> Clause:
    """Return the negation, true also where the field is missing."""
    if clause == ARCHIVED:
        return ACTIVE  # what an index can look for
    return Clause(f"NOT coalesce({clause.sql}, 0)", clause.args)


@dataclass(frozen=True)
class Field:
    """Where in a document a value stands, and how SQL reaches it."""

    kind: Kind
    parts: tuple[str, ...]
    scanned: bool = False
    """Whether to keep SQLite from an index on this field."""

    @property
    def path(self) -> str:
        """The path with dots."""
        return ".".join(self.parts)

    @property
    def is_list(self) -> bool:
        """Whether the field holds a list of plain values."""
        return len(self.parts) == 1 and self.kind.fields.get(self.path) is Shape.LIST

    @property
    def array(self) -> Field | None:
        """The array of objects on the way to this field, if there is one."""
        lengths = range(1, len(self.parts))
        found = (Field(self.kind, self.parts[:n]) for n in lengths if ".".join(self.parts[:n]) in self.kind.arrays)
        return next(found, None)

    def value(self) -> Clause:
        """Return the expression that reads the field."""
        if self.parts == ("id",):
            return Clause("id")
        if self.path in self.kind.fields or self.path in self.kind.indexed:
            return Clause(f"{'+' if self.scanned else ''}{stored(self.kind.table, self.path)}")
        return Clause("json_extract(doc, ?)", (json_path(self.parts),))

    def order_key(self) -> Clause:
        """Return the expression to sort by: digits in values of the users' making count as numbers."""
        value = self.value()
        if self.parts[0] in self.kind.dynamic or self.parts[0] == "last_metrics":
            return Clause(f"sort_key({value.sql})", value.args)
        return value

    def _compare(self, test: str, *args: Any) -> Clause:
        """Return `test`, in which `{}` stands for the value, or for any of its values where there are several."""
        if self.is_list:
            return Clause(f"EXISTS (SELECT 1 FROM {self._items()} WHERE {test.format('value')})", args)
        if (array := self.array) is not None:
            inner = json_path(self.parts[len(array.parts) :])
            sql = f"EXISTS (SELECT 1 FROM json_each(doc, ?) WHERE {test.format('json_extract(value, ?)')})"
            return Clause(sql, (json_path(array.parts), inner, *args))
        value = self.value()
        return Clause(test.format(value.sql), value.args + args)

    def equals(self, values: Sequence[Any]) -> Clause:
        """Return "holds one of `values`"."""
        if len(values) == 1:
            return self._holds(values[0])
        return self._compare("{} IN (SELECT value FROM json_each(?))", orjson.dumps(list(values)).decode())

    def _items(self) -> str:
        """Return the table of a list's items."""
        if self.path in self.kind.columns:
            return f"json_each({stored(self.kind.table, self.path)})"
        return f"json_each(doc, '$.{self.path}')"

    def _holds(self, value: Any) -> Clause:
        """Return "is `value`" or, of a list, "has it"."""
        exactly = self._compare("{} = ?", value)
        if not self.is_list or self.path not in self.kind.columns:
            return exactly
        if (self.kind.table, self.path, value) == ("task", "system_tags", "archived"):
            return ARCHIVED
        if (self.kind.table, self.path, value) == ("task", "system_tags", "dataset"):
            return DATASET
        if not isinstance(value, str) or not PLAIN_TEXT.fullmatch(value):
            return exactly
        # Looking for the quoted text is much faster than taking the list apart, and leaves few lists to be.
        return Clause(f"(instr({stored(self.kind.table, self.path)}, ?) > 0 AND {exactly.sql})", (f'"{value}"', value))

    @property
    def holds_text(self) -> bool:
        """Whether all values of the field are texts, or lists of them."""
        return self.parts == ("id",) or self.path in self.kind.columns or self.parts[0] == "hyperparams"

    def _contains(self, text: str) -> Clause:
        """Return "contains `text`, in any case of letters"; the text is ASCII."""
        exactly = self._compare("{} LIKE ? ESCAPE '^'", like(text))
        if not self.is_list or not PLAIN_TEXT.fullmatch(text):
            return exactly
        whole = stored(self.kind.table, self.path)
        return Clause(f"({whole} LIKE ? ESCAPE '^' AND {exactly.sql})", (like(text), *exactly.args))

    def below(self, values: Sequence[Any], *, hidden: bool) -> Clause:
        """Return "is one of these projects or one under them"; `hidden` says whether hidden ones count."""
        open_only = "" if hidden else f" WHERE {untagged('project', 'hidden', of='child')}"
        # Nothing but constants is put into the text; the recursion follows the index on parents.
        tree = (
            "WITH RECURSIVE tree (id) AS (SELECT value FROM json_each(?) UNION SELECT child.id FROM tree "
            f"CROSS JOIN project AS child ON json_extract(child.doc, '$.parent') = tree.id{open_only}) "
            "SELECT id FROM tree"
        )
        return self._compare(f"{{}} IN ({tree})", orjson.dumps(list(values)).decode())

    def missing(self) -> Clause:
        """Return "is not there, or empty"."""
        lists = self if self.is_list else self.array
        if lists is None:
            value = self.value()
            return Clause(f"{value.sql} IS NULL", value.args)
        if self.path in self.kind.columns:
            return Clause(f"coalesce(json_array_length({stored(self.kind.table, self.path)}), 0) = 0")
        return Clause("coalesce(json_array_length(doc, ?), 0) = 0", (json_path(lists.parts),))

    def compares(self, operator: str, bound: Any) -> Clause:
        """Return "is `operator` (one of ours: =, <, <=, >, >=) `bound`"."""
        return self._compare(f"{{}} {operator} ?", bound)

    def matches(self, pattern: str, *, any_case: bool = False) -> Clause:
        """Return "is matched by the regular expression".

        A pattern that only says "equals" or "starts with" becomes just that, which an index answers.

        Raises:
            ApiError: 400/21 for a malformed pattern.
        """
        literal = LITERAL.fullmatch(pattern) if isinstance(pattern, str) else None
        if literal is not None:
            text = unescaped(literal[1])
            if literal[2] and not any_case:
                return self._compare("{} = ?", text)
            if literal[2] and text.isascii():
                return self._compare("{} = ? COLLATE NOCASE", text)
            if text and not any_case:
                return self._compare("{} BETWEEN ? AND ?", text, text + LAST_CHARACTER)
        if any_case and self.holds_text and (text := contained(pattern)):
            return self._contains(text)
        check_pattern(pattern)
        if self.path in self.kind.columns and not any_case and (start := beginning(pattern)):
            searched = self._compare("{} REGEXP ?", pattern)
            value = self.value().sql
            return Clause(
                f"({value} BETWEEN ? AND ? AND {searched.sql})", (start, start + LAST_CHARACTER, *searched.args)
            )
        return self._compare("{} REGEXP ?", f"(?i){pattern}" if any_case else pattern)


def contained(pattern: Any) -> str:
    """Return the text that a pattern looks for in any case of letters, where it does just that; else nothing."""
    literal = LITERAL.fullmatch(f"^{pattern}") if isinstance(pattern, str) else None
    return unescaped(literal[1]) if literal is not None and not literal[2] and pattern.isascii() else ""


def like(text: str) -> str:
    """Return the operand of `LIKE ? ESCAPE '^'` for what contains a text."""
    escaped = re.sub("[%_^]", lambda special: f"^{special[0]}", text)
    return f"%{escaped}%"


def document_contains(text: str) -> Clause:
    """Return "a text of the document may contain `text`", which is found out without taking the document apart."""
    return Clause("doc LIKE ? ESCAPE '^'", (like(text),)) if PLAIN_TEXT.fullmatch(text) else TRUE


def beginning(pattern: str) -> str:
    """Return with what everything begins that a regular expression matches; empty where that may be anything."""
    match = LITERAL.match(pattern)
    if match is None or "|" in pattern or "(?" in pattern:
        return ""
    rest = pattern[match.end() :]
    return unescaped(match[1])[: -1 if rest.startswith(("?", "*", "{")) else None]


def unescaped(literal: str) -> str:
    """Return the text that the first group of `LITERAL` stands for."""
    return re.sub(r"\\(.)", r"\1", literal, flags=re.DOTALL)


def listed(expression: str, values: Iterable[Any]) -> Clause:
    """Return "the SQL `expression` (a constant of ours) is one of `values`"."""
    return Clause(f"{expression} IN (SELECT value FROM json_each(?))", (orjson.dumps(list(values)).decode(),))


def in_company(company: str) -> Clause:
    """Return "belongs to the company, or is public"."""
    return Clause("json_extract(doc, '$.company') IN (?, '')", (company,))


def only_company(company: str) -> Clause:
    """Return "belongs to the company"."""
    return Clause("json_extract(doc, '$.company') = ?", (company,))


def tagged(kind: str, tag: str) -> Clause:
    """Return "is a document of this kind with this system tag"."""
    return Field(KINDS[kind], ("system_tags",)).equals([tag])


def untagged(kind: str, tag: str, *, of: str = "") -> str:
    """Return the SQL of "the document lacks system tag `tag`", a constant of ours.

    Looking for the quoted tag in the list's text is exact for tags of plain letters, and the JSON of a row is then read
    once for all its conditions; `json_each` would read it a second time.
    """
    if (kind, tag) == ("task", "archived"):
        return f"{of}.{ACTIVE.sql}" if of else ACTIVE.sql
    return f"coalesce(instr({stored(kind, 'system_tags', of=of)}, '\"{tag}\"'), 0) = 0"


def stored(kind: str, path: str, *, of: str = "") -> str:
    """Return the SQL that reads a field of the documents of a kind: its column, or the document.

    Args:
        kind: Name of the kind.
        path: The field; a constant of ours.
        of: Name of the table in the statement, where it has several.
    """
    table = f"{of}." if of else ""
    if path in KINDS[kind].columns:
        return f"{table}field_{path}"
    if (column := KINDS[kind].indexed.get(path)) is not None:
        return f"{table}{column}"
    return f"json_extract({table}doc, '$.{path}')"


def json_path(parts: Sequence[str]) -> str:
    """Return the SQLite path to nested keys.

    Raises:
        ApiError: 400/12 for a key that SQLite's paths cannot express.
    """
    for part in parts:
        if not part or UNREACHABLE.search(part):
            raise validation_error(f"invalid field: path={'.'.join(parts)}")
    return "$" + "".join(f'."{part}"' for part in parts)
