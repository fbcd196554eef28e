"""Console text as HTML: colour codes become classes, other escape sequences vanish, addresses become links. Pure.

Programs print anything, also a line of a million characters or of colour codes alone. So every step here takes time in
proportion to the text: the patterns never go back over what they have read, and a drawn line has a greatest length.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from markupsafe import Markup, escape

LONGEST_LINE = 10_000
"""Characters of a line that are drawn, its codes included."""

# What follows a repetition is optional, so no match fails after it and nothing is read twice: linear for any text.
ESCAPE = re.compile(
    r"\x1b\[(?P<codes>[0-?]*)(?P<between>[ -/]*)(?P<end>[@-~])?"  # colours, cursor movement and the like
    r"|\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)?"  # window titles, hyperlinks
    r"|\x1b[()*+#%][^\x1b\n]?"  # character sets
    r"|\x1b[@-Z\\^_=>]?"
    r"|[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f]+"
)
SLICE = 2**14
"""Characters whose codes are taken out in one call, which keeps the interpreter's lock: 3 ms at most for so many."""

ADDRESS = re.compile(r"https?://(?![.,;:!?)\]}])[^\s<>\"'`]+")
AFTER_ADDRESS = ".,;:!?)]}"
"""Belongs to the sentence around an address, not to its end."""

COLOURS = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
CODE = re.compile(r"[0-9]{1,3}")
CUBE = (0, 95, 135, 175, 215, 255)
"""Levels of red, green and blue in the palette's colours 16 to 231."""

FIRST_GREY, GREYS = 232, tuple(range(8, 239, 10))


def palette(number: int) -> tuple[int, int, int]:
    """Return a colour of the 256-colour palette from 16 on, as red, green and blue."""
    if number >= FIRST_GREY:
        return (GREYS[number - FIRST_GREY],) * 3
    return CUBE[(number - 16) // 36], CUBE[(number - 16) // 6 % 6], CUBE[(number - 16) % 6]


@lru_cache(maxsize=1024)
def nearest(red: int, green: int, blue: int) -> int:
    """Return the palette's number for a colour: a page has classes for these, since its policy forbids own styles."""

    def distance(number: int) -> int:
        return sum((a - b) ** 2 for a, b in zip(palette(number), (red, green, blue), strict=True))

    return min(range(16, 256), key=distance)


class Style(NamedTuple):
    """How text is shown from a colour sequence on."""

    bold: bool = False
    colour: str = ""
    ground: str = ""

    def around(self, html: str) -> str:
        """Return HTML in this style."""
        classes = " ".join(filter(None, ("a-bold" if self.bold else "", self.colour, self.ground)))
        return f'<span class="{classes}">{html}</span>' if classes and html else html


NOT_PLAIN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]|://")
"""What a text holds that is more than one line without colours and addresses."""


def to_lines(text: str, whole: str = "") -> list[Markup]:
    """Return console text as safe HTML by line; colours last over line ends.

    Args:
        text: What was printed.
        whole: Address of the whole text, to which a line that is cut leads.
    """
    if len(text) <= LONGEST_LINE and not NOT_PLAIN.search(text):  # most of what is printed
        return [escape(text)]
    style, lines = Style(), []
    for line in text.replace("\r\n", "\n").split("\n"):
        # A carriage return overwrites what stood before it: earlier states of a progress bar.
        line = line.rstrip("\r").rpartition("\r")[2]
        shown = line[:LONGEST_LINE]
        html: list[str] = []
        for part, its_style in _parts(shown, style):
            html.append(its_style.around(_linked(part)))
            style = its_style
        if left := len(line) - len(shown):
            html.append(str(Markup('<a class="cut" href="{}">… {:,} more characters</a>').format(whole, left)))
        lines.append(Markup("".join(html)))  # noqa: S704  made of escaped parts
    return lines


def to_text(text: str) -> str:
    """Return console text without escape sequences."""
    return "".join(pieces_of_text(text))


def pieces_of_text(text: str) -> Iterator[str]:
    """Yield the same in pieces, so that other threads come in between: a text may be one line of many megabytes."""
    at = 0
    while at < len(text):
        end = at + SLICE
        if end < len(text):
            # No sequence goes beyond the start of the next one, so a slice may end before any.
            last = text.rfind("\x1b", at, end)
            if last > at:
                end = last
            elif last == at and (match := ESCAPE.match(text, at)):  # one that is longer than a slice
                at = match.end()
                continue
        yield ESCAPE.sub("", text[at:end])
        at = end


def _parts(text: str, style: Style) -> Iterator[tuple[str, Style]]:
    """Yield the visible parts of a line with their styles; the last one, which may be empty, has the style after it."""
    waiting: list[str] = []
    position = 0
    for match in ESCAPE.finditer(text):
        waiting.append(text[position : match.start()])
        position = match.end()
        if match["end"] != "m" or match["between"]:
            continue
        after = _after(match["codes"], style)
        if after != style:
            if part := "".join(waiting):
                yield part, style
            waiting, style = [], after
    yield "".join([*waiting, text[position:]]), style


def _linked(text: str) -> str:
    if "://" not in text:
        return escape(text)
    parts, position = [], 0
    for match in ADDRESS.finditer(text):
        address = match[0].rstrip(AFTER_ADDRESS)
        parts.append(escape(text[position : match.start()]))
        parts.append(Markup('<a href="{0}" rel="noopener noreferrer">{0}</a>').format(address))
        position = match.start() + len(address)
    parts.append(escape(text[position:]))
    return "".join(parts)


@lru_cache(maxsize=256)
def _after(codes: str, style: Style) -> Style:
    """Return the style that holds after a colour sequence; numbers that no terminal knows change nothing."""
    # Some programs separate the numbers of one colour by colons, and leave the third one, the colour space, empty.
    codes = codes.replace("::", ":").replace(":", ";")
    numbers = iter([int(code) if CODE.fullmatch(code) else -1 if code else 0 for code in codes.split(";")])
    for code in numbers:
        if code == 0:
            style = Style()
        elif code in (1, 22):
            style = style._replace(bold=code == 1)
        elif 30 <= code <= 37 or 90 <= code <= 97:
            style = style._replace(colour=f"a-{COLOURS[code % 10]}")
        elif 40 <= code <= 47 or 100 <= code <= 107:
            style = style._replace(ground=f"a-on-{COLOURS[code % 10]}")
        elif code == 39:
            style = style._replace(colour="")
        elif code == 49:
            style = style._replace(ground="")
        elif code in (38, 48):
            number = _of_palette(numbers)
            if number is None:
                continue
            name = COLOURS[number % 8] if number < 16 else str(number)
            style = style._replace(colour=f"a-{name}") if code == 38 else style._replace(ground=f"a-on-{name}")
    return style


def _of_palette(numbers: Iterator[int]) -> int | None:
    """Return the palette's number of the colour that follows: `5;n` or `2;r;g;b`; None for anything else."""
    kind = next(numbers, 0)
    parts = [next(numbers, -1) for _ in range({5: 1, 2: 3}.get(kind, 0))]
    if not parts or not all(0 <= part <= 255 for part in parts):
        return None
    return parts[0] if kind == 5 else nearest(*parts)
