"""Run a task again with other parameters: clone, edit, enqueue. The way to a new run of a pipeline."""

from __future__ import annotations

import contextlib
import itertools
import re
from dataclasses import dataclass
from urllib.parse import quote, quote_plus

from starlette.responses import Response

from clearml_localserver.errors import ApiError
from clearml_localserver.web import runs
from clearml_localserver.web.edited_text import as_sent, edited
from clearml_localserver.web.form_fields import Problem
from clearml_localserver.web.site import Json, Visit
from clearml_localserver.web.views.actions import queue_of
from clearml_localserver.web.views.cloning import RESULTS, clone
from clearml_localserver.web.views.lists import find_queues, find_tasks
from clearml_localserver.web.views.tasks import load

MAIN_SECTION = "Args"
LEFT_OUT = ("properties", RESULTS)
"""Sections that describe a task instead of steering it."""

RUN_NUMBER = re.compile(r" #([0-9]{1,9})$")
MAX_EDITED = 10_000
"""Parameters of a form."""

MAX_FIELD = 100_000
"""Characters of a parameter that can be edited in a form."""

MAX_FIELDS = 1_000_000
"""Bytes of all of them as a form sends them: a larger form could not be sent."""

TRUE = frozenset({"true", "1", "yes", "on"})
FALSE = frozenset({"false", "0", "no", "off", ""})


@dataclass
class Parameter:
    """A field of the form."""

    section: str
    name: str
    value: str
    type: str = ""
    description: str = ""
    error: str = ""

    changed: bool = False
    """Whether the form holds another value than the task."""

    @property
    def key(self) -> str:
        """The field's name in the form: no two parameters share it, and browsers send it as it is."""
        return f"{quote(self.section, safe=' ')}/{quote(self.name, safe=' ')}"

    @property
    def id(self) -> str:
        """The id of its element in the form of a new run."""
        return f"p-{self.key}"

    @property
    def kind(self) -> str:
        """How the field is edited: `bool`, `int`, `float`, `lines` or `text`."""
        if self.type in ("bool", "int", "float"):
            return self.type
        return "lines" if "\n" in self.value or "\r" in self.value or len(self.value) > 120 else "text"

    def check(self) -> None:
        """Set `error` where the value is not of the parameter's type."""
        text = self.value.strip()
        try:
            if self.type == "int":
                int(text)
            elif self.type == "float":
                float(text)
            elif self.type == "bool" and text.lower() not in TRUE | FALSE:
                raise ValueError(text)
        except ValueError:
            self.error = f"{text!r} is not of type {self.type}"


def form_size(value: str, room: int) -> int:
    """Return how many bytes a form needs for a value; at least its length, of one that has no room."""
    return len(value) if len(value) > room else len(quote_plus(value, errors="replace"))


def parameters_of(task: Json) -> list[Parameter]:
    """Return a task's parameters, the main section first; of very many the first, the copy keeps the others too."""
    found: list[Parameter] = []
    room = MAX_FIELDS
    sections = task.get("hyperparams") or {}
    for section in sorted(sections, key=lambda name: (name != MAIN_SECTION, name)):
        if section in LEFT_OUT:
            continue
        for name, item in itertools.islice(sections[section].items(), MAX_EDITED - len(found)):
            value = "" if item.get("value") is None else str(item["value"])
            if len(value) <= MAX_FIELD and (size := form_size(value, room)) <= room:
                room -= size
                found.append(Parameter(section, name, value, item.get("type") or "", item.get("description") or ""))
    return found


def filled(parameters: list[Parameter], form: dict[str, str]) -> list[Parameter]:
    """Return the parameters with the form's values; those that differ from the task's are checked."""
    for parameter in parameters:
        value = form.get(parameter.key)
        if value is not None and as_sent(value) != as_sent(parameter.value):
            parameter.value, parameter.changed = edited(parameter.value, value), True
            parameter.check()
    return parameters


def form(visit: Visit) -> Response:
    """Show the form for a new run."""
    task = load(visit, ["hyperparams", "execution.queue"])
    queues = find_queues(visit)
    return _show(visit, task, parameters_of(task), queues, next_name(visit, task), queue_of(task, queues))


def launch(visit: Visit) -> Response:
    """Clone, edit and enqueue; on any error nothing is left behind."""
    task = load(visit, ["hyperparams", "execution.queue"])
    sent = visit.form()
    parameters = filled(parameters_of(task), sent)
    name = str(sent.get("name") or "").strip()
    queue = str(sent.get("queue") or "")
    if any(parameter.error for parameter in parameters):
        return _show(visit, task, parameters, find_queues(visit), name, queue, code=422)
    try:
        copy = clone(visit, task, name or task["name"])
        try:
            _edit_and_enqueue(visit, copy, parameters, queue)
        except ApiError:
            with contextlib.suppress(ApiError):
                visit.call("tasks.delete", {"task": copy, "force": True})
            raise
    except ApiError as error:
        return _show(visit, task, parameters, find_queues(visit), name, queue, code=400, problem=error.msg)
    return visit.redirect(f"/tasks/{copy}", "run")


def _edit_and_enqueue(visit: Visit, id_: str, parameters: list[Parameter], queue: str) -> None:
    if changed := [parameter for parameter in parameters if parameter.changed]:
        items = [
            {
                "section": parameter.section,
                "name": parameter.name,
                "value": parameter.value,
                "type": parameter.type,
                "description": parameter.description,
            }
            for parameter in changed
        ]
        visit.call("tasks.edit_hyper_params", {"task": id_, "hyperparams": items})
    visit.call("tasks.enqueue", {"task": id_, "queue": queue, "status_reason": "new run from the web page"})


def _show(
    visit: Visit,
    task: Json,
    parameters: list[Parameter],
    queues: list[Json],
    name: str,
    queue: str,
    *,
    code: int = 200,
    problem: str = "",
) -> Response:
    pipeline = runs.is_pipeline(task)
    main = [parameter for parameter in parameters if parameter.section == MAIN_SECTION or not pipeline]
    advanced = [parameter for parameter in parameters if pipeline and parameter.section != MAIN_SECTION]
    return visit.render(
        "run_form.html",
        code=code,
        task=task,
        pipeline=pipeline,
        main=main,
        advanced=advanced,
        left_out=sum(len(items) + items.left_out for name, items in task["hyperparams"].items() if name not in LEFT_OUT)
        - len(parameters),
        queues=queues,
        queue=queue,
        name=name,
        problem=problem,
        wrong=[Problem(each.id, each.name, each.error) for each in [*main, *advanced] if each.error],
    )


def next_name(visit: Visit, task: Json) -> str:
    """Return the task's name with the next free run number, as the SDK numbers runs."""
    base = RUN_NUMBER.sub("", task["name"])
    query: Json = {"name": rf"^{re.escape(base)}( #[0-9]+)?$", "order_by": ["-created"]}
    if project := task["project"]["id"]:
        query["project"] = [project]
    found = find_tasks(visit, query, size=500, fields=["name"])
    numbers = [int(match[1]) for other in found if (match := RUN_NUMBER.search(other["name"]))]
    return f"{base} #{max([len(found), *numbers]) + 1}"
