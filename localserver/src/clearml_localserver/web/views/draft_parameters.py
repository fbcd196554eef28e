"""The parameters of a draft on its form: values, names, sections, what is added and what is deleted. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

from clearml_localserver.web.form_fields import (
    NAME,
    REMOVE,
    RENAMED_MEANWHILE,
    SECTION,
    VALUE,
    Field,
    Problem,
    Removal,
    problems_of,
    removed_meanwhile,
)
from clearml_localserver.web.site import Json
from clearml_localserver.web.views.launch import LEFT_OUT, MAIN_SECTION, Parameter, parameters_of

MAX_PARAMETERS = 5_000
"""Parameters in the form; the others stay as they are."""

FOLDED = 200
"""A section with more parameters has them in folded groups: a browser lays out thousands of fields for a minute."""

GROUP = 100
"""Parameters in a folded group."""

Place = tuple[str, str]
"""Section and name of a parameter."""


@dataclass
class Row:
    """A parameter in the form."""

    parameter: Parameter
    value: Field
    name: Field
    removal: Removal

    @property
    def is_wrong(self) -> bool:
        """Whether something of it cannot be stored as it is."""
        return any((self.value.problem, self.name.problem, self.removal.problem))

    @property
    def is_changed(self) -> bool:
        """Whether the person has changed something of it."""
        return self.value.sent is not None or self.name.sent is not None or self.removal.ticked


@dataclass
class Group:
    """Parameters of a section that are shown together, folded where the section has many."""

    rows: list[Row]
    is_folded: bool

    @property
    def is_open(self) -> bool:
        """Whether a folded group is to be seen: something of it is wrong or changed."""
        return any(row.is_wrong or row.is_changed for row in self.rows)


@dataclass
class Section:
    """A section in the form; `count` are its parameters, `left_out` those of them that pages do not read."""

    name: Field
    removal: Removal
    items: Mapping[str, Json]
    count: int
    left_out: int
    rows: list[Row] = field(default_factory=list)

    @property
    def groups(self) -> list[Group]:
        """Its parameters as they are shown."""
        if len(self.rows) <= FOLDED:
            return [Group(self.rows, is_folded=False)]
        return [Group(self.rows[at : at + GROUP], is_folded=True) for at in range(0, len(self.rows), GROUP)]


@dataclass
class Changes:
    """What the API is sent: items to write, then places to delete (without a name the whole section)."""

    items: list[Json] = field(default_factory=list)
    gone: list[Json] = field(default_factory=list)
    added_problem: str = ""
    """What is wrong with the lines that add parameters."""


class DraftParameters:
    """The parameters of a task's form."""

    def __init__(self, task: Json, sent: Mapping[str, str]) -> None:
        self.sections: dict[str, Section] = {}
        stored = task["hyperparams"]
        self.left_out: int = getattr(stored, "left_out", 0)
        for name in sorted(stored, key=lambda name: (name != MAIN_SECTION, name)):
            if name not in LEFT_OUT:
                self.sections[name] = _section(name, stored[name])
        for parameter in parameters_of(task)[:MAX_PARAMETERS]:
            self.sections[parameter.section].rows.append(_row(parameter))
        known = [*self._known()]
        self.removed = [
            Field(key, unquote(key[len(VALUE) :]), "", "lines", is_gone=True)
            for key in removed_meanwhile(sent, known, VALUE)
        ]
        """Parameters that this form changes and that are no longer there."""

        self.vanished = [
            unquote(key[len(start) :]) for start in (NAME, SECTION) for key in removed_meanwhile(sent, known, start)
        ]
        """What this form renames and that is no longer there."""

    @property
    def rows(self) -> list[Row]:
        """The parameters of all sections."""
        return [row for section in self.sections.values() for row in section.rows]

    @property
    def fields(self) -> list[Field]:
        """All fields."""
        return [*self._known(), *self.removed]

    @property
    def removals(self) -> list[Removal]:
        """All ticks that delete something."""
        return [section.removal for section in self.sections.values()] + [row.removal for row in self.rows]

    def wrong(self, added_problem: str) -> list[Problem]:
        """Return what is wrong with the filled form, in the order of the page."""
        found = []
        for section in self.sections.values():
            found += problems_of([section.name, section.removal])
            for row in section.rows:
                found += problems_of([row.name, row.value, row.removal])
        found += problems_of(self.removed)
        found += [Problem("", name, RENAMED_MEANWHILE) for name in self.vanished]
        return found + ([Problem("added", "New parameters", added_problem)] if added_problem else [])

    def changes(self, added: str) -> Changes:
        """Return what a filled form changes, with the lines of new parameters; mark what cannot be stored."""
        found = Changes()
        before = {
            (name, item): value for name, section in self.sections.items() for item, value in section.items.items()
        }
        after: dict[Place, Json] = {}
        for kept in (True, False):  # those that stay where they are come first: a clash is the renamed one's fault
            for place, target, item, blamed in self._targets():
                if (place == target) is not kept:
                    continue
                if target in after and blamed is not None:
                    blamed.error = f"“{'/'.join(target)}” exists already."
                elif target not in before and blamed is not None:
                    blamed.error = blamed.error or self._unread(target[0])
                after[target] = item
        for gone in self.removed:
            if gone.sent is not None:
                section, _, name = gone.key[len(VALUE) :].partition("/")
                after[unquote(section), unquote(name)] = {"value": gone.value}
        new, found.added_problem = _added(added, after)
        for section, _ in new:
            found.added_problem = found.added_problem or self._unread(section)
        after |= new
        found.items = [
            {"section": section, "name": name} | item
            for (section, name), item in after.items()
            if before.get((section, name)) != item
        ]
        found.gone = [*self._gone(before, after)]
        return found

    def _targets(self) -> Iterator[tuple[Place, Place, Json, Field | None]]:
        """Yield of each parameter that stays: its place, its new place, its content and the field that moves it."""
        for old, section in self.sections.items():
            if section.removal.ticked:
                continue
            new = _new_name(section.name)
            if section.name.sent is not None:
                section.name.error = _wrong_section(section, new)
            rows = {row.parameter.name: row for row in section.rows}
            for name, item in section.items.items():
                row = rows.get(name)
                if row is None:
                    yield (old, name), (new, name), item, section.name
                elif not row.removal.ticked:
                    yield from self._target(old, new, section, row, item)

    def _target(
        self, old: str, new: str, section: Section, row: Row, item: Json
    ) -> Iterator[tuple[Place, Place, Json, Field | None]]:
        name = _new_name(row.name)
        if row.name.sent is not None and not name:
            row.name.error = "A parameter has a name."
        if row.value.sent is not None:
            row.parameter.value = row.value.value
            row.parameter.check()
            row.value.error = row.parameter.error
            item = item | {"value": row.value.value}
        blamed = row.name if row.name.sent is not None else section.name
        yield (old, row.parameter.name), (new, name), item, blamed

    def _unread(self, section: str) -> str:
        """Return why a section takes no new name: pages do not read all that it has, so the name may be taken."""
        found = self.sections.get(section)
        if found.left_out if found else self.left_out:
            return f"“{section[:80]}” may have more than this form reads: a name is added there by the API only."
        return ""

    def _gone(self, before: Mapping[Place, Json], after: Mapping[Place, Json]) -> Iterator[Json]:
        used = {section for section, _ in after}
        for name, section in self.sections.items():
            emptied = section.removal.ticked or (section.count and not section.left_out)
            if emptied and name not in used:
                yield {"section": name}
                continue
            for item in section.items:
                if (name, item) not in after:
                    yield {"section": name, "name": item}

    def _known(self) -> Iterator[Field]:
        for section in self.sections.values():
            yield section.name
            for row in section.rows:
                yield row.name
                yield row.value


def _section(name: str, items: Mapping[str, Json]) -> Section:
    key, left_out = SECTION + quote(name, safe=" "), getattr(items, "left_out", 0)
    content = json.dumps({item: value["value"] for item, value in items.items()}, sort_keys=True)
    removal = Removal(REMOVE + key, f"the section {name}", content)
    return Section(Field(key, f"Name of the section {name}", name), removal, items, len(items) + left_out, left_out)


def _row(parameter: Parameter) -> Row:
    label = f"{parameter.section}/{parameter.name}"
    kind = "lines" if parameter.kind == "lines" else "line"
    value = Field(VALUE + parameter.key, label, parameter.value, kind, hint=parameter.description)
    name = Field(NAME + parameter.key, f"Name of {label}", parameter.name)
    return Row(parameter, value, name, Removal(REMOVE + value.key, label, parameter.value))


def _new_name(name: Field) -> str:
    return name.stored if name.sent is None else name.sent.strip()


def _wrong_section(section: Section, new: str) -> str:
    if not new:
        return "A section has a name."
    if "/" in new or new in LEFT_OUT:
        return "A section of parameters cannot have this name."
    if section.left_out:
        return f"It has {section.count:,} parameters; a section of so many is renamed by the API only."
    return ""


def _added(written: str, known: Iterable[Place]) -> tuple[dict[Place, Json], str]:
    """Return the parameters of lines like `Args/rows=10`, and what is wrong with them."""
    found: dict[Place, Json] = {}
    for line in written.splitlines():
        if not line.strip():
            continue
        name, equals, value = line.partition("=")
        section, slash, rest = (part.strip() for part in name.partition("/"))
        if not (equals and slash and section and rest):
            return {}, f"“{line[:80]}” is not of the form Section/name=value."
        if section in LEFT_OUT or (section, rest) in {*known, *found}:
            return {}, f"“{section}/{rest}” cannot be added: it exists, or its section is not for parameters."
        found[section, rest] = {"value": value.strip()}
    return found, ""
