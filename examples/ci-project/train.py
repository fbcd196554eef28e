"""Trains a model on a version of the dataset: a line through the prices, by least squares."""

import argparse
import csv
import json
from pathlib import Path

from clearml import Dataset, OutputModel, Task


def fit(rows: list[tuple[float, float]]) -> tuple[float, float]:
    """Return slope and intercept of the line with the least squared error."""
    mean_x = sum(x for x, _ in rows) / len(rows)
    mean_y = sum(y for _, y in rows) / len(rows)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in rows) / sum((x - mean_x) ** 2 for x, _ in rows)
    return slope, mean_y - slope * mean_x


def main() -> None:
    """Train, and store parameters, scalars and the model with the task."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--dataset", required=True, help="id of a dataset version")
    task = Task.init(project_name="House prices", task_name="train", reuse_last_task_id=False)
    dataset = parser.parse_args().dataset
    with (Path(Dataset.get(dataset_id=dataset).get_local_copy()) / "houses.csv").open() as stream:
        rows = [(float(row["size"]), float(row["price"])) for row in csv.DictReader(stream)]
    slope, intercept = fit(rows)
    error = sum(abs(slope * x + intercept - y) for x, y in rows) / len(rows)
    task.get_logger().report_single_value("mean absolute error", error)
    Path("model.json").write_text(json.dumps({"slope": slope, "intercept": intercept}))
    OutputModel(task=task, name="line", framework="Custom").update_weights("model.json")
    print(f"mean absolute error {error:.0f}")


if __name__ == "__main__":
    main()
