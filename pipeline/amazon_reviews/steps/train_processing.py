"""Step `train_processing`: the text of the training set, ready for features."""

from pathlib import Path


def train_processing(raw_train_dataframe: Path, split_dataset_id: str) -> tuple[Path, str]:
    """Preprocess the training set; return the frame (a parquet file) and the id of the version that holds it."""
    from pipeline.step_runtime.timeline import mark

    mark("function")
    from pipeline.amazon_reviews.step_work import process_part

    mark("work")
    return process_part("train", raw_train_dataframe, split_dataset_id)
