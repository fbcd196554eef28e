"""The drafts that are cloned to run a pipeline: inside another one, by a trigger, by the clock. Found, or made.

Found by project, name, the package's version and a digest of the content, never by a known id. Made through the API, as
the SDK would leave a controller that has not run yet: no process has to start for it. To be cloned: a draft that
somebody enqueues is no longer a draft, and the next call makes another. Version and digest are in the draft's runtime
properties, which clones do not inherit. The draft of the task TF-IDF is in `pipeline.amazon_reviews.model.fit_model`.
Outside system: the ClearML server, through its adapter.
"""

from __future__ import annotations

import hashlib
import json
import re

from clearml_access.run_records import DAG_CONFIGURATION
from pipeline import provenance
from pipeline.clearml_server import ClearmlServer
from pipeline.graph.definitions import Definition
from pipeline.settings import step_requirements

SUFFIX = " (template)"
"""Behind the name of a draft: the SDK counts the runs of a pipeline by its bare name."""

PIPELINE_TAG, HIDDEN_TAG = "pipeline", "hidden"
PIPELINES_SECTION = ".pipelines"


def ensure_draft(server: ClearmlServer, definition: Definition) -> str:
    """Return the id of a pipeline's draft for this code, which is made if it is not there.

    Args:
        server: The server.
        definition: The pipeline.
    """
    code = {"version": provenance.PACKAGE_VERSION, "source": _digest(definition)}
    project = _project(server, definition)
    name = definition.name + SUFFIX
    drafts = server.tasks(
        ["runtime"], project=[project], name=f"^{re.escape(name)}$", status=["created"], order_by=["created"]
    )
    mine = [draft for draft in drafts if code.items() <= (draft.get("runtime") or {}).items()]
    return str(mine[0]["id"]) if mine else _make(server, definition, project, name, code)


def _digest(definition: Definition) -> str:
    """Return a digest of what is in a draft: the code that it runs is the installed package's, whichever that is."""
    content = json.dumps([definition.entry_script, arguments(definition), _nodes(definition), step_requirements()])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def project_path(definition: Definition) -> str:
    """Return the project that the SDK keeps a pipeline's controllers in."""
    return f"{definition.project}/{PIPELINES_SECTION}/{definition.name}"


def _make(server: ClearmlServer, definition: Definition, project: str, name: str, code: dict[str, str]) -> str:
    commit = provenance.commit()
    draft = str(
        server.call(
            "tasks.create",
            name=name,
            project=project,
            type="controller",
            system_tags=[PIPELINE_TAG],
            comment=f"made by pipeline {provenance.PACKAGE_VERSION}" + (f", commit {commit}" if commit else ""),
            script={
                "repository": "",
                "branch": "",
                "entry_point": definition.entry_name,
                "working_dir": ".",
                "diff": definition.entry_script,
                "requirements": {"pip": "\n".join(step_requirements()) + "\n"},
            },
            hyperparams={
                "Args": {item["name"]: item for item in arguments(definition)},
                "properties": {"version": _item("properties", "version", provenance.PACKAGE_VERSION)},
            },
            # Without it an agent's controller would take its defaults instead of the parameters above.
            configuration={
                DAG_CONFIGURATION: {
                    "name": DAG_CONFIGURATION,
                    "type": "dictionary",
                    "value": json.dumps(_nodes(definition), indent=2),
                }
            },
        )["id"]
    )
    server.call("tasks.edit", task=draft, runtime=code)
    return draft


def arguments(definition: Definition) -> list[dict[str, str]]:
    """Return the parameters as the server stores them: typed, described, with their defaults."""
    return [
        _item("Args", parameter.name, str(parameter.default))
        | {"type": parameter.type.__name__, "description": parameter.description}
        for parameter in definition.parameters
    ]


def _item(section: str, name: str, value: str) -> dict[str, str]:
    return {"section": section, "name": name, "value": value}


def _nodes(definition: Definition) -> dict[str, object]:
    """Return the graph as pages show it before the controller has written its own."""
    return {
        step: {"parents": list(parents), "status": "pending", "executed": None, "job_id": None}
        for step, parents in definition.graph.items()
    }


def _project(server: ClearmlServer, definition: Definition) -> str:
    """Return the id of a pipeline's project; it and the folder around it are hidden, as the SDK has it."""
    path = project_path(definition)
    _folder(server, path.rpartition("/")[0], [HIDDEN_TAG])
    return _folder(server, path, [PIPELINE_TAG, HIDDEN_TAG])


def _folder(server: ClearmlServer, path: str, system_tags: list[str]) -> str:
    found = server.call(
        "projects.get_all", name=f"^{re.escape(path)}$", search_hidden=True, only_fields=["id"], page=0, page_size=1
    )["projects"]
    if found:
        return str(found[0]["id"])
    return str(server.call("projects.create", name=path, description="", system_tags=system_tags)["id"])
