"""Console text as HTML."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localserver.web import ansi


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("plain", "plain"),
        ('<script>alert(1)</script> & "x"', "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &#34;x&#34;"),
        ("\x1b[31mred\x1b[0m.", '<span class="a-red">red</span>.'),
        ("\x1b[1;92mok\x1b[39m b\x1b[22m n", '<span class="a-bold a-green">ok</span><span class="a-bold"> b</span> n'),
        ("\x1b[31ma\nb\x1b[mc", '<span class="a-red">a</span>\n<span class="a-red">b</span>c'),
        ("\x1b[38;5;208mx\x1b[38;2;1;2;3my", "xy"),
        ("\x1b[2K\x1b[1Gline\x1b]0;title\x07 end\x1b(B", "line end"),
        ("10%\r55%\r100%\ndone\r\nnext", "100%\ndone\nnext"),
        ("bell\x07 and \x00nul", "bell and nul"),
    ],
)
def test_console_text(text: str, html: str) -> None:
    assert str(ansi.to_html(text)) == html


@pytest.mark.parametrize(
    ("text", "address", "after"),
    [
        ("see http://127.0.0.1:8080/a?b=1&c=2.", "http://127.0.0.1:8080/a?b=1&amp;c=2", "."),
        ("(https://example.com/x)", "https://example.com/x", ")"),
        ("https://example.com/x'onload=alert(1)", "https://example.com/x", "&#39;onload=alert(1)"),
    ],
)
def test_addresses_become_links(text: str, address: str, after: str) -> None:
    html = str(ansi.to_html(text))
    assert f'<a href="{address}" rel="noopener noreferrer">{address}</a>{after}' in html


def test_no_other_scheme_becomes_a_link() -> None:
    assert "<a" not in ansi.to_html("javascript:alert(1) ftp://x/y data:text/html,x file:///etc/passwd")


TAG = re.compile(r'<span class="[a-z -]+">|</span>|<a href="https?://[^"<>]*" rel="noopener noreferrer">|</a>')


@given(st.text(alphabet=st.sampled_from("ab<>&\"'\x1b[;m0123;\r\n:/http s"), max_size=60) | st.text(max_size=60))
def test_no_text_makes_html_of_its_own(text: str) -> None:
    rest = TAG.sub("", str(ansi.to_html(text)))
    assert "<" not in rest and ">" not in rest and '"' not in rest


def test_plain_text_keeps_everything_but_the_codes() -> None:
    assert ansi.to_text("\x1b[1mbold\x1b[0m <b>") == "bold <b>"
