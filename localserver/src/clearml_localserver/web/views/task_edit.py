"""Change a task in place: name, comment, tags and project of any task, and what a draft will run with."""

from __future__ import annotations

from starlette.responses import Response

from clearml_localserver.rules.projects import tidy
from clearml_localserver.web.form_fields import (
    Field,
    Problem,
    path_problem,
    problems_of,
    read_removals,
    require_name,
    tag_changes,
)
from clearml_localserver.web.site import Json
from clearml_localserver.web.views.draft_configuration import DraftConfiguration, ObjectChanges
from clearml_localserver.web.views.draft_parameters import Changes, DraftParameters
from clearml_localserver.web.views.draft_script import MAX_TEXTS, DraftScript
from clearml_localserver.web.views.editing import MAX_COMMENT, DocumentForm, saving, showing
from clearml_localserver.web.views.lists import find_queues
from clearml_localserver.web.views.tasks import load

MAX_NAME = 2_000
"""A longer name is cut for pages, so a form must not write it back."""


class TaskForm(DocumentForm):
    """The form of a task; `draft` is whether it has the fields that only a draft has."""

    noun = "task"
    no_draft = "The task is no longer a draft: only its name, comment, tags and project can be changed."

    def load(self) -> None:
        """Read the task; what only a draft has is in the form also where the form was made for a draft."""
        task = load(self.visit, ["hyperparams", "configuration", "execution.queue"])
        self.document = task
        self.plain = _plain(task)
        self.draft = task["status"] == "created" or bool(self.sent.get("draft"))
        self.parameters = DraftParameters(task if self.draft else {"hyperparams": {}}, self.sent)
        self.fields = [*self.plain, *self.parameters.fields]
        self.queue: list[Field] = []
        self.script: DraftScript | None = None
        room = 0
        if self.draft:
            self.stored = self.visit.call("tasks.get_by_id", {"task": task["id"]})["task"]
            self.script = DraftScript(self.stored, self.sent)
            self.queue = [_queue(task, find_queues(self.visit))]
            self.fields += [*self.queue, *self.script.fields]
            room = self.script.room
        self.configuration = DraftConfiguration(task["configuration"] if self.draft else {}, self.sent, room)
        self.fields += self.configuration.fields
        self.planned = Changes()
        self.planned_objects = ObjectChanges()

    def read(self) -> None:
        """Fill the form with what was sent."""
        super().read()
        self.removals = read_removals([*self.parameters.removals, *self.configuration.removals], self.sent)

    def is_conflict(self) -> bool:
        """Return whether another person has changed what this form changes, renames or deletes."""
        vanished = self.parameters.vanished or self.configuration.vanished
        return super().is_conflict() or any(item.theirs for item in self.removals) or bool(vanished)

    def wrong(self) -> list[Problem]:
        """Return what is wrong with the filled form, in the order of the page."""
        return [
            *problems_of([*self.plain, *self.queue]),
            *self.parameters.wrong(self.planned.added_problem),
            *self.configuration.wrong(),
            *problems_of(self.script.fields if self.script else []),
        ]

    def check(self) -> bool:
        """Mark what cannot be stored."""
        if "name" in self.changed:
            require_name(self.changed["name"])
        if "project" in self.changed:
            self.changed["project"].error = path_problem(self.changed["project"].value)
        self.planned = self.parameters.changes(self.sent.get("added", ""))
        new = self._new_object()
        self.planned_objects = self.configuration.changes(new["name"], new["text"])
        if self.script:
            self.script.check(self.changed)
        for field in self.queue:
            if field.value not in (field.options or {}):
                field.error = "The queue that you chose is not there any more."
        return not self.wrong()

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
        if self.planned_objects.items:  # before what goes: a renamed object is never in neither place
            visit.call("tasks.edit_configuration", {"task": id_, "configuration": self.planned_objects.items})
        if self.planned_objects.gone:
            visit.call("tasks.delete_configuration", {"task": id_, "configuration": self.planned_objects.gone})
        if told := {name: values[name] for name in ("name", "comment") if name in values}:
            visit.call("tasks.update", {"task": id_} | told)
        if "tags" in values:
            visit.call("tasks.update_tags", {"ids": [id_]} | tag_changes(task["tags"], values["tags"]))
        if "project" in values:
            visit.call("tasks.move", {"ids": [id_], "project_name": tidy(values["project"])})

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
            objects=self.configuration,
            queue=self.queue,
            groups=self.script.groups.values() if self.script else [],
            problem=problem,
            wrong=self.wrong(),
            added=self.sent.get("added", ""),
            added_problem=self.planned.added_problem,
            new=self._new_object(),
            most=MAX_TEXTS,
        )

    def address(self) -> str:
        """Return the task's page."""
        return f"/tasks/{self.document['id']}/overview"

    def _edit(self, values: dict[str, str]) -> Json:
        edit = self.script.edit(self.stored, self.changed) if self.script else {}
        if "queue" in values:
            edit["execution"] = {"queue": values["queue"]}
        return edit

    def _new_object(self) -> dict[str, str]:
        return {"name": self.sent.get("object-name", ""), "text": self.sent.get("object-text", "")}


def _plain(task: Json) -> list[Field]:
    fields = [
        Field("name", "Name", task["name"]),
        Field("project", "Project", task["project"]["name"], hint="As Team/Project; one that does not exist is made."),
        Field("tags", "Tags", "\n".join(task["tags"]), "lines", hint="One per line."),
        Field("comment", "Comment", task["comment"], "lines"),
    ]
    return [field for field in fields if len(field.stored) <= (MAX_NAME if field.kind == "line" else MAX_COMMENT)]


def _queue(task: Json, queues: list[Json]) -> Field:
    """Return the choice of the queue; the one that is stored can stay even where it was deleted."""
    stored = task["execution"]["queue"]["id"]
    options = {"": "Chosen when it is enqueued"} | {queue["id"]: queue["label"] for queue in queues}
    options.setdefault(stored, f"{stored} (deleted)")
    return Field("queue", "Queue", stored, "choice", "“Enqueue” offers this queue first.", options=options)


form, save = showing(TaskForm), saving(TaskForm)
