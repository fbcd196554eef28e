"""Steps `train_processing` and `test_processing` where these are sharded: the shards become one dataset version."""

from pathlib import Path


def shard_joining(part: str, one_file: int, **shards: object) -> tuple[Path, str] | str:
    """Publish the shards of a set; return the frame as one file if a step takes it, and the id of the version."""
    from pipeline.step_runtime.timeline import mark

    mark("function")
    from pipeline.amazon_reviews.step_work import join_shards

    mark("work")
    return join_shards(part, shards, one_file=bool(int(one_file)))
