"""Makes a version of the dataset: sizes of houses and their prices, as one CSV file."""

import csv
import random
import sys
import tempfile
from pathlib import Path

from clearml import Dataset


def make_dataset(rows: int, seed: int = 0) -> str:
    """Upload a new version of the dataset, and return its id."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "houses.csv"
        with file.open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["size", "price"])
            for _ in range(rows):
                size = chance.uniform(40, 200)
                writer.writerow([round(size, 1), round(50_000 + 3_000 * size + chance.gauss(0, 5_000))])
        dataset = Dataset.create(dataset_project="House prices", dataset_name="houses")
        dataset.add_files(file)
        dataset.upload()
        dataset.finalize()
    return dataset.id


if __name__ == "__main__":
    print(make_dataset(rows=int(sys.argv[1])))
