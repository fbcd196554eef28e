"""What any SDK can do with a server: a task, a dataset, a pipeline of two steps in processes of this machine.

Run as a script by the SDKs of `tests/clients/pyproject.toml`; the last line that it prints is JSON for the test.
No `__future__` import here: the SDK copies it into the steps, below their first statement, where it is an error.
"""

import json
import sys
import tempfile
from pathlib import Path

from clearml import Dataset, PipelineController, Task, __version__

PROJECT = f"Clients/SDK {__version__}"


def run_task(folder: Path) -> str:
    task = Task.init(PROJECT, "a task", reuse_last_task_id=False, auto_resource_monitoring=False)
    task.connect({"rate": 0.5})
    for step in range(3):
        task.get_logger().report_scalar("loss", "train", 1 / (step + 1), step)
    task.upload_artifact("numbers", {"one": 1}, wait_on_upload=True)
    print("the task speaks")
    task.close()
    assert Task.get_task(task_id=task.id).artifacts["numbers"].get() == {"one": 1}
    return task.id


def make_dataset(folder: Path) -> str:
    (folder / "numbers.csv").write_text("number\n7\n")
    dataset = Dataset.create("numbers", PROJECT)
    dataset.add_files(str(folder / "numbers.csv"))
    dataset.upload(show_progress=False)
    dataset.finalize()
    return dataset.id


def double(number):
    print(f"doubling {number}")
    return 2 * int(number)


def run_pipeline() -> str:
    pipeline = PipelineController("Doubling", PROJECT, "1.0", pool_frequency=0.005)
    pipeline.add_parameter("number", 4)
    for name, given in (("first", "${pipeline.number}"), ("second", "${first.result}")):
        pipeline.add_function_step(name, double, function_kwargs={"number": given}, function_return=["result"])
    pipeline.start_locally(run_pipeline_steps_locally=True)
    pipeline.wait()
    return pipeline.id


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = {"task": run_task(folder), "dataset": make_dataset(folder)}
    copy = Path(Dataset.get(dataset_id=found["dataset"]).get_local_copy())
    found["rows"] = (copy / "numbers.csv").read_text().split()
    found["pipeline"] = run_pipeline()
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    sys.exit(main())
