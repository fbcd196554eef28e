"""Step `train_test_split`: the input dataset, split into training and test set."""

from pathlib import Path


def train_test_split(
    dataset_name: str,
    dataset_project: str,
    dataset_version: str,
    test_size: float,
    random_state: int,
    stratify: bool,
) -> tuple[Path, Path, str]:
    """Split the dataset version; return both frames (parquet files) and the id of the version that holds them."""
    from pipeline.step_runtime.timeline import mark

    mark("function")
    from pipeline.amazon_reviews.step_work import split_dataset

    mark("work")
    return split_dataset(
        project=dataset_project,
        name=dataset_name,
        version=dataset_version,
        test_size=float(test_size),
        random_state=int(random_state),
        stratify=str(stratify).lower() == "true",
    )
