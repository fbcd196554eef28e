"""Forms that could not be carried out keep what was written in them."""

from __future__ import annotations

import re
from pathlib import Path

from clearml_localserver import web
from clearml_localserver.errors import ApiError
from clearml_localserver.web.form_fields import mark
from clearml_localserver.web.kept_forms import KEPT, TO, WITHOUT_WORDS, KeptForm, carried_form

from tests.unit.localserver.web_app import ask, make_app

TEMPLATES = Path(web.__file__).with_name("templates")


def test_a_form_is_the_same_after_the_log_in_page_carried_it() -> None:
    form = KeptForm("/tasks/a/edit", (("name", "x"), ("ids", "1"), ("ids", "2"), ("was:name", "m"), ("empty", "")))
    assert carried_form([("access_key", "k"), *form.carried]) == form
    assert [(field.name, field.value) for field in form.written] == [("name", "x"), ("empty", "")]
    assert KeptForm("/", (("name", "x"), ("was:name", mark("x")))).written == [], "nobody has changed it"
    assert carried_form([(KEPT + "name", "x"), ("next", "/")]) is None


def test_a_tick_that_deletes_something_stays_a_tick_with_words() -> None:
    names = ("x:p:Args/l%2Fr", "x:g:Args", "x:c:Model", "n:Args/lr", "g:Args", "p:Args/l%2Fr", "c:Model", "name")
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
    ]


def test_a_form_with_too_many_bytes_or_fields_is_not_carried() -> None:
    assert KeptForm("/queues", (("name", "x" * 1000),)).fits(2**16)
    assert not KeptForm("/queues", (("name", "é" * 12_000),)).fits(2**16), "each é takes six bytes"
    assert not KeptForm("/queues", tuple((str(number), "") for number in range(3000))).fits(2**20)


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
