"""The text of a report: Markdown with blocks that stand for data. Pure; calls no API.

A fenced block `scalars` or `tasks` holds one `key: value` per line and is replaced by a chart or a table. So is the
`<iframe src="…/widgets/?…">` that ClearML's own web application puts into reports. Other HTML is shown as text.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.token import Token

from clearml_localserver.web import text

MAX_TEXT = 100_000
"""Characters of a report that a page shows. The worst text of this length takes a few seconds to read."""

MAX_EMBEDS = 40
MAX_IDS = 50
MAX_FRAME_LINES = 20

SELECTION = ("tasks", "project", "tag", "status", "limit", "order")
OPTIONS = {
    "scalars": ("metric", "variant", "axis", "title", *SELECTION),
    "tasks": ("columns", "title", *SELECTION),
}
"""By kind of block: the keys that it may have."""

FRAMES = {"plot": "plots", "sample": "samples", "single": "values", "parcoords": "relations"}
"""Kinds of frames that are not drawn here → the comparison's tab that shows the same."""

ONE_TASK = {"plot": "plots", "sample": "samples"}
"""The same for a frame about one task → the task's own tab."""

FRAME_FIELDS = {"project": "project", "tags": "tag", "status": "status", "page_size": "limit"}
HEADINGS = ("heading_open", "heading_close")
ALIGNED = {"text-align:right": "num", "text-align:center": "centre"}
AXES = {"iter": "iter", "timestamp": "time", "iso_time": "clock"}
FRAME = "clearml_frame"
SOURCE = re.compile(r"""\ssrc\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>]+))""", re.IGNORECASE)
IMAGE = re.compile(r'<img src="([^"]*)" alt="([^"]*)"(?: title="[^"]*")? />')


@dataclass
class Embed:
    """A block of a report that stands for data."""

    kind: str
    """`scalars`, `tasks`, or `link` for a frame that is not drawn here."""

    options: dict[str, str] = field(default_factory=dict)
    order_by: str = ""
    """The API's own sort key, which only frames have."""

    problem: str = ""

    @property
    def ids(self) -> list[str]:
        """The tasks that the block names, at most so many as are shown."""
        return self._named[:MAX_IDS]

    @property
    def left_out(self) -> int:
        """How many more it names."""
        return len(self._named) - len(self.ids)

    @property
    def _named(self) -> list[str]:
        return list(dict.fromkeys(re.split(r"[\s,]+", self.options.get("tasks", "").strip())))


Piece = str | Embed


@lru_cache(maxsize=32)
def pieces(written: str) -> Sequence[Piece]:
    """Return a report's text as pieces of HTML, which is safe, and blocks that stand for data, in their order."""
    tokens = _reader().parse(written[:MAX_TEXT])
    found: list[Piece] = []
    # The page's own heading is the name of the report.
    highest = min((int(token.tag[1:]) for token in tokens if token.type in HEADINGS), default=1)
    start = embeds = 0
    for place, token in enumerate(tokens):
        if token.type in HEADINGS:
            token.tag = f"h{min(6, int(token.tag[1:]) - highest + 2)}"
        if "style" in token.attrs:  # a table's alignment; the page's policy allows no styles of its own
            token.attrs = {"class": ALIGNED.get(str(token.attrs["style"]), "")}
        embed = _embed(token)
        if embed is None:
            continue
        embeds += 1
        if embeds > MAX_EMBEDS:
            embed = Embed("link", problem=f"A report shows at most {MAX_EMBEDS} blocks of data.")
        found += [_html(tokens[start:place]), embed]
        start = place + 1
    return [*found, _html(tokens[start:])]


def with_images(markup: str, change: Callable[[str], str | None]) -> str:
    """Return HTML of a report whose images have other addresses; one without an address becomes a link."""

    def changed(match: re.Match[str]) -> str:
        source, alternative = match[1], match[2]
        found = change(html.unescape(source))
        if found is None:
            return f'<a href="{source}">{alternative or source}</a>'
        return f'<img loading="lazy" src="{html.escape(found)}" alt="{alternative}">'

    return IMAGE.sub(changed, markup)


def read_options(kind: str, written: str) -> Embed:
    """Return the block with these lines of `key: value`."""
    embed = Embed(kind)
    for line in written.splitlines():
        if not line.strip():
            continue
        key, colon, value = line.partition(":")
        key = key.strip().lower()
        if not colon or key not in OPTIONS[kind]:
            embed.problem = f"“{line.strip()[:80]}” is not understood. Each line is “key: value”, with one of the keys "
            embed.problem += ", ".join(OPTIONS[kind]) + "."
            return embed
        embed.options[key] = value.strip()
    return _checked(embed)


def read_frame(address: str) -> Embed:
    """Return the block for the frame with this address."""
    parts = _split(address)
    if parts is None:
        return Embed("link", problem="This frame has no address that could be opened.")
    fields: dict[str, list[str]] = {}
    for name, value in parse_qsl(parts[1], max_num_fields=200) if parts[1].count("&") < 200 else []:
        fields.setdefault(name.removesuffix("[]"), []).append(value)
    kind = "".join(fields.get("type", [])[:1])
    is_widget = parts[0].rstrip("/").endswith("/widgets")
    if not is_widget or "model" in fields.get("objectType", []) or kind not in ("scalar", *FRAMES):
        found = text.address(address)
        return Embed("link", {"address": found.geturl(), "title": found.netloc + found.path} if found else {},
                     problem="" if found else "This frame has no address that could be opened.")  # fmt: skip
    ids = [id_ for name in ("objects", "tasks") for value in fields.get(name, []) for id_ in value.split(",") if id_]
    if kind != "scalar":
        own = f"/compare?{urlencode({'ids': ','.join(ids[:MAX_IDS]), 'tab': FRAMES[kind]}, errors='replace')}"
        if len(ids) == 1:
            own = f"/tasks/{quote(ids[0], safe='', errors='replace')}/{ONE_TASK.get(kind, 'scalars')}"
        name = " ".join([*fields.get("metrics", [])[:1], *fields.get("variants", [])[:1]])
        return Embed("link", {"address": own, "title": name or FRAMES[kind]})
    options = {"metric": "".join(fields.get("metrics", [])[:1]), "tasks": ",".join(ids)}
    options |= {"variant": fields["variants"][0]} if "variants" in fields else {}
    options["axis"] = AXES.get("".join(fields.get("xaxis", [])[:1]), "iter")
    for name, key in FRAME_FIELDS.items():
        values = [value for given in fields.get(name, []) for value in given.split(",") if not value.startswith("__$")]
        if values:
            options[key] = ",".join(values)
    return _checked(Embed("scalars", options, "".join(fields.get("order_by", [])[:1])))


def _split(address: str) -> tuple[str, str] | None:
    try:
        parts = urlsplit(address.strip())
    except ValueError:
        return None
    return parts.path, parts.query


def _checked(embed: Embed) -> Embed:
    options = embed.options
    if embed.kind == "scalars" and not options.get("metric"):
        embed.problem = "A chart needs the line “metric: …”."
    elif options.get("axis", "iter") not in AXES.values():
        embed.problem = f"The axis is one of {', '.join(AXES.values())}."
    elif not re.fullmatch(r"[1-9][0-9]{0,2}", options.get("limit", "1")):
        embed.problem = "The limit is a number from 1 to 999."
    elif not any(options.get(name) for name in ("tasks", "project", "tag")):
        embed.problem = "Name the tasks by “tasks: <ids>”, “project: …” or “tag: …”."
    return embed


@lru_cache(maxsize=1)
def _reader() -> MarkdownIt:
    reader = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    reader.block.ruler.before("paragraph", FRAME, _frame, {"alt": ["paragraph"]})
    return reader


def _html(tokens: Sequence[Token]) -> str:
    reader = _reader()
    return str(reader.renderer.render(tokens, reader.options, {}))


def _embed(token: Token) -> Embed | None:
    if token.type == FRAME:
        return read_frame(token.content)
    name = token.info.strip().lower() if token.type == "fence" else ""
    return read_options(name, token.content) if name in OPTIONS else None


def _frame(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Read an `<iframe …></iframe>` that begins on a line; a rule of the Markdown reader."""
    if state.is_code_block(start):
        return False
    first = state.src[state.bMarks[start] + state.tShift[start] : state.eMarks[start]]
    if not first.lower().startswith("<iframe"):
        return False
    if silent:
        return True
    lines, last = [first], start
    while "</iframe>" not in lines[-1].lower() and last + 1 < min(end, start + MAX_FRAME_LINES):
        if state.isEmpty(last + 1):
            break
        last += 1
        lines.append(state.src[state.bMarks[last] : state.eMarks[last]])
    source = SOURCE.search(" ".join(lines))
    token = state.push(FRAME, "", 0)
    token.content = html.unescape(next(filter(None, source.groups()), "")) if source else ""
    token.map = [start, last + 1]
    state.line = last + 1
    return True
