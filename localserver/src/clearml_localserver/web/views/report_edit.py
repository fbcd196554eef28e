"""Change a report: its name, project, tags and summary, and its text as long as it is a draft."""

from __future__ import annotations

from starlette.responses import Response

from clearml_localserver.rules.projects import tidy
from clearml_localserver.web.form_fields import Field, path_problem, require_name, written_tags
from clearml_localserver.web.report_text import MAX_TEXT, pieces
from clearml_localserver.web.site import Json
from clearml_localserver.web.views.editing import MAX_COMMENT, DocumentForm, saving, showing
from clearml_localserver.web.views.report_data import shown
from clearml_localserver.web.views.reports import load, project_of


class ReportForm(DocumentForm):
    """The form of a report."""

    noun = "report"
    no_draft = "The report was published meanwhile: its text can no longer be changed. Nothing was saved."

    def load(self) -> None:
        """Read the report; its text is a field also where the form was made for a draft."""
        report = load(self.visit)
        fields = [
            Field("name", "Name", report["name"]),
            Field("project", "Project", project_of(report), hint="As Team/Project; one that does not exist is made."),
        ]
        if not report["tags"].left_out:
            fields.append(Field("tags", "Tags", "\n".join(report["tags"]), "lines", hint="One per line."))
        if len(report["comment"]) <= MAX_COMMENT:
            fields.append(Field("comment", "Summary", report["comment"], "lines", hint="Shown in the list of reports."))
        if (report["status"] == "created" or "report" in self.sent) and len(report["report"]) <= MAX_TEXT:
            fields.append(Field("report", "Text", report["report"], "lines"))
        self.document, self.fields = report, fields

    def save(self) -> Response:
        """Store what was changed, or show what it would look like."""
        if self.sent.get("preview"):
            self.read()
            return self.show()
        return super().save()

    def check(self) -> bool:
        """Mark names that are too short and a text that is too long."""
        for key, field in self.changed.items():
            if key == "name":
                require_name(field)
            if key == "project":
                field.error = path_problem(field.value, may_be_empty=True)
            if key == "report" and len(field.value) > MAX_TEXT:
                field.error = (
                    f"It has {len(field.value):,} characters; a page shows at most {MAX_TEXT:,}. "
                    "Split it into several reports."
                )
        return not any(field.error for field in self.changed.values())

    def store(self) -> None:
        """Send the changes."""
        id_ = self.document["id"]
        values = {key: field.value for key, field in self.changed.items()}
        changes: Json = {name: values[name] for name in ("name", "comment", "report") if name in values}
        if "tags" in values:
            changes["tags"] = written_tags(values["tags"])
        if changes:
            self.visit.call("reports.update", {"task": id_} | changes)
        if "project" in values:
            path = tidy(values["project"])
            self.visit.call("reports.move", {"task": id_} | ({"project_name": path} if path else {"project": None}))

    def show(self, *, code: int = 200, problem: str = "") -> Response:
        """Return the page with the form, and below it the text as readers will see it, where that was asked for."""
        report = self.document
        written = next((field.value for field in self.fields if field.key == "report"), None)
        preview = bool(self.sent.get("preview")) and written is not None
        return self.visit.render(
            "report_edit.html",
            code=code,
            section="/reports",
            report=report,
            fields=self.fields,
            problem=problem,
            wrong=self.wrong(),
            most=MAX_TEXT,
            is_draft=report["status"] == "created",
            is_too_long=len(report["report"]) > MAX_TEXT,
            body=[shown(self.visit, piece) for piece in pieces(written or "")] if preview else None,
        )

    def address(self) -> str:
        """Return the report's page."""
        return f"/reports/{self.document['id']}"


form, save = showing(ReportForm), saving(ReportForm)
