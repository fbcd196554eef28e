"""`clearml-localserver keys`."""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from clearml_localserver.pytest_plugin import ClearmlServer, running_server

from tests.api_client import ApiClient
from tests.integration.access.clients import CAPTURED, client_of

pytestmark = pytest.mark.integration


def keys(server: ClearmlServer, *arguments: str) -> subprocess.CompletedProcess[str]:
    name, *rest = arguments
    command = [sys.executable, "-m", "clearml_localserver", "keys", name, str(server.data), *rest]
    return subprocess.run(command, check=False, **CAPTURED)


def test_keys_are_made_listed_and_revoked_on_the_command_line(server: ClearmlServer, admin: ApiClient) -> None:
    made = keys(server, "create", "--role", "guest", "--label", "dashboard")
    access_key, secret_key = (line.split('"')[1] for line in made.stdout.splitlines())
    client = client_of(server, (access_key, secret_key))
    assert client("users.get_current_user")["user"]["role"] == "guest"
    listed = keys(server, "list")
    (row,) = [line.split() for line in listed.stdout.splitlines() if line.startswith(access_key)]
    assert row[1:4] == ["guest", "localserver", "dashboard"] and row[-1] == "127.0.0.1"
    assert secret_key not in listed.stdout and server.credentials[1] not in listed.stdout
    admin("auth.edit_credentials", access_key=access_key, label="a\x1b[2J\nline")
    assert f"{access_key}  guest  localserver  a\ufffd[2J\ufffdline" in keys(server, "list").stdout
    assert keys(server, "create", "--user", "").returncode == 10, "an unset variable is not the server's own user"
    assert keys(server, "revoke", access_key).stdout == f"revoked {access_key}\n"
    assert client.send("tasks.get_all").error[:2] == (401, 30)
    again = keys(server, "revoke", access_key)
    assert (again.returncode, again.stdout) == (10, "") and f"there is no access key {access_key}" in again.stderr
    client.close()


def test_keys_of_a_server_that_does_not_run_are_one_clear_message(tmp_path: Path) -> None:
    with running_server(tmp_path / "data") as server:
        server.stop()
        refused = keys(server, "list")
        assert refused.returncode == 10 and f"no server runs on {server.data}" in refused.stderr
        assert "Traceback" not in refused.stderr
        # Its key is not told to who listens in its place.
        with closing(socket.create_server(("127.0.0.1", urlsplit(server.api_url).port or 0))) as stranger:
            assert keys(server, "list").returncode == 10
            stranger.setblocking(False)
            with pytest.raises(BlockingIOError):
                stranger.accept()
        (server.data / "clearml.conf").unlink()
        assert "no server has run" in keys(server, "list").stderr
