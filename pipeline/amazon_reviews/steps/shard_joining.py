"""Steps `train_processing` and `test_processing` where these are sharded: the shards become one frame again."""

from pathlib import Path


def shard_joining(part: str, **shards: object) -> tuple[Path, str]:
    """Join the shards of a set; return the frame (a parquet file) and the id of the version that holds it."""
    from pipeline.step_runtime.timeline import mark

    mark("function")
    from pipeline.amazon_reviews.step_work import join_shards

    mark("work")
    return join_shards(part, shards)
