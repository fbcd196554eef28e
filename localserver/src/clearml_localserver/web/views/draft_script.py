"""What a draft runs, on its form: its script, the packages that this needs, and its container. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from clearml_localserver.web.form_fields import (
    CONTAINER,
    CONTAINER_FIELD,
    REQUIREMENT,
    SCRIPT,
    SCRIPT_FIELD,
    WAS,
    Field,
)
from clearml_localserver.web.site import Json
from clearml_localserver.web.url_credentials import HIDDEN, is_hidden_in
from clearml_localserver.web.views.launch import form_size

MAX_TEXTS = 1_500_000
"""Bytes of all longer texts as a form sends them, the shortest first: a larger form could not be sent."""

KINDS = {"diff": "code", "setup_shell_script": "lines"}
HINTS = {
    "repository": "Without one, the text below is the script.",
    "version_num": "Its id. Without one an agent takes the tag, and without both the latest commit of the branch.",
    "diff": "A text that begins with “diff ” is a patch, which is applied to the repository’s commit (uncommitted "
    "changes). Any other text is a script: agents write it to the entry point, if no file is there, and run it.",
}
NOT_SHOWN = f"“{HIDDEN}” stands for credentials that are not shown. Write the address whole, with them or without."
KEPT = f"The credentials in it are not shown (“{HIDDEN}”) and stay, unless another host is named."


@dataclass
class Group:
    """A part of the form with a heading."""

    title: str
    fields: list[Field] = field(default_factory=list)
    too_long: list[tuple[str, int]] = field(default_factory=list)
    """Label and number of characters of the texts for which the form has no room."""


class DraftScript:
    """The script, the requirements and the container of a task's form."""

    def __init__(self, task: Json, sent: Mapping[str, str]) -> None:
        found = [*_fields(task, sent)]
        fitting = fitting_texts({each.key: each.stored for each in found}, MAX_TEXTS)
        self.groups = {"s": Group("Script"), "r": Group("Requirements"), "d": Group("Container")}
        for each in found:
            group = self.groups[each.key[0]]
            if each.key in fitting or each.key in sent:
                group.fields.append(each)
            else:
                group.too_long.append((each.label, len(each.stored)))
        self.room = MAX_TEXTS - sum(form_size(each.stored, MAX_TEXTS) for each in self.fields)
        """Bytes that are left for other texts of the form."""

    @property
    def fields(self) -> list[Field]:
        """All fields."""
        return [each for group in self.groups.values() for each in group.fields]

    def check(self, changed: Mapping[str, Field]) -> None:
        """Mark the changed fields that cannot be stored."""
        for each in self.fields:
            if each.key in changed and is_hidden_in(each.value):
                each.error = NOT_SHOWN

    def edit(self, task: Json, changed: Mapping[str, Field]) -> Json:
        """Return what `tasks.edit` is sent for the changed fields.

        Args:
            task: With the script and the container as they are stored.
            changed: The fields that the person has changed.
        """
        script = {name: each.value for name in SCRIPT if (each := changed.get(SCRIPT_FIELD + name))}
        edit: Json = {"script": script} if script else {}
        requirements = {key[2:]: each.value for key, each in changed.items() if key.startswith(REQUIREMENT)}
        if requirements:
            kept = {name: text for name, text in (task["script"]["requirements"] | requirements).items() if text}
            edit["script"] = script | {"requirements": kept}
        container = {key[2:]: each.value for key, each in changed.items() if key.startswith(CONTAINER_FIELD)}
        if container:
            edit["container"] = task["container"] | container
        return edit


def fitting_texts(texts: Mapping[str, str], room: int) -> set[str]:
    """Return the names of the texts for which a form has room, the shortest first."""
    fitting = set()
    for size, name in sorted((form_size(text, room), name) for name, text in texts.items()):
        if size <= room:
            room -= size
            fitting.add(name)
    return fitting


def _fields(task: Json, sent: Mapping[str, str]) -> list[Field]:
    script, container = task["script"], task["container"]
    found = [_field(SCRIPT_FIELD, name, label, script[name], KINDS.get(name, "line")) for name, label in SCRIPT.items()]
    # What the form was made with is in it again, though somebody else has taken it away.
    were = {name[len(WAS + REQUIREMENT) :]: "" for name in sent if name.startswith(WAS + REQUIREMENT)}
    for kind, text in ({"pip": ""} | were | script["requirements"]).items():
        found.append(_field(REQUIREMENT, kind, f"Requirements, {kind}", text, "lines"))
    for name, label in CONTAINER.items():
        found.append(_field(CONTAINER_FIELD, name, label, container[name], KINDS.get(name, "line")))
    return found


def _field(start: str, name: str, label: str, stored: str, kind: str) -> Field:
    hint = HINTS.get(name, "") if start == SCRIPT_FIELD else ""
    made = Field(start + name, label, stored, kind, hint, hides=True)
    if made.shown != stored:
        made.hint = f"{made.hint} {KEPT}".strip()
    return made
