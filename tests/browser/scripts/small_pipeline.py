"""A pipeline of four function steps, run by the SDK in this process: `small_pipeline.py [FILE]`.

Its first step runs until there is a file of that name.

No `__future__` import here: the SDK copies it into the steps, below their first statement, where it is an error.
"""

import os
import sys

from clearml import PipelineController


def split(version):
    import os
    import time

    from clearml import Task

    logger = Task.current_task().get_logger()
    for part in range(8):
        print(f"splitting part {part} of {version}", flush=True)
        logger.report_scalar("rows", "read", part * 100, part)
    deadline = time.monotonic() + 120
    while not os.path.exists(os.environ["SPLIT_UNTIL"]) and time.monotonic() < deadline:
        time.sleep(0.1)
    return 800


def process(kind, rows):
    print(f"processing {kind}: {rows} rows", flush=True)
    return f"{kind} {rows}"


def main(until: str = ".") -> None:
    os.environ["SPLIT_UNTIL"] = until
    pipeline = PipelineController("DataPrepare", "Browser tests", "1.0", pool_frequency=0.005)
    pipeline.add_parameter("dataset_version", "1.2", "Version of the dataset")
    pipeline.add_parameter("random_state", 42, "Seed", "int")
    pipeline.add_function_step(
        "split", split, function_kwargs={"version": "${pipeline.dataset_version}"}, function_return=["rows"]
    )
    for kind in ("train", "test"):
        pipeline.add_function_step(
            kind,
            process,
            function_kwargs={"kind": kind, "rows": "${split.rows}"},
            function_return=["text"],
            parents=["split"],
        )
    pipeline.add_function_step(
        "compare", process, function_kwargs={"kind": "${train.text}", "rows": "${test.text}"}, parents=["train", "test"]
    )
    pipeline.start_locally(run_pipeline_steps_locally=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
