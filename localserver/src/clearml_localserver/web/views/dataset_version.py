"""A dataset version on its page: sizes, parents, previews, files."""

from __future__ import annotations

from itertools import islice

from starlette.responses import Response

from clearml_localserver.web import dag
from clearml_localserver.web.site import Visit
from clearml_localserver.web.views.previews import read_previews
from clearml_localserver.web.views.tasks import (
    file_lines,
    label_versions,
    load,
    nearest,
    read_file,
    read_struct,
    render_tab,
)

FILES_PER_PAGE = 500


def dataset(visit: Visit) -> Response:
    """Show a dataset version: sizes, parents, files."""
    task = load(visit, ["configuration", "execution.artifacts"])
    configuration = task.get("configuration") or {}
    content = (configuration.get("Dataset Content") or {}).get("value") or ""
    versions = read_struct((configuration.get("Dataset Struct") or {}).get("value") or "")
    parents = versions.get(task["id"], {}).get("parents", [])
    number = visit.asked.page()
    wanted = visit.asked.text("q").lower()
    matching = (line for line in file_lines(content) if not wanted or wanted in line.rsplit(", ", 2)[0].lower())
    start = (number - 1) * FILES_PER_PAGE
    listed = list(islice(matching, start, start + FILES_PER_PAGE + 1))
    return render_tab(
        visit,
        task,
        "dataset",
        files=[read_file(line) for line in listed[:FILES_PER_PAGE]],
        total=content.count("\n"),
        number=number,
        has_next=len(listed) > FILES_PER_PAGE,
        versions=label_versions(versions, task["name"], {task["id"]: task["status"]}),
        parents=parents,
        # A page further on in the list of files, or of a search in it, is about files only.
        previews=None if number > 1 or wanted else read_previews(visit, task["id"]),
        drawing=dag.layout({id_: version["parents"] for id_, version in nearest(versions, [task["id"]]).items()}),
    )
