"""Steps `train_processing_<number>` and `test_processing_<number>`: the texts of some of a set's rows."""


def shard_processing(part: str, shard: int, shards: int, split_dataset_id: str) -> str:
    """Preprocess the shard's rows and store them; return which rows they are, and where."""
    from pipeline.step_runtime.timeline import mark

    mark("function")
    from pipeline.amazon_reviews.step_work import process_shard

    mark("work")
    return process_shard(part, split_dataset_id, int(shard), int(shards))
