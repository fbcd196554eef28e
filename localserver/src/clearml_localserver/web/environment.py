"""The templates of the pages, and the filters and functions that they use."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from clearml_localserver.web import charts, outcome, text
from clearml_localserver.web.drawing import box
from clearml_localserver.web.isolation import mark

TEMPLATES = Path(__file__).parent / "templates"


def make_environment(static: Callable[[str], str]) -> Environment:
    """Return the templates; `static` returns the address of a static file."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=mark,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    filters: dict[str, Callable[..., Any]] = {
        "duration": text.duration,
        "more_seconds": text.more_seconds,
        "size": text.size,
        "number": text.number,
        "status": text.status,
        "pretty": text.pretty,
        "moment": text.moment,
        "absolute": text.absolute,
        "sentences": outcome.sentences,
        "json_script": text.json_script,
        "path": text.project_path,
        "q": lambda value: quote(str(value), safe="", errors="replace"),
        "shell": lambda value: shlex.quote(str(value)),  # a word of a command that people copy into a terminal
    }
    made.filters.update(filters)
    made.globals.update(static=static, statuses=text.STATUSES, ago=text.ago, run_time=text.run_time)
    made.globals.update(level=charts.level, box=box)
    return made
