"""A task's own lines: what an agent, pip and the SDK print is left out; an error and an unknown line never are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearml_access.own_lines import OwnLines, last_own

AGENT = """\
task 0a1b2c3d4e5f60718293a4b5c6d7e8f9 pulled from 0a1b2c3d4e5f60718293a4b5c6d7e8f9 by worker vm:steps-2
/opt/agent/lib/python3.11/site-packages/clearml_agent/x.py:3: UserWarning: pkg_resources is deprecated as an API.
  from pkg_resources import Requirement as Req
Current configuration (clearml_agent v1.9.2, location: /tmp/.clearml_agent.64rfsklk.cfg):
----------------------
agent.worker_id = vm:steps-2
agent.python_binary =
sdk.network.iteration.max_retries_on_server_error = 5

Using environment secret key CLEARML_API_SECRET_KEY=********
Running task '0a1b2c3d4e5f60718293a4b5c6d7e8f9'
Storing stdout and stderr log to '/tmp/.clearml_agent_out.w06ed7tp.txt', '/tmp/.clearml_agent_out.w06ed7tp.txt'
3 requirement(s) already satisfied by this image
Executing task id [0a1b2c3d4e5f60718293a4b5c6d7e8f9]:
repository =
entry_point = train_test_split.py
Using Python 3.11.2 environment at: /opt/step
Skipping 1 pre-installed packages:
- clearml==2.1.12
Remaining 0 additional packages to install
Requirement already satisfied: pip in /opt/step (22.2.2)
Running task id [0a1b2c3d4e5f60718293a4b5c6d7e8f9]:
[.]$ /opt/step/bin/python -u /root/.clearml/venvs-builds/3.11/code/train_test_split.py
Summary - installed python packages:
pip:
- TracebackError==1
- pandas @ file:///x
Environment setup completed successfully
Starting Task Execution:
ClearML results page: http://server/projects/1/tasks/2/output/log
2026-11-28 00:11:31,412 - clearml.resource_monitor - WARNING - Could not fetch GPU stats
ClearML Monitor: GPU monitoring failed getting GPU reading, switching off GPU monitoring
Launching the next 1 steps
Launching step: train_test_split
Parameters:
{'kwargs/test_size': '${pipeline.test_size}'}
Process completed successfully
Leaving process id 16
DONE: Running task '0a1b2c3d4e5f60718293a4b5c6d7e8f9', exit status 0
"""

OWN = """\
3610 reviews of Amazon reviews dataset 1.2: 2888 for training, 722 for testing
agent.worker_id = my own print
- a list of mine
  indented
repository = mine
Uploading dataset changes (2 files compressed to 159.97 KiB) to http://127.0.0.1:24081
ERROR: Could not find a version that satisfies the requirement nope
2026-11-28 00:11:31,412 - clearml.storage - ERROR - Could not download
/root/.clearml/venvs-builds/3.11/code/mine.py:3: UserWarning: my own warning
clearml_agent: ERROR: Could not install task requirements!
Launching step [train_test_split]
DONE: Running task '0a1b2c3d4e5f60718293a4b5c6d7e8f9', exit status 1
"""

TRACEBACK = """\
Traceback (most recent call last):
  File "/x/site-packages/clearml/x.py", line 3, in f
    raise ValueError("no")
ValueError: no
During handling of the above exception, another exception occurred:
Traceback (most recent call last):
  File "x.py", line 3, in f
Launching the next 1 steps
"""


def shown(text: str) -> list[str]:
    return list(OwnLines().of(text.splitlines()))


@pytest.mark.parametrize("line", AGENT.splitlines())
def test_what_an_agent_the_sdk_and_pip_print_is_left_out(line):
    own = OwnLines()
    kept = list(own.of(AGENT.splitlines()))
    assert line not in kept
    assert own.left_out == len(AGENT.splitlines())


@pytest.mark.parametrize("line", OWN.splitlines())
def test_lines_of_the_task_and_errors_are_shown(line):
    assert line in shown(OWN) and line in shown(AGENT + OWN)


def test_a_traceback_is_shown_whole():
    assert shown(AGENT + TRACEBACK) == TRACEBACK.splitlines()
    assert shown(TRACEBACK + AGENT) == TRACEBACK.splitlines()


def test_a_block_ends_at_the_first_line_of_another_form():
    text = "Summary - installed python packages:\npip:\n- a==1\nmine\n- a==1\n"
    assert shown(text) == ["mine", "- a==1"]


def test_a_blank_line_goes_with_the_line_before_it():
    assert shown("\nmine\n\nStarting Task Execution:\n\n\nmine\n") == ["", "mine", "", "mine"]


def test_colours_and_progress_bars_do_not_hide_what_a_line_is():
    assert shown("\x1b[32mStarting Task Execution:\x1b[0m\n10 %\r100 %\n") == ["10 %", "100 %"]


@given(st.lists(st.text(st.characters(blacklist_categories=("Cc", "Cs", "Zl", "Zp")))))
def test_whatever_a_task_prints_is_shown(lines):
    assert list(OwnLines().of(lines)) == lines


def test_the_last_lines_are_the_tasks_own_and_where_it_has_none_the_last_of_all() -> None:
    said = ["begun", *AGENT.splitlines(), "Traceback (most recent call last):", '  File "a.py"', "ValueError: over 9"]
    assert last_own(said, 3) == said[-3:]
    assert last_own(said, 9) == ["begun", *said[-3:]]
    assert last_own(AGENT.splitlines(), 1) == AGENT.splitlines()[-1:]
    assert last_own([], 5) == []
