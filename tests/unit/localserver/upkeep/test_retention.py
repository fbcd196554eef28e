"""Clean-up removes what its rule names and nothing else, and only when it is told to."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from clearml_localserver.cli import main
from clearml_localserver.store import Store, Tx
from clearml_localserver.times import iso, utcnow
from clearml_localserver.upkeep import retention
from clearml_localserver.upkeep.check import check
from clearml_localserver.upkeep.exporting import export
from clearml_localserver.upkeep.retention import Rule, clean
from click.testing import CliRunner

ALL = frozenset(retention.WHAT)
LATER = utcnow() + timedelta(days=3650)
"""Everything is older."""


def silent(text: str) -> None: ...


def rows(data: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(data / "server.sqlite")) as connection:
        return connection.execute(sql).fetchall()


def change(data: Path, *statements: str) -> None:
    with closing(sqlite3.connect(data / "server.sqlite")) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def files(data: Path) -> set[str]:
    return {str(path.relative_to(data / "files")) for path in (data / "files").rglob("*") if path.is_file()}


def state(data: Path) -> tuple[list[str], set[str]]:
    with closing(sqlite3.connect(data / "server.sqlite")) as connection:
        return list(connection.iterdump()), files(data)


def series_types(data: Path, owner: str) -> set[object]:
    return {type_ for (type_,) in rows(data, f"SELECT type FROM event_series WHERE owner = '{owner}'")}


def test_a_dry_run_counts_and_changes_nothing(data: Path) -> None:
    before = state(data)
    arguments = ["retention", str(data), "--older-than", "0h", "--what", "console,artifacts", "--published"]
    change(data, f"UPDATE task SET doc = json_set(doc, '$.last_update', '{iso(utcnow() - timedelta(days=2))}')")
    before = state(data)
    for options in ([], ["--dry-run"], ["--dry-run", "--yes"]):
        result = CliRunner().invoke(main, [*arguments, *options, "--json"])
        found = json.loads(result.stdout)
        assert (found["removed"], found["tasks"]) == (False, 6), "all but the one that is queued"
        assert found["counts"]["console"] > 0 and found["counts"]["artifacts"] == 2 and found["counts"]["files"] == 2
        assert found["bytes"]["files"] > 0
    assert state(data) == before


def test_what_is_named_goes_and_the_rest_stays(data: Path, ids: dict[str, str]) -> None:
    before = files(data)
    cleanup = clean(data, Rule(LATER, ALL, ("World",), published=True), silent, really=True)
    assert cleanup.tasks == 6
    assert series_types(data, ids["task"]) == set()
    assert rows(data, "SELECT count(*) FROM event_log") == [(0,)]
    gone = before - files(data)
    assert {name.rpartition("/")[2] for name in gone} == {
        "numbers.json", "odd 0x22name0x22 1000x25.npz", "samples_one_00000000.jpeg"
    }  # fmt: skip
    assert len([name for name in files(data) if ".datasets" in name]) == 4, "a dataset's artifacts are its data"
    document = json.loads(str(rows(data, f"SELECT doc FROM task WHERE id = '{ids['task']}'")[0][0]))
    assert document["execution"]["artifacts"] == [] and document["hyperparams"] and document["last_metrics"]
    assert not [finding for finding in check(data, silent) if finding.level == "damage"]
    assert clean(data, Rule(LATER, ALL, ("World",), published=True), silent, really=True).counts == {
        "artifacts": 0, "files": 0
    }  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "tasks"),
    [
        (Rule(LATER, ALL), 5),
        (Rule(LATER, ALL, ("World/Training",)), 0),
        (Rule(LATER, ALL, ("World/Training",), published=True), 1),
        (Rule(LATER, ALL, ("World/Data", "World/.pipelines")), 5),
        (Rule(LATER, ALL, ("World/Training", "World/Data")), 2),
        (Rule(utcnow() - timedelta(days=3650), ALL, published=True), 0),
    ],
)
def test_age_project_and_status_decide(rule: Rule, tasks: int, data: Path) -> None:
    assert clean(data, rule, silent, really=False).tasks == tasks


def test_a_file_that_another_task_names_stays(data: Path, ids: dict[str, str]) -> None:
    (uri,) = rows(data, f"SELECT doc ->> '$.execution.artifacts[0].uri' FROM task WHERE id = '{ids['task']}'")[0]
    entry = json.dumps([{"key": "shared", "type": "dict", "mode": "input", "uri": uri}])
    change(
        data,
        f"UPDATE task SET doc = json_set(doc, '$.execution.artifacts', json('{entry}')) WHERE id = '{ids['pipeline']}'",
    )
    clean(data, Rule(LATER, frozenset({"artifacts"}), ("World/Training",), published=True), silent, really=True)
    assert any(name.endswith("numbers.json") for name in files(data))
    assert not any(name.endswith("1000x25.npz") for name in files(data))


def test_a_task_that_starts_meanwhile_is_left_alone(
    data: Path, ids: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clean_task = retention._clean_task

    def start_it(*arguments: Any) -> bool:
        change(data, f"UPDATE task SET doc = json_set(doc, '$.status', 'in_progress') WHERE id = '{ids['task']}'")
        return clean_task(*arguments)

    monkeypatch.setattr(retention, "_clean_task", start_it)
    clean(data, Rule(LATER, ALL, ("World/Training",), published=True), silent, really=True)
    assert series_types(data, ids["task"]) >= {"log", "training_stats_scalar", "plot"}
    assert any(name.endswith("numbers.json") for name in files(data))


def test_a_file_that_something_comes_to_name_meanwhile_stays(
    data: Path, ids: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (uri,) = rows(data, f"SELECT doc ->> '$.execution.artifacts[0].uri' FROM task WHERE id = '{ids['task']}'")[0]
    clean_task = retention._clean_task

    def name_it(*arguments: Any) -> bool:
        change(data, f"UPDATE model SET doc = json_set(doc, '$.uri', '{uri}')")
        return clean_task(*arguments)

    monkeypatch.setattr(retention, "_clean_task", name_it)
    clean(data, Rule(LATER, frozenset({"artifacts"}), ("World/Training",), published=True), silent, really=True)
    assert any(name.endswith("numbers.json") for name in files(data))
    assert not any(name.endswith("1000x25.npz") for name in files(data))


def test_it_works_beside_a_server_that_writes(data: Path, ids: dict[str, str]) -> None:
    store = Store(data / "server.sqlite")

    def add(tx: Tx) -> None:
        tx.put("task", {"id": "new", "name": "new", "status": "created", "last_update": iso(utcnow())})

    def look(tx: Tx) -> Iterable[object]:
        return tx.rows("SELECT count(*) FROM event_log")[0], tx.get("task", "new") is not None

    asyncio.run(store.write(add))
    clean(data, Rule(utcnow() - timedelta(days=-1), frozenset({"console"}), ("World",), True), silent, really=True)
    asyncio.run(store.write(add))
    assert asyncio.run(store.read(look)) == ((0,), True)
    store.close()


NO_FILES = ("http://files:8081/World", "http://files:8081/" + "x" * 300, "http://files:8081/a/%2e%2e/%00")


def test_addresses_that_are_no_files_stop_neither_clean_up_nor_check_nor_export(
    data: Path, tmp_path: Path, ids: dict[str, str]
) -> None:
    """Whoever may report may store any address, that of a folder or of a name too long for the disk."""
    (data / "files" / "World" / "kept").mkdir(parents=True)
    named = [{"key": url[-9:], "type": "custom", "uri": url} for url in NO_FILES]
    change(data, f"UPDATE task SET doc = json_set(doc, '$.execution.artifacts', json('{json.dumps(named)}'))")
    check(data, silent)
    assert len(export(data, tmp_path / "export", silent).missing) >= 1
    clean(data, Rule(LATER, ALL, (), True), silent, really=True)
    assert (data / "files" / "World" / "kept").is_dir()


def test_a_project_that_is_not_there_is_named(data: Path) -> None:
    """Neither a typing error nor the beginning of a name is a rule that selects nothing."""
    command = ["retention", str(data), "--older-than", "1h", "--what", "console", "--project"]
    for name in ("World/Dat", "world", ""):
        result = CliRunner().invoke(main, [*command, name])
        assert (result.exit_code, f"there is no project '{name}'" in result.stderr) == (10, True)


@pytest.mark.parametrize("options", [["--older-than", "90"], ["--older-than", "90d", "--what", "everything"]])
def test_bad_options_are_named(options: list[str], data: Path) -> None:
    result = CliRunner().invoke(main, ["retention", str(data), "--what", "console", *options])
    assert result.exit_code == 2
    assert "is not an age such as" in result.stderr or "choose among console" in result.stderr
