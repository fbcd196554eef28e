"""No list on a page ends at a limit in silence: over the table of routes, so that a new page is looked at too.

The API answers each list with as many documents as were asked for, and counts far more. A page that asked for a part
of a list must then say how many there are, or that it shows only a part.
"""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
import tinyhtml5
from clearml_localserver.web.views import projects
from clearml_localserver.web.views.lists import BATCH

from tests.unit.localserver.test_web_hostile import PATHS, WORLD
from tests.unit.localserver.web_app import ask, make_app

TOTAL = 12_345
READ_WHOLE = 600
"""Documents of a list that a page reads to its end, batch by batch."""

TELLS = re.compile(
    rf"{TOTAL:,}|\bOnly the (?:first|newest|latest)\b|\b[\d,]+ more\b|\bThere is more than\b"
    r"|\bthe (?:first|last|newest) [\d,]+\b|\d\+"
)
KEYS = {"tasks": "tasks", "reports": "tasks", "models": "models", "projects": "projects", "queues": "queues"}

NOT_LISTED = {
    "/": "shows the latest runs and ended tasks as such",
    "/projects/ID/columns": "reads the newest tasks for names of runtime properties",
    "/tasks/ID/run": "reads names of earlier runs to number the new one",
    "/reports/ID": "its author's blocks name how many tasks they show",
    "/reports/ID/export": "its author's blocks name how many tasks they show",
}
"""Pages that ask for a part of a list without showing it as a list."""


class Many:
    """An API in which there is much of everything."""

    def __init__(self) -> None:
        self.parts: list[str] = []

    def __call__(self, name: str, data: dict[str, Any]) -> Any:
        reply = copy.deepcopy(WORLD.get(name, {}))
        service, _, call = name.partition(".")
        if call == "get_entities_count":
            return dict.fromkeys(("tasks", "models", "projects", "reports"), TOTAL)
        size = data.get("page_size")
        is_lookup = data.get("id") or data.get("uri")  # of what another document names
        if not call.startswith("get_all") or not size or is_lookup or size < 2:
            return reply
        (sample, *_) = reply[KEYS[service]]
        number = size
        if size == BATCH:
            number = 0 if data["page"] else READ_WHOLE
        else:
            self.parts.append(f"{name} {size}")
        return {KEYS[service]: [sample | {"id": f"{n:032x}", "name": f"{service} {n}"} for n in range(number)]}


API: list[Many] = [Many()]
APP = make_app(lambda name, data: API[0](name, data))
"""One for all tests, as it compiles its templates only once."""


@pytest.mark.parametrize("path", [path for path in PATHS if not re.search(r"_part|\.csv$|\.json$", path)])
def test_a_page_that_asks_for_a_part_of_a_list_tells_of_the_rest(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projects, "MAX_PROJECTS", 50)
    api = API[0] = Many()
    reply = ask(APP, path)
    assert reply.status_code < 500
    plain = re.sub(r"[0-9a-f]{32}", "ID", path)
    if not api.parts or plain in NOT_LISTED or not reply.headers.get("Content-Type", "").startswith("text/html"):
        return
    if reply.status_code >= 300:
        return
    main = tinyhtml5.parse(reply.text, namespace_html_elements=False).find(".//main")
    assert main is not None
    said = " ".join(" ".join(main.itertext()).split())
    assert TELLS.search(said), (api.parts, said[-600:])


def test_the_pages_that_show_no_list_are_still_there() -> None:
    assert NOT_LISTED.keys() <= {re.sub(r"[0-9a-f]{32}", "ID", path) for path in PATHS}
