"""Console text as HTML."""

from __future__ import annotations

import re

import pytest
from clearml_localserver.web import ansi
from clearml_localserver.web.site import STATIC
from hypothesis import given
from hypothesis import strategies as st

from tests.c_calls import long_c_calls


def html_of(text: str) -> str:
    return "\n".join(ansi.to_lines(text, "/whole"))


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("plain", "plain"),
        ('<script>alert(1)</script> & "x"', "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &#34;x&#34;"),
        ("\x1b[31mred\x1b[0m.", '<span class="a-red">red</span>.'),
        ("\x1b[1;92mok\x1b[39m b\x1b[22m n", '<span class="a-bold a-green">ok</span><span class="a-bold"> b</span> n'),
        ("\x1b[31ma\nb\x1b[mc", '<span class="a-red">a</span>\n<span class="a-red">b</span>c'),
        ("\x1b[38;5;208mx\x1b[38;2;1;2;3my", '<span class="a-208">x</span><span class="a-16">y</span>'),
        (
            "\x1b[38;5;9mx\x1b[48;2;250;0;0my\x1b[39mz",
            '<span class="a-red">x</span><span class="a-red a-on-196">y</span><span class="a-on-196">z</span>',
        ),
        ("\x1b[38:2::95:135:175mx\x1b[49;38;5;300my\x1b[38m", '<span class="a-67">xy</span>'),
        ("\x1b[41mx\x1b[0my", '<span class="a-on-red">x</span>y'),
        ("\x1b[2K\x1b[1Gline\x1b]0;title\x07 end\x1b(B", "line end"),
        ("10%\r55%\r100%\ndone\r\nnext", "100%\ndone\nnext"),
        ("bell\x07 and \x00nul", "bell and nul"),
        ("\x1b[1m\x1b[1m\x1b[31mx\x1b[0m\x1b[0m", '<span class="a-bold a-red">x</span>'),
        ("\x1b[" + "3" * 5000 + "mx\x1b[;1my", 'x<span class="a-bold">y</span>'),
        ("\x1b[?25lx\x1b[", "x"),
        ("a\rb\r\r\nc\r", "b\nc"),
        ("see http://. and http://", "see http://. and http://"),
    ],
)
def test_console_text(text: str, html: str) -> None:
    assert html_of(text) == html


@pytest.mark.parametrize(
    ("text", "address", "after"),
    [
        ("see http://127.0.0.1:8080/a?b=1&c=2.", "http://127.0.0.1:8080/a?b=1&amp;c=2", "."),
        ("(https://example.com/x)", "https://example.com/x", ")"),
        ("https://example.com/x'onload=alert(1)", "https://example.com/x", "&#39;onload=alert(1)"),
    ],
)
def test_addresses_become_links(text: str, address: str, after: str) -> None:
    html = html_of(text)
    assert f'<a href="{address}" rel="noopener noreferrer">{address}</a>{after}' in html


def test_no_other_scheme_becomes_a_link() -> None:
    assert "<a" not in html_of("javascript:alert(1) ftp://x/y data:text/html,x file:///etc/passwd")


TAG = re.compile(r'<span class="[a-z -]+">|</span>|<a href="https?://[^"<>]*" rel="noopener noreferrer">|</a>')


@given(st.text(alphabet=st.sampled_from("ab<>&\"'\x1b[;m0123;\r\n:/http s"), max_size=60) | st.text(max_size=60))
def test_no_text_makes_html_of_its_own(text: str) -> None:
    rest = TAG.sub("", html_of(text))
    assert "<" not in rest and ">" not in rest and '"' not in rest


def test_plain_text_keeps_everything_but_the_codes() -> None:
    assert ansi.to_text("\x1b[1mbold\x1b[0m <b>") == "bold <b>"


@pytest.mark.parametrize(
    "unit", ["y", "\x1b[1m", "\x1b[;", "\x1b]", "\x1b(", "\x00", "a\r", "http://", "http://.", "<"]
)
def test_a_line_of_any_length_is_drawn_in_proportion_to_its_length_and_cut(unit: str) -> None:
    # A quadratic step would take minutes here: the time limit of the suite is the test.
    length = 3_000_000 // len(unit)
    (line,) = ansi.to_lines(unit * length, "/whole")
    assert len(line) <= ansi.LONGEST_LINE * 40
    ansi.to_text(unit * length)
    if unit == "y":
        assert line.startswith("y" * ansi.LONGEST_LINE + "<a ")
        assert line.endswith('<a class="cut" href="/whole">… 2,990,000 more characters</a>')


@pytest.mark.parametrize("unit", ["y", "\x1b[1m", "\x1b[;", "\x1b]", "\x1b(", "a\x00", "\x1b]x"])
def test_no_call_keeps_the_interpreter_while_codes_are_taken_out_of_a_long_line(unit: str) -> None:
    line = unit * (4_000_000 // len(unit))
    with long_c_calls(50) as found:
        ansi.to_text(line)
    assert found == []


PARTS = st.sampled_from(["\x1b[", "\x1b]", "\x1b(", "\x1b\\", "\x1b", "\x07", "3;1", "m", "ab", "\n", "\x00", "é"])


@given(st.lists(PARTS, max_size=40).map("".join), st.integers(1, 12))
def test_pieces_of_any_length_are_the_text_without_its_codes(text: str, slice_: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ansi, "SLICE", slice_)
        assert ansi.to_text(text) == ansi.ESCAPE.sub("", text)


def test_a_line_that_just_fits_is_whole() -> None:
    assert html_of("y" * ansi.LONGEST_LINE) == "y" * ansi.LONGEST_LINE


def test_every_colour_of_the_palette_has_its_class_in_the_style_sheet() -> None:
    sheet = (STATIC / "console.css").read_text(encoding="utf-8")
    for number in range(16, 256):
        colour = "#{:02x}{:02x}{:02x}".format(*ansi.palette(number))
        assert f".a-{number}{{--ink:{colour}}}" in sheet and f".a-on-{number}{{--paper:{colour}}}" in sheet
        assert ansi.palette(ansi.nearest(*ansi.palette(number))) == ansi.palette(number)
    for name in ansi.COLOURS:
        assert re.search(rf"\.a-{name}\b[^{{]*{{ --ink", sheet) and re.search(
            rf"\.a-on-{name}\b[^{{]*{{ --paper", sheet
        )
