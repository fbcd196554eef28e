"""The boxes of a drawn graph as SVG. Pure.

Made here and not in a template: a graph has hundreds of boxes, and a template takes ten times as long for one.
"""

from __future__ import annotations

from typing import Any

from markupsafe import Markup, escape

from clearml_localserver.web.dag import BOX_HEIGHT, BOX_WIDTH, Box
from clearml_localserver.web.isolation import mark

WHOLE_TITLE, TITLE_BEGINS, TITLE_ENDS = 19, 10, 8
"""Characters that a box has room for; of a longer title, how many are shown of its beginning and its end."""

WHOLE_LINE, LINE_BEGINS = 35, 29
"""The same of the line below the title, of which the beginning is shown."""


def safe(value: Any) -> Markup:
    """Return a value as a template puts it in: escaped, and isolated from the direction of the text around it."""
    return escape(mark(value))


def box(item: Box, css: str, title: str, line: str, href: str, *, current: bool = False, extra: str = "") -> Markup:
    """Return a box that leads to a page, or to none.

    Args:
        item: Where it lies.
        css: Class that gives its colour, a word of ours.
        title: Its title; what is too long for it is shown by beginning and end.
        line: Second line.
        href: The page's address; may be empty.
        current: Whether it stands out.
        extra: What the pointer shows besides.
    """
    short = title if len(title) <= WHOLE_TITLE else f"{title[:TITLE_BEGINS]}…{title[-TITLE_ENDS:]}"
    told = line if len(line) <= WHOLE_LINE else f"{line[:LINE_BEGINS]}…"
    name, below = safe(title), safe(line)
    begin, end = (f'<a href="{safe(href)}" aria-label="{name}, {below}">', "</a>") if href else ("<g>", "</g>")
    return Markup(  # noqa: S704  what is put in is a number, a word of ours, or safe
        f'{begin}<g class="box {css}{" current" if current else ""}" transform="translate({item.x} {item.y})">'
        f"<title>{name}{': ' if extra else ''}{safe(extra)}</title>"
        f'<rect class="body" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="9"/>'
        f'<circle class="light" cx="18" cy="{BOX_HEIGHT / 2}" r="5.5"/>'
        f'<svg x="34" width="{BOX_WIDTH - 42}" height="{BOX_HEIGHT}">'
        f'<text class="title" y="23">{safe(short)}</text><text class="line" y="41">{safe(told)}</text></svg></g>{end}\n'
    )
