"""Step `test_processing`: the text of the test set, ready for features."""

from pathlib import Path


def test_processing(raw_test_dataframe: Path, split_dataset_id: str) -> tuple[Path, str]:
    """Preprocess the test set; return the frame (a parquet file) and the id of the version that holds it."""
    from pipeline.step_runtime.timeline import mark

    mark("function")
    from pipeline.amazon_reviews.step_work import process_part

    mark("work")
    return process_part("test", raw_test_dataframe, split_dataset_id)
