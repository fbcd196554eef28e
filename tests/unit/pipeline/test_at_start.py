"""What Python runs at its start in each process of a task: it mends the SDK and leaves the rest as it is."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pipeline.controllers.step_scripts import STEP_BEGINNING
from pipeline.local_stack.environment import AT_START, WorkerEnvironment

RACE = """
import sys
import threading
from clearml.backend_interface.task import task as module
together = threading.Barrier(2, timeout=2)
class Lock:
    def __init__(self):
        try:
            together.wait()  # until the other thread makes one as well, if it ever does
        except threading.BrokenBarrierError:
            pass
module.RLock = Lock
task = module.Task.__new__(module.Task)
task._edit_lock = None
locks = []
threads = [threading.Thread(target=lambda: locks.append(task._edit_lock)) for _ in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(set(map(id, locks))), "of", len(locks))
"""


def run(*words: str, **environ: str) -> str:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | environ
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=True, env=env).stdout


@pytest.mark.parametrize(
    ("path", "beginning", "locks"),
    [("", "", "2 of 2"), (str(AT_START), "", "1 of 2"), ("", STEP_BEGINNING, "1 of 2"),
     (str(AT_START), STEP_BEGINNING, "1 of 2")],
    ids=["SDK", "task", "step of ours", "step of ours as a task"],
)  # fmt: skip
def test_threads_share_a_tasks_lock_whatever_its_code(path, beginning, locks):
    assert run(sys.executable, "-c", beginning + RACE, PYTHONPATH=path) == f"{locks}\n"


def test_the_lock_is_made_anew_where_the_sdk_drops_it():
    code = (
        "import clearml\nfrom clearml.backend_interface.task.task import Task\ntask = Task.__new__(Task)\n"
        "task._edit_lock = None\nfirst = task._edit_lock\nassert task._edit_lock is first\n"
        "task._edit_lock = None\nassert task._edit_lock is not first\nprint('anew')"
    )
    assert run(sys.executable, "-c", code, PYTHONPATH=str(AT_START)) == "anew\n"


def test_another_sitecustomize_is_run_as_well(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("print('theirs')\n")
    code = "import sitecustomize, sys; print(sitecustomize.__file__, sys.path)"
    theirs = run(sys.executable, "-c", code, PYTHONPATH=str(tmp_path))
    assert theirs.startswith("theirs\n")
    assert run(sys.executable, "-c", code, PYTHONPATH=os.pathsep.join([str(AT_START), str(tmp_path)])) == theirs


def test_a_fault_in_another_sitecustomize_is_told_as_python_tells_it(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import not_there\n")
    done = subprocess.run(
        [sys.executable, "-c", "print('runs')"],
        capture_output=True, text=True, timeout=60, check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(AT_START), str(tmp_path)])},
    )  # fmt: skip
    assert done.stdout == "runs\n"
    assert "not_there" in done.stderr


def test_the_path_of_modules_is_as_without_it():
    code = "import sys; print(sys.path, [type(finder).__name__ for finder in sys.meta_path][1:])"
    kept = "import sys; print(sys.path, [type(finder).__name__ for finder in sys.meta_path])"
    assert run(sys.executable, "-c", code, PYTHONPATH=str(AT_START)) == run(sys.executable, "-c", kept)


def test_a_python_without_the_sdk_runs_as_ever():
    code = "import sys; print(sys.version_info[0])\ntry: import clearml\nexcept ModuleNotFoundError: print('none')"
    words = ("/usr/bin/python3", "-S", "-c", "import sitecustomize\n" + code)
    assert run(*words, PYTHONPATH=str(AT_START)) == "3\nnone\n"


def test_a_workers_task_gets_it_before_its_own_path(tmp_path):
    folder = tmp_path / "worker of mine"
    folder.mkdir()
    source = tmp_path / "source"
    (source / "bin").mkdir(parents=True)
    environment = WorkerEnvironment(folder, source, tmp_path / "kept")
    python = environment.write_interpreter(source / "bin/python", "steps-1")
    (source / "bin/python").symlink_to(sys.executable)
    code = "import os; print(os.environ['PYTHONPATH'])"
    assert run(str(python), "-c", code) == f"{AT_START}\n"
    assert run(str(python), "-c", code, PYTHONPATH="/a/b:/c") == f"{AT_START}:/a/b:/c\n"
