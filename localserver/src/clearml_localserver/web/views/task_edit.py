"""Change a task in place: name, comment, tags and project of any task, and what a draft will run with."""

from __future__ import annotations

from threading import Lock
from urllib.parse import quote, unquote

from starlette.responses import Response

from clearml_localserver.errors import ApiError
from clearml_localserver.web.form_fields import Field, read, removed_meanwhile
from clearml_localserver.web.site import Json, Visit
from clearml_localserver.web.views.launch import LEFT_OUT, MAX_FIELD, Parameter, parameters_of
from clearml_localserver.web.views.tasks import load

MAX_NAME, MAX_COMMENT = 2_000, 50_000
"""Longer texts are cut for pages, so a form must not write them back."""

MAX_PARAMETERS = 5_000
"""Parameters in the form; the others stay as they are."""

SCRIPT = {"binary": "Interpreter", "entry_point": "Entry point", "working_dir": "Working directory"}
CONTAINER = {"image": "Image", "arguments": "Arguments", "setup_shell_script": "Set-up script"}
NOT_EDITABLE = 110
CONFLICT = (
    "Somebody else has changed this task since you opened the form. Nothing was saved. "
    "Compare the marked fields; saving again overwrites the other change."
)
_saving = Lock()
"""Held from the comparison to the last change, so that of two forms that are sent at once the second sees the first."""


def form(visit: Visit) -> Response:
    """Show the form."""
    visit.require_change()
    task = _load(visit)
    return _show(visit, task, _fields(task, {}))


def save(visit: Visit) -> Response:
    """Store what was changed; nothing if another person has changed the same field meanwhile."""
    sent = visit.form()
    added = sent.get("added", "")
    with _saving:
        task = _load(visit)
        fields = _fields(task, sent)
        changed = read(fields, sent)
        if any(field.theirs for field in changed):
            return _show(visit, task, fields, code=409, problem=CONFLICT, added=added)
        parameters = {parameter.key: parameter for parameter in parameters_of(task)}
        _check(changed, parameters)
        new, wrong = _added(added, parameters)
        if wrong or any(field.error for field in changed):
            return _show(visit, task, fields, code=422, added=added, added_problem=wrong)
        try:
            _store(visit, task, fields, changed, [*_edited(changed, parameters), *new])
        except ApiError as error:
            task = _load(visit)
            problem = error.msg
            if error.subcode == NOT_EDITABLE:
                problem = "The task is no longer a draft: only its name, comment, tags and project can be changed."
            fields = _fields(task, sent)
            read(fields, sent)
            return _show(visit, task, fields, code=400, problem=problem, added=added)
    return visit.redirect(f"/tasks/{task['id']}/overview", "saved")


def _load(visit: Visit) -> Json:
    return load(visit, ["script", "container", "hyperparams", "configuration"])


def _fields(task: Json, sent: dict[str, str]) -> list[Field]:
    """Return the fields of a task's form; those of a draft also where the form was made for one."""
    fields = [
        Field("name", "Name", task["name"]),
        Field("project", "Project", task["project"]["name"], hint="As Team/Project; one that does not exist is made."),
        Field("tags", "Tags", "\n".join(task["tags"]), "lines", hint="One per line."),
        Field("comment", "Comment", task["comment"], "lines"),
    ]
    fields = [field for field in fields if len(field.stored) <= (MAX_NAME if field.kind == "line" else MAX_COMMENT)]
    if task["status"] != "created" and not sent.get("draft"):
        return fields
    script, container = task["script"], task["container"]
    fields += [Field(f"s:{name}", label, script[name]) for name, label in SCRIPT.items()]
    requirements = {"pip": ""} | script["requirements"]
    fields += [Field(f"r:{name}", f"Requirements, {name}", text, "lines") for name, text in requirements.items()]
    if len(container["image"]) <= MAX_NAME and len(container["arguments"]) <= MAX_COMMENT:
        kinds = {"setup_shell_script": "lines"}
        fields += [Field(f"d:{name}", label, container[name], kinds.get(name, "line"))
                   for name, label in CONTAINER.items()]  # fmt: skip
    for parameter in parameters_of(task)[:MAX_PARAMETERS]:
        kind = "lines" if parameter.kind == "lines" else "line"
        label = f"{parameter.section}/{parameter.name}"
        fields.append(Field(f"p:{parameter.key}", label, parameter.value, kind, hint=parameter.description))
    for name, item in sorted(task["configuration"].items()):
        if len(item["value"]) <= MAX_FIELD:
            fields.append(Field(f"c:{quote(name, safe=' ')}", name, item["value"], "lines"))
    for start in ("p:", "c:"):
        for key in removed_meanwhile(sent, fields, start):
            fields.append(Field(key, unquote(key[2:]), "", "lines", hint="It was removed meanwhile."))
    return fields


def _check(changed: list[Field], parameters: dict[str, Parameter]) -> None:
    for field in changed:
        parameter = parameters.get(field.key[2:]) if field.key.startswith("p:") else None
        if parameter is not None:
            parameter.value = field.value
            parameter.check()
            field.error = parameter.error
        elif field.key in ("name", "project") and len(field.value.strip()) < 3:
            field.error = "It has at least 3 characters."


def _added(written: str, parameters: dict[str, Parameter]) -> tuple[list[Parameter], str]:
    """Return the parameters of lines like `Args/rows=10`, and what is wrong with them."""
    found: dict[str, Parameter] = {}
    for line in written.splitlines():
        if not line.strip():
            continue
        name, equals, value = line.partition("=")
        section, slash, rest = (part.strip() for part in name.partition("/"))
        if not (equals and slash and section and rest):
            return [], f"“{line[:80]}” is not of the form Section/name=value."
        parameter = Parameter(section, rest, value.strip())
        if section in LEFT_OUT or parameter.key in parameters or parameter.key in found:
            return [], f"“{section}/{rest}” cannot be added: it exists, or its section is not for parameters."
        found[parameter.key] = parameter
    return list(found.values()), ""


def _edited(changed: list[Field], parameters: dict[str, Parameter]) -> list[Parameter]:
    found = []
    for field in changed:
        if not field.key.startswith("p:"):
            continue
        section, _, name = field.key[2:].partition("/")
        found.append(parameters.get(field.key[2:]) or Parameter(unquote(section), unquote(name), field.value))
    return found


def _store(visit: Visit, task: Json, fields: list[Field], changed: list[Field], parameters: list[Parameter]) -> None:
    """Send the changes; first those that only a draft takes, so that a refusal leaves the others too."""
    id_ = task["id"]
    values = {field.key: field.value for field in changed}
    edit: Json = {}
    if script := {name: values[f"s:{name}"] for name in SCRIPT if f"s:{name}" in values}:
        edit["script"] = script
    if any(key.startswith("r:") for key in values):
        requirements = {field.key[2:]: field.value for field in fields if field.key.startswith("r:")}
        edit["script"] = script | {"requirements": {name: text for name, text in requirements.items() if text}}
    if any(key.startswith("d:") for key in values):
        edit["container"] = {field.key[2:]: field.value for field in fields if field.key.startswith("d:")}
    if edit:
        visit.call("tasks.edit", {"task": id_} | edit)
    if parameters:
        items = [
            {"section": item.section, "name": item.name, "value": item.value, "type": item.type,
             "description": item.description}
            for item in parameters
        ]  # fmt: skip
        visit.call("tasks.edit_hyper_params", {"task": id_, "hyperparams": items})
    objects = [
        task["configuration"].get(unquote(key[2:]), {}) | {"name": unquote(key[2:]), "value": value}
        for key, value in values.items()
        if key.startswith("c:")
    ]
    if objects:
        visit.call("tasks.edit_configuration", {"task": id_, "configuration": objects})
    if told := {name: values[name] for name in ("name", "comment") if name in values}:
        visit.call("tasks.update", {"task": id_} | told)
    if "tags" in values:
        before, after = list(task["tags"]), [tag.strip() for tag in values["tags"].splitlines() if tag.strip()]
        change = {"add_tags": [tag for tag in after if tag not in before],
                  "remove_tags": [tag for tag in before if tag not in after]}  # fmt: skip
        visit.call("tasks.update_tags", {"ids": [id_]} | change)
    if "project" in values:
        visit.call("tasks.move", {"ids": [id_], "project_name": values["project"].strip().strip("/")})


def _show(
    visit: Visit,
    task: Json,
    fields: list[Field],
    *,
    code: int = 200,
    problem: str = "",
    added: str = "",
    added_problem: str = "",
) -> Response:
    groups = {
        "p:": "Parameters",
        "c:": "Configuration objects",
        "s:": "Script",
        "r:": "Requirements",
        "d:": "Container",
    }
    draft = any(field.key.startswith("s:") for field in fields)
    return visit.render(
        "edit_task.html",
        code=code,
        section="/projects",
        task=task,
        draft=draft,
        plain=[field for field in fields if field.key[:2] not in groups],
        groups={
            title: [field for field in fields if field.key.startswith(start)]
            for start, title in groups.items()
            if draft
        },
        problem=problem,
        added=added,
        added_problem=added_problem,
    )
