"""A task that runs an installed module: its parameters, its draft, its process, its end."""

from __future__ import annotations

import os
import tempfile

import pytest

from clearml_access import locks
from clearml_access.errors import CallRefusedError
from pipeline.amazon_reviews import fit_run
from pipeline.automation.triggers import SCHEDULE
from pipeline.errors import RunError, RunTimeoutError, SettingsError, TaskDeletedError
from pipeline.graph.parameters import Parameter, at_least
from pipeline.module_tasks import drafts, execution, process
from pipeline.module_tasks.declaration import ModuleTask


class WorkError(RunError):
    exit_code = 45


TASK = ModuleTask(
    name="Work",
    project="A project",
    task_type="training",
    module="installed.work",
    parameters=(Parameter("rows", 3, "How many", at_least(1)), Parameter("loud", False, "Say more")),
    failure=WorkError,
    starts="training",
)


class Server:
    """A server with tasks, as far as it is asked."""

    def __init__(self):
        self.documents, self.calls, self.on_end = {}, [], {}

    def call(self, endpoint, **data):
        self.calls.append((endpoint, data))
        answer = getattr(self, endpoint.replace(".", "_"), self._status)
        if data.get("task", "new") not in (*self.documents, "new"):
            raise CallRefusedError("no such task")
        return answer(endpoint, **data)

    def _status(self, endpoint, task="", **data):
        status = {"started": "in_progress", "stop": "stopped"}.get(endpoint.removeprefix("tasks."))
        self.documents[task]["status"] = status or endpoint.removeprefix("tasks.")
        self.documents[task]["status_reason"] = data.get("status_reason", "")
        return {}

    def projects_get_all(self, _, **data):
        return {"projects": [{"id": "project"}]}

    def tasks_create(self, _, **data):
        made = f"task-{len(self.documents)}"
        self.documents[made] = {"id": made, "status": "created", **data}
        return {"id": made}

    def tasks_edit(self, _, task, **data):
        self.documents[task] |= data

    def tasks_clone(self, _, task, new_task_name):
        return self.tasks_create("", **{**self.documents[task], "name": new_task_name, "runtime": {}, "id": ""})

    def tasks_edit_hyper_params(self, _, task, hyperparams, replace_hyperparams):
        self.documents[task]["hyperparams"] = {(item["section"], item["name"]): item["value"] for item in hyperparams}

    def tasks_enqueue(self, _, task, queue_name):
        if queue_name != "pods":
            raise CallRefusedError("no such queue")
        self.documents[task] |= {"status": "failed", "status_reason": "exit code 1"}

    def tasks_delete(self, _, task, **data):
        del self.documents[task]

    def tasks_get_all(self, _, id, **data):
        return {"tasks": self.tasks([], id=id)}

    def tasks(self, fields, *, id=None, parent=None, status=None, type=None, name="", **query):
        return [
            {"system_tags": [], "status_reason": "", "parent": "", **task}
            for task in self.documents.values()
            if (id is None or task["id"] in id)
            and (parent is None or task.get("parent") in parent)
            and (status is None or task["status"] in status)
            and (type is None or task["type"] in type)
            and (not name or task["name"] == name.strip("^$"))
        ]

    def tasks_in_hand(self):
        return set()

    def console(self, task_id, lines):
        return ["Traceback (most recent call last):", *self.on_end.get(task_id, [])]

    def task_page(self, project, task_id):
        return f"http://page/{task_id}"


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def work(server, tmp_path):
    """Runs a task whose module has this source; returns what was said."""

    def run(source, *, queue="", environ=(), **options):
        (tmp_path / "installed").mkdir()
        (tmp_path / "installed" / "work.py").write_text(f"def main():\n    {source}\n")
        task_id = drafts.create(server, TASK)
        said = []
        environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{os.getcwd()}", **dict(environ)}
        execution.run(server, TASK, task_id, environ=environment, say=said.append, queue=queue, **options)
        return said

    return run


def test_parameters_are_stored_with_type_and_description_and_read_checked():
    stored = {f"{item['section']}/{item['name']}": item["value"] for item in TASK.arguments({"rows": 7})}
    assert TASK.read(stored) == {"rows": 7, "loud": False}
    assert TASK.read({}) == {"rows": 3, "loud": False}
    assert TASK.arguments()[0] == {
        "section": "Args",
        "name": "rows",
        "value": "3",
        "type": "int",
        "description": "How many",
    }
    with pytest.raises(SettingsError, match="rows"):
        TASK.read({"Args/rows": "0"})


def test_a_draft_is_made_once_for_the_same_content(server):
    first = drafts.ensure_draft(server, TASK)
    assert drafts.ensure_draft(server, TASK) == first
    other = ModuleTask(**{**vars(TASK), "parameters": TASK.parameters[:1]})
    assert drafts.ensure_draft(server, other) != first
    server.documents[first]["status"] = "queued"  # somebody has enqueued it: it is no draft any more
    assert drafts.ensure_draft(server, TASK) not in (first, drafts.ensure_draft(server, other))


def test_a_clone_has_the_parameters_and_what_else_it_is_told(server):
    made = drafts.clone(server, TASK, {"rows": 5}, name="Trial", sections={"Options": {"queue": "pods"}})
    document = server.documents[made]
    assert (document["name"], document["status"]) == ("Trial", "created")
    assert document["hyperparams"] == {("Args", "rows"): "5", ("Args", "loud"): "False", ("Options", "queue"): "pods"}


def test_a_process_is_its_own_task_and_says_what_it_tells(work):
    source = (
        "import os; from pipeline.module_tasks.process import tell; print('noise'); "
        "tell(os.environ['CLEARML_TASK_ID']); tell(str(os.environ.get('CLEARML_PROC_MASTER_ID'))); "
        "tell(str(os.environ['TMPDIR'] == os.getcwd()))"
    )
    around = {"CLEARML_TASK_ID": "around", "CLEARML_PROC_MASTER_ID": "1"}
    assert work(source, environ=around) == ["task-0", "None", "True"]


def test_the_error_that_ended_the_process_is_the_commands(server, work):
    with pytest.raises(WorkError, match="Work failed: rows is odd") as failed:
        work("from pipeline.errors import SettingsError; raise SettingsError('rows is odd')")
    assert failed.value.exit_code == SettingsError.exit_code
    assert (server.documents["task-0"]["status"], server.documents["task-0"]["status_reason"]) == (
        "failed",
        "rows is odd",
    )


def test_a_process_that_ends_without_an_error_of_ours_shows_its_last_lines(server, work):
    with pytest.raises(WorkError, match=r"Work failed: its process ended with exit code 7$") as failed:
        work("print('last words', flush=True); import os; os._exit(7)")
    assert failed.value.exit_code == 45
    assert failed.value.evidence[-1] == "last words"
    assert server.documents["task-0"]["status_reason"] == "its process ended with exit code 7"


def test_an_error_of_a_library_is_the_reason_and_its_traceback_the_evidence(server, work):
    with pytest.raises(WorkError, match=r"Work failed: KeyError: 'rows'$") as failed:
        work("{}['rows']")
    assert failed.value.evidence[0].startswith("Traceback")
    assert server.documents["task-0"]["status_reason"] == "KeyError: 'rows'"


def test_a_task_that_takes_too_long_is_stopped_with_what_it_has_started(server, work):
    child = {"parent": "task-3", "name": "", "status": "queued"}
    server.documents["trial"] = {**child, "id": "trial", "type": "training"}
    server.documents["copy"] = {**child, "id": "copy", "type": "optimizer"}
    server.documents["dataset"] = {**child, "id": "dataset", "type": "data_processing", "status": "in_progress"}
    with pytest.raises(RunTimeoutError, match="took longer than"):
        work("import time; time.sleep(600)", timeout_s=0.5)
    states = {task["id"]: task["status"] for task in server.documents.values()}
    assert states == {"task-3": "stopped", "trial": "stopped", "copy": "queued", "dataset": "in_progress"}


def test_a_copy_of_a_task_that_starts_none_outlives_it(server):
    server.documents["original"] = {"id": "original", "status": "in_progress", "type": "service"}
    server.documents["copy"] = {"id": "copy", "status": "queued", "type": "service", "parent": "original"}
    execution.stop(server, SCHEDULE, "original")
    assert {task["id"]: task["status"] for task in server.documents.values()} == {
        "original": "stopped",
        "copy": "queued",
    }


@pytest.mark.parametrize("queue", ["pods", ""])
def test_a_task_that_was_deleted_meanwhile_is_an_error_of_its_own(server, work, queue):
    def delete(_, task, **data):
        del server.documents[task]

    server.tasks_enqueue = server.tasks_started = delete
    with pytest.raises(TaskDeletedError, match="task task-0 was deleted"):
        work("pass", queue=queue)


def test_what_a_deleted_task_has_made_cannot_be_known(server, monkeypatch):
    monkeypatch.setattr("pipeline.amazon_reviews.model.registry.unpublished_of", lambda *_: [])
    with pytest.raises(TaskDeletedError, match="task gone was deleted"):
        fit_run.result_of(server, "gone")
    monkeypatch.setattr(execution, "run", lambda *_, **options: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        fit_run.run(server, "gone", queue="pods", timeout_s=1.0, environ={}, say=print)


def test_a_task_that_somebody_aborts_is_no_success(server, work):
    server.tasks_started = lambda _, task: server.documents[task].update(status="stopped") or {}
    with pytest.raises(WorkError, match="Work was aborted"):
        work("pass")


def test_a_task_on_a_queue_ends_with_the_error_on_its_console(server, work):
    server.on_end["task-0"] = ["pipeline.errors.SettingsError: rows is odd"]
    with pytest.raises(WorkError, match="Work failed: rows is odd") as failed:
        work("pass", queue="pods")
    assert failed.value.exit_code == SettingsError.exit_code


def test_a_task_that_the_queue_refuses_is_deleted(server, work):
    with pytest.raises(CallRefusedError):
        work("pass", queue="nowhere")
    assert server.documents == {}


def test_the_folders_of_killed_commands_are_removed_once_nothing_runs_in_them(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left, used, young, other = (tmp_path / name for name in ("clearml-run-a", "clearml-run-b", "clearml-run-c", "mine"))
    for folder in (left, used, young, other):
        folder.mkdir()
        (folder / "process.log").write_text("line")
    for folder in (left, used, other):
        os.utime(folder, (0, 0))
    lock = locks.take(used)
    try:
        monkeypatch.setattr(ModuleTask, "entry_script", "import time; time.sleep(60)")
        with process.ModuleProcess(TASK, {}) as running:
            os.utime(running.folder, (0, 0))
            process.remove_left_folders()
            assert running.folder.exists()
        assert not running.folder.exists()
    finally:
        os.close(lock)
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["clearml-run-b", "clearml-run-c", "mine"]
