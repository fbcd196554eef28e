"""Tasks as the unmodified SDK and its command line tools make, run, change and remove them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from clearml_localserver.pytest_plugin import ClearmlServer

from tests.api_client import ApiClient

pytestmark = pytest.mark.integration

DEADLINE_S = 120
BIN = Path(sys.executable).parent


@pytest.fixture
def project() -> str:
    return f"sdk {uuid4().hex[:8]}"


@pytest.fixture
def sdk(clearml_server: ClearmlServer) -> Any:
    """The SDK in this process; imported only once its environment is set."""
    import clearml

    return clearml


@pytest.fixture
def run(clearml_server: ClearmlServer, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a script in a process of its own, as a user does."""

    def start(source: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        script = tmp_path / "script.py"
        script.write_text(source, encoding="utf-8")
        command = [sys.executable, str(script), *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=DEADLINE_S, check=False)

    return start


def only(api: ApiClient, project: str) -> dict[str, Any]:
    """Return the one task of a project."""
    found = api("projects.get_all", name=f"^{project}$")["projects"]
    (task,) = api("tasks.get_all", project=[found[0]["id"]])["tasks"]
    return dict(task)


WHOLE_RUN = """
import argparse, sys
import numpy as np
from clearml import OutputModel, Task

task = Task.init(sys.argv[1], "whole run", tags=["first"])
parser = argparse.ArgumentParser()
parser.add_argument("project")
parser.add_argument("--rate", type=float, default=0.5)
args = parser.parse_args()
settings = task.connect({"epochs": 3, "nested": {"depth": 2}}, name="Settings")
task.connect_configuration({"layers": [1, 2]}, name="Network")
task.set_user_properties(owner="someone")
task.add_tags(["second"])
task.set_comment("a comment")
task.upload_artifact("numbers", {"a": 1}, wait_on_upload=True)
task.upload_artifact("array", np.arange(3), wait_on_upload=True)
with open("weights.txt", "w") as file:
    file.write("weights")
model = OutputModel(task, name="a model", framework="Custom")
model.update_weights("weights.txt", auto_delete_file=False)
for step in range(3):
    task.get_logger().report_scalar("loss", "train", 1 / (step + 1), step)
print("the script's own line")
print(settings["epochs"], settings["nested"]["depth"], args.rate)
"""


def test_a_whole_run(api: ApiClient, project: str, run: Callable[..., Any], clearml_server: ClearmlServer) -> None:
    done = run(WHOLE_RUN, project, "--rate", "0.25")
    assert done.returncode == 0, done.stderr
    assert "3 2 0.25" in done.stdout
    task = only(api, project)
    assert (task["status"], task["status_reason"], task["name"]) == ("completed", "completed", "whole run")
    assert {"started", "completed"} <= task.keys()
    assert sorted(task["tags"]) == ["first", "second"]
    assert task["system_tags"] == ["development"]
    assert task["comment"] == "a comment"
    values = {
        (section, name): item["value"] for section, items in task["hyperparams"].items() for name, item in items.items()
    }
    assert (
        values.items()
        >= {
            ("Args", "rate"): "0.25",
            ("Settings", "epochs"): "3",
            ("Settings", "nested/depth"): "2",
            ("properties", "owner"): "someone",
        }.items()
    )
    assert "layers" in task["configuration"]["Network"]["value"]
    assert task["runtime"]["progress"] == "100", "the SDK says so at the end"
    assert task["script"]["entry_point"] == "script.py"
    assert "clearml" in task["script"]["requirements"]["pip"]
    artifacts = {item["key"]: item for item in task["execution"]["artifacts"]}
    assert artifacts.keys() == {"numbers", "array"}
    assert artifacts["numbers"]["uri"].startswith(clearml_server.files_url)
    assert [item["name"] for item in task["models"]["output"]] == ["weights"]
    assert task["last_iteration"] == 2


def test_a_script_that_raises_fails_its_task(api: ApiClient, project: str, run: Callable[..., Any]) -> None:
    source = 'import sys\nfrom clearml import Task\nTask.init(sys.argv[1], "raises")\nprint("1" + 1)\n'
    assert run(source, project).returncode == 1
    task = only(api, project)
    assert task["status"] == "failed"
    assert 'can only concatenate str (not "int") to str' in task["status_reason"]


def test_a_second_run_takes_the_first_one_s_task_over(api: ApiClient, project: str, run: Callable[..., Any]) -> None:
    """The SDK resets the task of an earlier run that has left nothing behind, unless told otherwise."""
    source = """
import sys
from clearml import Task
task = Task.init(sys.argv[1], "again", reuse_last_task_id=True)
task.connect({"run": sys.argv[2]})
print("id", task.id)
"""
    ids = [
        next(line for line in run(source, project, number).stdout.splitlines() if line.startswith("id "))
        for number in ("1", "2")
    ]
    assert ids[0] == ids[1]
    task = only(api, project)
    assert task["status"] == "completed"
    assert task["hyperparams"]["General"]["run"]["value"] == "2"


@pytest.fixture
def draft(sdk: Any, project: str) -> Iterator[Any]:
    yield sdk.Task.create(project_name=project, task_name="a draft")


def status(task: Any) -> str:
    task.reload()
    return str(task.status)


def test_marks(sdk: Any, draft: Any) -> None:
    draft.mark_started()
    assert status(draft) == "in_progress"
    draft.mark_stopped(status_message="enough")
    assert status(draft) == "stopped"
    assert draft.data.status_message == "enough"
    draft.mark_started()
    draft.mark_failed(status_reason="broken")
    assert (status(draft), draft.data.status_reason) == ("failed", "broken")
    draft.mark_started(force=True)
    draft.mark_completed()
    assert status(draft) == "completed"
    draft.publish()
    assert status(draft) == "published"
    draft.reset(force=True)
    assert status(draft) == "created"
    draft.mark_started()
    draft.mark_stop_request()
    assert status(draft) == "stopped", "no agent runs it"
    assert (draft.data.status_reason, draft.data.status_message) == ("abort request", "Stopped by localserver")
    draft.set_archived(True)
    draft.reload()
    assert draft.get_archived()
    draft.set_archived(False)
    assert not draft.get_archived()


def test_draft_is_edited_cloned_and_enqueued(sdk: Any, api: ApiClient, draft: Any, project: str) -> None:
    draft.set_parameters({"Args/rate": 0.1, "General/epochs": 3})
    draft.set_base_docker(docker_image="python:3.11", docker_arguments="--ipc=host", docker_setup_bash_script="true")
    draft.set_packages(["polars==1.30"])
    draft.set_script(repository="https://example.com/x.git", branch="main", entry_point="a.py")
    clone = sdk.Task.clone(draft, name="a clone", comment="cloned")
    assert clone.parent == draft.id
    assert clone.get_parameters() == {"Args/rate": "0.1", "General/epochs": "3"}
    assert clone.get_base_docker() == "python:3.11 --ipc=host"
    assert clone.data.script.requirements["pip"] == "polars==1.30"
    assert (clone.data.script.branch, clone.data.script.entry_point) == ("main", "a.py")
    clone.set_parameter("Args/rate", 0.2)
    clone.delete_parameter("General/epochs", force=True)
    assert clone.get_parameters() == {"Args/rate": "0.2"}

    queue = f"queue {uuid4().hex[:8]}"
    api("queues.create", name=queue)
    reply = sdk.Task.enqueue(clone, queue_name=queue)
    assert reply.queued == 1
    assert (status(clone), sdk.Task.get_num_enqueued_tasks(queue_name=queue)) == ("queued", 1)
    assert sdk.Task.dequeue(clone).updated == 1
    assert (status(clone), sdk.Task.get_num_enqueued_tasks(queue_name=queue)) == ("created", 0)
    with pytest.raises(ValueError, match="Could not find queue"):
        sdk.Task.enqueue(clone, queue_name="no such queue")

    clone.move_to_project(new_project_name=f"{project}/elsewhere")
    clone.reload()
    assert clone.get_project_name() == f"{project}/elsewhere"
    clone.rename("renamed")
    assert [task.name for task in sdk.Task.get_tasks(project_name=project)] == ["a draft"]
    assert [task.name for task in sdk.Task.get_tasks(project_name=f"{project}/elsewhere")] == ["renamed"]


def test_export_and_import(sdk: Any, draft: Any) -> None:
    draft.set_parameters({"Args/rate": 0.1})
    draft.set_tags(["t"])
    exported = draft.export_task()
    copy = sdk.Task.import_task(exported | {"name": "imported"})
    assert copy is not None
    assert (copy.id != draft.id, copy.name, copy.get_parameters(), list(copy.get_tags())) == (
        True, "imported", {"Args/rate": "0.1"}, ["t"],
    )  # fmt: skip


def test_delete_takes_the_files_along(sdk: Any, api: ApiClient, draft: Any, clearml_server: ClearmlServer) -> None:
    draft.mark_started()
    draft.upload_artifact("numbers", {"a": 1}, wait_on_upload=True)
    draft.mark_completed()
    draft.reload()
    url = draft.artifacts["numbers"].url
    assert api.http.get(url).status_code == 200
    assert draft.delete(raise_on_error=True)
    assert api.send("tasks.get_by_id", task=draft.id).error[:2] == (400, 101)
    assert api.http.get(url).status_code == 404


def test_clearml_task_makes_and_enqueues_a_task(
    api: ApiClient, project: str, clearml_server: ClearmlServer, tmp_path: Path
) -> None:
    (tmp_path / "job.py").write_text('print("hello")\n', encoding="utf-8")
    queue = f"queue {uuid4().hex[:8]}"
    api("queues.create", name=queue)
    command = [str(BIN / "clearml-task"), "--project", project, "--name", "by hand", "--script", "job.py"]
    options = ["--packages", "polars", "--queue", queue, "--args", "rate=0.1", "--docker", "python:3.11"]
    done = subprocess.run(
        command + options, cwd=tmp_path, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    task = only(api, project)
    assert (task["status"], task["name"], task["system_tags"]) == ("queued", "by hand", [])
    assert task["container"]["image"] == "python:3.11"
    assert task["hyperparams"]["Args"]["rate"]["value"] == "0.1"
    entries = api("queues.get_all", name=f"^{queue}$")["queues"][0]["entries"]
    assert [entry["task"] for entry in entries] == [task["id"]]


def test_what_the_sdk_stores_is_json_again(api: ApiClient, sdk: Any, draft: Any) -> None:
    """Any text that a user may put into a task comes back unchanged."""
    text = "ä€😀 \u2028 \\ \" ' \x07 $a.b %2E"
    draft.set_comment(text)
    draft.set_parameters({f"Sec.tion/{text}": text})
    task = api("tasks.get_by_id", task=draft.id)["task"]
    assert task["comment"] == text
    assert [item["value"] for item in task["hyperparams"]["Sec.tion"].values()] == [text]
    assert json.loads(json.dumps(task)) == task


SLASH_IN_FRONT = """
import sys
from clearml import Task

for number in range(2):
    task = Task.init(sys.argv[1], f"run {number}", reuse_last_task_id=False, auto_connect_frameworks=False)
    print("project:", task.project)
    task.close()
print("found:", len(Task.get_tasks(project_name=sys.argv[1])))
"""


@pytest.mark.parametrize("form", ["/{}/experiments", "{}//experiments/"])
def test_a_project_with_slashes_around_its_name(
    run: Callable[..., subprocess.CompletedProcess[str]], api: ApiClient, project: str, form: str
) -> None:
    done = run(SLASH_IN_FRONT, form.format(project))
    assert done.returncode == 0, done.stderr
    (one,) = api("projects.get_all", name=f"^{project}/experiments$")["projects"]
    assert done.stdout.count(f"project: {one['id']}\n") == 2, done.stdout
    assert "found: 2" in done.stdout


EXPORT = """
import json, sys
from clearml import OutputModel, Task

task = Task.init(sys.argv[1], "exported", tags=["first"], auto_connect_frameworks=False)
task.connect({"epochs": 3}, name="Settings")
task.connect_configuration({"layers": [1, 2]}, name="Network")
with open("weights.txt", "w") as file:
    file.write("weights")
OutputModel(task, name="a model", framework="Custom").update_weights("weights.txt", auto_delete_file=False)
task.close()
with open("exported.json", "w") as file:
    json.dump(Task.get_task(task.id).export_task(), file, default=str)
"""
IMPORT = """
import json
from clearml import Task

with open("exported.json") as file:
    exported = json.load(file)
print("imported:", Task.import_task(exported).id)
"""


def test_a_task_of_another_server_is_imported(
    run: Callable[..., subprocess.CompletedProcess[str]],
    api: ApiClient,
    project: str,
    tmp_path: Path,
    clearml_server_factory: Callable[[], ClearmlServer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done = run(EXPORT, project)
    assert done.returncode == 0, done.stderr
    exported = json.loads((tmp_path / "exported.json").read_text())
    assert exported["models"]["output"]
    other = clearml_server_factory()
    for name, value in other.environment.items():
        monkeypatch.setenv(name, value)
    done = run(IMPORT)
    assert done.returncode == 0, done.stderr
    id = done.stdout.partition("imported:")[2].split()[0]
    with closing(ApiClient(other.api_url, other.credentials)) as there:
        task = there("tasks.get_by_id", task=id)["task"]
        assert there("projects.get_by_id", project=task["project"])["project"]["name"] == project
    assert (task["name"], task["tags"]) == ("exported", ["first"])
    assert task["hyperparams"]["Settings"]["epochs"]["value"] == "3"
    assert task["configuration"]["Network"]["value"] == exported["configuration"]["Network"]["value"]
    assert task["models"]["output"][0]["model"] == exported["models"]["output"][0]["model"]


def test_a_subprocess_of_a_process_that_has_a_task_makes_its_own(
    clearml_server_factory: Callable[[], ClearmlServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`Task.init` leaves its mark in the environment, also when its task is closed."""
    monkeypatch.setenv("CLEARML_PROC_MASTER_ID", f"{os.getpid()}:")
    monkeypatch.setenv("TRAINS_PROC_MASTER_ID", f"{os.getpid()}:")
    code = "from clearml import Task; Task.init('subprocess', 'its own').close(); print(len(Task.get_tasks()))"
    environment = os.environ | clearml_server_factory().environment
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()[-1:]) == (0, ["1"]), done.stderr
