"""Change a task in place: name, comment, tags and project of any task, and what a draft will run with."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, unquote

from starlette.responses import Response

from clearml_localserver.web.form_fields import (
    OBJECT,
    REMOVE,
    Field,
    Removal,
    read_removals,
    removed_meanwhile,
    require_name,
    tag_changes,
)
from clearml_localserver.web.site import Json
from clearml_localserver.web.views.draft_parameters import Changes, DraftParameters
from clearml_localserver.web.views.editing import MAX_COMMENT, DocumentForm, saving, showing
from clearml_localserver.web.views.launch import MAX_FIELD
from clearml_localserver.web.views.tasks import load

MAX_NAME = 2_000
"""A longer name is cut for pages, so a form must not write it back."""

SCRIPT = {"binary": "Interpreter", "entry_point": "Entry point", "working_dir": "Working directory"}
CONTAINER = {"image": "Image", "arguments": "Arguments", "setup_shell_script": "Set-up script"}
GROUPS = {"s:": "Script", "r:": "Requirements", "d:": "Container"}


@dataclass
class ConfigurationObject:
    """A configuration object in the form."""

    name: str
    length: int
    field: Field | None
    """Its text; None where that is too long for a form."""

    removal: Removal


class TaskForm(DocumentForm):
    """The form of a task; `draft` is whether it has the fields that only a draft has."""

    noun = "task"
    no_draft = "The task is no longer a draft: only its name, comment, tags and project can be changed."

    def load(self) -> None:
        """Read the task; what only a draft has is in the form also where the form was made for a draft."""
        task = load(self.visit, ["script", "container", "hyperparams", "configuration"])
        self.document = task
        self.plain = _plain(task)
        self.draft = task["status"] == "created" or bool(self.sent.get("draft"))
        self.parameters = DraftParameters(task if self.draft else {"hyperparams": {}}, self.sent)
        self.objects = _objects(task) if self.draft else []
        self.rest = _rest(task) if self.draft else []
        known = [item.field for item in self.objects if item.field]
        self.removed = [
            Field(key, unquote(key[len(OBJECT) :]), "", "lines", hint="It was removed meanwhile.")
            for key in removed_meanwhile(self.sent, known, OBJECT)
        ]
        self.fields = [*self.plain, *self.rest, *self.parameters.fields, *known, *self.removed]
        self.new_problem = ""
        self.planned = Changes()

    def read(self) -> None:
        """Fill the form with what was sent."""
        super().read()
        self.removals = read_removals([*self.parameters.removals, *(item.removal for item in self.objects)], self.sent)

    def is_conflict(self) -> bool:
        """Return whether another person has changed what this form changes, renames or deletes."""
        return super().is_conflict() or any(item.theirs for item in self.removals) or bool(self.parameters.vanished)

    def check(self) -> bool:
        """Mark what cannot be stored."""
        for key in ("name", "project"):
            if key in self.changed:
                require_name(self.changed[key])
        self.planned = self.parameters.changes(self.sent.get("added", ""))
        self.new_problem = self._new_object_problem()
        return not (self.planned.added_problem or self.new_problem or any(field.error for field in self.fields))

    def store(self) -> None:
        """Send the changes; first those that only a draft takes, so that a refusal leaves the others too."""
        visit, task = self.visit, self.document
        id_ = task["id"]
        values = {key: field.value for key, field in self.changed.items()}
        if edit := self._edit(values):
            visit.call("tasks.edit", {"task": id_} | edit)
        if self.planned.items:
            visit.call("tasks.edit_hyper_params", {"task": id_, "hyperparams": self.planned.items})
        if self.planned.gone:
            visit.call("tasks.delete_hyper_params", {"task": id_, "hyperparams": self.planned.gone})
        gone = [item.name for item in self.objects if item.removal.ticked]
        if gone:
            visit.call("tasks.delete_configuration", {"task": id_, "configuration": gone})
        if objects := self._written_objects(values, gone):
            visit.call("tasks.edit_configuration", {"task": id_, "configuration": objects})
        if told := {name: values[name] for name in ("name", "comment") if name in values}:
            visit.call("tasks.update", {"task": id_} | told)
        if "tags" in values:
            visit.call("tasks.update_tags", {"ids": [id_]} | tag_changes(task["tags"], values["tags"]))
        if "project" in values:
            visit.call("tasks.move", {"ids": [id_], "project_name": values["project"].strip().strip("/")})

    def show(self, *, code: int = 200, problem: str = "") -> Response:
        """Return the page with the form."""
        return self.visit.render(
            "edit_task.html",
            code=code,
            section="/projects",
            task=self.document,
            draft=self.draft,
            plain=self.plain,
            parameters=self.parameters,
            objects=self.objects,
            removed=self.removed,
            groups={title: [field for field in self.rest if field.key[:2] == start] for start, title in GROUPS.items()},
            problem=problem,
            added=self.sent.get("added", ""),
            added_problem=self.planned.added_problem,
            new={"name": self.sent.get("object-name", ""), "text": self.sent.get("object-text", "")},
            new_problem=self.new_problem,
        )

    def address(self) -> str:
        """Return the task's page."""
        return f"/tasks/{self.document['id']}/overview"

    def _edit(self, values: dict[str, str]) -> Json:
        edit: Json = {}
        if script := {name: values[f"s:{name}"] for name in SCRIPT if f"s:{name}" in values}:
            edit["script"] = script
        if any(key.startswith("r:") for key in values):
            requirements = {field.key[2:]: field.value for field in self.rest if field.key.startswith("r:")}
            edit["script"] = script | {"requirements": {name: text for name, text in requirements.items() if text}}
        if any(key.startswith("d:") for key in values):
            edit["container"] = {field.key[2:]: field.value for field in self.rest if field.key.startswith("d:")}
        return edit

    def _new_object_problem(self) -> str:
        name, text = self.sent.get("object-name", "").strip(), self.sent.get("object-text", "")
        if text.strip() and not name:
            return "A configuration object has a name."
        kept = {item.name for item in self.objects if not item.removal.ticked}
        return f"There is a configuration object called “{name[:80]}” already." if name in kept else ""

    def _written_objects(self, values: dict[str, str], gone: list[str]) -> list[Json]:
        stored = self.document["configuration"]
        written = {unquote(key[len(OBJECT) :]): value for key, value in values.items() if key.startswith(OBJECT)}
        objects: list[Json] = [
            stored.get(name, {}) | {"name": name, "value": value} for name, value in written.items() if name not in gone
        ]
        if name := self.sent.get("object-name", "").strip():
            text = self.sent.get("object-text", "").replace("\r\n", "\n")
            objects.append({"name": name, "value": text})
        return objects


def _plain(task: Json) -> list[Field]:
    fields = [
        Field("name", "Name", task["name"]),
        Field("project", "Project", task["project"]["name"], hint="As Team/Project; one that does not exist is made."),
        Field("tags", "Tags", "\n".join(task["tags"]), "lines", hint="One per line."),
        Field("comment", "Comment", task["comment"], "lines"),
    ]
    return [field for field in fields if len(field.stored) <= (MAX_NAME if field.kind == "line" else MAX_COMMENT)]


def _rest(task: Json) -> list[Field]:
    script, container = task["script"], task["container"]
    fields = [Field(f"s:{name}", label, script[name]) for name, label in SCRIPT.items()]
    requirements = {"pip": ""} | script["requirements"]
    fields += [Field(f"r:{name}", f"Requirements, {name}", text, "lines") for name, text in requirements.items()]
    if len(container["image"]) <= MAX_NAME and len(container["arguments"]) <= MAX_COMMENT:
        kinds = {"setup_shell_script": "lines"}
        fields += [Field(f"d:{name}", label, container[name], kinds.get(name, "line"))
                   for name, label in CONTAINER.items()]  # fmt: skip
    return fields


def _objects(task: Json) -> list[ConfigurationObject]:
    found = []
    for name, item in sorted(task["configuration"].items()):
        key, text = OBJECT + quote(name, safe=" "), item["value"]
        field = Field(key, name, text, "lines") if len(text) <= MAX_FIELD else None
        found.append(ConfigurationObject(name, len(text), field, Removal(REMOVE + key, name, text)))
    return found


form, save = showing(TaskForm), saving(TaskForm)
