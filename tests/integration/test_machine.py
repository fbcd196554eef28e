"""`python -m pipeline server up|status|down` with the real server and real agents, on free ports."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from clearml_access import processes
from clearml_access.api import Api
from pipeline.local_stack import MachineSettings, workers
from pipeline.local_stack import up as local_stack_up
from pipeline.local_stack.configuration import SERVER_VARIABLE, read_access
from tests.ports import free_port_base

pytestmark = pytest.mark.integration

COMMAND_TIMEOUT_S = 90
TASK_TIMEOUT_S = 120
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    state = tmp_path_factory.mktemp("machine") / "state"
    # Tests of other files in this process may have set the address of their own server.
    foreign = ("CLEARML_", "TRAINS_")
    own = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {**own, "CLEARML_PODS_STATE": str(state), "CLEARML_PODS_PORT_BASE": str(free_port_base())}


@pytest.fixture(scope="module")
def settings(environ: dict[str, str]) -> MachineSettings:
    return MachineSettings.from_environ(environ)


@pytest.fixture(scope="module")
def server(environ: dict[str, str]) -> Iterator[Command]:
    """Runs `python -m pipeline server …`; whatever the tests leave running is stopped with the module."""

    def run(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pipeline", "server", *arguments],
            env=environ | changes,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
        )

    yield run
    run("down")


def report(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture
def up(server: Command) -> dict[str, Any]:
    done = server("up", "--json")
    assert done.returncode == 0, done.stderr
    return report(done)


def test_before_the_first_start_nothing_runs_and_nothing_is_written(server, settings):
    done = server("status", "--json")
    assert done.returncode == 3
    found = report(done)
    assert (found["server_pid"], found["answers"], found["complete"]) == (None, False, False)
    assert server("down").stdout == "Nothing was running.\n"
    assert not settings.state.exists()


def test_up_starts_all_and_says_where_and_a_second_one_changes_nothing(server, settings):
    first = report(server("up", "--json"))
    assert first["started"] == ["server", "controllers", "controllers-2", "steps-1", "steps-2", "steps-3"]
    pids = {worker.spec.name: worker.process().pid for worker in workers.specified(settings)}
    second = report(server("up", "--json"))
    assert second == first | {"started": []}
    assert pids == {worker.spec.name: worker.process().pid for worker in workers.specified(settings)}
    assert "Everything is already running." in server("up").stdout


def test_status_tells_addresses_queues_and_workers(server, up, settings):
    done = server("status", "--json")
    assert done.returncode == 0
    found = report(done)
    assert found["api"] == settings.api_url
    assert {(row["name"], row["queue"], row["live"]) for row in found["workers"]} == {
        ("controllers", "services, default", True),
        ("controllers-2", "services, default", True),
        *((f"steps-{number}", f"{settings.steps_queue}, default", True) for number in (1, 2, 3)),
    }
    assert found["unserved"] == []
    text = server("status").stdout
    assert settings.api_url in text
    assert text.count("idle") == 5


def test_status_names_a_queue_in_which_tasks_wait_for_nobody(server, up, settings):
    api = Api.of(read_access(settings.configuration))
    queue, task = (
        api.call("queues.create", name="a gpu")["id"],
        api.call("tasks.create", name="waits", type="testing")["id"],
    )
    api.call("tasks.enqueue", task=task, queue=queue)
    assert report(server("status", "--json"))["unserved"] == ["a gpu"]
    assert (
        "tasks wait in a gpu, and no live worker serves it (start one: ./task workers-up -- --queue 'a gpu')"
        in server("status").stdout
    )
    api.call("queues.delete", queue=queue, force=True)


def test_secrets_stay_private(server, up, settings):
    secret = read_access(settings.configuration).secret_key
    assert stat.S_IMODE(settings.configuration.stat().st_mode) == 0o600
    with_secret = [
        path
        for path in settings.state.rglob("*")
        if path.is_file()
        and "env" not in path.relative_to(settings.state).parts
        and secret.encode() in path.read_bytes()
    ]
    assert with_secret
    for path in with_secret:
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077 or not _reachable(path, settings.state), path
    for process in [psutil.Process(up_pid) for up_pid in _pids(settings)]:
        assert secret not in " ".join(process.cmdline())


def _reachable(path: Path, root: Path) -> bool:
    """Whether another user gets to `path`: every folder from `root` on lets them in."""
    folders = [folder for folder in path.parents if folder == root or root in folder.parents]
    return all(stat.S_IMODE(folder.stat().st_mode) & 0o001 for folder in folders)


def _pids(settings: MachineSettings) -> list[int]:
    return [process.pid for worker in workers.specified(settings) for process in worker.family()]


def _enqueue(api: Api, queue: str, code: str) -> str:
    script = {"diff": code, "entry_point": "probe.py", "working_dir": ".", "binary": "python3.11"}
    task: str = api.call("tasks.create", name="probe", type="data_processing", script=script)["id"]
    api.call("tasks.enqueue", task=task, queue_name=queue)
    return task


def _status(api: Api, task: str) -> str:
    found: str = api.call("tasks.get_by_id", task=task)["task"]["status"]
    return found


def _wait_for(api: Api, task: str, *statuses: str) -> None:
    found = ""
    deadline = time.monotonic() + TASK_TIMEOUT_S
    while (found := _status(api, task)) not in statuses:
        assert time.monotonic() < deadline, f"task {task} is {found}"
        time.sleep(0.2)


def test_two_steps_run_at_a_time_and_a_controller_beside_them(up, settings, tmp_path):
    """Each of the three waits for the other two: with fewer slots none of them would ever end."""
    api = Api.of(read_access(settings.configuration))
    code = (
        "import pathlib, time\n"
        f"folder = pathlib.Path({str(tmp_path)!r})\n"
        "(folder / '{name}').touch()\n"
        "while len(list(folder.iterdir())) < 3: time.sleep(0.05)\n"
    )
    queues = {"controller": up["controllers_queue"], "a": up["steps_queue"], "b": up["steps_queue"]}
    tasks = [_enqueue(api, queue, code.format(name=name)) for name, queue in queues.items()]
    for task in tasks:
        _wait_for(api, task, "completed")


def test_a_killed_server_comes_back_and_its_workers_with_it(server, up, settings):
    api = Api.of(read_access(settings.configuration))
    running = _enqueue(api, up["steps_queue"], "import time\ntime.sleep(8)\nprint('done')\n")
    _wait_for(api, running, "in_progress")
    psutil.Process(report(server("status", "--json"))["server_pid"]).kill()
    assert report(server("up", "--json"))["started"] == ["server"]
    _wait_for(api, running, "completed")
    _wait_for(api, _enqueue(api, up["steps_queue"], "print(1)\n"), "completed")


def test_a_taken_port_is_named_with_its_owner_and_the_way_out(server, tmp_path):
    base = free_port_base()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", base + 80))
        taken.listen()
        done = server("up", CLEARML_PODS_STATE=str(tmp_path / "other"), CLEARML_PODS_PORT_BASE=str(base))
    assert done.returncode == 35
    assert f"port {base + 80} is taken by pid {os.getpid()}" in done.stderr
    assert "CLEARML_PODS_PORT_BASE=" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_that_the_agent_refuses_is_named_before_anything_starts(server, tmp_path):
    done = server("up", CLEARML_PODS_STATE=str(tmp_path / "my state"))
    assert done.returncode == 35
    assert "refuses folders with a space" in done.stderr
    assert not (tmp_path / "my state").exists()


def test_a_missing_agent_is_named_with_the_command_that_mends_it(server, tmp_path):
    state, base = tmp_path / "other", str(free_port_base())
    changes = {"CLEARML_PODS_STATE": str(state), "CLEARML_PODS_PORT_BASE": base}
    done = server("up", CLEARML_PODS_AGENT_PYTHON=str(tmp_path / "no/python"), **changes)
    assert done.returncode == 35
    assert "there is no clearml-agent" in done.stderr
    assert "./task setup" in done.stderr
    assert server("down", **changes).stdout == "Nothing was running.\n"


def test_down_ends_everything_and_reports_the_running_task_as_stopped(server, up, settings):
    access = read_access(settings.configuration)
    task = _enqueue(Api.of(access), up["steps_queue"], "import time\ntime.sleep(300)\n")
    _wait_for(Api.of(access), task, "in_progress")
    done = server("down")
    assert done.returncode == 0
    names = [spec.name for spec in settings.workers]
    stopped, aborted = done.stdout.splitlines()
    assert stopped == f"Stopped: {', '.join([*names, 'server'])}."
    assert aborted.startswith("Aborted 1 task: ") and aborted.endswith(f"({task})")
    assert _pids(settings) == []
    assert processes.family(SERVER_VARIABLE, str(settings.server_folder)) == []
    assert server("status").returncode == 3
    assert report(server("up", "--json"))["started"] == ["server", *names]
    assert _status(Api.of(access), task) in ("stopped", "failed")


def test_down_finds_what_runs_after_its_folder_was_deleted(server, up, settings):
    shutil.rmtree(settings.state)
    assert server("status").returncode == 3
    assert server("down").stdout == "Stopped: controllers, controllers-2, steps-1, steps-2, steps-3, server.\n"
    assert _pids(settings) == []


def test_a_server_for_pods_listens_where_told_and_has_no_workers_here(server, settings):
    server("down")
    try:
        done = server("up", "--host", "0.0.0.0", "--no-workers")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("Started: server.\n")
        assert "It listens beyond this machine, so all three ask for the key" in done.stdout
        assert f"queue {settings.steps_queue} (./task deploy-agent)" in done.stdout
        assert f"export CLEARML_CONFIG_FILE={settings.configuration}" in done.stdout
        access = read_access(settings.configuration)
        for url in (f"{access.api}/queues.get_all", f"{access.files}/x", f"{access.web}/projects"):
            assert httpx.get(url).status_code in (401, 303), url  # the pages lead to where one signs in
        found = server("status", "--json")
        assert (found.returncode, report(found)["workers"]) == (0, [])
        assert report(server("up", "--no-workers", "--json"))["started"] == []  # where it listens stays
        done = server("up", "--no-workers", "--host", "127.0.0.1")
        assert done.returncode == 35
        assert "listens on 0.0.0.0, not on 127.0.0.1" in done.stderr
        assert "./task server-down && ./task server-up -- --host 127.0.0.1 --no-workers" in done.stderr
        assert report(server("up", "--json"))["started"] == [spec.name for spec in settings.workers]
    finally:
        server("down")


def test_two_starts_at_once_make_one_set_up(server, settings):
    with ThreadPoolExecutor(2) as pool:
        reports = [report(done) for done in pool.map(lambda _: server("up", "--json"), range(2))]
    assert sorted(found["started"] for found in reports) == [[], ["server", *(spec.name for spec in settings.workers)]]


def test_a_run_leaves_the_queues_of_workers_up_as_they_are(environ, server, settings):
    """Or the next run would move them back, and the one after `workers-up` again."""
    elsewhere = {"CLEARML_CONFIG_FILE": "", "HOME": str(settings.state)}
    assert server("up").returncode == 0

    def on_workers(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pipeline", "workers", *arguments]
        return subprocess.run(
            command, env=environ | elsewhere, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S
        )

    changed = report(on_workers("up", "--steps", "1", "--controllers", "1", "--queue", "gpu", "--json"))
    assert changed["moved"] == [{"name": "steps-1", "before": "pods, default", "now": "gpu, default"}]
    assert changed["stopped"] == ["controllers-2", "steps-2", "steps-3"]
    assert (changed["unserved"], changed["busy"]) == (["pods"], [])
    assert local_stack_up(settings, keep_workers=True).started == ()
    rows = report(server("status", "--json"))["workers"]
    assert [(row["name"], row["queue"], row["live"]) for row in rows] == [
        ("controllers", "services, default", True),
        ("steps-1", "gpu, default", True),
    ]
    assert "steps-1" in report(server("up", "--json"))["started"]

    psutil.Process(report(server("status", "--json"))["server_pid"]).kill()
    assert "this machine's own does not run" in on_workers("status").stdout
    assert "steps-1" in report(on_workers("down", "--json"))["stopped"]
    assert on_workers("down").stdout == "No worker was running.\n"
