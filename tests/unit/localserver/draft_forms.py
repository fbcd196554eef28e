"""A draft's form as a browser sends it after a person has changed some of its fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from clearml_localserver.web.form_fields import read, read_removals
from clearml_localserver.web.views.draft_configuration import DraftConfiguration
from clearml_localserver.web.views.draft_parameters import DraftParameters

Part = TypeVar("Part", DraftConfiguration, DraftParameters)


def filled_part(made: Callable[[Mapping[str, str]], Part], sent: Mapping[str, str]) -> Part:
    """Return a part of the form, which `made` makes for what was sent, filled with some changes.

    Args:
        made: Makes the part.
        sent: The changed fields by name; a tick without a value gets the mark that the page has for it.
    """
    untouched = made({})
    form = {field.key: field.value for field in untouched.fields}
    form |= {f"was:{field.key}": field.mark for field in untouched.fields}
    marks = {removal.key: removal.mark for removal in untouched.removals}
    form |= {key: value or marks.get(key, "") for key, value in sent.items()}
    part = made(form)
    read(part.fields, form)
    read_removals(part.removals, form)
    return part
