"""Search over tasks, dataset versions, models, projects, tags and parameters."""

from __future__ import annotations

import re

from starlette.responses import Response

from clearml_localserver.web.columns import Column, parameter_key, read_column
from clearml_localserver.web.site import Json, Visit
from clearml_localserver.web.views.lists import TASK_ROW, Slice, find_tasks, task_page

LISTED = 50
"""Projects, dataset versions, models, tags and parameters that a result lists; tasks are paged."""

SEARCHED_PARAMETERS = 100
"""Parameters whose values are looked at: each makes the search of all tasks longer."""

TEXTS = ["name", "id", "comment", "tags"]
UNSEARCHABLE = re.compile(r'["\\\x00-\x1f]')
"""Characters in the name of a parameter that the API has no path for."""

MODEL_FIELDS = ["name", "framework", "ready", "created", "project.name", "tags"]


def search(visit: Visit) -> Response:
    """Find what has a text in its name, comment, tags or parameters, or has it as its id."""
    wanted = visit.asked.text("q")
    if not wanted:
        return visit.render("search.html", wanted="", tasks=Slice([], 1, 0), groups={}, most=LISTED)
    parameters = _parameters(visit)
    pattern = re.escape(wanted)

    def containing(*more: str) -> Json:
        return {"_any_": {"fields": [*TEXTS, *more], "pattern": pattern}, "order_by": ["-last_update"]}

    in_tasks = containing(*(column.path for column in parameters[:SEARCHED_PARAMETERS]))
    part: Json = {"page": 0, "page_size": LISTED + 1, "search_hidden": True}
    named = {"_any_": {"fields": ["name", "id"], "pattern": pattern}, "only_fields": ["name", "system_tags"]}
    versions = in_tasks | {"system_tags": ["__$all", "dataset"]}
    tags = visit.call("organization.get_tags", {})["tags"]
    groups = {
        "projects": visit.call("projects.get_all_ex", part | named)["projects"],
        "versions": find_tasks(visit, versions, size=LISTED + 1, fields=[*TASK_ROW, "runtime"]),
        "models": visit.call("models.get_all_ex", part | containing() | {"only_fields": MODEL_FIELDS})["models"],
        "tags": [tag for tag in tags if wanted.lower() in tag.lower()],
        "parameters": [column for column in parameters if wanted.lower() in column.title.lower()],
    }
    return visit.render("search.html", wanted=wanted, tasks=task_page(visit, in_tasks), groups=groups, most=LISTED)


def _parameters(visit: Visit) -> list[Column]:
    """Return the parameters that any task has, as far as the API can look for them."""
    found = visit.call("projects.get_hyper_parameters", {})["parameters"]
    keys = [
        parameter_key(item["section"], item["name"])
        for item in found
        if not UNSEARCHABLE.search(item["section"] + item["name"])
    ]
    return [column for key in keys if (column := read_column(key)) is not None]
