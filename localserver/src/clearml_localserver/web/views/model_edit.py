"""Change a model in place: name, project, tags, comment and labels."""

from __future__ import annotations

from threading import Lock

from starlette.responses import Response

from clearml_localserver.errors import ApiError
from clearml_localserver.web.form_fields import Field, read
from clearml_localserver.web.site import Json, Visit

MAX_COMMENT = 50_000
"""A longer comment is cut for pages, so the form leaves it as it is."""

CONFLICT = (
    "Somebody else has changed this model since you opened the form. Nothing was saved. "
    "Compare the marked fields; saving again overwrites the other change."
)
_saving = Lock()
"""Held from the comparison to the last change, so that of two forms that are sent at once the second sees the first."""


def form(visit: Visit) -> Response:
    """Show the form."""
    visit.require_change()
    model = _load(visit)
    return _show(visit, model, _fields(visit, model))


def save(visit: Visit) -> Response:
    """Store what was changed; nothing if another person has changed the same field meanwhile."""
    with _saving:
        model = _load(visit)
        fields = _fields(visit, model)
        changed = {field.key: field for field in read(fields, visit.form())}
        if any(field.theirs for field in changed.values()):
            return _show(visit, model, fields, code=409, problem=CONFLICT)
        labels = _check(changed)
        if any(field.error for field in changed.values()):
            return _show(visit, model, fields, code=422)
        try:
            _store(visit, model, {key: field.value for key, field in changed.items()}, labels)
        except ApiError as error:
            return _show(visit, model, fields, code=400, problem=error.msg)
    return visit.redirect(f"/models/{model['id']}", "saved")


def _load(visit: Visit) -> Json:
    model: Json = visit.call("models.get_by_id", {"model": visit.argument("model")})["model"]
    return model


def _fields(visit: Visit, model: Json) -> list[Field]:
    project = ""
    if id_ := model["project"]["id"]:
        project = visit.call("projects.get_by_id", {"project": id_})["project"]["name"]
    fields = [
        Field("name", "Name", model["name"]),
        Field("project", "Project", project, hint="As Team/Project; one that does not exist is made."),
    ]
    if not model["tags"].left_out:
        fields.append(Field("tags", "Tags", "\n".join(model["tags"]), "lines", hint="One per line."))
    if len(model["comment"]) <= MAX_COMMENT:
        fields.append(Field("comment", "Comment", model["comment"], "lines"))
    if not model["labels"].left_out:
        labels = "\n".join(f"{name}={value}" for name, value in model["labels"].items())
        fields.append(Field("labels", "Labels", labels, "lines", hint="One per line, as name=number."))
    return fields


def _check(changed: dict[str, Field]) -> Json:
    """Mark what cannot be stored; return the labels that were written."""
    for key in ("name", "project"):
        if key in changed and len(changed[key].value.strip()) < 3:
            changed[key].error = "It has at least 3 characters."
    labels: Json = {}
    for line in changed["labels"].value.splitlines() if "labels" in changed else ():
        name, equals, number = line.rpartition("=")
        if not line.strip():
            continue
        try:
            labels[name.strip()] = int(number)
        except ValueError:
            equals = ""
        if not equals or not name.strip():
            changed["labels"].error = f"“{line[:80]}” is not of the form name=number."
    return labels


def _store(visit: Visit, model: Json, values: dict[str, str], labels: Json) -> None:
    id_ = model["id"]
    edit: Json = {name: values[name] for name in ("name", "comment") if name in values}
    if "labels" in values:
        edit["labels"] = labels
    if edit:
        visit.call("models.edit", {"model": id_} | edit)
    if "tags" in values:
        before, after = list(model["tags"]), [tag.strip() for tag in values["tags"].splitlines() if tag.strip()]
        change = {"add_tags": [tag for tag in after if tag not in before],
                  "remove_tags": [tag for tag in before if tag not in after]}  # fmt: skip
        visit.call("models.update_tags", {"ids": [id_]} | change)
    if "project" in values:
        visit.call("models.move", {"ids": [id_], "project_name": values["project"].strip().strip("/")})


def _show(visit: Visit, model: Json, fields: list[Field], *, code: int = 200, problem: str = "") -> Response:
    return visit.render("edit_model.html", code=code, section="/projects", model=model, fields=fields, problem=problem)
