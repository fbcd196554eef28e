"""Service `organization`: tags, counts and downloads over the whole company."""

from __future__ import annotations

import csv
import itertools
import json
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from clearml_localserver import reports
from clearml_localserver.csv_lines import csv_line, harmless
from clearml_localserver.errors import validation_error
from clearml_localserver.ids import new_id
from clearml_localserver.query import Clause, all_of, count, find_all_ex, tagged
from clearml_localserver.registry import Call, Data, Raw, endpoint
from clearml_localserver.store import Tx
from clearml_localserver.tables.projects import made_by
from clearml_localserver.tables.users import members
from clearml_localserver.tags import tags_in_use

ANY = {"type": "object"}
TEXT = {"type": "string"}
MAX_DOWNLOAD_ROWS = 50_000

ENTITIES: Mapping[str, tuple[str, Clause, Data]] = {
    "projects": ("project", all_of([]), {}),
    "tasks": ("task", all_of([]), {}),
    "models": ("model", all_of([]), {}),
    # Pipelines and datasets are hidden projects that the SDK tags so.
    "pipelines": ("project", tagged("project", "pipeline"), {"search_hidden": True}),
    "datasets": ("project", tagged("project", "dataset"), {"search_hidden": True}),
    "pipeline_runs": ("task", tagged("task", "pipeline"), {"search_hidden": True}),
    "reports": ("task", reports.ONLY_REPORTS, {}),
}
"""What can be counted: kind of document, what makes it one, defaults of the query."""

COUNTS = {
    "type": "object",
    "properties": {
        **{key: {"type": ["object", "null"]} for key in ENTITIES},
        "search_hidden": {"type": "boolean"},
        "limit": {"type": "integer", "minimum": 1},
        "active_users": {"type": ["array", "object"], "items": TEXT},
    },
}
MAPPING = {
    "type": "object",
    "required": ["field"],
    "properties": {
        "field": TEXT,
        "name": {"type": ["string", "null"]},
        "values": {
            "type": ["array", "null"],
            "items": {"type": "object", "required": ["key", "value"], "properties": {"key": TEXT, "value": TEXT}},
        },
    },
}
PREPARE = {
    "type": "object",
    "required": ["entity_type", "field_mappings"],
    "properties": {
        "entity_type": {"enum": ["task", "model", "project"]},
        "field_mappings": {"type": "array", "minItems": 1, "items": MAPPING},
    },
}
DOWNLOAD = {"type": "object", "required": ["prepare_id"], "properties": {"prepare_id": TEXT}}


@endpoint("organization.get_tags")
def get_tags(call: Call, tx: Tx) -> Data:
    """List the tags of tasks, models, projects and queues."""
    return tags_in_use(tx, ("task", "model", "project", "queue"), call.data)


@endpoint("organization.get_user_companies", schema=ANY)
def get_user_companies(call: Call, tx: Tx) -> Data:
    """Return the only company, with its users."""
    owners = [{"id": id, "name": name, "avatar": avatar} for id, name, avatar in members(tx, call.company)]
    return {
        "companies": [
            {"id": call.company, "name": call.company_name, "allocated": len(owners), "owners": owners},
        ]
    }


@endpoint(
    "organization.get_entities_count",
    schema=COUNTS,
    differs="`pipelines` and `datasets` count only those (genuine: every project)",
)
def get_entities_count(call: Call, tx: Tx) -> Data:
    """Count what would be found: a query for each thing to count, of some users (`active_users`) or of all."""
    everything = {"search_hidden": True} if call.data.get("search_hidden") else {}
    users = list(call.data.get("active_users") or ())
    counts = {}
    for name, (kind, what, defaults) in ENTITIES.items():
        if name in call.data:
            query = everything | defaults | _without_nulls(call.data[name])
            if name == "reports":
                query = reports.query_of(tx, query)
            found = count(
                tx, kind, query, call.company, where=all_of([what, *([made_by(kind, users)] if users else [])])
            )
            counts[name] = min(found, call.data.get("limit", found))
    return counts


# --- lists as files ---------------------------------------------------------------------------------------------------


MAX_PREPARED_CHARACTERS = 2**18
"""Longest description of a download as JSON: some are kept in memory, and every reader may prepare them."""


@dataclass(frozen=True)
class Download:
    """A list that a client will fetch: the query, and its columns as (field, heading, names of values)."""

    kind: str
    query: Data
    columns: list[tuple[str, str, Mapping[str, str]]]


class Downloads:
    """Prepared downloads by id, for the moment between preparing and fetching. In memory: they are made at a click."""

    def __init__(self, most: int = 100) -> None:
        self._most = most
        self._prepared: OrderedDict[str, Download] = OrderedDict()
        self._lock = threading.Lock()

    def prepare(self, download: Download) -> str:
        """Keep a download and return its id; the oldest one goes when there are too many."""
        id = new_id()
        with self._lock:
            self._prepared[id] = download
            if len(self._prepared) > self._most:
                self._prepared.popitem(last=False)
        return id

    def get(self, id: str) -> Download:
        """Return a prepared download.

        Raises:
            ApiError: 400/12 for an unknown id.
        """
        with self._lock:
            if id in self._prepared:
                return self._prepared[id]
        raise validation_error(f"unknown prepare_id, call organization.prepare_download_for_get_all again: {id}")


DOWNLOADS = Downloads()


@endpoint("organization.prepare_download_for_get_all", schema=PREPARE)
def prepare_download(call: Call, tx: Tx) -> Data:
    """Prepare the download of a list as a file."""
    if len(json.dumps(call.data)) > MAX_PREPARED_CHARACTERS:
        raise validation_error(f"a download is described in at most {MAX_PREPARED_CHARACTERS} characters")
    kind = call.data["entity_type"]
    columns = [_column(item) for item in call.data["field_mappings"]]
    fields = [field for field, _, _ in columns]
    query = call.data | {"only_fields": fields, "page": 0, "page_size": MAX_DOWNLOAD_ROWS}
    # A bad query is refused here, not in the middle of a download.
    list(find_all_ex(tx, kind, replace(call, data=query | {"page_size": 1}, raw=query)))
    return {"prepare_id": DOWNLOADS.prepare(Download(kind, query, columns))}


@endpoint("organization.download_for_get_all", schema=DOWNLOAD)
def download(call: Call, tx: Tx) -> Raw:
    """Return a prepared list as a file that spreadsheets open."""
    prepared = DOWNLOADS.get(call.data["prepare_id"])
    found = find_all_ex(tx, prepared.kind, replace(call, data=prepared.query, raw=prepared.query))
    rows = itertools.chain(
        [[heading for _, heading, _ in prepared.columns]], (_cells(document, prepared.columns) for document in found)
    )
    text = "".join(csv_line(row, csv.QUOTE_ALL) for row in rows)
    headers = {"Content-Disposition": f'attachment; filename="{prepared.kind}s.csv"'}
    # The mark at the start tells spreadsheets that this is UTF-8.
    return Raw(text.encode("utf-8-sig"), "text/csv", headers)


def _column(item: Data) -> tuple[str, str, Mapping[str, str]]:
    values = {value["key"]: value["value"] for value in item.get("values") or []}
    return item["field"], item.get("name") or item["field"], values


def _cells(document: Data, columns: list[tuple[str, str, Mapping[str, str]]]) -> Iterator[str]:
    for field, _, names in columns:
        value: Any = document
        for part in field.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if isinstance(value, dict) and "id" in value:
            value = value["id"]
        text = ", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
        # A cell that starts like a formula would be run by a spreadsheet.
        yield names.get(value, text) if isinstance(value, str) and names else harmless(text)


def _without_nulls(query: Data) -> Data:
    return {name: value for name, value in query.items() if value is not None}
