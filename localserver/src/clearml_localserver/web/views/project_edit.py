"""Projects are renamed, moved, described and deleted with what is in them, which is counted first."""

from __future__ import annotations

from starlette.responses import Response

from clearml_localserver.errors import ApiError
from clearml_localserver.web.form_fields import as_sent
from clearml_localserver.web.site import Json, Visit

MAX_DESCRIPTION = 50_000
"""A longer description is cut for pages, so the form leaves it as it is."""

KINDS = {"tasks": "task", "models": "model", "pipelines": "pipeline", "datasets": "dataset", "reports": "report"}
NAME_TAKEN = 801
CHANGED_MEANWHILE = "The project's contents have changed since they were counted. Nothing was deleted; look again."


def form(visit: Visit) -> Response:
    """Show the form."""
    visit.require_change()
    return _show(visit, _load(visit), {})


def save(visit: Visit) -> Response:
    """Move, rename and describe a project, as far as the form differs from it."""
    project, sent = _load(visit), visit.form()
    id_ = project["id"]
    location, _, base = project["name"].rpartition("/")
    name, place = sent.get("name", base).strip(), sent.get("location", location).strip(" /")
    before: str = project["description"]
    description = as_sent(sent.get("description", before))
    try:
        if place != location:
            visit.call("projects.move", {"project": id_, "new_location": place})
        if name != base:
            visit.call("projects.update", {"project": id_, "name": f"{place}/{name}" if place else name})
        if description != as_sent(before) and len(before) <= MAX_DESCRIPTION:
            visit.call("projects.update", {"project": id_, "description": description})
    except ApiError as error:
        taken = f"There is already a project called “{name}” there."
        problem = taken if error.subcode == NAME_TAKEN else error.msg
        return _show(visit, _load(visit), sent, code=400, problem=problem)
    return visit.redirect(f"/projects/{id_}", "saved")


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


def _counts(visit: Visit, project: Json) -> dict[str, int]:
    found = visit.call("projects.validate_delete", {"project": project["id"]})
    return {name: found[name] or 0 for name in KINDS}


def _seen(counts: dict[str, int]) -> str:
    return ",".join(str(count) for count in counts.values())


def _show(visit: Visit, project: Json, sent: dict[str, str], *, code: int = 200, problem: str = "") -> Response:
    location, _, base = project["name"].rpartition("/")
    return visit.render(
        "project_edit.html",
        code=code,
        section="/projects",
        project=project,
        name=sent.get("name", base),
        location=sent.get("location", location),
        description=sent.get("description", project["description"]),
        describable=len(project["description"]) <= MAX_DESCRIPTION,
        problem=problem,
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
