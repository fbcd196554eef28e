"""A task that reports one of everything, with markup wherever text may stand."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
from clearml import Dataset, OutputModel, Task

HOSTILE = "<img src=x onerror=alert(1)></script><script>alert(2)</script>"


def report(task: Task) -> None:
    task.connect({"learning_rate": 0.1, "text": HOSTILE})
    task.connect_configuration({"a": 1, "text": HOSTILE}, name="model")
    task.add_tags(["tagged", HOSTILE])
    logger = task.get_logger()
    for i in range(30):
        logger.report_scalar("loss", "train", 1 / (i + 1), i)
        logger.report_scalar("loss", "validation", 1.2 / (i + 1), i)
    logger.report_single_value("accuracy", 0.87)
    histogram = go.Figure([go.Histogram(x=[1, 2, 2, 3], name="train"), go.Histogram(x=[1, 1, 3], name="test")])
    logger.report_plotly("Class distribution", HOSTILE, histogram, 0)
    logger.report_plotly("WebGL", "points", go.Figure(go.Scattergl(x=[1, 2, 3], y=[1, 4, 9])), 0)
    logger.report_table("Preview", HOSTILE, iteration=0, table_plot=[["Polarity", "Review"], [1, HOSTILE], [2, "Good"]])
    logger.report_image("images", "noise", iteration=0, image=np.zeros((8, 8, 3), dtype="uint8"))
    logger.report_media("page", "html", iteration=0, stream=io.StringIO(HOSTILE), file_extension="html")
    print("\x1b[31mred words\x1b[0m", HOSTILE, "see http://127.0.0.1/a?b=1")
    task.upload_artifact("words", HOSTILE, wait_on_upload=True)
    weights = Path(tempfile.mkdtemp()) / "weights.bin"
    weights.write_bytes(b"0" * 2048)
    OutputModel(task=task, name="a model", framework="ScikitLearn").update_weights(str(weights), auto_delete_file=False)


def make_versions() -> None:
    folder = Path(tempfile.mkdtemp())
    parent: list[str] = []
    for version in ("1.0", "1.1", "1.2"):
        (folder / f"part {version}.csv").write_text(f"Polarity,Review\n1,{version}\n")
        dataset = Dataset.create("Texts", "Browser tests", dataset_version=version, parent_datasets=parent)
        dataset.add_files(str(folder))
        dataset.upload(show_progress=False, verbose=False)
        dataset.finalize()
        parent = [dataset.id]


def main() -> None:
    task = Task.init("Browser tests", f"reports {HOSTILE}", output_uri=True, auto_connect_frameworks=False)
    report(task)
    task.close()
    make_versions()
    print(f"task {task.id}", flush=True)


if __name__ == "__main__":
    main()
