"""Steps `train_processing_<number>` and `test_processing_<number>`: the texts of some of a set's rows."""

from pathlib import Path


def shard_processing(
    part: str, shard: int, shards: int, raw_dataframe: Path, split_dataset_id: str
) -> tuple[Path, str]:
    """Preprocess the shard's rows; return their frame (a parquet file) and which rows they are."""
    from pipeline.step_runtime.timeline import mark

    mark("function")
    from pipeline.amazon_reviews.step_work import process_shard

    mark("work")
    return process_shard(part, raw_dataframe, split_dataset_id, int(shard), int(shards))
