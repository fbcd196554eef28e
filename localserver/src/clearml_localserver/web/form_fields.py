"""Fields of forms that change a document in place, and what another person has changed meanwhile. Pure.

Each field is sent with a mark of the value that the form was made with. So a change of another person to another field
is kept, and one to the same field is noticed before it is overwritten.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from clearml_localserver.web.text import visible

WAS = "was:"
"""Begins the name of the hidden field with the mark of a field's value."""


@dataclass
class Field:
    """A field of a form."""

    key: str
    label: str
    stored: str
    """The value in the document now."""

    kind: str = "line"
    """How it is edited: `line` or `lines`."""

    hint: str = ""
    error: str = ""
    sent: str | None = None
    """What the person has written, where it differs from the value that the form was made with."""

    theirs: bool = False
    """Whether another person has changed the stored value since the form was made, and this form changes it too."""

    def __post_init__(self) -> None:
        if "\n" in as_sent(self.stored):  # browsers take line ends out of a one-line field
            self.kind = "lines"

    @property
    def value(self) -> str:
        """What the form shows."""
        return self.stored if self.sent is None else self.sent

    @property
    def mark(self) -> str:
        """What tells the stored value from others."""
        return mark(self.stored)


@dataclass(frozen=True)
class Choice:
    """A one-line field of a small form, or a choice where there are options."""

    key: str
    label: str
    value: str
    options: Mapping[str, str] | None = None


def as_sent(value: str) -> str:
    """Return a value as an unchanged form sends it back, with uniform line ends."""
    return visible(value.replace("\r\n", "\n").replace("\r", "\n"))


def mark(value: str) -> str:
    """Return what tells a value from others."""
    return hashlib.sha256(as_sent(value).encode(errors="replace")).hexdigest()[:32]


def read(fields: Iterable[Field], form: Mapping[str, str]) -> list[Field]:
    """Fill fields from a sent form; return those that the person has changed."""
    changed = []
    for field in fields:
        sent = form.get(field.key)
        was = form.get(WAS + field.key, "")
        if sent is None or mark(sent) in (field.mark, was):
            continue
        field.sent = as_sent(sent)
        field.theirs = was != field.mark
        changed.append(field)
    return changed


def removed_meanwhile(form: Mapping[str, str], fields: Iterable[Field], start: str) -> list[str]:
    """Return the keys that begin with `start`, that the person has changed, and that the document has no longer."""
    known = {field.key for field in fields}
    keys = (name[len(WAS) :] for name in form if name.startswith(WAS + start))
    return [key for key in keys if key not in known and mark(form.get(key, "")) != form[WAS + key]]
