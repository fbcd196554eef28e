"""Failed log-ins are limited and logged; a data folder is private."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from clearml_localserver.pytest_plugin import running_server

from tests.api_client import TIMEOUT_S, ApiClient
from tests.integration.access.clients import CAPTURED

pytestmark = pytest.mark.integration


def test_guessing_is_slowed_down_and_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCALSERVER_HOST", "0.0.0.0")
    with running_server(tmp_path / "data") as server, httpx.Client(trust_env=False, timeout=TIMEOUT_S) as http:
        key, secret = server.credentials
        login = f"{server.api_url}/auth.login"
        codes = [http.get(login, auth=(key, f"guess {n}")).status_code for n in range(30)]
        assert codes[:10] == [401] * 10 and set(codes[10:]) <= {401, 429} and codes.count(429) > 15
        reply = http.get(login, auth=(key, "guess"))
        assert (reply.status_code, reply.json()["meta"]["result_code"]) == (429, 429)
        assert int(reply.headers["Retry-After"]) <= 6
        form = {"access_key": key, "secret_key": secret}
        page = http.post(f"{server.web_url}/login", data=form, headers={"Origin": server.web_url})
        assert page.status_code == 429 and "Too many failed log-ins" in page.text and "Retry-After" in page.headers
        log = (tmp_path / "data.log").read_text(encoding="utf-8")
        assert f"access key {key}" in log and "from 127.0.0.1" in log
        assert "guess" not in log and secret not in log


def test_an_sdk_waits_while_its_address_is_slowed_down_and_then_comes_in(tmp_path: Path) -> None:
    """The SDK repeats a 429 after the time that it names; a wrong key is told so then, and does not wait for ever."""
    with running_server(tmp_path / "data") as server:
        for n in range(10):
            assert httpx.get(f"{server.api_url}/auth.login", auth=("NOBODY", f"guess {n}")).status_code == 401
        sdk = "from clearml.backend_api import Session; s = Session(); print(s.get_decoded_token(s.token)['key'])"
        good = subprocess.run([sys.executable, "-c", sdk], env=dict(os.environ) | server.environment, **CAPTURED)
        assert good.stdout.strip() == server.credentials[0], good.stderr
        wrong = server.environment | {"CLEARML_API_ACCESS_KEY": "NOBODY"}
        bad = subprocess.run([sys.executable, "-c", sdk], env=dict(os.environ) | wrong, **CAPTURED)
        assert bad.returncode != 0 and "LoginError" in bad.stderr and "401" in bad.stderr


def test_a_start_makes_an_open_data_folder_private(tmp_path: Path) -> None:
    with running_server(tmp_path / "data") as server:
        server.stop()
        for path in (server.data, *server.data.iterdir()):
            path.chmod(0o777)
        server.restart()
        ApiClient(server.api_url, server.credentials)("tasks.create", name="a task", type="training")
        found = {path.name: path.stat().st_mode & 0o077 for path in (server.data, *server.data.iterdir())}
        assert {"server.sqlite", "server.sqlite-wal", "credentials.json", "clearml.conf", "files"} <= found.keys()
        assert set(found.values()) == {0}
