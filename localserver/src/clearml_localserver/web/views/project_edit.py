"""Projects are made, renamed, moved, described and deleted with what is in them, which is counted first."""

from __future__ import annotations

from starlette.responses import Response

from clearml_localserver.errors import ApiError
from clearml_localserver.rules.projects import tidy
from clearml_localserver.web.edited_text import as_sent
from clearml_localserver.web.form_fields import Field, path_problem, problems_of
from clearml_localserver.web.site import Json, Visit
from clearml_localserver.web.views.editing import MAX_COMMENT, DocumentForm, saving, showing

KINDS = {"tasks": "task", "models": "model", "pipelines": "pipeline", "datasets": "dataset", "reports": "report"}
NAME_TAKEN = 801
CHANGED_MEANWHILE = "The project's contents have changed since they were counted. Nothing was deleted; look again."


def new(visit: Visit) -> Response:
    """Show the form that makes a project, below the one that the address names, if any."""
    visit.require_change()
    return _show_new(visit, _fields("", visit.query.get("below", ""), ""))


def create(visit: Visit) -> Response:
    """Make a project and those above it; what the API refuses comes back on the form with the reason."""
    fields, sent = _fields("", "", ""), visit.form()
    for field in fields:
        field.sent = as_sent(sent.get(field.key, ""))
    name, location, description = fields
    path = _checked_path(location, name)
    if name.error or location.error:
        return _show_new(visit, fields, code=422)
    try:
        made = visit.call("projects.create", {"name": path, "description": description.value})
    except ApiError as error:
        return _show_new(visit, fields, code=400, problem=_reason(error, path))
    return visit.redirect(f"/projects/{made['id']}", "created")


class ProjectForm(DocumentForm):
    """The form of a project."""

    noun = "project"

    def load(self) -> None:
        """Read the project."""
        self.document = _load(self.visit)
        self.location, _, self.base = self.document["name"].rpartition("/")
        fields = _fields(self.base, self.location, self.document["description"])
        self.fields = [field for field in fields if len(field.stored) <= MAX_COMMENT]

    def check(self) -> bool:
        """Mark a path that cannot be."""
        name, location = self.fields[:2]
        self.path = self.document["name"]
        if {"name", "location"} & set(self.changed):
            self.path = _checked_path(location, name)
        return not (name.error or location.error)

    def store(self) -> None:
        """Move, rename and describe the project."""
        id_ = self.document["id"]
        place, _, name = self.path.rpartition("/")
        if place != self.location:
            self.visit.call("projects.move", {"project": id_, "new_location": place})
        if name != self.base:
            self.visit.call("projects.update", {"project": id_, "name": self.path})
        if "description" in self.changed:
            self.visit.call("projects.update", {"project": id_, "description": self.changed["description"].value})

    def reason(self, error: ApiError) -> str:
        """Return what is said about a refusal of the API."""
        return _reason(error, self.fields[0].value.strip())

    def show(self, *, code: int = 200, problem: str = "") -> Response:
        """Return the page with the form."""
        return _page(self.visit, self.document, self.fields, code=code, problem=problem)

    def address(self) -> str:
        """Return the project's page."""
        return f"/projects/{self.document['id']}"


form, save = showing(ProjectForm), saving(ProjectForm)


def confirm(visit: Visit) -> Response:
    """Ask before a project is deleted, and count what is in it."""
    visit.require_change()
    return _confirm_page(visit, _load(visit))


def delete(visit: Visit) -> Response:
    """Delete a project with its contents, if they are still those that were counted."""
    project = _load(visit)
    if visit.form().get("seen") != _seen(_counts(visit, project)):
        return _confirm_page(visit, project, code=409, problem=CHANGED_MEANWHILE)
    visit.call("projects.delete", {"project": project["id"], "force": True, "delete_contents": True})
    return visit.redirect("/projects", "delete")


def _load(visit: Visit) -> Json:
    project: Json = visit.call("projects.get_by_id", {"project": visit.argument("project")})["project"]
    return project


def _checked_path(location: Field, name: Field) -> str:
    """Return the path of a project below another one; mark the field that makes it impossible."""
    location.error = path_problem(location.value, may_be_empty=True)
    name.error = path_problem(name.value) if tidy(name.value) else "Give the project a name."
    return tidy(f"{location.value}/{name.value}")


def _reason(error: ApiError, name: str) -> str:
    return f"There is already a project called “{name}” there." if error.subcode == NAME_TAKEN else error.msg


def _counts(visit: Visit, project: Json) -> dict[str, int]:
    found = visit.call("projects.validate_delete", {"project": project["id"]})
    return {name: found[name] or 0 for name in KINDS}


def _seen(counts: dict[str, int]) -> str:
    return ",".join(str(count) for count in counts.values())


def _fields(name: str, location: str, description: str) -> list[Field]:
    above = "The project above it, as Team/Project; one that does not exist is made. Empty for the top."
    return [
        Field("name", "Name", name),
        Field("location", "Below", location, hint=above),
        Field("description", "Description", description, "lines"),
    ]


def _show_new(visit: Visit, fields: list[Field], *, code: int = 200, problem: str = "") -> Response:
    return _page(visit, None, fields, code=code, problem=problem)


def _page(visit: Visit, project: Json | None, fields: list[Field], *, code: int, problem: str) -> Response:
    return visit.render(
        "project_edit.html",
        code=code,
        section="/projects",
        project=project,
        fields=fields,
        problem=problem,
        wrong=problems_of(fields),
    )


def _confirm_page(visit: Visit, project: Json, *, code: int = 200, problem: str = "") -> Response:
    counts = _counts(visit, project)
    words = [f"{count:,} {KINDS[name]}{'' if count == 1 else 's'}" for name, count in counts.items() if count]
    return visit.render(
        "project_delete.html",
        code=code,
        section="/projects",
        project=project,
        contents=words,
        seen=_seen(counts),
        problem=problem,
    )
