"""What a start does with the data folder that it finds."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import stat
from pathlib import Path

import pytest
from clearml.utilities.pyhocon import ConfigFactory
from clearml_localserver.bootstrap import (
    PRIVATE,
    Credentials,
    last_addresses,
    load_auth,
    load_credentials,
    prepare_folder,
    write_client_configuration,
)
from clearml_localserver.errors import StartError
from clearml_localserver.settings import Settings
from clearml_localserver.store import Store


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_folder_that_others_can_read_is_made_private(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "files").mkdir(parents=True)
    for name in PRIVATE:
        if name != "files":
            (data / name).touch()
    for path in (data, *data.iterdir()):
        path.chmod(0o777 if path.is_dir() else 0o666)
    (data / "mine.sh").touch(mode=0o755)
    prepare_folder(data).close()
    assert {name: mode(data / name) for name in PRIVATE} == {
        name: 0o700 if name == "files" else 0o600 for name in PRIVATE
    }
    assert mode(data) == 0o700
    assert mode(data / "mine.sh") == 0o755, "what the server did not make is left alone"


def test_a_folder_of_anothers_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o755)

    def refused(path: Path, mode: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", refused)
    with pytest.raises(StartError) as caught:
        prepare_folder(data)
    assert f"other users can read {data}" in str(caught.value)
    assert f"belongs to uid {os.geteuid()}" in str(caught.value) and "--data" in str(caught.value)


def test_a_file_system_without_modes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    monkeypatch.setattr(Path, "chmod", lambda path, mode: None)
    with pytest.raises(StartError, match="does not store file modes"):
        prepare_folder(data)


def test_a_folder_that_everybody_shares_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "shared"
    data.mkdir()
    data.chmod(0o1777)
    with pytest.raises(StartError, match="shared by all users"):
        prepare_folder(data)
    assert mode(data) == 0o1777


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"access_key": "A"}', '{"access_key": "A", "secret_key": ""}',
     '{"access_key": 1, "secret_key": "s"}', "\x00"],
)  # fmt: skip
def test_a_broken_key_file_is_one_clear_message(tmp_path: Path, text: str) -> None:
    path = tmp_path / "credentials.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(StartError) as caught:
        load_credentials(tmp_path)
    first, *hint = str(caught.value).splitlines()
    assert first.startswith(f"access key file {path} cannot be read: ")
    assert len(hint) == 1 and hint[0].startswith("Hint: restore it")


def test_a_key_file_that_is_no_text_is_one_clear_message(tmp_path: Path) -> None:
    (tmp_path / "credentials.json").write_bytes(b"\xff\xfe")
    with pytest.raises(StartError, match="cannot be read"):
        load_credentials(tmp_path)


def test_the_key_is_made_once_and_fields_of_later_versions_are_passed_over(tmp_path: Path) -> None:
    made = load_credentials(tmp_path)
    path = tmp_path / "credentials.json"
    assert mode(path) == 0o600
    path.write_text(json.dumps(json.loads(path.read_text()) | {"more": 1}), encoding="utf-8")
    assert load_credentials(tmp_path) == made


def test_a_secret_that_was_changed_in_the_file_is_the_one_that_counts(tmp_path: Path) -> None:
    async def start() -> str:
        store = Store(tmp_path / "server.sqlite")
        try:
            credentials = load_credentials(tmp_path)
            return (await load_auth(store, credentials)).keys[credentials.access_key].secret_hash
        finally:
            store.close()

    before = asyncio.run(start())
    path = tmp_path / "credentials.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"secret_key": "another"}), encoding="utf-8")
    assert asyncio.run(start()) != before


def test_nobody_is_told_to_delete_a_key_that_is_another_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, **options: str) -> str:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(StartError, match=r"cannot be read: Permission denied\nHint: do this as the user that runs"):
        load_credentials(tmp_path)


@pytest.mark.parametrize(("host", "shown"), [("::1", "[::1]"), ("127.0.0.1", "127.0.0.1")])
def test_clearml_conf_is_what_the_sdk_reads(tmp_path: Path, host: str, shown: str) -> None:
    settings = Settings(data=tmp_path, host=host)
    written = ConfigFactory.parse_file(str(write_client_configuration(settings, Credentials("AK", "SK"))))["api"]
    names = ("api_server", "web_server", "files_server")
    addresses = {name: f"http://{shown}:{port}" for name, port in zip(names, (8008, 8080, 8081), strict=True)}
    assert {name: written[name] for name in names} == addresses
    assert last_addresses(tmp_path) == addresses


def test_the_addresses_of_an_older_server_are_read_too(tmp_path: Path) -> None:
    assert last_addresses(tmp_path) == {}
    (tmp_path / "clearml.conf").write_text("api {\n    web_server: http://[::1]:8080\n    api_server: http://h:8008\n}")
    assert last_addresses(tmp_path) == {"web_server": "http://[::1]:8080", "api_server": "http://h:8008"}
