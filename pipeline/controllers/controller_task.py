"""A pipeline's controller as a task that runs an installed module: cloned inside another pipeline or by a schedule."""

from __future__ import annotations

from clearml_access.run_records import DAG_CONFIGURATION
from clearml_access.tasks import CONTROLLER_TYPE
from pipeline import provenance
from pipeline.graph.definitions import Definition
from pipeline.module_tasks.declaration import ModuleTask

DRAFT_SUFFIX = " (template)"
"""Behind the name of a draft: the SDK counts the runs of a pipeline by its bare name."""

PIPELINE_TAG, HIDDEN_TAG = "pipeline", "hidden"
PIPELINES_SECTION = ".pipelines"


def controller_task(definition: Definition) -> ModuleTask:
    """Return the task of a pipeline's controller, in the hidden project where the SDK keeps those."""
    folder = f"{definition.project}/{PIPELINES_SECTION}"
    project = f"{folder}/{definition.name}"
    return ModuleTask(
        name=definition.name,
        project=project,
        task_type=CONTROLLER_TYPE,
        module=definition.module,
        parameters=definition.parameters,
        draft_suffix=DRAFT_SUFFIX,
        system_tags=(PIPELINE_TAG,),
        folder_tags={folder: (HIDDEN_TAG,), project: (PIPELINE_TAG, HIDDEN_TAG)},
        properties={"version": provenance.PACKAGE_VERSION},
        # The graph as pages show it before the controller has written its own. Without it an agent's controller would
        # take its defaults instead of its parameters.
        configuration={
            DAG_CONFIGURATION: {
                step: {"parents": list(parents), "status": "pending", "executed": None, "job_id": None}
                for step, parents in definition.graph.items()
            }
        },
    )
