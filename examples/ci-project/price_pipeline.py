"""A pipeline: reads a version of the dataset, fits a line, and checks it. Agents run its steps."""

import argparse

from clearml import PipelineController


def read(dataset_id):
    """Return the rows of a dataset version."""
    import csv
    from pathlib import Path

    from clearml import Dataset

    with (Path(Dataset.get(dataset_id=dataset_id).get_local_copy()) / "houses.csv").open() as stream:
        rows = [(float(row["size"]), float(row["price"])) for row in csv.DictReader(stream)]
    print(f"{len(rows)} rows")
    return rows


def fit(rows):
    """Return slope and intercept; the code is that of the training script."""
    from train import fit as fit_line

    return fit_line(rows)


def check(line, most):
    """Fail if a square metre costs more than it may."""
    slope, _ = line
    if slope > float(most):
        raise ValueError(f"a square metre costs {slope:.0f}, which is over {most}")
    print(f"a square metre costs {slope:.0f}")
    return slope


def main() -> None:
    """Start the pipeline on a queue, and print its id."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--dataset", required=True, help="id of a dataset version")
    parser.add_argument("--most", type=float, default=10_000, help="what a square metre may cost")
    arguments = parser.parse_args()
    # It looks for ended steps every 0.02 minutes; the SDK's default is 12 s.
    pipeline = PipelineController(name="House prices", project="House prices", version="1.0", pool_frequency=0.02)
    pipeline.set_default_execution_queue("default")
    pipeline.add_parameter("dataset", arguments.dataset)
    pipeline.add_parameter("most", arguments.most)
    pipeline.add_function_step(
        "read", read, function_kwargs={"dataset_id": "${pipeline.dataset}"}, function_return=["rows"]
    )
    pipeline.add_function_step("fit", fit, function_kwargs={"rows": "${read.rows}"}, function_return=["line"])
    pipeline.add_function_step(
        "check",
        check,
        function_kwargs={"line": "${fit.line}", "most": "${pipeline.most}"},
        function_return=["price"],
    )
    print(f"pipeline {pipeline.id}", flush=True)
    pipeline.start(queue="services")


if __name__ == "__main__":
    main()
