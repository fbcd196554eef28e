"""`./task server-up` waits for a server that updates an older data folder, however long that takes."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from clearml_localserver.database import FILE_NAME, open_database

from pipeline.local_stack import MachineSettings, server
from tests.old_folder import unpack

SLOW_SERVER = """
import pathlib, sys, time
data = pathlib.Path(sys.argv[sys.argv.index("--data") + 1])
names = ("api_server", "web_server", "files_server", "access_key", "secret_key")
(data / "clearml.conf").write_text("".join(f'{name}: "http://x"\\n' for name in names))
print(sys.argv[1], flush=True)
while not (data / "go").exists():
    time.sleep(0.01)
print("localserver ready: api http://x", flush=True)
time.sleep(60)
"""


def test_a_server_that_updates_its_database_is_given_more_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "server.py"
    script.write_text(SLOW_SERVER)
    plain = replace(MachineSettings.from_environ({}), state=tmp_path / "state", port_base=1)
    settings = replace(plain, server_command=(sys.executable, str(script), server.UPDATING))
    log, wait_until = server.log_file(settings), server.processes.wait_until
    waits: list[float] = []

    def first_wait_is_over(condition: Callable[[], bool], timeout_s: float) -> bool:
        waits.append(timeout_s)
        if len(waits) == 1:
            assert wait_until(lambda: log.exists() and server.UPDATING in log.read_text(), 30)
            return False
        (settings.server_folder / "go").touch()
        return wait_until(condition, timeout_s)

    monkeypatch.setattr(server.processes, "wait_until", first_wait_is_over)
    try:
        access, is_new = server.ensure(settings)
    finally:
        monkeypatch.setattr(server.processes, "wait_until", wait_until)
        server.stop(settings)
    assert (access.api, is_new) == ("http://x", True)
    assert waits == [server.START_TIMEOUT_S, server.UPDATE_TIMEOUT_S]


def test_the_server_says_that_it_updates_an_older_database_and_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    unpack(tmp_path / "data")
    with caplog.at_level(logging.WARNING):
        open_database(tmp_path / "data" / FILE_NAME)
        assert caplog.text.count(server.UPDATING) == 1
        open_database(tmp_path / "data" / FILE_NAME)
        open_database(tmp_path / "new.sqlite")
        assert caplog.text.count(server.UPDATING) == 1
