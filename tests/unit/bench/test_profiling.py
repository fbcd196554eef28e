"""`./task profile`: stacks as py-spy writes them, the server's metrics, and a machine where nothing can be sampled."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from bench.profiling import __main__ as command
from bench.profiling import calls, recorder, stacks
from bench.profiling.calls import Calls
from bench.profiling.recorder import ProfilerError

RUN = 'process 7:"python -m pipeline run-full --json"'
CONTROLLER = f'''{RUN};process 8:"python /tmp/x/data.py {{"a;b": "c"}}"'''
STEP = f'{RUN};process 9:"python /tmp/x/tmpa.py"'
MAIN = "MainThread;<module> (tmpa.py:60);train_processing (tmpa.py:29)"
CREATE = (
    f"{MAIN};FastDataset.create (pipeline/sdk/datasets.py:83);Session.send (clearml/backend_api/session/session.py:6)"
)
LINES = f"""\
{RUN};thread (7): MainThread;<module> (pipeline/__main__.py:8);_find_and_load (<frozen importlib._bootstrap>:1178) 10
{CONTROLLER};thread (8): MainThread;<module> (data.py:5);run (pipeline/controllers/controller.py:3) 5
{STEP};thread (9): {MAIN};process_part (pipeline/x/step_work.py:1);preprocess_file (x/processing.py:9) 40
{STEP};thread (9): {CREATE};validate (clearml/backend_api/session/datamodel.py:1) 4
{STEP};thread (9): {CREATE};HTTPAdapter.send (requests/adapters.py:662) 6
{STEP};thread (12): Pool-1_0;zip (clearml/utilities/parallel.py:1);write (zipfile.py:1) 8
{STEP};thread (13): Thread-9;run (threading.py:975);worker (multiprocessing/pool.py:114) 900
process 3:"python -m clearml_localserver --data x";thread (3): MainThread;call (clearml_localserver/wire.py:1) 2
py-spy> 5.65s behind in sampling
"""


def test_stacks_are_added_up_by_process_phase_and_cause():
    found = stacks.add_up(stacks.parse(LINES.splitlines()), rate=20)
    assert found == {
        "run's command": {stacks.OTHER: {"imports": 0.5}},
        "controller": {stacks.OTHER: {"work": 0.25}},
        "step train_processing": {
            "text step": {"work": 2.0},
            "version begun": {"validation": 0.2, "HTTP": 0.3},
            "files sent": {"compression": 0.4},
        },
        "server": {stacks.OTHER: {"work": 0.1}},
    }


@pytest.mark.parametrize(
    ("frames", "cause"),
    [
        (["get (requests/api.py:1)", "sha256sum (x.py:1)"], "hashing"),
        (["compress (zipfile.py:1)", "_find_and_load (<frozen importlib._bootstrap>:1)"], "imports"),
        (["split_rows (frames.py:1)"], "work"),
    ],
)
def test_the_innermost_known_frame_is_the_cause(frames, cause):
    assert stacks.cause_of(frames) == cause


def metrics(get: int, files: int) -> str:
    name = calls.FAMILY
    return "".join(
        [
            f"# TYPE {name} histogram\n",
            f'{name}_bucket{{service="api",endpoint="tasks.get_all",le="+Inf"}} {get}\n',
            f'{name}_count{{service="api",endpoint="tasks.get_all"}} {get}\n',
            f'{name}_sum{{service="api",endpoint="tasks.get_all"}} {get / 4}\n',
            *(
                f'{name}_{part}{{service="files",endpoint="other"}} {value}\n'
                for part, value in (("count", files), ("sum", 1.5))
            ),
            '# TYPE up gauge\nup{endpoint="tasks.get_all"} 1\n',
        ]
    )


def test_calls_are_those_between_two_looks_most_first():
    before, after = calls.of_text(metrics(4, 0)), calls.of_text(metrics(6, 5))
    assert calls.between(before, after) == {calls.FILES: Calls(5, 1.5), "tasks.get_all": Calls(2, 0.5)}
    assert list(calls.between(before, after)) == [calls.FILES, "tasks.get_all"]
    assert calls.between(after, after) == {}


def program(folder: Path, script: str) -> Path:
    file = folder / "py-spy"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return file


def test_a_kernel_that_refuses_ptrace_is_named_with_what_to_do(tmp_path):
    with pytest.raises(ProfilerError) as found:
        recorder.require(program(tmp_path, "echo 'Error: Permission denied (os error 13)' >&2; exit 1"))
    assert "ptrace" in found.value.message
    assert "--cap-add SYS_PTRACE" in str(found.value.hint)
    assert found.value.evidence == ("Error: Permission denied (os error 13)",)


def test_the_profiler_is_asked_for_this_process(tmp_path):
    said = tmp_path / "said"
    recorder.require(program(tmp_path, f'echo "$@" > {said}'))
    assert said.read_text().split() == ["dump", "--pid", str(os.getpid())]


def test_a_missing_profiler_is_fetched_by_the_task(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(recorder.require, "__defaults__", (tmp_path / "none",))
    assert command.main(["upload"]) == 1
    said = capsys.readouterr().err
    assert "Hint: ./task profile fetches it" in said


def test_the_table_and_the_document_say_the_same(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(recorder, "require", lambda: None)

    def record(what: str, rows: int, mode: str, folder: Path) -> dict[str, Calls]:
        (folder / "command.raw").write_text(LINES)
        return {"tasks.get_all": Calls(1_200, 0.5)}

    monkeypatch.setattr(command, "_record", record)
    assert command.main(["step", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert list(document["seconds"]) == ["step train_processing"]
    assert document["calls"] == {"tasks.get_all": {"count": 1200, "seconds": 0.5}}
    assert command.main(["run", "--keep", str(tmp_path / "kept")]) == 0
    shown = capsys.readouterr().out
    for row in ("step train_processing", "text step", "tasks.get_all 1,200 0.50", "controller", "server"):
        assert row in " ".join(shown.split()), row
    assert (tmp_path / "kept/command.raw").read_text() == LINES
