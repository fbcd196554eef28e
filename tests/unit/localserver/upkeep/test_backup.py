"""Backups are whole or not there, verified, and restored only as they were made."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from clearml_localserver.bootstrap import prepare_folder
from clearml_localserver.errors import OperatorError
from clearml_localserver.store import Store
from clearml_localserver.upkeep import backup as module
from clearml_localserver.upkeep.backup import SUMS, backup, restore, verify
from clearml_localserver.upkeep.check import check

ODD_NAMES = ["plain.bin", 'a "b" \\ c.txt', "new\nline", "ü/deep/100%25.bin"]


def silent(text: str) -> None: ...


@pytest.fixture
def data(data: Path) -> Path:
    for name in ODD_NAMES:
        path = data / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"content of {name}")
    (data / "files" / ".partial").mkdir(exist_ok=True)
    (data / "files" / ".partial" / "half").write_text("half")
    return data


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("link", [True, False])
def test_a_backup_is_restored_to_the_same_folder(link: bool, data: Path, tmp_path: Path) -> None:
    made = backup(data, tmp_path / "backup", silent, link=link)
    assert (made.linked > 0) is link
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")], "no half of a backup is left"
    assert (
        subprocess.run(["sha256sum", "--check", "--quiet", "--strict", SUMS], cwd=made.folder, check=False).returncode
        == 0
    )
    restore(made.folder, tmp_path / "restored", silent)
    wanted = {name: text for name, text in tree(data / "files").items() if not name.startswith(".partial")}
    assert tree(tmp_path / "restored" / "files") == wanted
    assert (tmp_path / "restored" / "credentials.json").read_bytes() == (data / "credentials.json").read_bytes()
    assert not [finding for finding in check(tmp_path / "restored", silent) if finding.level == "damage"]
    store = Store(tmp_path / "restored" / "server.sqlite")
    assert asyncio.run(store.read(lambda tx: tx.rows("SELECT count(*) FROM task"))) == [(7,)]
    store.close()


def test_a_restored_folder_knows_which_files_are_its_own(data: Path, tmp_path: Path) -> None:
    """Before its first start, too: a file that is lost is damage, not one of another server."""
    restored = tmp_path / "restored"
    restore(backup(data, tmp_path / "backup", silent).folder, restored, silent)
    lost = next((restored / "files").rglob("state.json"))
    lost.unlink()
    assert {finding.code for finding in check(restored, silent)} >= {"missing-files"}
    assert "files-elsewhere" not in {finding.code for finding in check(restored, silent)}


@pytest.mark.parametrize("name", [".", "backup", "files/backup"])
def test_a_backup_inside_its_data_folder_is_refused(name: str, data: Path) -> None:
    before = tree(data)
    with pytest.raises(OperatorError, match="is inside data folder"):
        backup(data, data / name, silent)
    assert tree(data) == before


def test_files_that_change_while_a_backup_is_made_are_those_the_database_names(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deleted after the first round: kept. New or replaced before the database's moment: as then. Later: not seen."""
    files, snapshot = data / "files", module.snapshot

    def change(name: str, text: str) -> None:
        (files / "new").write_text(text)
        (files / "new").replace(files / name)  # as uploads do

    def snapshot_between(*arguments: object) -> None:
        snapshot(*arguments)  # type: ignore[arg-type]
        change("plain.bin", "after the moment")

    copy_files = module.Copier.copy_files

    def copy_then_change(copier: module.Copier, root: Path, newest_ns: int | None = None) -> None:
        copy_files(copier, root, newest_ns)
        if newest_ns is None:
            (files / "new\nline").unlink()
            change('a "b" \\ c.txt', "before the moment")
            change("came.bin", "between")

    monkeypatch.setattr(module, "snapshot", snapshot_between)
    monkeypatch.setattr(module.Copier, "copy_files", copy_then_change)
    kept = tree(backup(data, tmp_path / "backup", silent).folder / "files")
    assert kept["plain.bin"] == b"content of plain.bin"
    assert kept["new\nline"] == b"content of new\nline"
    assert kept['a "b" \\ c.txt'] == b"before the moment"
    assert kept["came.bin"] == b"between"


def test_a_backup_that_fails_leaves_nothing_and_the_next_one_works(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(module, "put_in_place", lambda work, target: os.kill(0, 0) or 1 / 0)
        with pytest.raises(ZeroDivisionError):
            backup(data, tmp_path / "backup", silent)
    assert not (tmp_path / "backup").exists()
    left = tmp_path / ".backup.partial"  # as a killed process leaves it
    left.mkdir()
    (left / "server.sqlite").write_bytes(b"half")
    backup(data, tmp_path / "backup", silent)
    assert verify(tmp_path / "backup", silent)


def test_an_existing_target_is_kept_unless_told(data: Path, tmp_path: Path) -> None:
    target = tmp_path / "backup"
    backup(data, target, silent)
    before = tree(target)
    with pytest.raises(OperatorError, match="holds a backup already"):
        backup(data, target, silent)
    assert tree(target) == before
    (data / "files" / "later").write_text("later")
    backup(data, target, silent, replace=True)
    assert "files/later" in tree(target)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine").write_text("mine")
    with pytest.raises(OperatorError, match="exists and is not a backup"):
        backup(data, tmp_path / "other", silent, replace=True)
    with pytest.raises(OperatorError, match="is inside data folder"):
        backup(data, data / "files" / "backup", silent)


@pytest.mark.parametrize("harm", ["flip", "remove", "cut"])
def test_a_damaged_backup_is_named_and_not_restored(harm: str, data: Path, tmp_path: Path) -> None:
    made = backup(data, tmp_path / "backup", silent, link=False)
    victim = made.folder / "files" / "plain.bin"
    if harm == "flip":
        victim.write_text("content of plain.bim")
    elif harm == "remove":
        victim.unlink()
    else:
        os.truncate(made.folder / "server.sqlite", 8192)
    name = "server.sqlite" if harm == "cut" else "files/plain.bin"
    with pytest.raises(OperatorError, match=rf"(?s)is damaged, 1 of \d+ files:\n  {name}: "):
        restore(made.folder, tmp_path / "restored", silent)
    assert not (tmp_path / "restored").exists()


def test_a_folder_in_use_is_not_restored_over(data: Path, tmp_path: Path) -> None:
    made = backup(data, tmp_path / "backup", silent)
    with pytest.raises(OperatorError, match=r"is not empty\nHint: .*--replace"):
        restore(made.folder, data, silent)
    with prepare_folder(data), pytest.raises(OperatorError, match="in use by another localserver"):
        restore(made.folder, data, silent, replace=True)
    aside = restore(made.folder, data, silent, replace=True)
    assert aside is not None and (aside / "server.sqlite").exists()
    assert verify(made.folder, silent), "restoring does not change the backup"


def test_a_backup_is_not_restored_into_itself(data: Path, tmp_path: Path) -> None:
    made = backup(data, tmp_path / "backup", silent)
    for target in (made.folder, made.folder / "below"):
        with pytest.raises(OperatorError, match="is inside the backup itself"):
            restore(made.folder, target, silent, replace=True)
    assert verify(made.folder, silent)
    assert not (made.folder / "below").exists()


def test_no_server_starts_on_a_folder_while_it_is_restored_over(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would write into the folder that is put aside, and what it was told would be gone with it."""
    made = backup(data, tmp_path / "backup", silent)
    copy = module.Copier.copy

    def start_and_copy(*arguments: Any, **options: Any) -> None:
        with pytest.raises(OperatorError, match="in use by another localserver"):
            prepare_folder(data)
        copy(*arguments, **options)

    monkeypatch.setattr(module.Copier, "copy", start_and_copy)
    assert restore(made.folder, data, silent, replace=True) is not None
    prepare_folder(data).close()


def test_a_folder_that_appears_while_it_is_restored_is_kept(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = backup(data, tmp_path / "backup", silent)
    target = tmp_path / "restored"
    monkeypatch.setattr(module.Copier, "verify", lambda self: prepare_folder(target).close())
    with pytest.raises(OperatorError, match="made by another process meanwhile"):
        restore(made.folder, target, silent)
    assert (target / "lock").exists()


@pytest.mark.parametrize(("limit", "victim"), [(100_000, "server.sqlite"), (10, "disk")])
def test_a_full_target_is_one_message_and_nothing_is_left(limit: int, victim: str, data: Path, tmp_path: Path) -> None:
    """A file size limit fails the same writes as a full disk."""
    code = (
        "import resource; from clearml_localserver.cli import main;"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}));"
        f"main(['backup', '--copy', {str(data)!r}, {str(tmp_path / 'backup')!r}])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, "Traceback" in result.stderr) == (10, False)
    assert victim in result.stderr and "limit" in result.stderr and str(data) not in result.stderr
    assert not [path for path in tmp_path.iterdir() if "backup" in path.name]


def test_no_backup_of_a_damaged_database(data: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(data / "server.sqlite")) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'event_series'").fetchone()
    with (data / "server.sqlite").open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xa5" * 4096)
    with pytest.raises(OperatorError, match="is damaged"):
        backup(data, tmp_path / "backup", silent)
    assert not (tmp_path / "backup").exists()
