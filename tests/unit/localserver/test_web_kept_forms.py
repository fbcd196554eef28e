"""Forms that could not be carried out keep what was written in them."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlencode

from clearml_localserver import web
from clearml_localserver.errors import ApiError
from clearml_localserver.web.form_fields import mark
from clearml_localserver.web.kept_forms import (
    KEPT,
    KNOWN,
    LOG_IN_FIELDS,
    MAX_FORM_FIELDS,
    STRANGERS,
    TO,
    WITHOUT_WORDS,
    KeptForm,
    carried_form,
)
from clearml_localserver.web.request_guard import MAX_FORM_BYTES

from tests.unit.localserver.web_app import ask, make_app

TEMPLATES = Path(web.__file__).with_name("templates")


def test_a_form_is_the_same_after_the_log_in_page_carried_it() -> None:
    form = KeptForm("/tasks/a/edit", (("name", "x"), ("ids", "1"), ("ids", "2"), ("was:name", "m"), ("empty", "")))
    assert carried_form([("access_key", "k"), *form.carried]) == form
    assert [(field.name, field.value) for field in form.written] == [("name", "x"), ("empty", "")]
    assert KeptForm("/", (("name", "x"), ("was:name", mark("x")))).written == [], "nobody has changed it"
    assert carried_form([(KEPT + "name", "x"), ("next", "/")]) is None


def test_a_tick_that_deletes_something_stays_a_tick_with_words() -> None:
    names = (
        "x:p:Args/l%2Fr",
        "x:g:Args",
        "x:c:Model",
        "n:Args/lr",
        "g:Args",
        "p:Args/l%2Fr",
        "c:Model",
        "name",
        "added",
    )
    written = KeptForm("/tasks/a/edit", tuple((name, "m") for name in names)).written
    assert [(field.label, field.is_tick) for field in written] == [
        ("Delete Args/l/r", True),
        ("Delete the section Args", True),
        ("Delete Model", True),
        ("New name of Args/lr", False),
        ("New name of Args", False),
        ("Args/l/r", False),
        ("Model", False),
        ("name", False),
        ("New parameters", False),
    ]


def test_a_form_of_a_stranger_with_too_many_bytes_or_fields_is_not_carried() -> None:
    assert KeptForm("/queues", (("name", "x" * 1000),)).fits(1005, STRANGERS)
    assert not KeptForm("/queues", (("name", "x" * 64_000),)).fits(64_005, STRANGERS)
    assert not KeptForm("/queues", tuple((str(number), "") for number in range(3000))).fits(20_000, STRANGERS)


def test_the_log_in_page_carries_any_form_of_those_who_have_had_a_session() -> None:
    most = tuple((str(number), "") for number in range(MAX_FORM_FIELDS - LOG_IN_FIELDS))
    assert KeptForm("/tasks/a/edit", most).fits(MAX_FORM_BYTES, KNOWN)
    assert not KeptForm("/tasks/a/edit", (*most, ("x", ""))).fits(MAX_FORM_BYTES, KNOWN)
    large = KeptForm("/tasks/a/edit", (("name", "~* é" * 100_000), *most))
    sent = len(urlencode(large.items))
    assert (
        len(urlencode([*large.carried, ("access_key", "k"), ("secret_key", "s")]))
        <= sent + KNOWN.bytes - MAX_FORM_BYTES
    )


def test_every_hidden_field_of_a_form_stays_hidden_when_the_form_is_shown_again() -> None:
    posted = [
        form
        for path in TEMPLATES.glob("*.html")
        for form in re.findall(r'<form[^>]* method="post".*?</form>', path.read_text(), re.DOTALL)
    ]
    names = {name for form in posted for name in re.findall(r'type="hidden" name="([^"{]+)"', form)} - {"was:", "next"}
    assert names and names <= WITHOUT_WORDS | {TO}


def test_a_refused_form_is_shown_again_with_what_was_written() -> None:
    def refuse(name: str, data: dict[str, object]) -> object:
        raise ApiError(400, 5, "no room")

    page = ask(make_app(refuse), "/projects/x/views", "POST", data={"name": "<b>kept", "query": "q=1", "back": "/"})
    assert page.status_code == 400 and "no room" in page.text
    assert 'value="&lt;b&gt;kept"' in page.text and '<input type="hidden" name="query" value="q=1">' in page.text
    assert '<form method="post" action="/projects/x/views"' in page.text
