"""The configuration objects of a draft on its form: texts, names, what is added and what is deleted. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

from clearml_localserver.web.form_fields import (
    OBJECT,
    OBJECT_NAME,
    REMOVE,
    RENAMED_MEANWHILE,
    Field,
    Problem,
    Removal,
    problems_of,
    removed_meanwhile,
)
from clearml_localserver.web.site import Json
from clearml_localserver.web.views.draft_script import MAX_TEXTS, fitting_texts

NAMELESS = "A configuration object has a name."


@dataclass
class ConfigurationObject:
    """A configuration object in the form."""

    name: Field
    text: Field | None
    """Its text; None where that is too long for a form."""

    length: int
    removal: Removal

    @property
    def is_wrong(self) -> bool:
        """Whether something of it cannot be stored as it is."""
        fields = [self.name, self.text] if self.text else [self.name]
        return self.removal.theirs or any(each.error or each.theirs for each in fields)


@dataclass
class ObjectChanges:
    """What the API is sent: objects to write, then names to delete."""

    items: list[Json] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)


class DraftConfiguration:
    """The configuration objects of a task's form."""

    def __init__(self, stored: Mapping[str, Json], sent: Mapping[str, str], room: int = MAX_TEXTS) -> None:
        self.stored = stored
        self.left_out: int = getattr(stored, "left_out", 0)
        fitting = fitting_texts({name: stored[name]["value"] for name in stored}, room)
        fitting |= {name for name in stored if OBJECT + quote(name, safe=" ") in sent}  # the form had their texts
        self.items = [_object(name, stored[name]["value"], fits=name in fitting) for name in sorted(stored)]
        known = [*self._known()]
        self.removed = [
            Field(key, unquote(key[len(OBJECT) :]), "", "lines", is_gone=True)
            for key in removed_meanwhile(sent, known, OBJECT)
        ]
        """Objects whose text this form changes and that are no longer there."""

        self.vanished = [unquote(key[len(OBJECT_NAME) :]) for key in removed_meanwhile(sent, known, OBJECT_NAME)]
        """Objects that this form renames and that are no longer there."""

        self.new_problem = ""
        """What is wrong with the object that the form adds."""

    @property
    def fields(self) -> list[Field]:
        """All fields."""
        return [*self._known(), *self.removed]

    @property
    def removals(self) -> list[Removal]:
        """All ticks that delete something."""
        return [item.removal for item in self.items]

    def wrong(self) -> list[Problem]:
        """Return what is wrong with the filled form, in the order of the page."""
        found = []
        for item in self.items:
            found += problems_of([item.name, *([item.text] if item.text else []), item.removal])
        found += problems_of(self.removed)
        found += [Problem("", name, RENAMED_MEANWHILE) for name in self.vanished]
        return found + ([Problem("object-name", "New object", self.new_problem)] if self.new_problem else [])

    def changes(self, name: str, text: str) -> ObjectChanges:
        """Return what a filled form changes, with a new object where it has a name; mark what cannot be stored."""
        after: dict[str, Json] = {}
        staying = [item for item in self.items if not item.removal.ticked]
        # Those that keep their names come first: a clash is the renamed one's fault.
        for item in sorted(staying, key=lambda item: item.name.sent is not None):
            new = item.name.value if item.name.sent is None else item.name.value.strip()
            if item.name.sent is not None:
                item.name.error = self._wrong_name(new, after)
            value = {} if item.text is None or item.text.sent is None else {"value": item.text.value}
            after[new] = self.stored[item.name.stored] | value
        for gone in self.removed:
            if gone.sent is not None:
                after[unquote(gone.key[len(OBJECT) :])] = {"value": gone.value}
        if name := name.strip():
            self.new_problem = self._wrong_name(name, after)
            after[name] = {"value": text.replace("\r\n", "\n")}
        elif text.strip():
            self.new_problem = NAMELESS
        return ObjectChanges(
            [item | {"name": name} for name, item in after.items() if self.stored.get(name) != item],
            [name for name in self.stored if name not in after],
        )

    def _wrong_name(self, name: str, taken: Mapping[str, Json]) -> str:
        if not name:
            return NAMELESS
        if name in taken:
            return f"There is a configuration object called “{name[:80]}” already."
        if self.left_out and name not in self.stored:
            count = len(self.stored) + self.left_out
            return f"It has {count:,} configuration objects; of so many, one is added or renamed by the API only."
        return ""

    def _known(self) -> Iterator[Field]:
        for item in self.items:
            yield item.name
            if item.text:
                yield item.text


def _object(name: str, text: str, *, fits: bool) -> ConfigurationObject:
    key = quote(name, safe=" ")
    shown = Field(OBJECT + key, name, text, "lines") if fits else None
    renamed = Field(OBJECT_NAME + key, f"Name of {name}", name)
    return ConfigurationObject(renamed, shown, len(text), Removal(REMOVE + OBJECT + key, name, text))
