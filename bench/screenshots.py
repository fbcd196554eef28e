"""Make the screenshots of docs/web.md on a server of its own with sample data: `python -m bench.screenshots`."""

from __future__ import annotations

import json
import math
import sys
import tempfile
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from clearml_localserver.pytest_plugin import running_server
from playwright.sync_api import sync_playwright

from bench.server_client import LightClient
from bench.web import CHROMIUM, FLAGS
from bench.web_seed import Maker

IMAGES = Path(__file__).parent.parent / "docs" / "images"
MAX_BYTES = 100_000
SIZE = {"width": 1120, "height": 640}
EPOCHS = 40
STEPS = {
    "load_reviews": [],
    "clean_train": ["load_reviews"],
    "clean_test": ["load_reviews"],
    "fit_tfidf": ["clean_train"],
    "train_model": ["fit_tfidf"],
    "evaluate": ["train_model", "clean_test"],
}
TRACEBACK = (
    "reading reviews_1.3.csv",
    "cleaned 84,120 rows in 41.2 s",
    "Traceback (most recent call last):",
    '  File "clean.py", line 88, in clean',
    "ValueError: column 'stars' has 17 rows that are not numbers",
)


def fill(session: LightClient) -> dict[str, str]:
    """Make the sample data; return the pages to photograph by name."""
    maker = Maker(session)
    project, task, end = maker.project, maker.task, maker.end

    def parameters(**values: Any) -> dict[str, Any]:
        return {
            "Args": {name: {"section": "Args", "name": name, "value": str(value)} for name, value in values.items()}
        }

    own = project("Amazon reviews")
    runs = []
    for number, (rate, depth) in enumerate([(0.1, 4), (0.05, 4), (0.1, 6), (0.02, 8), (0.05, 6), (0.2, 4)]):
        run = task(
            f"train rating model {number + 1}",
            project=own,
            tags=["baseline"] if number == 0 else ["tuned"],
            hyperparams=parameters(learning_rate=rate, depth=depth, epochs=EPOCHS),
        )
        session.call("tasks.started", {"task": run})
        session.call("events.add_batch", _curves(run, rate, depth))
        session.call("tasks.completed", {"task": run})
        runs.append(run)
    session.call("models.create", {"name": "rating model", "project": own, "uri": "file:///models/1", "task": runs[0]})
    hidden = project("Amazon reviews/.pipelines/DataPrepare", "pipeline", "hidden")
    controllers = [_pipeline(session, task, end, hidden, parameters(dataset_version="1.2", seed=7), failing=False)]
    controllers.append(_pipeline(session, task, end, hidden, parameters(dataset_version="1.3", seed=7), failing=True))
    data = project("Amazon reviews/.datasets/Reviews", "dataset", "hidden")
    for version, rows in (("1.2", 81_340), ("1.3", 84_137)):
        made = task("Reviews", project=data, type="data_processing", system_tags=["dataset"])
        about = {"version": version, "ds_file_count": 4, "ds_total_size": rows * 310}
        session.call("tasks.edit", {"task": made, "runtime": about})
        end(made)
    session.call("queues.create", {"name": "cpu"})
    failed = session.call("tasks.get_all", {"parent": [controllers[1]], "status": ["failed"], "search_hidden": True})
    ids = ",".join(runs[:4])
    return {
        "home": "/",
        "table": f"/projects/{own}?size=5",
        "compare": f"/compare?ids={ids}&tab=scalars",
        "parameters": f"/compare?ids={ids}&tab=parameters",
        "run": f"/tasks/{controllers[1]}",
        "console": f"/tasks/{failed['tasks'][0]['id']}/console",
        "step": f"/tasks/{controllers[1]}?step=clean_test#step",
    }


def _curves(task: str, rate: float, depth: int) -> list[dict[str, Any]]:
    event = {"type": "training_stats_scalar", "task": task}
    points = []
    for step in range(EPOCHS):
        loss = 0.25 + 0.7 * math.exp(-step * rate) + 0.01 * math.sin(step * depth)
        for metric, value in (("loss", loss), ("accuracy", 1 - loss * 0.6)):
            points.append(event | {"metric": metric, "variant": "train", "iter": step, "value": value})
    return points


def _pipeline(session: LightClient, task: Any, end: Any, project: str, parameters: Any, *, failing: bool) -> str:
    """Make a run of six steps, of which the second one may fail; return its controller."""
    until = "clean_test" if failing else "evaluate"
    names = list(STEPS)
    made = {name: task(name, project=project, type="data_processing") for name in names[: names.index(until) + 1]}
    graph = {
        name: {
            "parents": parents,
            "job_id": made.get(name),
            "queue": "cpu",
            "status": "completed" if name in made else "",
        }
        for name, parents in STEPS.items()
    }
    controller = task(
        "DataPrepare",
        project=project,
        type="controller",
        system_tags=["pipeline"],
        hyperparams=parameters,
        configuration={"Pipeline": {"name": "Pipeline", "value": json.dumps(graph)}},
    )
    session.call("tasks.edit", {"task": controller, "runtime": {"_pipeline_hash": "x"}})
    now = datetime.now(timezone.utc)  # noqa: UP017  Python 3.10
    for name, id_ in made.items():
        session.call("tasks.edit", {"task": id_, "parent": controller, "force": True})
        if failing and name == until:
            log = {"type": "log", "task": id_, "level": "info"}
            at = int((now - timedelta(seconds=5)).timestamp() * 1000)
            lines = [log | {"msg": text, "timestamp": at + n} for n, text in enumerate(TRACEBACK)]
            session.call("events.add_batch", lines)
            end(id_, "failed", "worker execution exit code 1")
        else:
            end(id_)
    end(controller, "failed" if failing else "completed", "Pipeline step failed" if failing else "")
    return str(controller)


def take(folder: Path) -> list[Path]:
    """Photograph the pages into a folder.

    Raises:
        SystemExit: A picture is larger than the repository should carry.
    """
    folder.mkdir(parents=True, exist_ok=True)
    taken = []
    with (
        tempfile.TemporaryDirectory(prefix="screenshots-") as temporary,
        running_server(Path(temporary) / "data") as server,
        sync_playwright() as playwright,
    ):
        pages = fill(LightClient(server.api_url, server.credentials))
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        page = browser.new_context(viewport=SIZE, color_scheme="light").new_page()  # type: ignore[arg-type]
        for name, address in pages.items():
            page.goto(server.web_url + address)
            page.wait_for_load_state("load")
            page.wait_for_timeout(3_000)  # plotly.js draws
            path = folder / f"web-{name}.png"
            page.screenshot(path=path)
            taken.append(path)
        browser.close()
    for path in taken:
        if path.stat().st_size > MAX_BYTES:
            raise SystemExit(f"{path} has {path.stat().st_size:,} bytes, at most {MAX_BYTES:,} are wanted")
    return taken


if __name__ == "__main__":
    for path in take(Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES):
        print(f"{path}  {path.stat().st_size:,} bytes")
