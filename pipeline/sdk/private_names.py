"""Every name of the SDK that this package uses although the SDK may change it, with its form and the reason.

`python -m pipeline.sdk.private_names` compares the table with the installed SDK, as a unit test does: after an upgrade
it names what has moved. It needs only the SDK and the standard library. Outside system: none.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

ATTRIBUTE = "instance attribute"
PROPERTY = "property"
CLASS = "class"
TEXT = "text"


@dataclass(frozen=True)
class PrivateName:
    """A name of the SDK that is not part of its public interface."""

    path: str
    """Module, class and name. For a text: the module that contains it."""

    form: str
    """Parameters of a function, the type of a value, or one of the constants above; a text: `text` and the text."""

    why: str
    """What it is used for, and what goes wrong without it."""

    earlier_form: str = ""
    """Its form in SDKs that are supported as well, where that differs."""


_CONTROLLER = "clearml.automation.controller.PipelineController"
_NODE = "clearml.automation.controller.PipelineController.Node"
_JOB = "clearml.automation.job"
_DATASET = "clearml.datasets.dataset.Dataset"
_TASK = "clearml.backend_interface.task.task.Task"

TABLE = (
    # pipeline.sdk.controller
    PrivateName(
        f"{_CONTROLLER}._task_template_header",
        "str",
        "Begins a generated step's script. Ours prepares the SDK first: without it a step may hang for ever.",
    ),
    PrivateName(
        f"{_CONTROLLER}._create_task_from_function",
        "(self, docker, docker_args, docker_bash_setup_script, function, function_input_artifacts, function_kwargs, "
        "function_return, auto_connect_frameworks, auto_connect_arg_parser, packages, project_name, task_name, "
        "task_type, repo, branch, commit, helper_functions, output_uri=None, working_dir=None)",
        "Makes a step's definition. Ours adds the digest of the code: without it the cache hands out results of old "
        "code.",
    ),
    PrivateName(
        f"{_CONTROLLER}._clearml_job_class",
        CLASS,
        "Chooses the class of a step's job. Without ours an agent on Kubernetes looks like an abort.",
    ),
    PrivateName(
        f"{_CONTROLLER}._start",
        "(self, step_task_created_callback=None, step_task_completed_callback=None, wait=True)",
        "Starts the graph; the place to put our class of local jobs in place of the SDK's.",
    ),
    PrivateName(
        f"{_CONTROLLER}._prepare_pipeline",
        "(self, step_task_created_callback=None, step_task_completed_callback=None)",
        "Reads the parameters on an agent and drops their types and descriptions, which are put back afterwards.",
    ),
    PrivateName(
        f"{_CONTROLLER}._launch_node",
        "(self, node)",
        "Launches a step. Two at once fail; a launch that fails would be waited for without end.",
    ),
    PrivateName(
        f"{_CONTROLLER}._relaunch_node",
        "(self, node)",
        "Runs a step again. It stops the task first, which would be read as the step's end at our pace.",
    ),
    PrivateName(
        f"{_CONTROLLER}._get_target_project",
        "(self, return_project_id=False)",
        "Says in which project a step's task is made. The run of an inner pipeline belongs to that pipeline's.",
    ),
    PrivateName(f"{_CONTROLLER}._pool_frequency", ATTRIBUTE, "Seconds between two looks at the steps."),
    PrivateName(
        f"{_CONTROLLER}._update_nodes_status",
        "(self)",
        "Looks at the steps, again and again; the place to look for lost workers and for the end of an outer run.",
    ),
    PrivateName(f"{_CONTROLLER}._nodes", ATTRIBUTE, "The steps by name; the SDK hands out none of them."),
    PrivateName(
        f"{_CONTROLLER}._default_execution_queue", ATTRIBUTE, "Queue of a step that has none, for another launch."
    ),
    PrivateName(
        f"{_CONTROLLER}._pipeline_task_status_failed",
        ATTRIBUTE,
        "Whether the run has failed; set when a step cannot be launched, or the run would end as completed.",
    ),
    PrivateName(f"{_CONTROLLER}._stop_event", ATTRIBUTE, "Ends the loop, which aborts the running steps."),
    PrivateName(
        f"{_CONTROLLER}._args_section", "str", "Section of a pipeline's parameters, which are set on its clones."
    ),
    PrivateName(f"{_NODE}.executed", ATTRIBUTE, "The task that a step ran as; None while it has not ended."),
    PrivateName(f"{_NODE}.skip_job", ATTRIBUTE, "Takes a step that cannot be launched out of the graph."),
    PrivateName(f"{_NODE}.job", ATTRIBUTE, "A step's job, once it is launched."),
    PrivateName(f"{_NODE}.queue", ATTRIBUTE, "A step's own queue."),
    PrivateName(f"{_NODE}.job_started", ATTRIBUTE, "When a step began, in seconds since the epoch."),
    PrivateName(
        f"{_NODE}.job_ended",
        ATTRIBUTE,
        "When a step ended, in seconds since the epoch. While it is not set, its task is read in every round.",
    ),
    PrivateName(
        "clearml.automation.controller",
        f"{TEXT} Skipping launching step",
        "Warning for each shard that waits, each time that a step ends; it would fill the controller's console.",
    ),
    # pipeline.sdk.jobs
    PrivateName(f"{_JOB}.BaseJob", CLASS, "Base of both kinds of jobs."),
    PrivateName(f"{_JOB}.LocalClearmlJob", CLASS, "Runs a step as a process of this machine."),
    PrivateName(
        f"{_JOB}.subprocess",
        "module",
        "Starts that process. Ours is forked from the controller: each would import the SDK again.",
    ),
    PrivateName(
        "clearml.config.remote.override_current_task_id",
        "(task_id)",
        "Tells the SDK its task where it was imported before: a forked step would take itself for none.",
    ),
    PrivateName(
        f"{_JOB}.BaseJob._get_cached_task",
        "(cls, task_hash)",
        "Looks for a step in the cache. Ours takes the tasks of the run that is continued first.",
    ),
    PrivateName(
        f"{_JOB}.BaseJob._job_hash_property", "str", "Where a task carries the hash by which it is found in the cache."
    ),
    PrivateName(
        f"{_JOB}.BaseJob._last_batch_status_update_ts",
        "int",
        "When the statuses of all jobs were asked for; the SDK waits a second until it asks again.",
    ),
    PrivateName(f"{_JOB}.BaseJob._last_status", ATTRIBUTE, "The status that a job has seen; forgotten by a relaunch."),
    PrivateName(f"{_JOB}.BaseJob._last_status_ts", ATTRIBUTE, "When it was seen: ours asks once for each look."),
    PrivateName(f"{_JOB}.BaseJob.launch", "(self, queue_name=None)", "Overridden: notes when a step was launched."),
    PrivateName(f"{_JOB}.BaseJob.status", "(self, force=False)", "Overridden: a step on its way to a pod is queued."),
    # pipeline.sdk.datasets
    PrivateName(
        f"{_DATASET}._fix_dataset_files_parents",
        "(self)",
        "Searches all parents for files that came back. Nothing is removed here: the calls would only cost time.",
    ),
    PrivateName(
        f"{_DATASET}._build_dependency_chunk_lookup",
        "(self)",
        "Counts the archives of all ancestors by a call for each; ours takes the parents' counts.",
    ),
    PrivateName(f"{_DATASET}._get_dependency_chunk_lookup", "(self)", "The parents' counts."),
    PrivateName(f"{_DATASET}._get_parents", "(self)", "Ids of the parents."),
    PrivateName(f"{_DATASET}._dependency_graph", ATTRIBUTE, "All ancestors."),
    PrivateName(
        f"{_DATASET}._report_dataset_struct",
        "(self)",
        "Writes the lineage by asking for every ancestor: hours for 144 versions. Ours merges the parents' lineages.",
    ),
    PrivateName(
        f"{_DATASET}._report_dataset_genealogy",
        "(self)",
        "Draws the ancestors, by a call for each; left out where the drawing would be too long to read.",
    ),
    PrivateName(f"{_DATASET}._ds_total_size", ATTRIBUTE, "The size that the lineage shows."),
    PrivateName(f"{_DATASET}._ds_total_size_compressed", ATTRIBUTE, "Size of a parent's archives, which a child adds."),
    PrivateName(
        f"{_DATASET}._get_total_size_compressed_parents",
        "(self)",
        "Asks the server for those sizes, also of versions that this process has made.",
    ),
    PrivateName(
        f"{_DATASET}._serialize",
        "(self, update_dependency_chunk_lookup=False)",
        "Stores the list of files, by five calls after each change. Ours stores it once, at the end.",
    ),
    PrivateName(
        f"{_DATASET}._add_script_call",
        "(self, func_name, **kwargs)",
        "Adds a line to the script on a version's task, by a call for each; ours sends them together.",
    ),
    PrivateName(
        f"{_DATASET}._set_project_system_tags",
        "(cls, task)",
        "Marks the project as a dataset's; once is enough for all versions.",
    ),
    PrivateName(
        "clearml.datasets.dataset.get_or_create_project",
        "(session, project_name, description=None, system_tags=None, project_id=None)",
        "Makes and marks the project and its parent for each version; once is enough.",
    ),
    PrivateName(
        "clearml.datasets.dataset.ParallelZipper", CLASS, "Zips an upload. Ours takes an archive that is made already."
    ),
    PrivateName(
        "clearml.datasets.dataset.Dataset",
        CLASS,
        "What the SDK opens ancestors with, twice for each copy of a dataset; ours opens each version once.",
    ),
    PrivateName(
        "clearml.utilities.parallel.ParallelZipper.zip_iter",
        "(self, file_paths, arcnames=None)",
        "Gives the archives to send: `zip_path`, `size`, `count`, `archive_preview`, `files_zipped`.",
    ),
    # pipeline.sdk.version_task
    PrivateName(f"{_TASK}._edit", "(self, **kwargs)", "Sends a changed field. Ours keeps it, to send all together."),
    PrivateName(f"{_TASK}._data", ATTRIBUTE, "The task's document, which is read once."),
    PrivateName(
        f"{_TASK}._add_artifacts",
        "(self, artifacts_list)",
        "Adds artifacts and reads the task again; ours puts them into the document that is there.",
    ),
    PrivateName(f"{_TASK}._status", PROPERTY, "The status that is known, without a call."),
    PrivateName(f"{_DATASET}._task", ATTRIBUTE, "The version's task, on which the lineage is written."),
    PrivateName(
        f"{_DATASET}._extract_dataset_archive",
        "(self, force=False, selected_chunks=None, lock_target_folder=False, cleanup_target_folder=True, "
        "target_folder=None, max_workers=None)",
        "Fetches what a version adds to its parents; the public call fetches the files of all ancestors.",
    ),
    PrivateName(
        "clearml.datasets.dataset",
        f"{TEXT} Dataset Struct",
        "Name of the configuration object in which a version's lineage is kept, for the web page.",
    ),
    PrivateName(
        "clearml.utilities.parallel.ZipFile", CLASS, "Zips an upload: ours takes zlib's fastest level, twice as fast."
    ),
    PrivateName(
        "clearml.utilities.parallel.mkstemp",
        "(suffix=None, prefix=None, dir=None, text=False)",
        "Makes the zip file. Ours makes it where it goes with the process: a failed upload leaves it behind.",
    ),
    PrivateName(
        f"{_DATASET}._dataset_link_entries", ATTRIBUTE, "The files elsewhere that a version consists of, by name."
    ),
    PrivateName("clearml.datasets.dataset.LinkEntry", CLASS, "One of them; the public call asks the storage for each."),
    PrivateName(
        "clearml.config.get_cache_dir", "()", "The folder that processes share, and where the lock for it belongs."
    ),
    # pipeline.sdk.stored_files
    PrivateName(
        "clearml.binding.artifacts.Artifacts.upload_artifact",
        "(self, name, artifact_object=None, metadata=None, preview=None, delete_after_upload=False, auto_pickle=None, "
        "wait_on_upload=False, extension_name=None, serialization_function=None, sort_keys=True)",
        "Sends each artifact. Ours refers to a file that is stored already.",
        earlier_form="(self, name, artifact_object=None, metadata=None, preview=None, delete_after_upload=False, "
        "auto_pickle=None, wait_on_upload=False, extension_name=None, serialization_function=None)",
    ),
    *(
        PrivateName(
            f"{module}.sha256sum",
            "(filename, skip_header=0, block_size=65536)",
            "Reads a file again for its digest, which is known of what was hashed while it was written.",
        )
        for module in ("clearml.binding.artifacts", "clearml.datasets.dataset")
    ),
    PrivateName(f"{_TASK}._artifacts_manager", ATTRIBUTE, "Stores a file as it is, and gives a task an artifact."),
    PrivateName(
        "clearml.binding.artifacts.Artifacts._upload_local_file",
        "(self, local_file, name, delete_after_upload=False, override_filename=None, override_filename_ext=None, "
        "wait_on_upload=False)",
        "Stores a file below a task and returns its address.",
    ),
    PrivateName(
        "clearml.binding.artifacts.Artifacts._add_artifact", "(self, artifact)", "Gives a task a finished artifact."
    ),
    PrivateName(
        "clearml.storage.helper.StorageHelper._container",
        ATTRIBUTE,
        "Has the connection to a file server, and the headers by which it lets us in.",
    ),
    # pipeline.sdk.models
    PrivateName(
        "clearml.model.BaseModel._get_model_data",
        "(self)",
        "Says whether a model exists; the public attributes fail with a message about None.",
    ),
    PrivateName(
        "clearml.model.OutputModel._get_force_base_model",
        "(self, model_name=None, task_model_entry=None)",
        "Makes the model on the server. Ours names its task at once, so that a stopped task's model can be removed.",
    ),
    PrivateName("clearml.model.BaseModel._task", ATTRIBUTE, "The task that makes a model."),
    PrivateName("clearml.model.BaseModel._name", ATTRIBUTE, "The name that a model is to have."),
    PrivateName("clearml.model.BaseModel._base_model", ATTRIBUTE, "What the server has of a model; None before."),
    PrivateName(
        "clearml.model.OutputModel._update_base_model",
        "(self, model_name=None, task_model_entry=None)",
        "Gives the model that was made what the object says of it.",
    ),
    PrivateName(f"{_TASK}._get_output_model", "(self, upload_required=True, model_id=None)", "Opens that model."),
    # pipeline.sdk.processes
    *(
        PrivateName(
            "clearml.config.defs",
            f"{TEXT} {variable}",
            "Lets a process of this machine join a task with its parameters; without it the task gets no console.",
        )
        for variable in ("TRAINS_TASK_ID", "CLEARML_LOG_TASK_TO_BACKEND", "CLEARML_SIMULATE_REMOTE_TASK")
    ),
    # pipeline.sdk.steps
    PrivateName(
        "clearml.backend_api.session.datamodel.DataModel.validate",
        "(self, schema=None)",
        "Checks each request, and each time the schema itself: a fifth of the main thread's time.",
    ),
    PrivateName(
        "clearml.backend_api.session.datamodel._CustomValidator", CLASS, "The class of validator that it uses."
    ),
    PrivateName(
        "clearml.backend_api.services.v2_9.tasks.GetByIdRequest._schema", "dict", "The schema of a kind of request."
    ),
    PrivateName(
        "clearml.backend_interface.task.task.Task._edit_lock",
        PROPERTY,
        "A task's lock, which two threads may make at once: then a step now and then hangs for ever.",
    ),
    PrivateName(
        "clearml.backend_interface.task.task.Task._report_subprocess_enabled",
        "(*args, **kwargs)",
        "Whether reports are sent by a forked process. Ours are sent by a thread: a fork shares the connection.",
    ),
    PrivateName(
        "clearml.storage.callbacks.ProgressReport._report",
        "(self, total_mb, current_mb, speed_mbps)",
        "Draws a bar for a download or an upload: in a stored console it is one long line for each.",
    ),
)


def differences() -> list[str]:
    """Return what is not as the table says in the installed SDK, a line for each name."""
    return [
        f"{name.path} is {found or 'gone'}, expected: {name.form} ({name.why})"
        for name in TABLE
        for found in [_form_of(name)]
        if not found or found not in (name.form, name.earlier_form)
    ]


def _form_of(name: PrivateName) -> str:
    """Return the form that a name has; empty if there is no such name."""
    if name.form.startswith(f"{TEXT} "):
        text = name.form.removeprefix(f"{TEXT} ")
        return name.form if text in inspect.getsource(importlib.import_module(name.path)) else ""
    *owners, found = _walk(name.path)
    attribute = name.path.rpartition(".")[2]
    if found is None:
        return ATTRIBUTE if inspect.isclass(owners[-1]) and _is_set_in(owners[-1], attribute) else ""
    if isinstance(found, property):
        return PROPERTY
    if inspect.isclass(found):
        return CLASS
    function = found.__func__ if isinstance(found, classmethod | staticmethod) else found
    if not callable(function):
        return type(function).__name__
    signature = inspect.signature(function)
    plain = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()]
    return str(signature.replace(parameters=plain, return_annotation=inspect.Signature.empty))


def _walk(path: str) -> Iterator[Any]:
    """Yield what each part of a path stands for, from the module on; None for what does not exist."""
    parts = path.split(".")
    depth = len(parts)
    while depth:
        try:
            found: Any = importlib.import_module(".".join(parts[:depth]))
            break
        except ModuleNotFoundError:
            depth -= 1
    else:
        found = None
    yield found
    for part in parts[depth:]:
        found = inspect.getattr_static(found, part, None)
        yield found


def _is_set_in(owner: type, attribute: str) -> bool:
    """Return whether a class sets an attribute of its instances, or declares it with `attrs`."""
    sources = [inspect.getsource(item) for item in owner.__mro__ if item.__module__.startswith("clearml")]
    pattern = rf"\bself\.{attribute}\b *(:[^=\n]+)?= |^ +{attribute} *(:[^=\n]+)?= *attrib\("
    return any(re.search(pattern, source, re.MULTILINE) for source in sources)


if __name__ == "__main__":
    import clearml

    found = differences()
    print("\n".join(found) or f"clearml {clearml.__version__} has all {len(TABLE)} names of the table")
    sys.exit(1 if found else 0)
