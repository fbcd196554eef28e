"""A stock clearml-agent 1.9.2 daemon, as `pipeline.local_stack` starts it, against a live server."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import os
import subprocess
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from clearml_localserver.pytest_plugin import ClearmlServer

from clearml_access import processes
from pipeline.local_stack import MachineSettings, workers
from pipeline.local_stack.configuration import read_access
from pipeline.local_stack.environment import copy_environment, fingerprint
from tests.api_client import ApiClient

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(600)]

TASK_TIMEOUT_S = 240
"""Of a hang, and not of a busy machine: with eight processes beside it, a task takes two minutes."""
ENDED = ("completed", "failed", "stopped")
TINY = "clearml-pods-probe"
SLEEPER = "import os, time\nprint(f'<pid {os.getpid()}>', flush=True)\ntime.sleep(300)\n"


def make_wheel(folder: Path, name: str, version: str, module: str, code: str) -> None:
    """Put the wheel of a one-line package into a folder."""
    stem = f"{name.replace('-', '_')}-{version}"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    files = {
        f"{module}.py": code.encode(),
        f"{stem}.dist-info/METADATA": metadata.encode(),
        f"{stem}.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    digests = {
        name: base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        for name, data in files.items()
    }
    record = [f"{name},sha256={digests[name]},{len(data)}" for name, data in files.items()]
    files[f"{stem}.dist-info/RECORD"] = "\n".join([*record, f"{stem}.dist-info/RECORD,,"]).encode()
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
        for name, data in files.items():
            wheel.writestr(name, data)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two versions of a package that is installed nowhere, and another one of one that we have."""
    folder = tmp_path_factory.mktemp("wheels")
    for number, answer in (("1.0", 42), ("2.0", 43)):
        make_wheel(folder, TINY, number, "clearml_pods_probe", f"ANSWER = {answer}\n")
    make_wheel(folder, "six", "99.0", "six", "ANSWER = 99\n")
    return folder


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> MachineSettings:
    """Workers of this module: queues of their own on the session's server."""
    tag = uuid4().hex[:8]
    return MachineSettings(
        state=tmp_path_factory.mktemp("machine"),
        agent_python=MachineSettings.from_environ({}).agent_python,
        steps_queues=(f"steps {tag}",),
        controllers_queue=f"controllers {tag}",
        controller_workers=1,
        step_workers=1,
    )


@pytest.fixture(scope="module")
def daemons(
    clearml_server: ClearmlServer, settings: MachineSettings, wheels: Path
) -> Iterator[Callable[[], list[str]]]:
    """Starts the workers that do not run; ended with the module, which must leave no process behind."""
    access = read_access(clearml_server.data / "clearml.conf")
    before = os.environ.get("UV_FIND_LINKS")
    os.environ["UV_FIND_LINKS"] = str(wheels)
    try:
        yield lambda: [worker.spec.name for worker in workers.ensure(settings, access)]
    finally:
        workers.stop(settings)
        if before is None:
            del os.environ["UV_FIND_LINKS"]
        else:
            os.environ["UV_FIND_LINKS"] = before
    assert not any(worker.family() for worker in workers.specified(settings))


@pytest.fixture
def enqueue(api: ApiClient, settings: MachineSettings, daemons: Callable[[], list[str]]) -> Callable[..., str]:
    """Enqueues a task made of a few lines of Python for the steps' worker and returns its id."""
    daemons()

    def put(code: str, requirements: str = "clearml>=2.1\npolars>=1\n", queue: str = settings.steps_queue) -> str:
        script = {"diff": code, "entry_point": "probe.py", "working_dir": ".", "binary": "python3.11"}
        script["requirements"] = {"pip": requirements}
        task = api("tasks.create", name="probe", type="data_processing", script=script)["id"]
        api("tasks.enqueue", task=task, queue_name=queue)
        return task

    return put


def state(api: ApiClient, task: str) -> dict[str, Any]:
    return api("tasks.get_by_id", task=task)["task"]


def log(api: ApiClient, task: str) -> str:
    events = api("events.get_task_log", task=task, batch_size=5000, order="asc")["events"]
    return "\n".join(event["msg"] for event in events)


def wait(api: ApiClient, task: str, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    deadline = time.monotonic() + TASK_TIMEOUT_S
    while not condition(found := state(api, task)):
        assert time.monotonic() < deadline, f"task {task} is {found['status']}:\n{log(api, task)}"
        time.sleep(0.1)
    return found


def ended(found: dict[str, Any]) -> bool:
    return found["status"] in ENDED


def pid_of(api: ApiClient, task: str) -> int:
    """Wait until a sleeper sleeps and return its process."""
    wait(api, task, lambda _: "<pid " in log(api, task))
    return int(log(api, task).split("<pid ")[1].split(">")[0])


def test_a_task_runs_to_completed_with_its_console_on_the_server(api, enqueue, settings):
    task = enqueue(
        "from clearml import Task\n"
        "task = Task.init()\n"
        "task.get_logger().report_scalar('numbers', 'one', value=1.0, iteration=3)\n"
        "print('hello from', 'the task')\n"
    )
    found = wait(api, task, ended)
    assert found["status"] == "completed", log(api, task)
    assert found["status_reason"] == "worker execution done"
    assert found["last_worker"] == workers.specified(settings)[1].id
    assert found["last_iteration"] == 3
    console = log(api, task)
    assert "hello from the task" in console
    assert "pulled from" in console
    assert "Process completed successfully" in console
    assert "clearml-pods" not in found["script"]["requirements"]["pip"], "the project is on no index"


@pytest.mark.thorough
def test_a_failing_task_ends_failed_and_says_why(api, enqueue):
    task = enqueue("raise ValueError('broken on purpose')\n")
    found = wait(api, task, ended)
    assert (found["status"], found["status_reason"]) == ("failed", "worker execution exit code 1")
    assert "ValueError: broken on purpose" in log(api, task)


@pytest.mark.thorough
def test_an_aborted_task_ends_stopped_and_its_process_with_it(api, enqueue):
    task = enqueue(SLEEPER)
    pid = pid_of(api, task)
    api("tasks.stop", task=task)
    found = wait(api, task, ended)
    assert (found["status"], found["status_reason"]) == ("stopped", "task was stopped by tasks.stop")
    assert processes.wait_until(lambda: not processes.is_alive(pid), 20)


def test_tasks_that_pin_something_else_get_it_and_ours_stays_as_it_is(api, enqueue, settings):
    ours = workers.specified(settings)[1].folder / "env"
    six = next(ours.glob("lib/*/site-packages/six.py"))
    before = fingerprint(settings.environment), six.read_bytes()
    code = (
        "import importlib.metadata as metadata\n"
        f"names = [name for name in ({TINY!r}, 'six') if list(metadata.distributions(name=name))]\n"
        "print('found', *(f'{name}=={metadata.version(name)}' for name in names), flush=True)\n"
    )
    wanted = [f"{TINY}==1.0\nsix==99.0\npolars>=1\n", f"{TINY}==2.0\npolars>=1\n", "polars>=1\n"]
    tasks = [enqueue(code, requirements=requirements) for requirements in wanted]
    for task in tasks:
        assert wait(api, task, ended)["status"] == "completed", log(api, task)
    own = f"six=={version('six')}"
    for task, found in zip(tasks, (f"{TINY}==1.0 six==99.0", f"{TINY}==2.0 {own}", own), strict=True):
        assert f"found {found}\n" in log(api, task)
    assert f"{TINY}==2.0" in state(api, tasks[1])["script"]["requirements"]["pip"]
    assert (fingerprint(settings.environment), six.read_bytes()) == before
    assert fingerprint(ours) == before[0]
    assert importlib.util.find_spec("clearml_pods_probe") is None


def test_what_a_task_pins_is_kept_for_the_next_which_asks_no_index(api, enqueue, settings, wheels, tmp_path):
    """Two tasks of two agents at once, then one more while the packages are to be had nowhere."""
    code = "import clearml_pods_kept, sys\nprint('kept', clearml_pods_kept.ANSWER, sys.prefix, flush=True)\n"
    pin = "clearml-pods-kept==1.0\npolars>=1\n"
    kept = settings.state / "cache/environments"
    make_wheel(wheels, "clearml-pods-kept", "1.0", "clearml_pods_kept", "ANSWER = 44\n")

    def named() -> list[Path]:
        names = (folder for folder in kept.glob("*") if "." not in folder.name)
        return [folder for folder in names if "clearml-pods-kept==1.0" in (folder / "packages.txt").read_text()]

    queues = (settings.steps_queue, settings.controllers_queue)
    tasks = [enqueue(code, requirements=pin, queue=queue) for queue in queues]
    for task in tasks:
        assert wait(api, task, ended)["status"] == "completed", log(api, task)
        assert "kept 44" in log(api, task)
    assert processes.wait_until(lambda: len(named()) == 1, 60), list(kept.iterdir())
    [folder] = named()
    assert any(f"What was installed is kept for tasks with the same pins: {folder}" in log(api, task) for task in tasks)

    [wheel] = wheels.glob("clearml_pods_kept-*")
    wheel.rename(tmp_path / wheel.name)
    task = enqueue(code, requirements=pin)
    assert wait(api, task, ended)["status"] == "completed", log(api, task)
    assert f"What this task pins is there already: {folder}\n" in log(api, task)
    own = workers.specified(settings)[1].folder / "task-env"
    assert f"kept 44 {own}\n" in log(api, task), "in an environment of its own"
    assert "clearml-pods-kept==1.0" in state(api, task)["script"]["requirements"]["pip"]


def test_a_pin_that_nobody_can_meet_fails_the_task_and_names_it(api, enqueue):
    task = enqueue("print('never')\n", requirements="clearml-pods-no-such-package==1.0\n")
    assert wait(api, task, ended)["status"] == "failed"
    assert "clearml-pods-no-such-package" in log(api, task)


def test_a_killed_agent_takes_its_task_along_and_the_next_start_reports_it(api, enqueue, settings, daemons):
    task = enqueue(SLEEPER)
    worker = workers.specified(settings)[1]
    pid = pid_of(api, task)

    worker.process().kill()
    assert processes.wait_until(lambda: worker.process() is None and not processes.is_alive(pid), 20)
    assert state(api, task)["status"] == "in_progress", "nobody is left to say otherwise"

    assert daemons() == ["steps-1"]
    found = state(api, task)
    assert found["status"] == "failed"
    assert "had died" in found["status_reason"]
    assert wait(api, enqueue("print('again')\n"), ended)["status"] == "completed"


def test_idle_workers_are_started_anew_when_the_environment_has_changed(api, enqueue, settings, clearml_server):
    access = read_access(clearml_server.data / "clearml.conf")
    environment = settings.state / "another"
    copy_environment(settings.environment, environment)
    changed = replace(settings, environment=environment)
    assert workers.ensure(changed, access) == []
    task = enqueue(SLEEPER)
    pid_of(api, task)

    (site,) = environment.glob("lib/python*/site-packages")
    (site / "new-1.0.dist-info").mkdir()
    (site / "new-1.0.dist-info/RECORD").touch()
    assert [worker.spec.name for worker in workers.ensure(changed, access)] == ["controllers"]
    assert state(api, task)["status"] == "in_progress"
    api("tasks.stop", task=task)
    wait(api, task, ended)


# clearml-agent#223, the reason for the pin: agent 1.9.2 runs a task (above); what 1.9.3 does instead is refused.
REFUSAL = (
    "Validation error (Cannot skip setting execution queue for a task that is not enqueued "
    "or does not have execution queue set)"
)


def test_the_call_by_which_agent_1_9_3_pushes_a_task_on_is_refused(api):
    """The calls of `clearml_agent.glue.k8s` 1.9.3 between taking a task and making its pod."""
    queue = api("queues.create", name=f"glue {uuid4().hex}")["id"]
    pending = api("queues.create", name=f"pending {uuid4().hex}")["id"]
    task = api("tasks.create", name="probe", type="training")["id"]
    api("tasks.enqueue", task=task, queue=queue)
    assert api("queues.get_next_task", _version="v2.14", queue=queue)["entry"]["task"] == task
    api("tasks.stop", task=task, force=True, status_reason="moving to k8s pending queue")
    reply = api.send(
        "tasks.enqueue",
        task=task,
        queue=pending,
        status_reason="k8s pending scheduler",
        update_execution_queue=False,
    )
    assert reply.error == (400, 12, REFUSAL)


def test_the_agent_in_use_is_the_pinned_one(settings):
    done = subprocess.run(
        [str(settings.agent_python), "-m", "clearml_agent", "--version"], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split()[-1] == "1.9.2"
