"""The agent's second process in a task pod: forked before, told its command once, and the agent's own way else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes import agent_image

IMAGE = Path(__file__).parents[3] / "images/task"

STUB = """
import os, sys
print("became", sys.argv[1:], os.environ.get("A"), os.getcwd(), flush=True)
os.write(2, b"to stderr")
sys.exit(7)
"""

PLAY = """
import subprocess, sys, time
import start_agent
spare = start_agent.Spare()
{before}
class Command(list):
    def call_subprocess(self, start, **options):
        print("anew", flush=True)
        return start(list(self), **options)
agents = [sys.executable, *start_agent.COMMAND, "execute", "--id", "x"]
command = start_agent.SpareCommand(Command(agents), spare)
with open("output", "w") as output:
    env = {{"A": "1", "PYTHONPATH": {stub!r}}}
    for _ in range({times}):
        process = command.call_subprocess(subprocess.Popen, stdout=output, stderr=output, cwd={cwd!r}, env=env)
        while (code := process.poll()) is None:
            time.sleep(0.005)
        print("code", code, process.pid == spare.pid, process.poll(), flush=True)
"""


def play(folder: Path, *, before: str = "", times: int = 1) -> tuple[str, str]:
    """Return what the first process writes, and what the second one does."""
    package, other = folder / "stub/clearml_agent", folder / "other"
    package.mkdir(parents=True)
    other.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(STUB)
    script = PLAY.format(before=before, times=times, stub=str(package.parent), cwd=str(other))
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{IMAGE}:{package.parent}", "OF_THE_FIRST": "1"}
    words = [sys.executable, "-c", script]
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout, (folder / "output").read_text()


def test_the_forked_process_runs_the_command_with_its_words_environment_folder_and_output(tmp_path):
    said, output = play(tmp_path)
    assert said == "code 7 True 7\n"
    assert output == f"became ['execute', '--id', 'x'] 1 {tmp_path}/other\nto stderr"


@pytest.mark.parametrize(
    "before",
    ["import os, signal; os.kill(spare.pid, signal.SIGKILL); os.waitpid(spare.pid, 0)", "spare._channel.close()"],
)
def test_without_the_forked_process_the_agent_starts_its_own(tmp_path, before):
    said, output = play(tmp_path, before=before)
    assert said.startswith("Warning: the agent starts its second process itself: ")
    assert said.endswith("anew\ncode 7 False 7\n")
    assert output.startswith("became ['execute', '--id', 'x'] 1 ")


def test_a_second_command_starts_a_process_of_its_own(tmp_path):
    said, output = play(tmp_path, times=2)
    assert said.splitlines()[0] == "code 7 True 7"
    assert said.splitlines()[-2:] == ["anew", "code 7 False 7"]
    assert output.count("became ['execute', '--id', 'x'] 1 ") == 2


def test_the_forked_process_ends_with_the_first_one(tmp_path):
    script = "import os, start_agent; print(start_agent.Spare().pid, flush=True); os._exit(0)"
    env = {"PYTHONPATH": str(IMAGE)}
    # Its output ends when no process has it open any more.
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, timeout=60, check=True)
    assert int(done.stdout) > 1


def test_the_pinned_agent_starts_itself_as_is_expected(monkeypatch):
    monkeypatch.setattr("warnings.warn", lambda *words, **options: None)  # the agent imports pkg_resources
    monkeypatch.syspath_prepend(str(IMAGE))
    start_agent = __import__("start_agent")
    process = agent_image.module("clearml_agent.helper.process", with_agent=True)
    worker = agent_image.module("clearml_agent.commands.worker", with_agent=True)
    assert process.get_program_invocation() == [sys.executable, *start_agent.COMMAND]
    assert worker.Worker._log_command_output.__code__.co_varnames[:3] == ("self", "task_id", "cmd")
