"""Console text as HTML: colour codes become classes, other escape sequences vanish, addresses become links. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from markupsafe import Markup, escape

ESCAPE = re.compile(
    r"\x1b\[(?P<sgr>[0-9;]*)m"  # colours and weights: the only ones that are shown
    r"|\x1b\[[0-?]*[ -/]*[@-~]"  # cursor movement and the like
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # window titles, hyperlinks
    r"|\x1b[()*+#%].?"  # character sets
    r"|\x1b[@-Z\\^_=>]?"
    r"|[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f]"
)
ADDRESS = re.compile(r"https?://[^\s<>\"'`]+[^\s<>\"'`.,;:!?)\]}]")
COLOURS = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
PROGRESS = re.compile(r"[^\n]*\r(?!\n|$)")
"""What a carriage return overwrites: earlier states of a progress bar."""


def to_html(text: str) -> Markup:
    """Return console text as safe HTML."""
    return Markup("\n").join(to_lines(text))


def to_lines(text: str) -> list[Markup]:
    """Return console text as safe HTML by line; colours last over line ends."""
    text = PROGRESS.sub("", text.replace("\r\n", "\n")).replace("\r", "")
    lines = [Markup("")]
    for part, classes in _parts(text):
        first, *others = part.split("\n")
        lines[-1] += _span(first, classes)
        lines.extend(_span(other, classes) for other in others)
    return lines


def to_text(text: str) -> str:
    """Return console text without escape sequences."""
    return ESCAPE.sub("", text)


def _parts(text: str) -> Iterator[tuple[str, list[str]]]:
    classes: list[str] = []
    position = 0
    for match in ESCAPE.finditer(text):
        yield text[position : match.start()], classes
        position = match.end()
        if match["sgr"] is not None:
            classes = _after(match["sgr"], classes)
    yield text[position:], classes


def _span(text: str, classes: list[str]) -> Markup:
    if not text or not classes:
        return _linked(text)
    return Markup('<span class="{}">{}</span>').format(" ".join(classes), _linked(text))


def _linked(text: str) -> Markup:
    parts, position = [], 0
    for match in ADDRESS.finditer(text):
        parts.append(escape(text[position : match.start()]))
        parts.append(Markup('<a href="{0}" rel="noopener noreferrer">{0}</a>').format(match[0]))
        position = match.end()
    parts.append(escape(text[position:]))
    return Markup("").join(parts)


def _after(codes: str, classes: list[str]) -> list[str]:
    """Return the classes that hold after a colour sequence."""
    numbers = iter([int(code) if code else 0 for code in codes.split(";")])
    for code in numbers:
        if code == 0:
            classes = []
        elif code == 1:
            classes = [*classes, "a-bold"]
        elif code == 22:
            classes = [name for name in classes if name != "a-bold"]
        elif 30 <= code <= 37 or 90 <= code <= 97:
            classes = [*_without_colour(classes), f"a-{COLOURS[code % 10]}"]
        elif code == 39:
            classes = _without_colour(classes)
        elif code in (38, 48):
            # A palette or RGB colour: its numbers are skipped, the text keeps its present colour.
            for _ in range({5: 1, 2: 3}.get(next(numbers, 0), 0)):
                next(numbers, None)
    return classes


def _without_colour(classes: list[str]) -> list[str]:
    return [name for name in classes if name == "a-bold"]
