"""Forked processes are as those that are started: each case is run in both ways, from a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are forked on Linux only")

DRIVER = """
import json, os, signal, subprocess, sys, time
import numpy.random
from clearml_access import fork_server
from clearml_access.fork_server import ForkServer, UnavailableError

fork_server.ANSWER_S = 1.0
script, way, behaviour = sys.argv[1:]
forks = ForkServer(fork_server.run_script, {"TASK"}.__contains__)
env = dict(os.environ) | {"TASK": "the task"}
output = open("output", "wb")
words = [script, "a word", "another"]
if behaviour == "other environment":
    env["LD_PRELOAD_PATH"] = "other"
if behaviour == "server gone":
    os.kill(forks.pid, signal.SIGKILL)
if behaviour == "server hangs":
    os.kill(forks.pid, signal.SIGSTOP)
began = time.monotonic()
if way == "forked":
    try:
        child = forks.start(words, cwd="folder", env=env, stdout=output.fileno(), stderr=output.fileno())
    except UnavailableError as error:
        if behaviour == "server hangs":
            os.kill(forks.pid, signal.SIGCONT)
            time.sleep(1.0)
        print(json.dumps({"unavailable": str(error)}))
        sys.exit()
else:
    child = subprocess.Popen([sys.executable, *words], cwd="folder", env=env, stdout=output, stderr=output)
children = subprocess.run(["ps", "--ppid", str(os.getpid()), "-o", "pid="], capture_output=True, text=True).stdout
try:
    child.wait(0.0)
    waited = "ended"
except subprocess.TimeoutExpired:
    waited = "runs"
shown = ""
while behaviour == "signal" and "ready" not in shown:
    shown = open("output").read()
    time.sleep(0.01)
if behaviour == "signal":
    os.kill(child.pid, signal.SIGTERM)
print(json.dumps({
    "waited": waited,
    "is a child": str(child.pid) in children.split(),
    "code": child.wait(20),
    "again": child.poll(),
    "is gone": not os.path.exists(f"/proc/{child.pid}"),
}))
"""

SEEN = """
import json, os, resource, signal, sys, threading, random, __main__
fields = open("/proc/self/stat").read().rpartition(")")[2].split()
print(json.dumps({
    "argv": sys.argv,
    "environment": dict(sorted(os.environ.items())),
    "folder": os.getcwd(),
    "path": sys.path,
    "main": [__main__.__name__, __main__.__file__, sorted(vars(__main__)), __main__ is sys.modules["__main__"]],
    "name": __name__,
    "files": sorted(os.listdir("/proc/self/fd"))[:3],
    "input": os.readlink("/proc/self/fd/0"),
    "group": os.getpgrp() == os.getpgid(os.getppid()),
    "session": os.getsid(0) == os.getsid(os.getppid()),
    "mask": os.umask(0),
    "limits": resource.getrlimit(resource.RLIMIT_NOFILE),
    "signals": [str(signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGPIPE)],
    "blocked": str(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
    "threads": [threading.current_thread().name, threading.active_count()],
    "shown": [word for word in open("/proc/self/cmdline").read().split(chr(0)) if word],
    "output": [sys.stdout.encoding, sys.stdout.line_buffering],
}))
import atexit
atexit.register(print, "the last line")
"""

BEHAVIOURS = {
    "returns": "print('done')",
    "exits": "import sys; print('exits'); sys.exit(7)",
    "says why": "import sys; sys.exit('a reason')",
    "raises": "def inner():\n    raise ValueError('a reason')\n\n\ninner()\n",
    "interrupted": "raise KeyboardInterrupt",
    "no syntax": "def (",
    "killed": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "leaves": "import os; os._exit(9)",
    "signal": "import time; print('ready', flush=True); time.sleep(30)",
    "own thread": "import threading, time\nthreading.Thread(target=lambda: (time.sleep(0.2), print('late'))).start()",
}


def run(folder: Path, way: str, text: str, behaviour: str = "") -> tuple[dict[str, Any], str]:
    """Run a script in one way; return what its caller saw, and its output."""
    folder.mkdir(exist_ok=True)
    (folder / "folder").mkdir(exist_ok=True)
    (folder / "script.py").write_text(text)
    (folder / "driver.py").write_text(DRIVER)
    words = [sys.executable, "driver.py", str(folder / "script.py"), way, behaviour]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert not done.stderr
    return json.loads(done.stdout), (folder / "output").read_text()


def test_a_forked_process_sees_what_a_started_one_sees(tmp_path):
    forked, started = (run(tmp_path, way, SEEN) for way in ("forked", "started"))
    assert forked[0] == started[0]
    assert forked[0]["is a child"]
    seen, wanted = (json.loads(output.splitlines()[0]) for _, output in (forked, started))
    assert seen == wanted
    assert seen["environment"]["TASK"] == "the task"
    assert forked[1].splitlines()[1:] == started[1].splitlines()[1:] == ["the last line"]


@pytest.mark.parametrize("behaviour", list(BEHAVIOURS))
def test_a_forked_process_ends_as_a_started_one(tmp_path, behaviour):
    forked, started = (run(tmp_path, way, BEHAVIOURS[behaviour], behaviour) for way in ("forked", "started"))
    assert forked[0]["code"] == forked[0]["again"] == started[0]["code"]
    assert forked[0]["is gone"]
    assert forked[1] == started[1]


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("other environment", "the environment differs in LD_PRELOAD_PATH"),
        ("server gone", "the fork server"),
        ("server hangs", "the fork server does not answer"),
    ],
)
def test_where_anything_is_unclear_nothing_is_started(tmp_path, behaviour, reason):
    seen, output = run(tmp_path, "forked", "open('../ran', 'w')", behaviour)
    assert seen["unavailable"].startswith(reason)
    assert not output
    assert not (tmp_path / "ran").exists()


def test_processes_have_random_numbers_of_their_own(tmp_path):
    text = "import numpy, random; print(numpy.random.random(), random.random())"
    assert run(tmp_path, "forked", text)[1] != run(tmp_path, "forked", text)[1]
    driver = DRIVER.replace(
        "output.fileno())\n",
        "output.fileno()).wait()\n" + "        child = forks.start("
        "words, cwd='folder', env=env, stdout=output.fileno(), stderr=output.fileno())\n",
        1,
    )
    (tmp_path / "driver.py").write_text(driver)
    words = [sys.executable, "driver.py", str(tmp_path / "script.py"), "forked", ""]
    subprocess.run(words, cwd=tmp_path, check=True, timeout=60, stdout=subprocess.DEVNULL)
    first, second = (tmp_path / "output").read_text().split("\n")[:2]
    assert not set(first.split()) & set(second.split())


def test_a_process_with_threads_has_no_fork_server():
    text = (
        "import threading, time\nfrom clearml_access.fork_server import *\n"
        "threading.Thread(target=time.sleep, args=[1]).start()\n"
        "try:\n    ForkServer(run_script, bool)\nexcept UnavailableError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "there are threads\n"
