"""What an unmodified SDK reports and uploads, and what it reads back from the server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import numpy as np
import pytest
from clearml_localserver.pytest_plugin import ClearmlServer

from tests.api_client import ApiClient

pytestmark = pytest.mark.integration

DEADLINE_S = 120
POINTS = 500

REPORTER = """
import logging, sys
import numpy as np, plotly.graph_objects as go
from clearml import Task

task = Task.init("sdk events", "reporter")
logger = task.get_logger()
for i in range(500):
    logger.report_scalar("loss", "train", 1 / (i + 1), i)
logger.report_scalar("loss", "nan", float("nan"), 0)
logger.report_scalar("ünï / code", "a.b$c", 1.5, 3)
logger.report_single_value("accuracy", 0.9)
logger.report_single_value("f1", 0.8)
for i in range(3):
    logger.report_plotly("figure", "bar", figure=go.Figure(go.Bar(x=[1, 2], y=[i, 4])), iteration=i)
logger.report_table("table", "numbers", iteration=0, table_plot=[["name", "value"], ["a", 1]])
logger.report_histogram("histogram", "h", [1, 2, 3], iteration=0)
logger.report_confusion_matrix("matrix", "m", [[1, 2], [3, 4]], iteration=0)
logger.report_scatter2d("scatter", "s", [(0, 1), (1, 2)], iteration=0)
logger.report_surface("surface", "z", [[1, 2], [3, 4]], iteration=0)
for i in range(7):  # two more than are kept: the first addresses are used again
    logger.report_image("image", "noise", i, image=np.full((4, 4, 3), i, dtype=np.uint8), max_image_history=5)
logger.report_text("reported text ☃", level=logging.WARNING)
logger.report_media("media", "sound", iteration=0, stream=__import__("io").BytesIO(b"not a song"), file_extension="wav")
print("printed line")
task.upload_artifact("numbers", {"a": 1}, wait_on_upload=True)
task.upload_artifact("a/b c", np.arange(10), wait_on_upload=True)
sys.stderr.write("an error line\\n")
task.flush(wait_for_uploads=True)
print("task", task.id)
"""


@pytest.fixture(scope="module")
def reported(clearml_server: ClearmlServer, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Id of a task that a process of its own has run to its end."""
    folder = tmp_path_factory.mktemp("reporter")
    script = folder / "reporter.py"
    script.write_text(REPORTER, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)], cwd=folder, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.rpartition("task ")[2].split()[0]


@pytest.fixture
def task(reported: str) -> Any:
    from clearml import Task  # its first import reads the environment

    return Task.get_task(task_id=reported)


def test_scalars(task: Any) -> None:
    scalars = task.get_reported_scalars()
    assert set(scalars) >= {"loss", "ünï / code"}
    assert scalars["loss"]["train"]["x"] == list(range(POINTS))
    assert scalars["loss"]["train"]["y"] == pytest.approx([1 / (i + 1) for i in range(POINTS)])
    assert scalars["loss"]["nan"]["y"] == [0.0]
    assert scalars["ünï / code"] == {"a.b$c": {"name": "a.b$c", "x": [3], "y": [1.5]}}
    assert len(task.get_reported_scalars(max_samples=50)["loss"]["train"]["x"]) == 50
    assert task.get_reported_scalars(x_axis="iso_time")["loss"]["train"]["x"][0].endswith("Z")
    everything = task.get_all_reported_scalars()
    assert everything["loss"]["train"]["x"] == list(range(POINTS))
    last = task.get_last_scalar_metrics()["loss"]["train"]
    assert (last["last"], last["min"], last["max"]) == pytest.approx((1 / POINTS, 1 / POINTS, 1.0))
    assert task.get_last_iteration() == POINTS - 1


def test_single_values(task: Any) -> None:
    assert task.get_reported_single_values() == {"accuracy": 0.9, "f1": 0.8}
    assert task.get_reported_single_value("f1") == 0.8


def test_plots(task: Any) -> None:
    plots = {(plot["metric"], plot["variant"]): plot for plot in task.get_reported_plots()}
    assert set(plots) == {
        ("figure", "bar"),
        ("table", "numbers"),
        ("histogram", "h"),
        ("matrix", "m"),
        ("scatter", "s"),
        ("surface", "z"),
    }
    assert plots["figure", "bar"]["iter"] == 2
    assert json.loads(plots["figure", "bar"]["plot_str"])["data"][0]["type"] == "bar"
    assert len([plot for plot in task.get_reported_plots(max_iterations=2) if plot["metric"] == "figure"]) == 2


def test_console(task: Any) -> None:
    text = "\n".join(task.get_reported_console_output(number_of_reports=100))
    for line in ("printed line", "reported text ☃", "an error line", "ClearML results page"):
        assert line in text
    (last,) = task.get_reported_console_output(number_of_reports=1)
    assert last in text


def test_debug_samples_point_at_their_files(task: Any) -> None:
    from clearml import StorageManager

    samples = task.get_debug_samples("image", "noise")
    assert [sample["iter"] for sample in samples] == [6, 5, 4, 3, 2]  # two files were written again
    copy = StorageManager.get_local_copy(samples[0]["url"])
    assert Path(copy).read_bytes()[:2] == b"\xff\xd8"  # JPEG
    (sound,) = task.get_debug_samples("media", "sound")
    assert Path(StorageManager.get_local_copy(sound["url"])).read_bytes() == b"not a song"


def test_a_debug_image_whose_file_was_overwritten_is_not_shown_as_another(task: Any, api: ApiClient) -> None:
    sample = api("events.get_debug_image_sample", task=task.id, metric="image", variant="noise")
    assert (sample["min_iteration"], sample["max_iteration"]) == (2, 6)


def test_artifacts(task: Any) -> None:
    assert task.artifacts["numbers"].get() == {"a": 1}
    assert list(task.artifacts["a/b c"].get()) == list(range(10))


def test_the_storage_manager_up_down_and_away(clearml_server: ClearmlServer, tmp_path: Path, api: ApiClient) -> None:
    from clearml import StorageManager
    from clearml.storage.helper import StorageHelper

    source = tmp_path / "a file é.bin"
    source.write_bytes(np.random.default_rng(1).bytes(3 * 2**20))
    url = f"{clearml_server.files_url}/storage {uuid4().hex}/a file é.bin"
    stored = StorageManager.upload_file(str(source), url)
    assert Path(StorageManager.get_local_copy(stored, force_download=True)).read_bytes() == source.read_bytes()
    assert StorageManager.exists_file(stored)
    assert StorageHelper.get(stored).delete(stored)
    assert not StorageManager.exists_file(stored)
    gone = httpx.get(stored, headers={"Authorization": api.http.headers["Authorization"]}, trust_env=False)
    assert gone.status_code == 404


def test_a_dataset_there_and_back(clearml_server: ClearmlServer, tmp_path: Path) -> None:
    from clearml import Dataset

    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "train.csv").write_text("a,b\n1,2\n")
    (source / "sub" / "ünï.bin").write_bytes(bytes(range(256)) * 10_000)
    dataset = Dataset.create(dataset_name="numbers", dataset_project=f"data {uuid4().hex}", dataset_version="1.0")
    dataset.add_files(source)
    dataset.get_logger().report_scalar("rows", "train", 1, 0)
    dataset.get_logger().report_table("preview", "head", iteration=0, table_plot=[["a", "b"], [1, 2]])
    dataset.upload(show_progress=False)
    assert dataset.finalize()
    copy = Path(Dataset.get(dataset_id=dataset.id).get_mutable_local_copy(tmp_path / "copy"))
    assert {str(path.relative_to(copy)) for path in copy.rglob("*") if path.is_file()} == {"train.csv", "sub/ünï.bin"}
    assert (copy / "sub" / "ünï.bin").read_bytes() == (source / "sub" / "ünï.bin").read_bytes()


def test_deleting_a_task_takes_its_files_along(clearml_server: ClearmlServer, tmp_path: Path, api: ApiClient) -> None:
    from clearml import Task

    task = Task.create(project_name="sdk events", task_name="doomed")
    task.mark_started()
    task.upload_artifact("numbers", {"a": 1}, wait_on_upload=True)
    url = Task.get_task(task_id=task.id).artifacts["numbers"].url
    headers = {"Authorization": api.http.headers["Authorization"]}
    assert httpx.get(url, headers=headers, trust_env=False).json() == {"a": 1}
    task.mark_stopped(force=True)
    assert task.delete(delete_artifacts_and_models=True, raise_on_error=True)
    assert httpx.get(url, headers=headers, trust_env=False).status_code == 404
