"""What the form of a draft makes of its parameters."""

from __future__ import annotations

from typing import Any

import pytest
from clearml_localserver.web.shapes import Fields
from clearml_localserver.web.views.draft_parameters import Changes, DraftParameters

from tests.unit.localserver.draft_forms import filled_part


def filled(stored: dict[str, Any], sent: dict[str, str], added: str = "") -> tuple[DraftParameters, Changes]:
    """Return the form of stored parameters after it was sent with some changes."""
    task = {"hyperparams": Fields({section: Fields(items) for section, items in stored.items()})}
    parameters = filled_part(lambda form: DraftParameters(task, form), sent)
    return parameters, parameters.changes(added)


def item(value: str) -> dict[str, str]:
    return {"value": value, "type": "", "description": ""}


def places(changes: Changes) -> dict[str, str]:
    return {f"{found['section']}/{found['name']}": found["value"] for found in changes.items}


STORED = {"Args": {"a": item("1"), "b": item("2")}, "Other": {"c": item("3")}, "Empty": {}}


@pytest.mark.parametrize(
    ("sent", "added", "written", "gone"),
    [
        ({}, "", {}, []),
        ({"p:Args/a": "9"}, "", {"Args/a": "9"}, []),
        ({"n:Args/a": "b", "n:Args/b": "a"}, "", {"Args/a": "2", "Args/b": "1"}, []),
        ({"n:Args/a": "b", "x:p:Args/b": ""}, "", {"Args/b": "1"}, [{"section": "Args", "name": "a"}]),
        ({"g:Args": "Other"}, "", {"Other/a": "1", "Other/b": "2"}, [{"section": "Args"}]),
        ({"g:Args": "Other", "x:g:Other": ""}, "", {"Other/a": "1", "Other/b": "2"},
         [{"section": "Args"}, {"section": "Other", "name": "c"}]),
        ({"x:p:Args/a": "", "x:p:Args/b": ""}, "", {}, [{"section": "Args"}]),
        ({"x:p:Args/a": ""}, "", {}, [{"section": "Args", "name": "a"}]),
        ({"x:g:Empty": ""}, "", {}, [{"section": "Empty"}]),
        ({"x:g:Other": ""}, "Other/d=4", {"Other/d": "4"}, [{"section": "Other", "name": "c"}]),
        ({"x:p:Args/a": ""}, "Args/a=new", {"Args/a": "new"}, []),
    ],
)  # fmt: skip
def test_only_what_was_changed_is_written_and_deleted(
    sent: dict[str, str], added: str, written: dict[str, str], gone: list[dict[str, str]]
) -> None:
    parameters, changes = filled(STORED, sent, added)
    assert (places(changes), changes.gone, changes.added_problem) == (written, gone, "")
    assert not any(field.error for field in parameters.fields)


@pytest.mark.parametrize(
    ("sent", "key", "error"),
    [
        ({"n:Args/a": "b"}, "n:Args/a", "“Args/b” exists already."),
        ({"n:Args/a": " "}, "n:Args/a", "A parameter has a name."),
        ({"g:Args": "Other", "n:Args/a": "c"}, "n:Args/a", "“Other/c” exists already."),
        ({"g:Args": ""}, "g:Args", "A section has a name."),
        ({"g:Args": "properties"}, "g:Args", "A section of parameters cannot have this name."),
        ({"g:Args": "x/y"}, "g:Args", "A section of parameters cannot have this name."),
    ],
)
def test_a_name_that_cannot_be_is_marked(sent: dict[str, str], key: str, error: str) -> None:
    parameters, _ = filled(STORED, sent)
    assert {field.key: field.error for field in parameters.fields if field.error} == {key: error}


def test_a_section_moves_with_parameters_that_are_too_long_for_the_form() -> None:
    _, changes = filled({"Args": {"a": item("1"), "long": item("x" * 200_000)}}, {"g:Args": "New"})
    assert sorted(places(changes)) == ["New/a", "New/long"] and changes.gone == [{"section": "Args"}]


def test_a_section_that_pages_do_not_read_whole_is_not_renamed_and_not_emptied_by_its_parameters() -> None:
    stored = Fields({"a": item("1")})
    stored.left_out = 7
    parameters = DraftParameters({"hyperparams": {"Args": stored}}, {})
    section = parameters.sections["Args"]
    section.name.sent = "New"
    section.rows[0].removal.ticked = True
    assert parameters.changes("").gone == [{"section": "Args", "name": "a"}]
    assert section.name.error.startswith("It has 8 parameters")


def test_a_name_is_not_added_where_pages_do_not_read_whether_it_is_taken() -> None:
    stored = Fields({"a": item("1")})
    stored.left_out = 7
    parameters = DraftParameters({"hyperparams": {"Args": stored}}, {})
    assert "by the API only" in parameters.changes("Args/b=1").added_problem
    parameters.rows[0].name.sent = "b"
    parameters.changes("")
    assert "by the API only" in parameters.rows[0].name.error
    sections = Fields({"Args": Fields({"a": item("1")})})
    sections.left_out = 1
    parameters = DraftParameters({"hyperparams": sections}, {})
    assert "by the API only" in parameters.changes("Other/b=1").added_problem
    assert parameters.changes("Args/b=1").added_problem == ""
