"""Reports: pages that people write in Markdown, with charts and tables of tasks inside."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

from markupsafe import Markup
from starlette.responses import HTMLResponse, Response

from clearml_localserver.errors import ApiError
from clearml_localserver.web.report_text import MAX_TEXT, pieces, with_images
from clearml_localserver.web.site import Json, Visit
from clearml_localserver.web.views.lists import PAGE_SIZE, Slice, count
from clearml_localserver.web.views.report_data import Shown, shown

FIELDS = ["name", "status", "comment", "tags", "system_tags", "created", "last_update", "project.name", "user.name"]
FOLDER = ".reports"
MAX_IMAGE, MAX_IMAGES = 2 * 2**20, 10 * 2**20
"""Bytes of one image, and of all, that an exported report holds."""

STYLES = ("app.css", "report.css")
"""What an exported report holds of the pages' styles."""

UNSAFE_IN_FILE_NAME = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Action:
    """Something that can be done to a report."""

    title: str
    question: str
    call: str
    danger: bool = False


ACTIONS = {
    "publish": Action("Publish", "Its text can no longer be changed. This cannot be undone.", "reports.publish", True),
    "archive": Action("Archive", "It disappears from the list; nothing is deleted.", "reports.archive"),
    "unarchive": Action("Take out of the archive", "It appears in the list again.", "reports.unarchive"),
    "delete": Action("Delete", "Its text is deleted. The tasks that it is about stay.", "reports.delete", True),
}


def actions_of(report: Json) -> dict[str, Action]:
    """Return what can be done to a report now."""
    archived = "archived" in report["system_tags"]
    left_out = {"archive" if archived else "unarchive"}
    if report["status"] != "created":
        left_out.add("publish")
    return {name: action for name, action in ACTIONS.items() if name not in left_out}


def reports(visit: Visit) -> Response:
    """List reports, the lately changed ones first."""
    wanted: Json = {"order_by": ["-last_update"]}
    wanted["system_tags"] = ["archived"] if visit.asked.switch("archived") else ["-archived"]
    if found := visit.asked.text("q"):
        wanted["_any_"] = {"fields": ["name", "comment", "report"], "pattern": re.escape(found)}
    if tag := visit.query.get("tag"):
        wanted["filters"] = {"tags": {"all": {"include": [tag]}}}
    if project := visit.query.get("project"):
        wanted |= {"project": [project], "include_subprojects": True}
    number = visit.asked.page()
    page = {"page": number - 1, "page_size": PAGE_SIZE, "only_fields": FIELDS}
    items = visit.call("reports.get_all_ex", wanted | page)["tasks"]
    total = len(items) if number == 1 and len(items) < PAGE_SIZE else count(visit, wanted, "reports")
    tags = visit.call("reports.get_tags", {})["tags"]
    return visit.render("reports.html", page=Slice(items, number, total), tags=tags, about=project_of)


def create(visit: Visit) -> Response:
    """Make an empty report, and lead to its form."""
    visit.require_change()
    form = visit.form()
    name, project = form.get("name", "").strip(), form.get("project", "").strip(" /")
    for value, what in ((name, "name"), (project, "project")):
        if len(value) < 3 and (value or what == "name"):
            raise ApiError(400, 0, f"A report's {what} has at least 3 characters; nothing was made")
    made = visit.call("reports.create", {"name": name})["id"]
    if project:
        visit.call("reports.move", {"task": made, "project_name": project})
    return visit.redirect(f"/reports/{made}/edit", "created")


def report(visit: Visit) -> Response:
    """Show a report, with the data of now."""
    found = load(visit)
    body = [shown(visit, piece) for piece in pieces(found["report"])]
    for part in body:
        part.markup = Markup(with_images(part.markup, lambda source: _shown_image(visit, source)))  # noqa: S704
    return visit.render(
        "report_page.html",
        section="/reports",
        live=any(part.is_live for part in body),
        report=found,
        body=body,
        project=project_of(found),
        actions=actions_of(found),
        is_cut=len(found["report"]) > MAX_TEXT,
        most=MAX_TEXT,
    )


def export(visit: Visit) -> Response:
    """Return a report as one HTML file that needs nothing else: styles, charts and this server's images are in it."""
    found = load(visit)
    body = [shown(visit, piece) for piece in pieces(found["report"])]
    _embed_images(visit, body)
    styles = "\n".join(visit.site.files[name].read_text(encoding="utf-8") for name in STYLES)
    dark = visit.site.files["dark.css"].read_text(encoding="utf-8")
    styles += f"\n@media (prefers-color-scheme: dark) {{\n{dark}}}"
    page = visit.render(
        "report_export.html",
        report=found,
        body=body,
        project=project_of(found),
        kept=True,
        styles=Markup(styles),  # noqa: S704  the server's own files
        home=visit.site.settings.web_url,
        is_cut=len(found["report"]) > MAX_TEXT,
        most=MAX_TEXT,
    )
    plain = UNSAFE_IN_FILE_NAME.sub("-", found["name"])[:80].strip("-.") or "report"
    headers = {"Cache-Control": "no-store", "Content-Disposition": f'attachment; filename="{plain}.html"'}
    return HTMLResponse(page.body, headers=headers)


def confirm(visit: Visit) -> Response:
    """Ask before an action; any other word is the id of a report, as in ClearML's own `/reports/<project>/<report>`."""
    name = visit.argument("action")
    if name not in ACTIONS:
        return visit.redirect(f"/reports/{quote(name, safe='', errors='replace')}")
    visit.require_change()
    found = load(visit)
    _require_possible(name, found)
    return visit.render("report_confirm.html", section="/reports", report=found, name=name, action=ACTIONS[name])


def act(visit: Visit) -> Response:
    """Do an action."""
    visit.require_change()
    name, found = visit.argument("action"), load(visit)
    if name not in ACTIONS:
        raise ApiError(404, 0, f"There is no action called {name[:100]!r}")
    _require_possible(name, found)
    visit.call(ACTIONS[name].call, {"task": found["id"]})
    return visit.redirect("/reports" if name == "delete" else f"/reports/{found['id']}", name)


def _require_possible(name: str, report: Json) -> None:
    if name not in actions_of(report):
        raise ApiError(409, 0, f"{ACTIONS[name].title}: not possible for this report now. Look at it again")


def load(visit: Visit) -> Json:
    """Return the report that the address names, with its text.

    Raises:
        ApiError: 400/101 for an id that no report has.
    """
    id_ = visit.argument("report")
    wanted = {"id": [id_], "only_fields": [*FIELDS, "report"]}
    found: list[Json] = visit.call("reports.get_all_ex", wanted)["tasks"]
    if not found:
        raise ApiError(400, 101, f"There is no report with the id {id_}")
    return found[0]


def project_of(found: Json) -> str:
    """Return the name of the project that a report is about; empty for none."""
    name: str = found["project"]["name"]
    return "" if name == FOLDER else name.removesuffix(f"/{FOLDER}")


def _shown_image(visit: Visit, source: str) -> str | None:
    """Return where the browser finds an image; None where it has none that could be opened."""
    return source if source.startswith(("data:image/", "/files/")) else visit.file_link(source)


def _embed_images(visit: Visit, body: list[Shown]) -> None:
    """Put the images that this server keeps into the text; others become links."""
    room = MAX_IMAGES

    def data_of(source: str) -> str | None:
        nonlocal room
        link = _shown_image(visit, source) or ""
        if not link.startswith("/files/"):
            return link if link.startswith("data:") else None
        found = visit.read_file(unquote(link.partition("?")[0]).removeprefix("/files"), min(room, MAX_IMAGE))
        if found is None or not found[0].startswith("image/"):
            return None
        room -= len(found[1])
        return f"data:{found[0]};base64,{base64.b64encode(found[1]).decode()}"

    for part in body:
        part.markup = Markup(with_images(part.markup, data_of))  # noqa: S704
