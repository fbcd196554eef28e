"""Whatever a task, project, dataset, model or artifact is called: its files come back, are linked, can be deleted."""

from __future__ import annotations

import contextlib
import html
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from clearml_localserver.pytest_plugin import ClearmlServer
from clearml_localserver.stored_files import PARTIAL

from tests.api_client import TIMEOUT_S, ApiClient

pytestmark = [pytest.mark.integration, pytest.mark.slow]

DEADLINE_S = 150
PRINTABLE = "".join(map(chr, range(32, 127)))
NAMES = [
    'run "best" one',
    "%22 literally, and 100 %",
    "two\nlines\tand a tab",
    f"all {PRINTABLE.replace('/', '')}",
    "composed \N{LATIN SMALL LETTER E WITH ACUTE}, decomposed e\N{COMBINING ACUTE ACCENT}",
    "\N{GRINNING FACE}" + "\N{CYRILLIC SMALL LETTER ZHE}" * 30,
    "dots and spaces... ",
]

SCRIPT = """
import json, sys
from pathlib import Path
import numpy as np
from clearml import Dataset, InputModel, OutputModel, StorageManager, Task

names, work = json.loads(sys.argv[1]), Path(sys.argv[2])
for way in ("now", "later"):
    (work / f"{way}.bin").write_text(way)
tasks = []
for number, name in enumerate(names):
    task = Task.create(project_name=f"project {name}", task_name=f"task {name}", task_type="training")
    tasks.append(task)
    task.mark_started()
    task.output_uri = True
    task.upload_artifact(f"artifact {name}", artifact_object={"a": number}, wait_on_upload=True)
    models = [OutputModel(task=task, name=f"{way} {name}") for way in ("now", "later")]
    for model, way in zip(models, ("now", "later")):
        model.update_weights(str(work / f"{way}.bin"), async_enable=way == "later", auto_delete_file=False)
    title, series = f"metric {name}", f"variant {name}"
    task.get_logger().report_image(title, series, iteration=0, image=np.zeros((4, 4, 3), np.uint8))
    task.flush(wait_for_uploads=True)
    (artifact,) = Task.get_task(task_id=task.id).artifacts.values()
    samples = task.get_debug_samples(title, series)
    print(json.dumps({
        "name": name,
        "task": task.id,
        "artifact": artifact.get(force_download=True),
        "models": [model.id for model in models],
        "weights": [Path(InputModel(model.id).get_weights(force_download=True)).read_text() for model in models],
        "images": [bool(StorageManager.get_local_copy(sample["url"], force_download=True)) for sample in samples],
    }), flush=True)

sys.stdin.readline()
for task in tasks:
    task.close()
    task.delete(delete_artifacts_and_models=True, raise_on_error=True)
"""


DATASETS = """
import json, sys
from pathlib import Path
from clearml import Dataset

names, work = json.loads(sys.argv[1]), Path(sys.argv[2])
for name in names:
    (work / "a file.txt").write_text(name)
    dataset = Dataset.create(dataset_name=f"data {name}", dataset_project=f"project {name}")
    dataset.add_files(work / "a file.txt")
    dataset.finalize(auto_upload=True)
    found = Dataset.get(dataset_name=f"data {name}", dataset_project=f"project {name}")
    print(json.dumps({"name": name, "same": found.id == dataset.id,
        "text": (Path(found.get_local_copy()) / "a file.txt").read_text()}), flush=True)
    Dataset.delete(dataset.id, force=True)
"""


@pytest.fixture
def script(
    clearml_server: ClearmlServer, tmp_path: Path
) -> Iterator[Callable[[str, list[str]], subprocess.Popen[str]]]:
    """Starts a script in a process of its own."""
    with contextlib.ExitStack() as running:

        def start(source: str, names: list[str]) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, "-c", source, json.dumps(names), str(tmp_path)],
                cwd=tmp_path,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=(tmp_path / "errors").open("w"),
                text=True,
            )
            running.callback(process.wait)
            running.callback(process.kill)
            return process

        yield start


def lines(process: subprocess.Popen[str], count: int) -> list[dict[str, Any]]:
    assert process.stdout is not None
    found: list[dict[str, Any]] = []
    while len(found) < count and (line := process.stdout.readline()):
        if line.startswith('{"name"'):
            found.append(json.loads(line))
    return found


def stored(server: ClearmlServer) -> set[str]:
    root = server.data / "files"
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and PARTIAL not in path.parts}


def test_files_of_any_name_come_back_are_linked_and_deleted(
    clearml_server: ClearmlServer, api: ApiClient, script: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    before = stored(clearml_server)
    process = script(SCRIPT, NAMES)
    found = lines(process, len(NAMES))
    assert [item["name"] for item in found] == NAMES, (tmp_path / "errors").read_text()[-2000:]
    for number, item in enumerate(found):
        assert item["artifact"] == {"a": number}, item
        assert item["weights"] == ["now", "later"], item
        assert item["images"] == [True], item
    with httpx.Client(base_url=clearml_server.web_url, timeout=TIMEOUT_S, trust_env=False) as browser:
        for item in found:
            pages = [f"/tasks/{item['task']}/artifacts", *(f"/models/{model}" for model in item["models"])]
            pages.append(f"/tasks/{item['task']}/samples")
            for page in pages:
                links = re.findall(r'"(/files/[^"]*)"', browser.get(page).text)
                assert links, page
                for link in links:
                    assert browser.get(html.unescape(link)).status_code == 200, (item["name"], page, link)
    process.communicate("delete\n", timeout=DEADLINE_S)
    assert process.returncode == 0, (tmp_path / "errors").read_text()[-2000:]
    assert stored(clearml_server) - before == set()


def test_datasets_of_any_name_come_back_and_are_deleted(
    clearml_server: ClearmlServer, script: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    names = ['run "best" one', "100 % sure", "%22 literally", "\N{GRINNING FACE} emoji"]
    before = stored(clearml_server)
    process = script(DATASETS, names)
    found = lines(process, len(names))
    assert [(item["name"], item["same"], item["text"]) for item in found] == [(name, True, name) for name in names], (
        tmp_path / "errors"
    ).read_text()[-2000:]
    process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, (tmp_path / "errors").read_text()[-2000:]
    assert stored(clearml_server) - before == set()
