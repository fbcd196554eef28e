"""What tasks of this machine pin is kept for others: by its pins, whole, bounded, and apart from what tasks run."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from clearml_access import kept_packages
from pipeline.local_stack import kept_environments, task_environment
from pipeline.local_stack.environment import WorkerEnvironment
from pipeline.local_stack.kept_environments import KeptEnvironments, Pins, link_tree

SITE = "lib/python3.11/site-packages"

UV = f"""#!{sys.executable}
# Installs NAME==VERSION as one module and one script, as uv does, and notes what it was asked for.
import pathlib, sys
python, wanted = sys.argv[4], sys.argv[5:]
prefix = pathlib.Path(python).parent.parent
with pathlib.Path(__file__).with_name("asked").open("a") as log:
    log.write(" ".join(wanted) + "\\n")
for line in wanted:
    name, _, version = line.partition("==")
    if name == "nothing":
        sys.exit(1)
    if not version:
        continue
    record = prefix / "{SITE}" / f"{{name}}-{{version}}.dist-info"
    record.mkdir(parents=True, exist_ok=True)
    (record.parent / f"{{name}}.py").write_text(f"VERSION = {{version!r}}\\n")
    (record / "RECORD").write_text(f"{{name}}.py,,16\\n../../../bin/{{name}},,\\n")
    script = prefix / "bin" / name
    script.write_text(f"#!{{python}}\\n")
    script.chmod(0o755)
"""


class Machine:
    """Workers with one folder of what is kept, and tasks, each of which has a process of its own."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.kept, self.uv = folder, folder / "kept", folder / "uv"
        self.uv.write_text(UV)
        self.uv.chmod(0o755)
        source = folder / "source"
        (source / SITE / "base-1.0.dist-info").mkdir(parents=True)
        (source / SITE / "base-1.0.dist-info/RECORD").write_text("base.py,,\n")
        (source / "bin").mkdir()
        (source / "bin/python").symlink_to(sys.executable)
        # What runs beside the task runs here at once.
        monkeypatch.setattr(task_environment, "_finish_beside", lambda worker, half: worker.kept.finish(half))
        monkeypatch.setattr(kept_environments, "_write_to_disk", lambda _: None)

    def worker(self, name: str) -> WorkerEnvironment:
        environment = WorkerEnvironment(self.folder / name, self.folder / "source", self.kept)
        environment.folder.mkdir(exist_ok=True)
        environment.restore()
        environment.forget_task()
        return environment

    def install(self, worker: WorkerEnvironment, *words: str, process: psutil.Process | None = None) -> int:
        return task_environment.install(worker, process or psutil.Process(), str(self.uv), words)

    @property
    def asked(self) -> list[str]:
        log = self.folder / "asked"
        return log.read_text().splitlines() if log.exists() else []

    @property
    def names(self) -> list[str]:
        return sorted(path.name for path in self.kept.iterdir()) if self.kept.exists() else []


@pytest.fixture
def machine(tmp_path, monkeypatch):
    return Machine(tmp_path, monkeypatch)


def test_a_task_of_another_worker_with_the_same_pins_installs_nothing(machine, capfd):
    first, second = machine.worker("first"), machine.worker("second")
    assert machine.install(first, "lib==1.0", "more==2.0") == 0
    [name] = machine.names
    assert f"kept for tasks with the same pins: {machine.kept}/{name}\n" in capfd.readouterr().out
    assert machine.install(second, "more==2.0", "lib==1.0") == 0  # in any order
    assert machine.asked == ["lib==1.0 more==2.0"]
    assert capfd.readouterr().out == f"What this task pins is there already: {machine.kept}/{name}\n"
    own = second.task_path
    assert (own / SITE / "lib.py").samefile(machine.kept / name / "env" / SITE / "lib.py"), "takes no room"
    assert list((own / SITE / "__pycache__").glob("lib.*.pyc")), "compiled"
    assert (own / "bin/lib").read_text() == f"#!{own}/bin/python\n", "its scripts run in it"
    assert stat.S_IMODE((own / "bin/lib").stat().st_mode) == 0o755
    assert (machine.kept / name / "packages.txt").read_text() == "lib==1.0\nmore==2.0\n"
    assert not (first.path / SITE / "lib.py").exists(), "the worker's own environment stays as it was"


def test_what_a_task_does_to_its_environment_is_in_no_other(machine):
    first = machine.worker("first")
    machine.install(first, "lib==1.0")
    machine.install(machine.worker("second"), "lib==1.0")
    (machine.folder / "second/task-env" / SITE / "left.py").touch()
    (machine.folder / "second/task-env" / SITE / "lib.py").unlink()
    third = machine.worker("third")
    machine.install(third, "lib==1.0")
    assert (third.task_path / SITE / "lib.py").exists() and not (third.task_path / SITE / "left.py").exists()
    assert len(machine.asked) == 1


def test_other_pins_and_another_base_get_their_own(machine):
    assert machine.install(machine.worker("first"), "lib==1.0") == 0
    assert machine.install(machine.worker("first"), "lib==2.0") == 0
    base = machine.folder / "source" / SITE / "base-1.0.dist-info/RECORD"
    os.utime(base, (1, 1))  # `./task setup` has installed it again
    assert machine.install(machine.worker("first"), "lib==1.0") == 0
    assert machine.asked == ["lib==1.0", "lib==2.0", "lib==1.0"]
    assert len(machine.names) == 3


def test_a_later_call_of_the_same_task_adds_to_the_earlier(machine):
    """The agent installs NumPy before all others."""
    for name in ("first", "second"):
        worker = machine.worker(name)
        assert machine.install(worker, "numpy==1.0") == 0
        assert machine.install(worker, "--upgrade", "lib==1.0") == 0
        assert sorted(path.name for path in (worker.task_path / "bin").iterdir()) == ["lib", "numpy", "python"]
    assert machine.asked == ["numpy==1.0", "--upgrade lib==1.0"]
    third = machine.worker("third")
    assert machine.install(third, "lib==1.0") == 0, "of another task: without NumPy"
    assert machine.asked[-1] == "lib==1.0"


def test_one_that_is_removed_meanwhile_is_installed_again_with_all_that_was_asked_for(machine, monkeypatch, capfd):
    worker = machine.worker("first")
    machine.install(worker, "numpy==1.0")
    machine.install(worker, "lib==1.0")
    second = machine.worker("second")
    machine.install(second, "numpy==1.0")
    find = KeptEnvironments.find

    def removed(self: KeptEnvironments, pins: Pins) -> Path | None:
        found = find(self, pins)
        kept_packages.remove_tree(found.parent)
        return found

    monkeypatch.setattr(KeptEnvironments, "find", removed)
    assert machine.install(second, "lib==1.0") == 0
    assert machine.asked[-1] == "numpy==1.0 lib==1.0"
    assert "its packages are installed again\n" in capfd.readouterr().out


@pytest.mark.parametrize("words", [["lib @ https://example.org/lib.whl"], ["--pre", "lib"], ["-r", "none.txt"]])
def test_what_may_be_something_else_tomorrow_is_not_kept(machine, words):
    worker = machine.worker("first")
    assert machine.install(worker, *words) == 0
    assert machine.install(worker, "lib==1.0") == 0
    assert machine.names == []


def test_pins_that_nobody_has_fail_and_leave_nothing(machine, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    worker = machine.worker("first")
    assert machine.install(worker, "nothing==1.0") != 0
    assert machine.install(worker, "lib==1.0") == 0, "the same task asks for less"
    assert machine.names == []


def test_pip_is_asked_where_uv_has_gone_since_the_worker_was_started(machine, monkeypatch, capfd):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    machine.uv.unlink()
    assert machine.install(machine.worker("first"), "no-such-thing-anywhere==0") != 0
    assert "No such file or directory" in capfd.readouterr().out


def test_a_full_disk_is_said_and_the_task_goes_on(machine, monkeypatch, capfd):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept_environments, "link_tree", full)
    assert machine.install(machine.worker("first"), "lib==1.0") == 0
    said = f"What was installed is not kept for other tasks in {machine.kept}: [Errno 28] No space left on device\n"
    assert capfd.readouterr().out == said
    assert machine.names == []


def test_with_little_room_none_is_kept_and_those_long_unused_go(machine, monkeypatch, capfd):
    machine.install(machine.worker("first"), "lib==1.0")
    machine.install(machine.worker("first"), "lib==2.0")
    old = machine.kept / KeptEnvironments(machine.kept, machine.folder / "first/env").place(Pins(("lib==1.0",))).name
    past = time.time() - kept_packages.SURELY_UNUSED_S - 1
    os.utime(old / "used", (past, past))
    monkeypatch.setattr(kept_environments, "LEAST_FREE_BYTES", 2**62)
    assert machine.install(machine.worker("first"), "lib==3.0") == 0
    assert "GB are free on the disk\n" in capfd.readouterr().out
    assert len(machine.names) == 1 and old.name not in machine.names


def test_their_number_is_bounded(machine, monkeypatch):
    monkeypatch.setattr(kept_environments, "KEPT", 2)
    for number in range(4):
        machine.install(machine.worker("first"), f"lib=={number}.0")
        files = machine.kept.glob("*/packages.txt")
        [newest] = [file.parent for file in files if file.read_text() == f"lib=={number}.0\n"]
        past = time.time() - kept_packages.SURELY_UNUSED_S * (10 - number)
        os.utime(newest / "used", (past, past))
    machine.install(machine.worker("first"), "more==1.0")
    texts = sorted((machine.kept / name / "packages.txt").read_text() for name in machine.names)
    assert texts == ["lib==3.0\n", "more==1.0\n"]


def test_two_workers_at_once_keep_one(machine):
    first = machine.worker("first")
    machine.install(first, "nothing-kept @ file:///x")  # an environment of its own
    pins = Pins(("lib==1.0",))
    halves = [first.kept.begin_to_keep(first.task_path, pins) for _ in range(2)]
    for half in halves:
        first.kept.finish(half)
    assert machine.names == [first.kept.place(pins).name]


def test_what_a_worker_that_was_ended_has_left_is_not_used_and_goes(machine):
    worker = machine.worker("first")
    machine.install(worker, "nothing-kept @ file:///x")
    half = worker.kept.begin_to_keep(worker.task_path, Pins(("lib==1.0",)))
    assert machine.install(machine.worker("second"), "lib==1.0") == 0
    assert machine.asked[-1] == "lib==1.0"
    past = time.time() - kept_packages.LEFT_BEHIND_S - 1
    os.utime(half, (past, past))
    machine.install(machine.worker("second"), "more==1.0")
    assert half.name not in machine.names and len(machine.names) == 2


def test_a_password_changes_nothing_and_is_written_nowhere(machine):
    words = ["lib==1.0", "--extra-index-url"]
    machine.install(machine.worker("first"), *words, "https://ann:p@secret@example.com/simple")
    machine.install(machine.worker("second"), *words, "https://bob:other@example.com/simple")
    assert len(machine.asked) == 1
    written = subprocess.run(["grep", "-r", "secret", str(machine.kept), str(machine.folder / "first")], check=False)
    assert written.returncode == 1


def test_the_scripts_of_a_copy_name_its_own_python(tmp_path):
    (tmp_path / "a/bin").mkdir(parents=True)
    (tmp_path / "a/bin/run").write_text(f"#!{tmp_path}/a/bin/python\nprint('{tmp_path}/a.txt')\n")
    (tmp_path / "a/bin/activate").write_text(f"VIRTUAL_ENV='{tmp_path}/a'\n")
    (tmp_path / "a/bin/python").symlink_to(sys.executable)
    link_tree(tmp_path / "a", tmp_path / "new", tmp_path / "b")
    assert (tmp_path / "new/bin/run").read_text() == f"#!{tmp_path}/b/bin/python\nprint('{tmp_path}/a.txt')\n"
    assert (tmp_path / "new/bin/activate").read_text() == f"VIRTUAL_ENV='{tmp_path}/b'\n"
    assert (tmp_path / "a/bin/run").read_text().startswith(f"#!{tmp_path}/a/")


def emptied(kept: Path) -> None:
    shutil.rmtree(kept / "env")
    (kept / "env").mkdir()


def without_a_file(kept: Path) -> None:
    (kept / "env" / SITE / "lib.py").unlink()


def with_an_empty_file(kept: Path) -> None:
    (kept / "env" / SITE / "lib.py").write_text("")


def without_a_record(kept: Path) -> None:
    (kept / "env" / SITE / "lib-1.0.dist-info/RECORD").unlink()


def with_a_shorter_file(kept: Path) -> None:
    os.truncate(kept / "env" / SITE / "lib.py", 3)


def without_a_package(kept: Path) -> None:
    (kept / "env" / SITE / "lib.py").unlink()
    shutil.rmtree(kept / "env" / SITE / "lib-1.0.dist-info")


@pytest.mark.parametrize(
    "damage", [emptied, without_a_file, with_an_empty_file, with_a_shorter_file, without_a_record, without_a_package]
)
def test_what_has_lost_files_is_installed_and_kept_again(machine, damage):
    pins = ("lib==1.0", "more==1.0")
    machine.install(machine.worker("first"), *pins)
    [name] = machine.names
    damage(machine.kept / name)
    second = machine.worker("second")
    assert machine.install(second, *pins) == 0
    assert (second.task_path / SITE / "lib.py").read_text() == "VERSION = '1.0'\n"
    assert machine.asked == [" ".join(pins)] * 2
    assert machine.install(machine.worker("third"), *pins) == 0
    assert (machine.asked, machine.names) == ([" ".join(pins)] * 2, [name])
