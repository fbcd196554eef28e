"""Import an export into any ClearML server, with public API calls only, in an order that keeps references valid.

All documents are created first, empty, so that every old id has a new one; then they are filled, with ids and URLs
replaced; then come events and files; statuses and publishing come last, since a published task accepts no events.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson

from clearml_localserver.rules.tasks import ARCHIVED
from clearml_localserver.upkeep.data_folder import FILES, Tell, UpkeepError
from clearml_localserver.upkeep.exporting import EVENTS, FORMAT, INFO
from clearml_localserver.upkeep.file_references import stored_name
from clearml_localserver.upkeep.journal import Journal
from clearml_localserver.upkeep.remote_server import RefusedError, RemoteServer, UnansweredError, exactly
from clearml_localserver.upkeep.rewriting import Rewriter, without

TAKEN = 801
REPORT, REPORTS_PROJECT = "report", ".reports"
BATCH_EVENTS, BATCH_BYTES = 500, 2**20
SERVER_FIELDS = ("@timestamp", "_id", "plot_len", "event_id")
"""What the server adds to an event."""

MODEL_FIELDS = ("name", "comment", "tags", "framework", "design", "labels", "project", "task", "parent", "metadata")
TASK_FIELDS = (
    "name", "comment", "tags", "type", "parent", "project", "hyperparams", "configuration", "script", "container",
    "runtime",
)  # fmt: skip
EXECUTION_FIELDS = ("queue", "framework", "artifacts", "model_desc", "model_labels", "parameters", "test_split")

LOST = (
    "ids: every project, queue, model and task has a new one; references to them were rewritten, also in parameters, "
    "configurations, tags and addresses, but not inside artifacts other than a dataset's state",
    "times: created, started, completed, published and last update are those of the import; events keep theirs",
    "users, keys and storage settings: all belongs to the user of the access key; who ran what is not kept",
    "workers: which agent ran a task, its machine's load, waiting times of queues",
    "queue entries: tasks that were queued are drafts; running ones are stopped",
    "counts of metrics: last, minimum and maximum values are computed again from the events",
)


@dataclass
class Outcome:
    """What an import has done."""

    made: dict[str, int] = field(default_factory=dict)
    found: int = 0
    problems: list[str] = field(default_factory=list)

    def count(self, what: str, number: int = 1) -> None:
        """Count what was made by this import."""
        self.made[what] = self.made.get(what, 0) + number


class Importer:
    """One export on its way into one server.

    Args:
        folder: The export.
        target: The server.
        journal: What has been done there before.
        tell: Called with the progress.

    Raises:
        UpkeepError: The folder is not an export, or of another format.
    """

    def __init__(self, folder: Path, target: RemoteServer, journal: Journal, tell: Tell) -> None:
        self.outcome = Outcome()
        self._folder = folder
        self._call = target
        self._journal = journal
        self._tell = tell
        about = read_info(folder)
        servers, access = about["servers"], target.access
        addresses = {host: access.files for host in [*about["file_hosts"], servers.get("files_server")] if host}
        addresses |= {
            servers[name]: new
            for name, new in (("web_server", access.web), ("api_server", access.api))
            if name in servers and new
        }
        self._rewrite = Rewriter(journal.ids, addresses)
        self._uploaded: set[str] = set()

    def run(self) -> Outcome:
        """Import everything that is not there yet.

        Raises:
            UpkeepError: The server does not answer, or refuses the key.
        """
        self._require_same_server()
        for project in sorted(self._lines("project"), key=lambda project: str(project["name"])):
            if project["name"].rpartition("/")[2] != REPORTS_PROJECT:  # made on demand
                self._make("project", project, self._new_project)
        for queue in self._lines("queue"):
            self._make("queue", queue, self._new_queue)
        for model in self._lines("model"):
            self._make("model", model, self._new_model)
        for task in self._lines("task"):
            self._make("task", task, self._new_task)
        steps: tuple[tuple[str, str, Callable[[dict[str, Any]], None]], ...] = (
            ("model", "filled", self._fill_model),
            ("task", "filled", self._fill_task),
            ("model", "events", self._send_events),
            ("task", "events", self._send_events),
            ("task", "status", self._finish_task),
            ("model", "status", self._finish_model),
        )
        for kind, step, function in steps:
            for number, document in enumerate(self._lines(kind), 1):
                self._tell(f"{kind} {number}: {step}")
                self._step(kind, step, document, function)
        return self.outcome

    def _require_same_server(self) -> None:
        """Check that the first thing that the journal says to be there is there."""
        for project in self._lines("project"):
            new = self._journal.ids.get(project["id"])
            if new is None:
                continue
            if not self._call("projects.get_all", id=[new], search_hidden=True)["projects"]:
                raise UpkeepError(
                    f"{self._journal.path} records an import into another server: project {new} is not on "
                    f"{self._call.access.api}\nHint: remove that file to import everything again"
                )
            return

    def _lines(self, kind: str) -> Iterator[dict[str, Any]]:
        with (self._folder / f"{kind}s.jsonl").open("rb") as file:
            for line in file:
                yield orjson.loads(line)

    # Making: each id gets its successor.

    def _make(self, kind: str, document: dict[str, Any], make: Callable[[dict[str, Any]], str]) -> None:
        old = document["id"]
        if old in self._journal.ids:
            self.outcome.found += 1
            return
        try:
            self._journal.made(old, make(document))
            self.outcome.count(f"{kind}s")
        except RefusedError as error:
            self.outcome.problems.append(f"{kind} {document.get('name')} ({old}): {error}")

    def _once(self, kind: str, old: str, find: Callable[[], list[dict[str, Any]]], make: Callable[[], str]) -> str:
        """Make something once: where an earlier try was not answered, look for what it has made."""
        while True:
            if self._journal.intended(kind, old) and (found := find()):
                return str(found[0]["id"])
            self._journal.intend(kind, old)
            try:
                return make()
            except UnansweredError:
                self._tell("no answer; waiting")
                self._call("auth.login")  # waits until the server is back

    def _new_project(self, project: dict[str, Any]) -> str:
        fields = {name: project[name] for name in ("name", "tags", "system_tags") if project.get(name)}
        if destination := project.get("default_output_destination"):
            fields["default_output_destination"] = self._rewrite.value(destination)
        return self._named("project", project.get("description") or "", fields)

    def _new_queue(self, queue: dict[str, Any]) -> str:
        fields = {"name": queue["name"], "tags": queue.get("tags") or []}
        fields["system_tags"] = [tag for tag in queue.get("system_tags") or [] if tag != "default"]
        return self._named("queue", None, fields)

    def _named(self, kind: str, description: str | None, fields: dict[str, Any]) -> str:
        """Return the id of a project or queue; one that has the name already is used as it is."""
        described = {} if description is None else {"description": description}
        try:
            return str(self._call(f"{kind}s.create", **fields, **described)["id"])
        except RefusedError as error:
            if error.subcode != TAKEN:
                raise
        hidden = {"search_hidden": True} if kind == "project" else {}
        (found,) = self._call(f"{kind}s.get_all", name=exactly(fields["name"]), **hidden)[f"{kind}s"]
        return str(found["id"])

    def _new_model(self, model: dict[str, Any]) -> str:
        mark, name = _mark(model), model["name"]

        def find() -> list[dict[str, Any]]:
            found = self._call("models.get_all", name=exactly(name), only_fields=["id", "comment"])["models"]
            return [item for item in found if item.get("comment") == mark]

        def make() -> str:
            return str(self._call.once("models.create", name=name, uri=mark, comment=mark, ready=False)["id"])

        return self._once("model", model["id"], find, make)

    def _new_task(self, task: dict[str, Any]) -> str:
        mark = _mark(task)
        fields = {"name": task["name"], "comment": mark, **self._project_of(task)}

        def find() -> list[dict[str, Any]]:
            options = {"only_fields": ["id", "comment"], "search_hidden": True}
            found = self._call("tasks.get_all", name=exactly(task["name"]), **options)["tasks"]
            return [item for item in found if item.get("comment") == mark]

        def make() -> str:
            if task["type"] == REPORT:
                return str(self._call.once("reports.create", **fields)["id"])
            return str(self._call.once("tasks.create", type=task["type"], **fields)["id"])

        return self._once("task", task["id"], find, make)

    def _project_of(self, task: dict[str, Any]) -> dict[str, str]:
        old = task.get("project")
        if task["type"] == REPORT:  # lives in `.reports` of the project that people see
            parents = {project["id"]: project.get("parent") for project in self._lines("project")}
            old = parents.get(old)
        return {"project": self._journal.ids[old]} if old in self._journal.ids else {}

    # Filling: contents, with references rewritten.

    def _step(self, kind: str, step: str, document: dict[str, Any], function: Callable[[dict[str, Any]], None]) -> None:
        old = document["id"]
        if old not in self._journal.ids or self._journal.done(f"{kind} {step}", old):
            return
        try:
            function(document)
        except RefusedError as error:
            self.outcome.problems.append(f"{kind} {document.get('name')} ({old}), {step}: {error}")
            return
        self._journal.finish(f"{kind} {step}", old)

    def _fill_model(self, model: dict[str, Any]) -> None:
        fields = self._rewrite.value(without({name: model.get(name) for name in MODEL_FIELDS}))
        fields |= {"system_tags": _unarchived(model), "uri": self._moved(model.get("uri") or "")}
        for name in ("task", "project", "parent"):
            self._require_mapped(fields, model, name)
        self._call("models.edit", model=self._journal.ids[model["id"]], **fields)

    def _fill_task(self, task: dict[str, Any]) -> None:
        new = self._journal.ids[task["id"]]
        if task["type"] == REPORT:
            fields = {"comment": task.get("comment") or "", "tags": task["tags"]}
            for name in ("report", "report_assets"):
                if task.get(name):
                    fields[name] = self._rewrite.value(task[name])
            self._call("reports.update", task=new, **fields)
            return
        fields = self._rewrite.value(without({name: task.get(name) for name in TASK_FIELDS}))
        fields |= {name: without(fields[name]) for name in ("script", "container") if name in fields}
        for name in ("parent", "project"):
            self._require_mapped(fields, task, name)
        fields.setdefault("comment", "")
        execution = without({name: (task.get("execution") or {}).get(name) for name in EXECUTION_FIELDS})
        artifacts = [self._moved_artifact(task, artifact) for artifact in execution.pop("artifacts", [])]
        execution = self._rewrite.value(execution) | {"artifacts": artifacts}
        if destination := (task.get("output") or {}).get("destination"):
            fields["output_dest"] = self._rewrite.value(destination)
        fields["models"] = {kind: self._models(entries) for kind, entries in (task.get("models") or {}).items()}
        self._call("tasks.edit", task=new, force=True, **fields, execution=execution, system_tags=_unarchived(task))

    def _models(self, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        ids = self._journal.ids
        return [{"name": entry["name"], "model": ids[entry["model"]]} for entry in entries if entry["model"] in ids]

    def _require_mapped(self, fields: dict[str, Any], document: dict[str, Any], name: str) -> None:
        """Drop a reference to what was not exported: the server would refuse it."""
        if document.get(name) not in self._journal.ids:
            fields.pop(name, None)

    # Files.

    def _moved(self, url: str, content: bytes | None = None) -> str:
        """Return the new address of a file, uploaded there if it is part of the export."""
        new = self._rewrite.value(url)
        name = stored_name(url, self._folder / FILES)
        source = self._folder / FILES / (name or "")
        if name is None or not source.is_file() or new in self._uploaded:
            return new
        if content is None:
            stored = self._call.upload(source, unquote(urlsplit(new).path).lstrip("/"))
        else:
            with tempfile.TemporaryDirectory() as folder:
                changed = Path(folder) / source.name
                changed.write_bytes(content)
                stored = self._call.upload(changed, unquote(urlsplit(new).path).lstrip("/"))
        self._uploaded.add(new)
        self.outcome.count("files")
        return stored if unquote(stored) != unquote(new) else new

    def _moved_artifact(self, task: dict[str, Any], artifact: dict[str, Any]) -> dict[str, Any]:
        moved = self._rewrite.value(artifact)
        if not artifact.get("uri"):
            return moved
        content = self._dataset_state(task, artifact)
        if content is not None:
            moved |= {"hash": hashlib.sha256(content).hexdigest(), "content_size": len(content)}
        return moved | {"uri": self._moved(artifact["uri"], content)}

    def _dataset_state(self, task: dict[str, Any], artifact: dict[str, Any]) -> bytes | None:
        """Return a dataset's list of files and parents with the new ids; None for other artifacts."""
        name = stored_name(artifact["uri"], self._folder / FILES)
        if "dataset" not in task["system_tags"] or artifact["key"] != "state" or name is None:
            return None
        source = self._folder / FILES / name
        return self._rewrite.text(source.read_bytes()) if source.is_file() else None

    # Events.

    def _send_events(self, document: dict[str, Any]) -> None:
        old = document["id"]
        path = self._folder / EVENTS / f"{old}.jsonl"
        if not path.is_file():
            return
        new, step = self._journal.ids[old], "sending"
        if self._journal.intended(step, old):  # some of it may have arrived: console lines would be there twice
            kind = "task" if "status" in document else "model"
            self._call(f"events.delete_for_{kind}", **{kind: new}, allow_locked=True)
        self._journal.intend(step, old)
        refused: dict[str, int] = {}
        for batch in self._batches(path):
            reply = self._call.add_events(batch)
            self.outcome.count("events", reply.get("added", 0))
            for text, number in (reply.get("errors_info") or {}).items():
                refused[text] = refused.get(text, 0) + number
        self.outcome.problems += [f"{number} events of {old}: {text}" for text, number in refused.items()]

    def _batches(self, path: Path) -> Iterator[list[dict[str, Any]]]:
        batch: list[dict[str, Any]] = []
        size = 0
        with path.open("rb") as file:
            for line in file:
                event = without(orjson.loads(self._rewrite.text(line)), *SERVER_FIELDS)
                if event["type"] == "training_debug_image" and event.get("url"):
                    event["url"] = self._moved(orjson.loads(line)["url"])
                for url in orjson.loads(line).get("source_urls") or []:
                    self._moved(url)
                batch.append(event)
                size += len(line)
                if len(batch) >= BATCH_EVENTS or size >= BATCH_BYTES:
                    yield batch
                    batch, size = [], 0
        if batch:
            yield batch

    # Statuses.

    def _finish_task(self, task: dict[str, Any]) -> None:
        new, status = self._journal.ids[task["id"]], task["status"]
        texts = {name: task.get(name) or "" for name in ("status_reason", "status_message")}
        if task["type"] == REPORT:
            if status == "published":
                self._call("reports.publish", task=new, message=texts["status_message"])
        elif status not in ("created", "queued"):
            self._call("tasks.started", task=new, force=True)
            if status == "in_progress":
                self._call("tasks.stopped", task=new, force=True, status_reason="it was running when it was exported")
            else:
                end = {"closed": "close", "published": "completed", "publishing": "completed"}.get(status, status)
                self._call(f"tasks.{end}", task=new, force=True, **texts)
            if status in ("published", "publishing"):
                self._call("tasks.publish", task=new, force=True, publish_model=False, **texts)
        if ARCHIVED in task["system_tags"]:
            self._call("tasks.archive", tasks=[new], **texts)

    def _finish_model(self, model: dict[str, Any]) -> None:
        new = self._journal.ids[model["id"]]
        if model.get("ready"):
            self._call("models.edit", model=new, ready=True)
        if ARCHIVED in model["system_tags"]:
            self._call("models.archive_many", ids=[new])


def read_info(folder: Path) -> dict[str, Any]:
    """Return what an export says of itself.

    Raises:
        UpkeepError: It is not an export.
    """
    try:
        about: dict[str, Any] = orjson.loads((folder / INFO).read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise UpkeepError(f"{folder} is not an export: {INFO} cannot be read ({error})") from error
    if about.get("format") != FORMAT:
        raise UpkeepError(f"export {folder} is of format {about.get('format')}; this version reads {FORMAT}")
    return about


def _mark(document: dict[str, Any]) -> str:
    """Return the mark by which a half-imported document is found again."""
    return f"import of {document['id']}"


def _unarchived(document: dict[str, Any]) -> list[str]:
    return [tag for tag in document.get("system_tags") or [] if tag != ARCHIVED]
