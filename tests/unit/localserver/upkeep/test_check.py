"""`check` names each kind of damage, and `--repair` loses no more than is lost already."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from clearml_localserver.cli import main
from clearml_localserver.errors import OperatorError
from clearml_localserver.store import Store
from clearml_localserver.upkeep.check import DAMAGE, Finding, check
from clearml_localserver.upkeep.exporting import export
from clearml_localserver.upkeep.repair import repair
from click.testing import CliRunner

PAGE = 4096


def silent(text: str) -> None: ...


def found(data: Path) -> dict[str, Finding]:
    return {finding.code: finding for finding in check(data, silent)}


def change(data: Path, *statements: str) -> None:
    with closing(sqlite3.connect(data / "server.sqlite")) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def test_a_sound_folder_has_no_findings(data: Path) -> None:
    assert found(data) == {}
    result = CliRunner().invoke(main, ["check", str(data)])
    assert (result.exit_code, result.stdout) == (0, f"{data}: nothing found\n")


SCALARS = "SELECT count(*) FROM event_scalar"


def test_references_to_what_is_gone_are_named_and_taken_away(data: Path, ids: dict[str, str]) -> None:
    task, gone = ids["task"], "0" * 32
    change(
        data,
        f"UPDATE task SET doc = json_set(doc, '$.project', '{gone}') WHERE id = '{task}'",
        f'UPDATE queue SET doc = json_set(doc, \'$.entries\', json(\'[{{"task":"{gone}","added":"x"}}]\'))'
        " WHERE json_extract(doc, '$.name') = 'default'",
        f"INSERT INTO event_series (owner, type, metric, variant, common) VALUES ('{gone}', 'log', '', '', '{{}}')",
        f"UPDATE task SET doc = json_set(doc, '$.parent', '{gone}') WHERE id = '{ids['dataset']}'",
        "INSERT INTO event_scalar VALUES (9999, 1, 1, 1, 0.5, NULL)",
    )
    findings = found(data)
    assert findings["task-without-project"].examples == [f"task {task}: {gone}"]
    assert gone in findings["entry-without-task"].examples[0]
    assert findings["events-without-owner"].examples == [f"events of {gone}"]
    assert findings["events-without-series"].examples == ["1 rows of event_scalar, series 9999"]
    assert (findings["task-without-parent"].level, findings["task-without-parent"].count) == ("note", 1)
    done = repair(data, findings.values(), silent)
    assert len(list(data.glob("server.sqlite.before-repair-*"))) == 1
    assert any("no longer refer to a project" in line for line in done)
    assert set(found(data)) == {"task-without-parent"}


def test_files_that_are_missing_stray_or_elsewhere(data: Path, ids: dict[str, str]) -> None:
    state = (
        data / "files" / "World" / "Data" / ".datasets" / "numbers" / f"numbers.{ids['parent']}" / "artifacts" / "state"
    )
    (state / "state.json").unlink()
    (data / "files" / "stray.bin").write_bytes(b"12345")
    change(data, "UPDATE model SET doc = json_set(doc, '$.uri', 'http://elsewhere:8081/a/model.bin')")
    findings = found(data)
    (missing,) = findings["missing-files"].examples
    assert missing.startswith(f"artifact state of task {ids['parent']}: World/Data/.datasets/numbers/")
    assert "stray.bin" in findings["stray-files"].examples and "bytes" in findings["stray-files"].text
    assert findings["files-elsewhere"].count == 1
    assert CliRunner().invoke(main, ["check", str(data)]).exit_code == 1
    assert CliRunner().invoke(main, ["check", "--quick", str(data)]).exit_code == 0


def test_weights_are_found_below_the_encoded_name_of_their_task(data: Path) -> None:
    """The SDK stores a model of the task `a: b` below `a%3A b`, and gives that as its address, not encoded again."""
    weights = data / "files" / "World" / "a%3A b.0123" / "models" / "model.json"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"{}")
    address = "http://127.0.0.1:8081/World/a%3A b.0123/models/model.json"
    change(data, f"UPDATE model SET doc = json_set(doc, '$.uri', '{address}')")
    findings = found(data)
    assert not {"missing-files", "files-elsewhere"} & findings.keys()
    assert not any("model.json" in name for name in findings["stray-files"].examples)
    made = export(data, data.parent / "exported", silent)
    assert (data.parent / "exported" / "files" / weights.relative_to(data / "files")).read_bytes() == b"{}"
    assert made.missing == []


def test_a_file_that_was_emptied_is_damage(data: Path, ids: dict[str, str]) -> None:
    """As a power cut leaves one of which only the name had been written."""
    (state,) = data.glob(f"files/World/Data/.datasets/numbers/numbers.{ids['parent']}/artifacts/state/state.json")
    state.write_bytes(b"")
    assert found(data)["emptied-files"].examples == [
        f"artifact state of task {ids['parent']}: {state.relative_to(data / 'files')}"
    ]
    assert CliRunner().invoke(main, ["check", str(data)]).exit_code == 1


def test_folder_credentials_and_schema(data: Path) -> None:
    data.chmod(0o755)
    (data / "credentials.json").write_text('{"access_key": ')
    change(data, "INSERT INTO migration VALUES (9999, 'from the future')", "DELETE FROM migration WHERE number = 12")
    findings = found(data)
    assert set(findings) == {"open-folder", "credentials-unreadable", "newer-schema", "older-schema"}
    assert findings["newer-schema"].examples == ["9999"]
    assert findings["older-schema"].examples == ["0012_handed_out.sql"]


@pytest.mark.parametrize("content", [None, b""])
def test_a_lost_database_is_damage(content: bytes | None, data: Path) -> None:
    (data / "server.sqlite").unlink()
    if content is not None:
        (data / "server.sqlite").write_bytes(content)
    result = CliRunner().invoke(main, ["check", str(data), "--json"])
    assert result.exit_code == 1
    assert json.loads(result.stdout)["findings"][0]["code"] == "database-lost"


def test_no_data_folder_is_said(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["check", str(tmp_path)])
    assert (result.exit_code, result.stderr.startswith("Error: ")) == (10, True)


def leaf_of(data: Path, needle: str) -> int:
    """Return the page that holds a text."""
    return (data / "server.sqlite").read_bytes().index(needle.encode()) // PAGE


@pytest.mark.parametrize("kind", ["model", "task"])
def test_a_flipped_byte_in_a_document_is_named_and_the_rest_is_saved(
    data: Path, ids: dict[str, str], kind: str
) -> None:
    path, needle = data / "server.sqlite", f'{{"id":"{ids[kind]}"'.encode()
    content = path.read_bytes()
    assert needle in content
    path.write_bytes(content.replace(needle, needle.replace(b'"id"', b'"id\xff')))
    findings = found(data)
    assert "bad-documents" in findings and ids[kind] in findings["bad-documents"].examples[0]
    result = CliRunner().invoke(main, ["check", "--repair", str(data)])
    assert f"lost: 1 rows of {kind} that are not what was written" in result.stdout
    left = {"task": 7, "model": 1}
    left[kind] -= 1
    with closing(sqlite3.connect(path)) as connection:
        for table, count in left.items():
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (count,)
    lost = {"model": {"task-without-model"}, "task": {"model-without-task", "events-without-owner"}}
    assert set(found(data)) <= lost[kind] | {"stray-files"}


def test_a_damaged_page_is_named_and_the_rest_is_saved(data: Path, ids: dict[str, str]) -> None:
    path = data / "server.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        before = connection.execute(SCALARS).fetchone()
        for number in range(2000):
            document = json.dumps(
                {"id": f"{number:032x}", "name": f"needle {number}", "status": "created", "c": "x" * 500}
            )
            connection.execute("INSERT INTO task (id, doc) VALUES (?, ?)", (f"{number:032x}", document))
        connection.commit()
        root = connection.execute("SELECT count(*) FROM task").fetchone()
    page = leaf_of(data, '"name": "needle 1000"')
    with path.open("r+b") as file:
        file.seek(page * PAGE)
        file.write(b"\xa5" * PAGE)
    findings = found(data)
    assert {"damaged-pages", "database-unreadable"} & set(findings)
    result = CliRunner().invoke(main, ["check", "--repair", str(data)])
    (lost,) = [line for line in result.stdout.splitlines() if line.startswith("lost: task:")]
    assert f"{1000:032x}" in lost
    with closing(sqlite3.connect(path)) as connection:
        saved = connection.execute("SELECT count(*) FROM task").fetchone()[0]
        assert root[0] - 10 < saved < root[0]
        assert f"{root[0] - saved} rows could not be read" in lost
        assert connection.execute(SCALARS).fetchone() == before
    assert [path for path in data.glob("server.sqlite.damaged-*") if not path.name.endswith(("-wal", "-shm"))]
    assert not [finding for finding in check(data, silent) if finding.level == "damage"]


@pytest.mark.parametrize("killed_at", [1, 2, 3, 4])
def test_a_repair_that_is_killed_leaves_no_database_without_its_log(
    killed_at: int, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a one would pass for whole and lack what was written last."""
    database = data / "server.sqlite"
    renames = iter(range(1, killed_at + 1))
    rename = Path.rename

    def rename_or_die(path: Path, target: Path) -> Path:
        if next(renames) == killed_at:
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", rename_or_die)
    damage = [Finding(DAMAGE, "damaged-pages", "damaged", repair="rebuild")]
    with closing(sqlite3.connect(database)) as writer:  # as long as it is open, there is a log
        writer.execute("INSERT INTO setting VALUES ('last', '1')")
        writer.commit()
        with pytest.raises(KeyboardInterrupt):
            repair(data, damage, silent)
        assert not database.exists() or (data / "server.sqlite-wal").exists()


def test_what_this_user_may_not_read_is_no_damage(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`check` said "damage", and that --repair would make a new database."""
    monkeypatch.setattr("os.access", lambda path, mode: path != data / "server.sqlite")
    with pytest.raises(OperatorError, match="belongs to another user"):
        check(data, silent)


def test_what_another_process_locks_is_no_damage(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clearml_localserver.database.BUSY_TIMEOUT_MS", 10)
    with closing(sqlite3.connect(data / "server.sqlite", isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(OperatorError, match="is locked by another process"):
            check(data, silent)


def test_a_database_of_which_nothing_can_be_read_is_left_as_it_is(data: Path) -> None:
    path = data / "server.sqlite"
    path.write_bytes(b"not a database" * 1000)
    assert found(data)["database-unreadable"].level == "damage"
    result = CliRunner().invoke(main, ["check", "--repair", str(data)])
    assert result.exit_code == 10
    assert "nothing can be read from" in result.stderr and "restore a backup" in result.stderr
    assert path.read_bytes() == b"not a database" * 1000


def flipped(content: bytes, times: random.Random) -> bytes:
    damaged = bytearray(content)
    for _ in range(20):
        damaged[times.randrange(len(damaged))] ^= 1 << times.randrange(8)
    return bytes(damaged)


def overwritten(content: bytes, times: random.Random) -> bytes:
    start = times.randrange(1, len(content) // PAGE) * PAGE
    return content[:start] + times.randbytes(PAGE) + content[start + PAGE :]


def cut_off(content: bytes, times: random.Random) -> bytes:
    return content[: times.randrange(len(content) * 3 // 4, len(content))]


def new_header(content: bytes, times: random.Random) -> bytes:
    return times.randbytes(100) + content[100:]


@pytest.mark.parametrize("harm", [flipped, overwritten, cut_off, new_header])
def test_no_damage_makes_check_or_repair_fail_without_a_word(
    harm: Callable[[bytes, random.Random], bytes], data: Path
) -> None:
    path = data / "server.sqlite"
    path.write_bytes(harm(path.read_bytes(), random.Random(10)))
    for options in ([], ["--repair"], ["--repair"]):
        result = CliRunner().invoke(main, ["check", str(data), *options])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert result.exit_code in (0, 1, 10)
        assert result.output
    if result.exit_code != 10:
        Store(path).close()  # what was repaired starts


def test_repair_is_refused_while_a_server_runs(data: Path) -> None:
    from clearml_localserver.bootstrap import prepare_folder

    data.chmod(0o755)
    with prepare_folder(data):
        data.chmod(0o755)
        result = CliRunner().invoke(main, ["check", "--repair", str(data)])
    assert result.exit_code == 10
    assert "in use by another localserver" in result.stderr
