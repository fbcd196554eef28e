"""Change a report: its name, project, tags and summary, and its text as long as it is a draft."""

from __future__ import annotations

from threading import Lock

from starlette.responses import Response

from clearml_localserver.errors import ApiError
from clearml_localserver.web.form_fields import Field, read
from clearml_localserver.web.report_text import MAX_TEXT, pieces
from clearml_localserver.web.site import Json, Visit
from clearml_localserver.web.views.report_data import shown
from clearml_localserver.web.views.reports import load, project_of

MAX_SUMMARY = 50_000
"""A longer summary is cut for pages, so the form leaves it as it is."""

NOT_A_DRAFT = 110
CONFLICT = (
    "Somebody else has changed this report since you opened the form. Nothing was saved. "
    "Compare the marked fields; saving again overwrites the other change."
)
PUBLISHED = "The report was published meanwhile: its text can no longer be changed. Nothing was saved."
_saving = Lock()
"""Held from the comparison to the change, so that of two forms that are sent at once the second sees the first."""


def form(visit: Visit) -> Response:
    """Show the form."""
    visit.require_change()
    found = load(visit)
    return _show(visit, found, _fields(found, {}))


def save(visit: Visit) -> Response:
    """Store what was changed; nothing if another person has changed the same field meanwhile."""
    visit.require_change()
    sent = visit.form()
    with _saving:
        found = load(visit)
        fields = _fields(found, sent)
        changed = read(fields, sent)
        if sent.get("preview"):
            return _show(visit, found, fields, preview=True)
        if any(field.theirs for field in changed):
            return _show(visit, found, fields, code=409, problem=CONFLICT)
        for field in changed:
            field.error = _error(field)
        if any(field.error for field in changed):
            return _show(visit, found, fields, code=422)
        try:
            _store(visit, found["id"], {field.key: field.value for field in changed})
        except ApiError as error:
            problem = PUBLISHED if error.subcode == NOT_A_DRAFT else error.msg
            return _show(visit, found, fields, code=400, problem=problem)
    return visit.redirect(f"/reports/{found['id']}", "saved")


def _fields(found: Json, sent: dict[str, str]) -> list[Field]:
    """Return the fields of a report's form; its text also where the form was made for a draft."""
    fields = [
        Field("name", "Name", found["name"]),
        Field("project", "Project", project_of(found), hint="As Team/Project; one that does not exist is made."),
    ]
    if not found["tags"].left_out:
        fields.append(Field("tags", "Tags", "\n".join(found["tags"]), "lines", hint="One per line."))
    if len(found["comment"]) <= MAX_SUMMARY:
        fields.append(Field("comment", "Summary", found["comment"], "lines", hint="Shown in the list of reports."))
    if (found["status"] == "created" or "report" in sent) and len(found["report"]) <= MAX_TEXT:
        fields.append(Field("report", "Text", found["report"], "lines"))
    return fields


def _error(field: Field) -> str:
    value = field.value.strip()
    if len(value) < 3 and (field.key == "name" or (field.key == "project" and value)):
        return "It has at least 3 characters."
    if field.key == "report" and len(field.value) > MAX_TEXT:
        return (
            f"It has {len(field.value):,} characters; a page shows at most {MAX_TEXT:,}. Split it into several reports."
        )
    return ""


def _store(visit: Visit, id_: str, values: dict[str, str]) -> None:
    changes: Json = {name: values[name] for name in ("name", "comment", "report") if name in values}
    if "tags" in values:
        changes["tags"] = list(dict.fromkeys(tag.strip() for tag in values["tags"].splitlines() if tag.strip()))
    if changes:
        visit.call("reports.update", {"task": id_} | changes)
    if "project" in values:
        path = values["project"].strip(" /")
        visit.call("reports.move", {"task": id_} | ({"project_name": path} if path else {"project": None}))


def _show(
    visit: Visit, found: Json, fields: list[Field], *, code: int = 200, problem: str = "", preview: bool = False
) -> Response:
    written = next((field.value for field in fields if field.key == "report"), None)
    return visit.render(
        "report_edit.html",
        code=code,
        section="/reports",
        report=found,
        fields=fields,
        problem=problem,
        most=MAX_TEXT,
        is_draft=found["status"] == "created",
        is_too_long=len(found["report"]) > MAX_TEXT,
        body=[shown(visit, piece) for piece in pieces(written)] if preview and written is not None else None,
    )
