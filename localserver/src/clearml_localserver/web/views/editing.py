"""Change a document in place: show its form, store what was changed, tell a second editor what the first has changed.

Tasks, models, reports and projects have such a form. Each says what its fields are, what cannot be stored, and how it
is stored.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from threading import Lock
from typing import ClassVar

from starlette.responses import Response

from clearml_localserver.errors import ApiError
from clearml_localserver.web.api_words import PUBLIC, UNKNOWN_OBJECT
from clearml_localserver.web.form_fields import Field, Problem, problems_of, read
from clearml_localserver.web.site import Json, View, Visit

MAX_COMMENT = 50_000
"""A longer comment is cut for pages, so a form must not write it back."""

NOT_A_DRAFT = 110
"""Subcode of the API's refusal to change what is no longer a draft."""

CONFLICT = (
    "This {noun} was changed since you opened the form, by somebody else or by you in another tab. Nothing was saved. "
    "Compare the marked fields; saving again overwrites the other change."
)
_saving = Lock()
"""Held from the comparison to the last change, so that of two forms that are sent at once the second sees the first."""


class DocumentForm(ABC):
    """One request to the form of a document."""

    noun: ClassVar[str]
    no_draft: ClassVar[str] = ""
    """What is said where the document is no longer a draft and the API refuses a change for that reason."""

    document: Json
    fields: list[Field]

    def __init__(self, visit: Visit, sent: dict[str, str]) -> None:
        self.visit = visit
        self.sent = sent
        self.changed: dict[str, Field] = {}
        """The fields that the person has changed, by key."""

    @abstractmethod
    def load(self) -> None:
        """Set `document` and `fields` from what is stored now."""

    @abstractmethod
    def check(self) -> bool:
        """Mark what cannot be stored; return whether everything can be."""

    @abstractmethod
    def store(self) -> None:
        """Store what was changed.

        Raises:
            ApiError: The API refuses it.
        """

    @abstractmethod
    def show(self, *, code: int = 200, problem: str = "") -> Response:
        """Return the page with the form."""

    @abstractmethod
    def address(self) -> str:
        """Return where the document is shown."""

    def reason(self, error: ApiError) -> str:
        """Return what is said about a refusal of the API. It calls a public document unknown that is to be changed."""
        if error.subcode in UNKNOWN_OBJECT and self.document["id"] in error.msg:
            return PUBLIC
        return self.no_draft if self.no_draft and error.subcode == NOT_A_DRAFT else error.msg

    def wrong(self) -> list[Problem]:
        """Return what is wrong with the filled form, in the order of the page."""
        return problems_of(self.fields)

    def read(self) -> None:
        """Fill the form with what was sent."""
        self.load()
        self.changed = {field.key: field for field in read(self.fields, self.sent)}

    def is_conflict(self) -> bool:
        """Return whether another person has changed what this form changes."""
        return any(field.theirs for field in self.changed.values())

    def save(self) -> Response:
        """Store what was changed; nothing if another person has changed the same meanwhile."""
        with _saving:
            self.read()
            if self.is_conflict():
                return self.show(code=409, problem=CONFLICT.format(noun=self.noun))
            if not self.check():
                return self.show(code=422)
            try:
                self.store()
            except ApiError as error:
                self.read()
                return self.show(code=400, problem=self.reason(error))
        return self.visit.redirect(self.address(), "saved")


def showing(kind: type[DocumentForm]) -> View:
    """Return the view that shows a form."""

    def form(visit: Visit) -> Response:
        visit.require_change()
        shown = kind(visit, {})
        shown.load()
        return shown.show()

    return form


def saving(kind: type[DocumentForm]) -> View:
    """Return the view that stores what a form was sent with."""

    def save(visit: Visit) -> Response:
        return kind(visit, visit.form()).save()

    return save
