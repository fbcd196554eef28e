"""What the form of a draft makes of its configuration objects."""

from __future__ import annotations

from urllib.parse import quote_plus

import pytest
from clearml_localserver.web.request_guard import MAX_FORM_BYTES
from clearml_localserver.web.shapes import Fields
from clearml_localserver.web.views.draft_configuration import DraftConfiguration, ObjectChanges
from clearml_localserver.web.views.launch import parameters_of

from tests.unit.localserver.draft_forms import filled_part


def filled(
    stored: dict[str, str], sent: dict[str, str], name: str = "", text: str = ""
) -> tuple[DraftConfiguration, ObjectChanges]:
    """Return the form of stored objects after it was sent with some changes."""
    objects = Fields({name: {"value": value, "type": "yaml"} for name, value in stored.items()})
    configuration = filled_part(lambda form: DraftConfiguration(objects, form), sent)
    return configuration, configuration.changes(name, text)


STORED = {"Data": "rows: 1", "Model": "layers: 3", "long": "x" * 2_000_000}


@pytest.mark.parametrize(
    ("sent", "written", "gone"),
    [
        ({}, {}, []),
        ({"c:Model": "layers: 4"}, {"Model": "layers: 4"}, []),
        ({"o:Model": " Net "}, {"Net": "layers: 3"}, ["Model"]),
        ({"o:Model": "Net", "c:Model": "layers: 4"}, {"Net": "layers: 4"}, ["Model"]),
        ({"o:long": "longer"}, {"longer": "x" * 2_000_000}, ["long"]),
        ({"o:Model": "Data", "o:Data": "Model"}, {"Data": "layers: 3", "Model": "rows: 1"}, []),
        ({"o:Model": "Data", "x:c:Data": ""}, {"Data": "layers: 3"}, ["Model"]),
        ({"x:c:Model": ""}, {}, ["Model"]),
    ],
)
def test_only_what_was_changed_is_written_and_deleted(
    sent: dict[str, str], written: dict[str, str], gone: list[str]
) -> None:
    configuration, changes = filled(STORED, sent)
    assert ({item["name"]: item["value"] for item in changes.items}, changes.gone) == (written, gone)
    assert all(item["type"] == "yaml" for item in changes.items)
    assert not any(field.error for field in configuration.fields)


def test_a_new_object_takes_the_place_of_one_that_is_deleted_or_renamed() -> None:
    for sent in ({"x:c:Data": ""}, {"o:Data": "Rows"}):
        configuration, changes = filled(STORED, sent, "Data", "new")
        assert configuration.new_problem == "" and changes.gone == []
        assert {"name": "Data", "value": "new"} in changes.items


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        ({"o:Model": "Data"}, "There is a configuration object called “Data” already."),
        ({"o:Model": " "}, "A configuration object has a name."),
        ({"o:Data": "New", "o:Model": "New"}, "There is a configuration object called “New” already."),
    ],
)
def test_a_name_that_cannot_be_is_marked(sent: dict[str, str], error: str) -> None:
    configuration, _ = filled(STORED, sent)
    assert {field.key: field.error for field in configuration.fields if field.error} == {"o:Model": error}
    assert configuration.items[1].is_wrong and not configuration.items[0].is_wrong


def test_a_name_is_not_added_where_pages_do_not_read_whether_it_is_taken() -> None:
    stored = Fields({"Model": {"value": ""}})
    stored.left_out = 1
    configuration = DraftConfiguration(stored, {})
    configuration.changes("New", "")
    assert configuration.new_problem.startswith("It has 2 configuration objects")
    configuration.items[0].name.sent = "Net"
    configuration.changes("", "")
    assert configuration.items[0].name.error.startswith("It has 2 configuration objects")


def test_one_long_text_is_edited_and_takes_no_room_from_short_ones() -> None:
    stored = {"a": {"value": "x" * 1_200_000}, "b": {"value": "x" * 900_000}, "c": {"value": "short"}}
    shown = {item.name.stored: item.text is not None for item in DraftConfiguration(stored, {}).items}
    assert shown == {"a": False, "b": True, "c": True}


def test_a_form_of_many_large_texts_can_still_be_sent() -> None:
    configuration = DraftConfiguration({f"object {number}": {"value": "é" * 50_000} for number in range(30)}, {})
    shown = [item for item in configuration.items if item.text]
    assert (
        0 < len(shown) < 30
        and sum(len(quote_plus(item.text.value)) for item in shown if item.text) < MAX_FORM_BYTES / 2
    )
    assert len(configuration.items) == 30, "the others are renamed and deleted as well"
    long = {f"p{number}": {"value": "x" * 90_000, "type": "", "description": ""} for number in range(100)}
    parameters = parameters_of({"hyperparams": {"Args": long}})
    assert 0 < sum(len(parameter.value) for parameter in parameters) < MAX_FORM_BYTES / 2
