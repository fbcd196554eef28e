"""A small world as unmodified SDKs make it: a trained task, a model, datasets, a pipeline's run. Run as a script.

`tests/data/old_folder.tar.gz` was made with it, too, by the server of commit af93724.
No `__future__` import here: the SDK copies it into the steps, below their first statement, where it is an error.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from clearml import Dataset, Model, OutputModel, PipelineController, Task
from clearml.backend_api import Session
from clearml.backend_api.session.client import APIClient

PROJECT = "World/Training"


def train(folder: Path) -> tuple[str, str]:
    task = Task.create(PROJECT, "trained")
    task.mark_started()
    task.add_tags(["kept", "über"])
    task.set_parameters({"Args/rate": 0.5, "Args/name": 'a "quoted" name', "General/nested/depth": 2})
    task.set_configuration_object("Network", json.dumps({"layers": [1, 2], "task": task.id}))
    task.upload_artifact("numbers", {"a": 1}, wait_on_upload=True)
    task.upload_artifact('odd "name" 100%', np.arange(3), wait_on_upload=True)
    logger = task.get_logger()
    for step in range(5):
        logger.report_scalar("loss", "train", 1 / (step + 1), step)
    logger.report_single_value("accuracy", 0.75)
    logger.report_histogram("weights", "layer", np.arange(4), iteration=1)
    logger.report_image("samples", "one", 1, image=np.zeros((4, 4, 3), dtype=np.uint8))
    logger.report_text("the task's own line")
    weights = folder / "weights.txt"
    weights.write_text("weights")
    model = OutputModel(task, name="a model", framework="Custom", label_enumeration={"cat": 1})
    model.update_weights(str(weights), upload_uri=Session.get_files_server_host(), auto_delete_file=False)
    model.set_metadata("origin", task.id, "str")
    task.flush(wait_for_uploads=True)
    task.mark_completed()
    task.publish()
    used = Task.create(PROJECT, "uses the model")
    used.set_input_model(model.id)
    used.set_parameters({"Args/model": model.id, "Args/from": task.id})
    APIClient().queues.create(name="world queue")
    Task.enqueue(used, queue_name="world queue")
    return task.id, model.id


def datasets(folder: Path) -> tuple[str, str]:
    ids: list[str] = []
    for number in (1, 2):
        dataset = Dataset.create("numbers", "World/Data", parent_datasets=ids[-1:], dataset_version=f"{number}.0.0")
        file = folder / f"part{number}.csv"
        file.write_text(f"number\n{number}\n")
        dataset.add_files(str(file))
        dataset.upload(show_progress=False)
        dataset.finalize()
        ids.append(dataset.id)
    return ids[0], ids[1]


def double(number: int) -> int:
    print(f"doubling {number}")
    return 2 * number


def pipeline() -> str:
    controller = PipelineController("Doubling", "World", "1.0", pool_frequency=0.005, add_pipeline_tags=True)
    controller.add_parameter("number", 4)
    controller.add_parameter("world", "kept for years")
    for name, given in (("first", "${pipeline.number}"), ("second", "${first.result}")):
        controller.add_function_step(
            name, double, function_kwargs={"number": given}, function_return=["result"], cache_executed_step=False
        )
    controller.start_locally(run_pipeline_steps_locally=True)
    controller.wait()
    return str(controller.id)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trained, model = train(folder)
        assert Model(model).url
        parent, child = datasets(folder)
    found = {"task": trained, "model": model, "parent": parent, "dataset": child, "pipeline": pipeline()}
    Path(sys.argv[1]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
