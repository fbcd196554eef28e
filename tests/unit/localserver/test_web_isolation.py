"""Names that would change the writing direction of the words around them."""

from __future__ import annotations

import pytest
from clearml_localserver.web.environment import make_environment
from clearml_localserver.web.isolation import BEGIN, END, isolate, mark

OVERRIDE = "abc \u202ecod.exe"
HEBREW = "\u05d0\u05d1\u05d2"


def rendered(template: str, **values: object) -> str:
    return isolate(make_environment(str).from_string(template).render(**values))


@pytest.mark.parametrize("name", [OVERRIDE, HEBREW, f"{HEBREW} <b>", f"a{BEGIN}b{END}c"])
def test_a_directed_name_is_isolated_wherever_a_template_puts_it(name: str) -> None:
    page = rendered("<h1>Enqueue “{{ name }}”?</h1><li>{{ name | truncate(80) }} <b>draft</b></li>", name=name)
    shown = name.replace(BEGIN, "").replace(END, "").replace("<", "&lt;").replace(">", "&gt;")
    assert page == f"<h1>Enqueue “<bdi>{shown}</bdi>”?</h1><li><bdi>{shown}</bdi> <b>draft</b></li>"


@pytest.mark.parametrize(
    "place",
    [
        '<a title="{}" href="/x">y</a>', "<title>{} · localserver</title>", "<textarea>\n{}</textarea>",
        "<option>{}</option>", "<svg><text>{}</text></svg>", '<input value="{}">', "<script>{}</script>",
    ],
)  # fmt: skip
def test_a_name_stays_as_it_is_where_no_element_may_stand(place: str) -> None:
    assert rendered(place.format("{{ name }}"), name=OVERRIDE) == place.format(OVERRIDE)


@pytest.mark.parametrize("value", ["plain", "Größe 5 µm", "日本語", 7, None, 1.5])
def test_other_values_are_left_alone(value: object) -> None:
    assert mark(value) is value


def test_signs_in_text_that_is_not_marked_make_no_element() -> None:
    assert isolate(f"<p>{END}a{BEGIN}</p>") == f"<p>{END}a{BEGIN}</p>"
