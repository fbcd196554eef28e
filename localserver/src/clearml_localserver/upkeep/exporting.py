"""An export is a folder in an open format: JSON lines of documents and events as the API shows them, and files.

`clearml_localserver.upkeep.importing` imports it into any ClearML server through public calls.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from clearml_localserver.bootstrap import last_addresses
from clearml_localserver.events.store import NOBODY, each_event, find_series
from clearml_localserver.rules.events import LOG, SCALAR
from clearml_localserver.store import Tx
from clearml_localserver.times import iso, utcnow
from clearml_localserver.upkeep.backup import Copier
from clearml_localserver.upkeep.data_folder import (
    FILES,
    Tell,
    UpkeepError,
    put_in_place,
    reading_database,
    require_data_folder,
    require_outside,
    work_folder,
)
from clearml_localserver.upkeep.file_references import all_named, documents, host_of, stored_name

FORMAT = 1
INFO = "export.json"
KINDS = ("project", "queue", "model", "task")
"""Each is a file `<kind>s.jsonl`, in an order in which they can be made again."""

EVENTS = "events"
PAGE = 10_000

README = """\
# Export of a ClearML-compatible server

- `export.json`: when and from what it was made; the server's addresses, which documents name; files that were missing.
- `projects.jsonl`, `queues.jsonl`, `models.jsonl`, `tasks.jsonl`: one JSON document a line, with the fields that the
  API's `get_by_id` shows. Reports, datasets and pipelines are tasks.
- `events/<id>.jsonl`: scalars, plots, debug samples and console lines of a task or model, one a line, with the fields
  that `events.add_batch` takes.
- `users.jsonl`: id and name of the users that documents refer to. No keys.
- `files/`: the stored files that documents and events name; an address `<files server>/a/b` is `files/a/b`.

To import it into a server:

    clearml-localserver import {folder} --config clearml.conf
"""


@dataclass
class Export:
    """What an export holds."""

    folder: Path
    counts: dict[str, int] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


def export(data: Path, target: Path, tell: Tell) -> Export:
    """Export a data folder, on which a server may run; the target appears whole or not at all.

    Raises:
        UpkeepError: There is no data folder, or the target is not free.
        StartError: The database cannot be read.
    """
    database = require_data_folder(data)
    require_outside(target, data)
    if target.exists() and any(target.iterdir()):
        raise UpkeepError(f"{target} is not empty\nHint: choose a folder that does not exist yet")
    made = Export(target)
    with work_folder(target) as work, reading_database(database) as tx:
        for kind in KINDS:
            tell(f"{kind}s")
            made.counts[f"{kind}s"] = _write_lines(work / f"{kind}s.jsonl", documents(tx, kind))
        people = ({"id": user["id"], "name": user.get("name")} for user in documents(tx, "user"))
        _write_lines(work / "users.jsonl", people)
        made.counts["events"] = _export_events(tx, work / EVENTS, tell)
        hosts = _export_files(data, tx, work, made, tell)
        about = {"format": FORMAT, "made": iso(utcnow()), "of": str(data.resolve()), "counts": made.counts}
        about |= {"servers": last_addresses(data), "file_hosts": hosts, "missing_files": made.missing}
        (work / INFO).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
        (work / "README.md").write_text(README.format(folder=target), encoding="utf-8")
        os.sync()
        put_in_place(work, target)
    return made


def _write_lines(path: Path, items: Iterable[Any]) -> int:
    count = 0
    with path.open("wb") as file:
        for item in items:
            file.write(orjson.dumps(item, option=orjson.OPT_APPEND_NEWLINE))
            count += 1
    return count


def _export_events(tx: Tx, folder: Path, tell: Tell) -> int:
    folder.mkdir()
    total = 0
    for (owner,) in tx.rows("SELECT DISTINCT owner FROM event_series WHERE owner <> ?", (NOBODY,)):
        total += _write_lines(folder / f"{owner}.jsonl", _events(tx, owner))
        tell(f"events: {total}")
    return total


def _events(tx: Tx, owner: str) -> Iterator[dict[str, Any]]:
    for series in find_series(tx, owner):
        order = {SCALAR: "iter", LOG: "id"}.get(series.type, "iter, key")
        yield from each_event(tx, [series], f"ORDER BY {order}")


def _export_files(data: Path, tx: Tx, work: Path, made: Export, tell: Tell) -> list[str]:
    """Copy or link the named files; return under which addresses they are named."""
    copier = Copier(work, True, tell)
    hosts: set[str] = set()
    for item in all_named(tx):
        name = stored_name(item.url, data / FILES)
        if name is None:
            continue
        stored = f"{FILES}/{name}"
        if stored not in copier.sums:
            try:
                if not (data / stored).is_file():
                    raise FileNotFoundError(stored)
                copier.copy(data / stored, stored, link=True)
            except FileNotFoundError:  # another server's, a folder's name, or gone meanwhile
                made.missing.append(f"{item.owner}: {item.url}")
                continue
        hosts.add(host_of(item.url))
    copier.verify()
    made.counts["files"], made.counts["bytes"] = copier.count, copier.size
    return sorted(hosts)
