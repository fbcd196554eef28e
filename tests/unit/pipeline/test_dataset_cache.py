"""A dataset of more versions than the SDK's cache holds files by default."""

from clearml import StorageManager

from pipeline.sdk.datasets import CACHE_CONTEXT, FastDataset


def test_the_cache_holds_all_versions_of_a_long_dataset():
    dataset = FastDataset.__new__(FastDataset)
    dataset._dependency_graph = {str(number): [] for number in range(144)}
    dataset.make_room_in_cache()
    assert StorageManager.set_cache_file_limit(1, cache_context=CACHE_CONTEXT) >= 2 * 144
