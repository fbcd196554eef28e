"""Fields of forms that change a document in place, and what another person has changed meanwhile. Pure.

Each field is sent with a mark of the value that the form was made with. So a change of another person to another field
is kept, and one to the same field is noticed before it is overwritten.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from clearml_localserver.rules.projects import MIN_PART, tidy
from clearml_localserver.web.edited_text import as_sent, edited
from clearml_localserver.web.url_credentials import hide

WAS = "was:"
"""Begins the name of the hidden field with the mark of a field's value."""

REMOVE = "x:"
"""Begins the name of a tick that deletes something."""

VALUE, NAME, SECTION = "p:", "n:", "g:"
"""Begin the names of the fields for a parameter's value and name, and for a section's name."""

OBJECT, OBJECT_NAME = "c:", "o:"
"""Begin the names of the fields for a configuration object's text and name."""

RENAMED = "New name of "
SCRIPT = {
    "repository": "Repository",
    "branch": "Branch",
    "version_num": "Commit",
    "tag": "Tag",
    "binary": "Interpreter",
    "entry_point": "Entry point",
    "working_dir": "Working directory",
    "diff": "Text",
}
CONTAINER = {"image": "Image", "arguments": "Arguments", "setup_shell_script": "Set-up script"}
"""Labels of the fields of a script and of a container, in the order of the form."""

SCRIPT_FIELD, REQUIREMENT, CONTAINER_FIELD = "s:", "r:", "d:"
"""Begin the names of the fields for a script's parts, its requirements by kind, and a container's parts."""

ADDED = {"added": "New parameters", "object-name": "Name of the new object", "object-text": "Text of the new object"}
"""Labels of the fields that add something to a draft."""

CHANGED = "It was changed meanwhile."
RENAMED_MEANWHILE = "It was renamed or deleted meanwhile."
GONE = f"{RENAMED_MEANWHILE} Saving again adds it."
MIN_NAME = 3


@dataclass(frozen=True)
class Problem:
    """What the summary above a refused form says of one field."""

    id: str
    """The element that the summary links to; empty where the form has none."""

    label: str
    text: str


@dataclass
class Field:
    """A field of a form."""

    key: str
    label: str
    stored: str
    """The value in the document now."""

    kind: str = "line"
    """How it is edited: `line`, `lines`, `code` (lines that are not wrapped) or `choice`."""

    hint: str = ""
    error: str = ""
    sent: str | None = None
    """What the person has written, where it differs from the value that the form was made with."""

    theirs: bool = False
    """Whether another person has changed the stored value since the form was made, and this form changes it too."""

    options: Mapping[str, str] | None = None
    """Of a choice: the label of each value."""

    is_gone: bool = False
    """Whether the document no longer has it: it was renamed or deleted since the form was made."""

    hides: bool = False
    """Whether credentials in its addresses are not shown."""

    def __post_init__(self) -> None:
        if self.kind == "line" and "\n" in as_sent(self.stored):  # browsers take line ends out of a one-line field
            self.kind = "lines"

    @property
    def value(self) -> str:
        """What is to be stored."""
        return self.stored if self.sent is None else self.sent

    @property
    def shown(self) -> str:
        """What the form shows."""
        return self._to_show(self.value)

    @property
    def told(self) -> str:
        """The stored value in words."""
        return (self.options or {}).get(self.stored, self._to_show(self.stored))

    @property
    def mark(self) -> str:
        """What tells the stored value from others."""
        return mark(self._to_show(self.stored))

    @property
    def id(self) -> str:
        """The id of its element in the page."""
        return f"f-{self.key}"

    @property
    def problem(self) -> str:
        """Why it cannot be stored as it is; empty if it can."""
        return self.error or ((GONE if self.is_gone else CHANGED) if self.theirs else "")

    def _to_show(self, value: str) -> str:
        return hide(value) if self.hides else value


@dataclass
class Removal:
    """A tick that deletes something. It is sent with the mark of what the person saw."""

    key: str
    """The name of the tick in the form; it begins with `REMOVE`."""

    label: str
    stored: str
    """What would be deleted, as the document has it now."""

    ticked: bool = False
    theirs: bool = False
    """Whether another person has changed it since the form was made."""

    @property
    def mark(self) -> str:
        """What tells the stored value from others."""
        return mark(self.stored)

    @property
    def id(self) -> str:
        """The id of its element in the page."""
        return f"f-{self.key}"

    @property
    def problem(self) -> str:
        """Why it is not deleted yet; empty if nothing speaks against it."""
        return CHANGED if self.theirs else ""


@dataclass(frozen=True)
class Choice:
    """A one-line field of a small form, or a choice where there are options."""

    key: str
    label: str
    value: str
    options: Mapping[str, str] | None = None


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
        field.sent = edited(field.stored, sent, hides=field.hides)
        field.theirs = was != field.mark
        changed.append(field)
    return changed


def read_removals(removals: Iterable[Removal], form: Mapping[str, str]) -> list[Removal]:
    """Set the ticks of a sent form; return those that are ticked."""
    ticked = []
    for removal in removals:
        if (seen := form.get(removal.key)) is not None:
            removal.ticked, removal.theirs = True, seen != removal.mark
            ticked.append(removal)
    return ticked


def problems_of(fields: Iterable[Field | Removal]) -> list[Problem]:
    """Return what is wrong with fields, in their order."""
    return [
        Problem(field.id, f"Delete {field.label}" if isinstance(field, Removal) else field.label, field.problem)
        for field in fields
        if field.problem
    ]


def words_of(key: str) -> str:
    """Return the label of a field that is shown outside its own form."""
    if key.startswith(REMOVE):
        section = key[len(REMOVE) :].startswith(SECTION)
        return f"Delete {'the section ' if section else ''}{words_of(key[len(REMOVE) :]).removeprefix(RENAMED)}"
    if key.startswith((NAME, SECTION, OBJECT_NAME)):
        return RENAMED + unquote(key[2:])
    if key.startswith((SCRIPT_FIELD, CONTAINER_FIELD)):
        return (SCRIPT if key.startswith(SCRIPT_FIELD) else CONTAINER).get(key[2:], key[2:])
    if key.startswith(REQUIREMENT):
        return f"Requirements, {key[len(REQUIREMENT) :]}"
    return unquote(key[2:]) if key[1:2] == ":" else ADDED.get(key, key)


def require_name(field: Field) -> None:
    """Mark a field whose text is too short for a name."""
    if len(field.value.strip()) < MIN_NAME:
        field.error = f"It has at least {MIN_NAME} characters."


def path_problem(written: str, *, may_be_empty: bool = False) -> str:
    """Return what is wrong with the path of a project, if anything."""
    path = tidy(written)
    if not path:
        return "" if may_be_empty else "Name the project."
    short = next((part for part in path.split("/") if len(part) < MIN_PART), None)
    return "" if short is None else f"“{short}” is too short: each part has at least {MIN_PART} characters."


def written_tags(written: str) -> list[str]:
    """Return the tags of a text with one per line, each once."""
    return list(dict.fromkeys(tag.strip() for tag in written.splitlines() if tag.strip()))


def tag_changes(before: Iterable[str], written: str) -> dict[str, list[str]]:
    """Return what makes the tags of a document those that were written, as `update_tags` takes it."""
    old, new = list(before), written_tags(written)
    return {
        "add_tags": [tag for tag in new if tag not in old],
        "remove_tags": [tag for tag in old if tag not in new],
    }


def removed_meanwhile(form: Mapping[str, str], fields: Iterable[Field], start: str) -> list[str]:
    """Return the keys that begin with `start`, that the person has changed, and that the document has no longer."""
    known = {field.key for field in fields}
    keys = (name[len(WAS) :] for name in form if name.startswith(WAS + start))
    return [key for key in keys if key not in known and mark(form.get(key, "")) != form[WAS + key]]
