"""Durability: what was answered is still there after `kill -9`, and a data folder has one server at a time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from clearml_localserver.pytest_plugin import ClearmlServer

from tests import durability
from tests.api_client import ApiClient

pytestmark = [pytest.mark.integration, pytest.mark.slow]

Factory = Callable[[], ClearmlServer]


def test_nothing_answered_is_lost_by_kills_under_load(tmp_path: Path) -> None:
    """`./task test-durability` does this more often. Tasks, events, uploads, queues; and a backup made under load."""
    written, problems = durability.run(tmp_path / "data", kills=2, seed=10)
    assert problems == []
    assert written > 0


def test_sessions_keys_and_configuration_outlive_a_restart(clearml_server_factory: Factory) -> None:
    server = clearml_server_factory()
    client = ApiClient(server.api_url, server.credentials)
    before = (server.data / "clearml.conf").read_text()
    server.stop()
    server.restart()
    assert client.send("queues.get_all").status == 200, "a token issued before the restart is still good"
    assert (server.data / "clearml.conf").read_text() == before


def start(data: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "clearml_localserver", "--data", str(data), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_second_server_on_the_same_data_is_refused(clearml_server: ClearmlServer) -> None:
    result = start(clearml_server.data, "--api-port", "0", "--web-port", "0", "--files-port", "0")
    assert result.returncode == 10
    assert f"in use by another localserver (pid {clearml_server.process.pid})" in result.stderr
    assert "Traceback" not in result.stderr


def test_taken_port_is_named(clearml_server: ClearmlServer, tmp_path: Path) -> None:
    port = clearml_server.api_url.rpartition(":")[2]
    result = start(tmp_path / "data", "--api-port", port, "--web-port", "0", "--files-port", "0")
    assert result.returncode == 10
    assert f"api port {port} on 127.0.0.1 cannot be used" in result.stderr
    assert "--port-base" in result.stderr
    assert not (tmp_path / "data" / "server.sqlite").exists(), "nothing is written before the ports are bound"


def test_damaged_database_is_one_clear_message(tmp_path: Path) -> None:
    (tmp_path / "server.sqlite").write_bytes(b"not a database" * 1000)
    result = start(tmp_path, "--api-port", "0", "--web-port", "0", "--files-port", "0")
    assert result.returncode == 10
    assert "server.sqlite is damaged (file is not a database)" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("limit", [0, 2, 50_000])
def test_start_on_a_full_disk_is_one_clear_message(limit: int, tmp_path: Path) -> None:
    """A file size limit fails the same writes as a full disk, and needs no root: the lock's, the database's."""
    code = (
        "import resource, sys; from clearml_localserver.cli import main;"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}));"
        f"main(['--data', {str(tmp_path / 'data')!r}, '--api-port', '0', '--web-port', '0', '--files-port', '0'])"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 10
    assert result.stderr.startswith("Error: ") and "disk" in result.stderr and str(tmp_path / "data") in result.stderr
    assert "Traceback" not in result.stderr


def test_a_lost_database_is_not_replaced_by_a_new_one(clearml_server_factory: Factory) -> None:
    server = clearml_server_factory()
    server.stop()
    (server.data / "server.sqlite").write_bytes(b"")
    result = start(server.data, "--api-port", "0", "--web-port", "0", "--files-port", "0")
    assert result.returncode == 10
    assert "server.sqlite is empty, but the folder was in use" in result.stderr
    assert (server.data / "server.sqlite").stat().st_size == 0


def test_database_of_a_newer_version_is_left_alone(clearml_server_factory: Factory) -> None:
    import sqlite3

    server = clearml_server_factory()
    server.stop()
    with sqlite3.connect(server.data / "server.sqlite") as connection:
        connection.execute("INSERT INTO migration VALUES (9999, 'from the future')")
    result = start(server.data, "--api-port", "0", "--web-port", "0", "--files-port", "0")
    assert result.returncode == 10
    assert "written by a newer version" in result.stderr
