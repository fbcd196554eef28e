"""Change a model in place: name, project, tags, comment and labels."""

from __future__ import annotations

from starlette.responses import Response

from clearml_localserver.rules.projects import tidy
from clearml_localserver.web.form_fields import Field, path_problem, require_name, tag_changes
from clearml_localserver.web.site import Json
from clearml_localserver.web.views.editing import MAX_COMMENT, DocumentForm, saving, showing


class ModelForm(DocumentForm):
    """The form of a model."""

    noun = "model"

    def load(self) -> None:
        """Read the model."""
        model = self.visit.call("models.get_by_id", {"model": self.visit.argument("model")})["model"]
        project = ""
        if id_ := model["project"]["id"]:
            project = self.visit.call("projects.get_by_id", {"project": id_})["project"]["name"]
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
        self.document, self.fields = model, fields

    def check(self) -> bool:
        """Mark names that are too short and labels that are none."""
        if "name" in self.changed:
            require_name(self.changed["name"])
        if "project" in self.changed:
            self.changed["project"].error = path_problem(self.changed["project"].value)
        self.labels: Json = {}
        for line in self.changed["labels"].value.splitlines() if "labels" in self.changed else ():
            name, equals, number = line.rpartition("=")
            if not line.strip():
                continue
            try:
                self.labels[name.strip()] = int(number)
            except ValueError:
                equals = ""
            if not equals or not name.strip():
                self.changed["labels"].error = f"“{line[:80]}” is not of the form name=number."
        return not any(field.error for field in self.changed.values())

    def store(self) -> None:
        """Send the changes."""
        id_ = self.document["id"]
        values = {key: field.value for key, field in self.changed.items()}
        edit: Json = {name: values[name] for name in ("name", "comment") if name in values}
        if "labels" in values:
            edit["labels"] = self.labels
        if edit:
            self.visit.call("models.edit", {"model": id_} | edit)
        if "tags" in values:
            self.visit.call("models.update_tags", {"ids": [id_]} | tag_changes(self.document["tags"], values["tags"]))
        if "project" in values:
            self.visit.call("models.move", {"ids": [id_], "project_name": tidy(values["project"])})

    def show(self, *, code: int = 200, problem: str = "") -> Response:
        """Return the page with the form."""
        return self.visit.render(
            "edit_model.html",
            code=code,
            section="/models",
            model=self.document,
            fields=self.fields,
            problem=problem,
            wrong=self.wrong(),
        )

    def address(self) -> str:
        """Return the model's page."""
        return f"/models/{self.document['id']}"


form, save = showing(ModelForm), saving(ModelForm)
