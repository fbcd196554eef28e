"""A data folder as large as a busy server's after a year, for the web pages: `python -m bench.web_seed FOLDER`.

The API makes one of everything, so that documents are as the server stores them. What there is very much of is then
multiplied in the database while no server runs: through the API, six million points would take minutes.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import time
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from clearml_localserver.pytest_plugin import running_server
from clearml_localserver.rules.events import NO_ITER

from bench.server_client import LightClient

DATABASE = "server.sqlite"
SEEDED = "seeded.json"
STATUSES = ("completed", "completed", "completed", "failed", "stopped", "created")
NUMBERS = "WITH RECURSIVE number (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM number WHERE n + 1 < ?1)"
TRACEBACK = ("Traceback (most recent call last):", '  File "step.py", line 7, in work', "ValueError: a bad row")


@dataclass(frozen=True)
class Sizes:
    """How much there is."""

    tasks: int = 100_000
    metrics: int = 5
    points: int = 1_000_000
    lines: int = 1_000_000
    models: int = 230
    files: int = 20_000
    steps: int = 300


SMALL = Sizes(tasks=200, metrics=2, points=2_000, lines=2_000, models=60, files=600, steps=30)
"""To see that it works."""


@dataclass(frozen=True)
class Seeded:
    """The ids of what was made."""

    project: str
    task: str
    console: str
    scalars: str
    plots: str
    model: str
    dataset: str
    dataset_project: str
    pipeline: str
    pipeline_project: str
    failed_step: str


def seed(folder: Path, sizes: Sizes) -> Seeded:
    """Fill a data folder; return what is in it. A folder that was filled before is left as it is."""
    note = folder / SEEDED
    if note.exists():
        return Seeded(**json.loads(note.read_text(encoding="utf-8")))
    with running_server(folder) as server:
        seeded = _make(LightClient(server.api_url, server.credentials), sizes)
    with closing(sqlite3.connect(folder / DATABASE)) as database, database:
        _copy_task(database, seeded.task, sizes.tasks)
        now = int(time.time() * 1000)
        for metric in range(sizes.metrics):
            _add_curve(database, seeded.scalars, f"metric {metric}", sizes.points, now)
        _add_console(database, seeded.console, sizes.lines, now)
    note.write_text(json.dumps(asdict(seeded)), encoding="utf-8")
    return seeded


@dataclass(frozen=True)
class Maker:
    """Makes projects and tasks through the API."""

    session: LightClient

    def project(self, name: str, *tags: str) -> str:
        """Make a project with these system tags and return its id."""
        id_ = str(self.session.call("projects.create", {"name": name})["id"])
        if tags:
            self.session.call("projects.update", {"project": id_, "system_tags": list(tags)})
        return id_

    def task(self, name: str, **fields: Any) -> str:
        """Make a task with these fields and return its id."""
        return str(self.session.call("tasks.create", {"name": name, "type": "training"} | fields)["id"])

    def end(self, id_: str, how: str = "completed", reason: str = "") -> None:
        """Start a task and end it."""
        self.session.call("tasks.started", {"task": id_})
        self.session.call(f"tasks.{how}", {"task": id_, "status_reason": reason, "force": True})


def _make(session: LightClient, sizes: Sizes) -> Seeded:
    """Make one of everything through the API."""
    maker = Maker(session)
    project, task, end = maker.project, maker.task, maker.end
    own = project("Seeded")
    parameters = {
        "Args": {name: {"section": "Args", "name": name, "value": str(n)} for n, name in enumerate(("epochs", "rate"))}
    }
    plain = task("task 0", project=own, tags=["seeded"], hyperparams=parameters)
    end(plain)
    console, scalars, plots = (task(name, project=own) for name in ("much console", "many points", "plots"))
    for id_ in (console, scalars):
        end(id_)
    figure = {"data": [{"type": "bar", "x": ["a", "b"], "y": [1, 2]}], "layout": {"xaxis": {"title": "class"}}}
    event = {"type": "plot", "task": plots, "metric": "plot", "iter": 0, "plot_str": json.dumps(figure)}
    session.call("events.add_batch", [event | {"variant": str(n)} for n in range(20)])
    end(plots)
    models = [
        session.call("models.create", {"name": f"model {n}", "project": own, "uri": f"http://x/{n}", "task": plain})
        for n in range(sizes.models)
    ]
    dataset_project = project("Seeded/.datasets/Texts", "dataset", "hidden")
    dataset = task(
        "Texts",
        project=dataset_project,
        type="data_processing",
        system_tags=["dataset"],
        configuration=_dataset(sizes.files),
    )
    about = {"version": "1.0.0", "ds_file_count": sizes.files, "ds_total_size": sizes.files * 1000}
    session.call("tasks.edit", {"task": dataset, "runtime": about})
    end(dataset)
    pipeline_project = project("Seeded/.pipelines/Wide", "pipeline", "hidden")
    steps = {f"step_{n:03d}": task(f"step_{n:03d}", project=pipeline_project) for n in range(sizes.steps)}
    names = list(steps)
    graph = {
        name: {"parents": names[max(0, n - 10) // 10 * 10 : n // 10 * 10][:2], "job_id": id_, "status": "completed"}
        for n, (name, id_) in enumerate(steps.items())
    }
    pipeline = task(
        "Wide",
        project=pipeline_project,
        type="controller",
        system_tags=["pipeline"],
        hyperparams=parameters,
        configuration={"Pipeline": {"name": "Pipeline", "value": json.dumps(graph)}},
    )
    session.call("tasks.edit", {"task": pipeline, "runtime": {"_pipeline_hash": "x"}})
    failed = steps[names[-1]]
    log = {"type": "log", "task": failed, "level": "info"}
    session.call("events.add_batch", [log | {"msg": line} for line in TRACEBACK])
    for id_ in steps.values():
        session.call("tasks.edit", {"task": id_, "parent": pipeline, "force": True})
        if id_ == failed:
            end(id_, "failed", "worker execution exit code 1")
        else:
            end(id_)
    end(pipeline, "failed", "Pipeline step failed")
    return Seeded(
        project=own,
        task=plain,
        console=console,
        scalars=scalars,
        plots=plots,
        model=str(models[0]["id"]),
        dataset=dataset,
        dataset_project=dataset_project,
        pipeline=pipeline,
        pipeline_project=pipeline_project,
        failed_step=failed,
    )


def _dataset(files: int) -> dict[str, Any]:
    """Return the configuration objects in which the SDK lists a dataset version's files."""
    lines = [
        "File Name, File Size (bytes), Hash (SHA2)",
        *(f"part/{n:05d}.csv, {1000 + n}, {n:064x}" for n in range(files)),
    ]
    return {"Dataset Content": {"name": "Dataset Content", "type": "csv", "value": "\n".join(lines) + "\n"}}


def _copy_task(database: sqlite3.Connection, id_: str, count: int) -> None:
    """Copy a task until there are as many of them."""
    (stored,) = database.execute("SELECT doc FROM task WHERE id = ?", (id_,)).fetchone()
    document = json.loads(stored)

    def copies() -> Any:
        for n in range(1, count):
            copy = document | {"id": uuid4().hex, "name": f"task {n}", "status": STATUSES[n % len(STATUSES)]}
            yield copy["id"], json.dumps(copy)

    database.executemany("INSERT INTO task (id, doc) VALUES (?, ?)", copies())


def _series(database: sqlite3.Connection, owner: str, type_: str, metric: str, variant: str) -> int:
    database.execute(
        "INSERT INTO event_series (owner, type, metric, variant, common) VALUES (?, ?, ?, ?, '{}')",
        (owner, type_, metric, variant),
    )
    return int(database.execute("SELECT last_insert_rowid()").fetchone()[0])


def _add_curve(database: sqlite3.Connection, owner: str, metric: str, points: int, now: int) -> None:
    """Add a falling curve with noise."""
    series = _series(database, owner, "training_stats_scalar", metric, "train")
    database.execute(
        f"""{NUMBERS} INSERT INTO event_scalar (series, iter, timestamp, received, value)
        SELECT ?2, n, ?3 + n * 10, ?3, 100.0 / (1 + n * 0.001) + (random() % 1000) * 0.0001 FROM number""",
        (points, series, now - 10 * points),
    )


def _add_console(database: sqlite3.Connection, owner: str, lines: int, now: int) -> None:
    """Add lines, one in a thousand with a word that the others have not."""
    series = _series(database, owner, "log", "", "")
    database.execute(
        f"""{NUMBERS} INSERT INTO event_log (series, timestamp, received, iter, content)
        SELECT ?2, ?3 + n * 10, ?3, ?4, 'epoch ' || (n / 100) || ' batch ' || (n % 100) || ' loss ' || (n * 0.001)
            || CASE WHEN n % 1000 = 999 THEN ' checkpoint written' ELSE '' END FROM number""",
        (lines, series, now - 10 * lines, NO_ITER),
    )


if __name__ == "__main__":
    seed(Path(sys.argv[1]), replace(SMALL) if "--small" in sys.argv else Sizes())
