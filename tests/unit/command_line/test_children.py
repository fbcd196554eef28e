"""A program that a command runs ends in good order where the command is interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from command_line import children, interrupts

PATIENT = """
import pathlib, signal, sys, time
def note(*_):
    with open(sys.argv[1], "a") as file: file.write("told ")
signal.signal(signal.SIGTERM, note)
pathlib.Path(sys.argv[1]).write_text("began ")
end = time.monotonic() + float(sys.argv[2])
while time.monotonic() < end: time.sleep(0.02)
with open(sys.argv[1], "a") as file: file.write("ended")
"""


def interrupt_when(file: Path, text: str) -> None:
    """Send this process SIGTERM as soon as a file begins with a text."""

    def wait() -> None:
        while not (file.is_file() and file.read_text().startswith(text)):
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def patient(file: Path, seconds: float, *, tell: bool = True, timeout_s: float = 30, grace_s: float = 30) -> None:
    argv = [sys.executable, "-c", PATIENT, str(file), str(seconds)]
    with interrupts.listening():
        children.run(argv, env=os.environ, timeout_s=timeout_s, grace_s=grace_s, tell=tell)


def test_what_it_wrote_and_how_it_ended_is_returned(tmp_path: Path) -> None:
    code = "import os, sys; print(os.getcwd()); print('oh', file=sys.stderr); sys.exit(3)"
    done = children.run([sys.executable, "-c", code], env=os.environ, timeout_s=30, grace_s=1, folder=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (3, f"{tmp_path}\n", "oh\n")


@pytest.mark.parametrize(("tell", "noted"), [(True, "began told ended"), (False, "began ended")])
def test_an_interrupt_is_handed_on_and_the_end_is_waited_for(tmp_path: Path, tell: bool, noted: str) -> None:
    file = tmp_path / "noted"
    interrupt_when(file, "began ")
    with pytest.raises(KeyboardInterrupt):
        patient(file, 1.0, tell=tell)
    assert file.read_text() == noted


def test_a_second_interrupt_ends_the_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "KILL_S", 0.1)
    file = tmp_path / "noted"
    interrupt_when(file, "began ")
    interrupt_when(file, "began told ")
    with pytest.raises(KeyboardInterrupt):
        patient(file, 600)
    assert file.read_text().startswith("began told ") and not file.read_text().endswith("ended")


def test_what_takes_too_long_is_told_and_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "KILL_S", 0.1)
    file = tmp_path / "noted"
    with pytest.raises(subprocess.TimeoutExpired):
        patient(file, 600, timeout_s=2, grace_s=0.1)
    assert file.read_text().startswith("began told")
