"""Forms that were sent and could not be carried out: what was written is shown again, never lost and never sent alone.

A form meets a session that has ended: the log-in page carries its fields, and after the log-in a person is asked
whether they are to be sent now. A form is refused: the error page has its fields, to be corrected. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import quote

from clearml_localserver.web.form_fields import REMOVE, WAS, mark, words_of
from clearml_localserver.web.request_guard import MAX_LOG_IN_BYTES
from clearml_localserver.wire import MAX_STRANGER_BYTES

KEPT = "kept:"
"""Begins the names of a form's fields while the log-in page carries them."""

TO = "kept-to"
"""Name of the log-in page's field with the address that the kept form goes to."""

MAX_FORM_FIELDS = 30_000
LOG_IN_FIELDS, LOG_IN_BYTES = 4, 2_048
"""What the log-in page sends beside the kept fields: where they go, where the log-in leads, access key, secret key."""

SESSION_ENDED = "Your session has ended. What you sent is kept: log in, and you are asked before anything is changed."
NOT_KEPT = (
    "Your session has ended, and this form is too large to be kept across a log-in. Nothing was changed. Do not go "
    "back yet: who goes back before the log-in can lose what was written. Keep this order:"
)

WITHOUT_WORDS = frozenset(
    {"ids", "back", "seen", "draft", "follow", "forget", "query", "density", "undo", "until", "secret_key"}
)
"""Hidden fields of the pages' forms: sent again as they are, not shown. A test compares them with the templates."""


@dataclass(frozen=True)
class WrittenField:
    """A field that a person sees; `is_tick` for one that deletes something."""

    name: str
    value: str
    label: str
    is_tick: bool


@dataclass(frozen=True)
class Room:
    """The largest form that is read from somebody without a session."""

    bytes: int
    fields: int


STRANGERS = Room(MAX_STRANGER_BYTES, 2_000)
KNOWN = Room(MAX_LOG_IN_BYTES, MAX_FORM_FIELDS)
"""Of somebody whose browser shows that it has had a session: as large as forms are."""


@dataclass(frozen=True)
class KeptForm:
    """A form with what was written in it."""

    path: str
    items: tuple[tuple[str, str], ...]

    @property
    def written(self) -> list[WrittenField]:
        """The fields that a person sees and corrects: of a form with marks of former values those that were changed."""
        return [
            WrittenField(name, value, words_of(name), name.startswith(REMOVE))
            for name, value in self.items
            if not self._is_hidden(name, value)
        ]

    @property
    def hidden(self) -> list[tuple[str, str]]:
        """The fields that only the server reads."""
        return [(name, value) for name, value in self.items if self._is_hidden(name, value)]

    @property
    def carried(self) -> list[tuple[str, str]]:
        """The fields of the log-in page."""
        return [(TO, self.path), *((KEPT + name, value) for name, value in self.items)]

    def fits(self, sent: int, room: Room) -> bool:
        """Return whether the log-in page can carry it, if it had `sent` bytes when it came."""
        names = len(self.items) * len(quote(KEPT)) + len(quote(self.path, errors="replace"))
        fields = len(self.items) + LOG_IN_FIELDS
        return fields <= room.fields and sent + names + LOG_IN_BYTES <= room.bytes

    @cached_property
    def _marks(self) -> set[tuple[str, str]]:
        return {item for item in self.items if item[0].startswith(WAS)}

    def _is_hidden(self, name: str, value: str) -> bool:
        unchanged = (WAS + name, mark(value)) in self._marks
        return name in WITHOUT_WORDS or name.startswith(WAS) or unchanged


def carried_form(items: Iterable[tuple[str, str]]) -> KeptForm | None:
    """Return the form that a sent log-in page carries; None where it carries none."""
    sent = list(items)
    path = dict(sent).get(TO)
    kept = tuple((name[len(KEPT) :], value) for name, value in sent if name.startswith(KEPT))
    return KeptForm(path, kept) if path else None
