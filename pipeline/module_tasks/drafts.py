"""Makes tasks that run an installed module, and the drafts that are cloned for it.

A draft is found by project, name, the package's version and a digest of its content, never by a known id. It is made
through the API, as the SDK would leave a task that has not run yet: no process has to start for it. A draft that
a person enqueues is no longer a draft, and the next call makes another. Version and digest are runtime properties of
the draft, which clones do not inherit. Outside system: the ClearML server, through its adapter.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping

from pipeline import provenance
from pipeline.clearml_server import ClearmlServer
from pipeline.graph.parameters import ParameterValue
from pipeline.module_tasks.declaration import SECTION, ModuleTask
from pipeline.settings import step_requirements


def create(
    server: ClearmlServer, task: ModuleTask, values: Mapping[str, ParameterValue] | None = None, *, name: str = ""
) -> str:
    """Make a task and return its id.

    Args:
        server: The server.
        task: What it is.
        values: Its parameters; the others are at their defaults.
        name: What it is called, if not as usual.
    """
    commit = provenance.commit()
    properties = [{"section": "properties", "name": key, "value": value} for key, value in task.properties.items()]
    sections = {SECTION: task.arguments(values), "properties": properties}
    return str(
        server.call(
            "tasks.create",
            name=name or task.name,
            project=_project(server, task),
            type=task.task_type,
            system_tags=list(task.system_tags),
            comment=f"made by pipeline {provenance.PACKAGE_VERSION}" + (f", commit {commit}" if commit else ""),
            script={
                "repository": "",
                "branch": "",
                "entry_point": task.entry_name,
                "working_dir": ".",
                "diff": _script(task),
                "requirements": {"pip": "\n".join(step_requirements()) + "\n"},
            },
            hyperparams={key: {item["name"]: item for item in items} for key, items in sections.items() if items},
            configuration={
                key: {"name": key, "type": "dictionary", "value": json.dumps(value, indent=2)}
                for key, value in task.configuration.items()
            },
        )["id"]
    )


def ensure_draft(server: ClearmlServer, task: ModuleTask) -> str:
    """Return the id of a task's draft for this code, which is made if it is not there."""
    code = {"version": provenance.PACKAGE_VERSION, "source": _digest(task)}
    name = task.name + task.draft_suffix
    drafts = server.tasks(
        ["runtime"],
        project=[_project(server, task)],
        name=f"^{re.escape(name)}$",
        status=["created"],
        order_by=["created"],
    )
    for draft in drafts:
        if code.items() <= (draft.get("runtime") or {}).items():
            return str(draft["id"])
    made = create(server, task, name=name)
    server.call("tasks.edit", task=made, runtime=code)
    return made


def clone(
    server: ClearmlServer,
    task: ModuleTask,
    values: Mapping[str, ParameterValue],
    *,
    name: str = "",
    sections: Mapping[str, Mapping[str, str]] | None = None,
) -> str:
    """Clone a task's draft with these parameters and return the new task's id.

    Args:
        server: The server.
        task: What it is.
        values: Its parameters; the others are at their defaults.
        name: What the new task is called, if not as usual.
        sections: What else it is told: section → name → value.
    """
    made = str(server.call("tasks.clone", task=ensure_draft(server, task), new_task_name=name or task.name)["id"])
    others = [
        {"section": section, "name": key, "value": value}
        for section, items in (sections or {}).items()
        for key, value in items.items()
    ]
    server.call(
        "tasks.edit_hyper_params",
        task=made,
        hyperparams=[*task.arguments(values), *others],
        replace_hyperparams="section",
    )
    return made


def _script(task: ModuleTask) -> str:
    code = f"# pipeline {provenance.PACKAGE_VERSION}, source {provenance.source_digest()}\n" if task.is_step else ""
    return code + task.entry_script


def _digest(task: ModuleTask) -> str:
    """Return a digest of what is in a draft: the code that it runs is the installed package's, whichever that is."""
    content = json.dumps([_script(task), task.arguments(), dict(task.configuration), step_requirements()])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _project(server: ClearmlServer, task: ModuleTask) -> str:
    """Return the id of a task's project, which is made if it is not there, after the folders that have tags."""
    ids = {path: _folder(server, path, tags) for path, tags in task.folder_tags.items()}
    return ids.get(task.project) or _folder(server, task.project, ())


def _folder(server: ClearmlServer, path: str, system_tags: tuple[str, ...]) -> str:
    found = server.call(
        "projects.get_all", name=f"^{re.escape(path)}$", search_hidden=True, only_fields=["id"], page=0, page_size=1
    )["projects"]
    if found:
        return str(found[0]["id"])
    return str(server.call("projects.create", name=path, description="", system_tags=list(system_tags))["id"])
