"""The files of training: processed reviews in, sparse features out. One batch in memory at a time.

A batch's lemmas are numbers into a table of distinct ones: parquet keeps them that way, and reading them so is four
times faster than reading texts. It must not know what the terms are for. Outside system: the files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline.amazon_reviews.reviews.frames import CLASSES
from pipeline.amazon_reviews.reviews.review_files import POLARITY
from pipeline.amazon_reviews.reviews.text import CORPUS
from pipeline.amazon_reviews.training.errors import TrainingDataError
from pipeline.errors import InputFileError
from pipeline.files import replacing

if TYPE_CHECKING:
    import pyarrow as pa
    from scipy import sparse

Integers = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.float64]

BATCH_ROWS = 25_000
LABELS = tuple(CLASSES)
"""The polarities, in the order of every array of classes here."""

TERMS, COUNTS, PROBABILITY = "terms", "counts", "probability"


@dataclass(frozen=True)
class Lemmas:
    """The lemmas of some rows: `distinct[places]`, of which row i has those from `offsets[i]` to `offsets[i + 1]`."""

    distinct: pa.Array
    places: Integers
    offsets: Integers

    @classmethod
    def of_lists(cls, lists: Any) -> Lemmas:
        """Take apart a list array; a null row has no lemmas, a null lemma does not count."""
        import pyarrow as pa
        import pyarrow.compute as pc

        lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
        values = lists.flatten()
        if not pa.types.is_dictionary(values.type):
            values = values.dictionary_encode()
        offsets = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
        if values.null_count:
            valid = values.is_valid().to_numpy(zero_copy_only=False)
            offsets = np.concatenate(([0], np.cumsum(valid, dtype=np.int64)))[offsets]
            values = values.drop_null()
        return cls(values.dictionary, values.indices.to_numpy(zero_copy_only=False), offsets)


@dataclass(frozen=True)
class Batch:
    """Some rows of processed reviews."""

    polarity: Integers
    lemmas: Lemmas

    @property
    def classes(self) -> Integers:
        """Each row's place in `LABELS`."""
        return np.searchsorted(LABELS, self.polarity).astype(np.int64)


@dataclass(frozen=True)
class Processed:
    """A set of processed reviews: parquet files with a polarity and a list of lemmas per row.

    Attributes:
        name: What messages call it, such as "training set".
        paths: Its files, read in this order.
    """

    name: str
    paths: Sequence[Path]

    def class_rows(self) -> Integers:
        """Return the number of reviews of each class of `LABELS`; reads nothing but the polarities.

        Raises:
            TrainingDataError: A file has other columns, or a polarity is not 1 or 2.
            InputFileError: A file cannot be read.
        """
        rows = np.zeros(len(LABELS), np.int64)
        for path in self.paths:
            for found in _record_batches(_open(path, self.name), path, [POLARITY]):
                places = np.searchsorted(LABELS, self._polarity(found))
                rows += np.bincount(places, minlength=len(LABELS))
        return rows

    def batches(self, seen: Callable[[int], None] = lambda _: None) -> Iterator[Batch]:
        """Yield the rows.

        Args:
            seen: Told the number of rows of each batch once it has been worked on.

        Raises:
            TrainingDataError: A file has other columns, or a polarity is not 1 or 2.
            InputFileError: A file cannot be read.
        """
        for path in self.paths:
            for found in _record_batches(_open(path, self.name), path, [POLARITY, CORPUS]):
                yield Batch(self._polarity(found), Lemmas.of_lists(found.column(CORPUS)))
                seen(len(found))

    def _polarity(self, found: Any) -> Integers:
        column = found.column(POLARITY)
        numbers: Integers = column.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
        wrong = ~np.isin(numbers, LABELS)
        if wrong.any():
            value = column[int(wrong.argmax())].as_py()
            raise TrainingDataError(f"the {self.name} has a review of polarity {value}; known are 1 and 2")
        return numbers


def _open(path: Path, name: str) -> Any:
    """Return an opened file of processed reviews, its lemmas as dictionaries."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
        schema = file.schema_arrow
        types = {field.name: field.type for field in schema}
        wanted = {POLARITY: pa.types.is_integer, CORPUS: _is_list_of_texts}
        lacking = [column for column, fits in wanted.items() if column not in types or not fits(types[column])]
        if lacking:
            raise TrainingDataError(
                f"the {name} is not processed: {path.name} has no fit column {' and '.join(lacking)}, "
                f"only {', '.join(types) or 'nothing'}",
                hint="name the versions that the processing steps made: <version>.2 and <version>.3",
            )
        leaves = [file.schema.column(place).path for place in range(len(file.schema))]
        lists = [leaf for leaf in leaves if leaf.partition(".")[0] == CORPUS]
        return parquet.ParquetFile(path, read_dictionary=lists)
    except (OSError, ValueError) as error:
        raise InputFileError(f"{path} cannot be read as parquet: {error}") from error


def _is_list_of_texts(kind: Any) -> bool:
    import pyarrow as pa

    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        return False
    return bool(pa.types.is_string(kind.value_type) or pa.types.is_large_string(kind.value_type))


def _record_batches(file: Any, path: Path, columns: list[str]) -> Iterator[Any]:
    batches = file.iter_batches(batch_size=BATCH_ROWS, columns=columns)
    while True:
        try:
            found = next(batches, None)
        except (OSError, ValueError) as error:  # what pyarrow raises for a damaged page
            raise InputFileError(f"{path} cannot be read as parquet: {error}") from error
        if found is None:
            return
        yield found


@dataclass(frozen=True)
class Block:
    """Some rows of features.

    Attributes:
        counts: How often each row has each term.
        classes: Each row's place in `LABELS`.
        probability: Each row's probability of the last class, where it was predicted.
    """

    counts: sparse.csr_matrix
    classes: Integers
    probability: Floats | None = None


def write_features(path: Path, blocks: Iterator[Block]) -> None:
    """Write features as parquet: a polarity, the numbers of the terms in the row, and their counts.

    Args:
        path: The file; one that is there is replaced at the end.
        blocks: At least one.

    Raises:
        OutputFileError: The file cannot be written.
    """
    from pyarrow import parquet

    with replacing(path) as temporary:
        first = _to_arrow(next(blocks))
        with parquet.ParquetWriter(temporary, first.schema, compression="zstd") as writer:
            writer.write_table(first)
            for block in blocks:
                writer.write_table(_to_arrow(block))


def _to_arrow(block: Block) -> pa.Table:
    import pyarrow as pa

    offsets = pa.array(block.counts.indptr, pa.int32())
    columns = {
        POLARITY: pa.array(np.asarray(LABELS)[block.classes]),
        TERMS: pa.ListArray.from_arrays(offsets, pa.array(block.counts.indices, pa.int32())),
        COUNTS: pa.ListArray.from_arrays(offsets, pa.array(block.counts.data, pa.int32())),
    }
    if block.probability is not None:
        columns[PROBABILITY] = pa.array(block.probability)
    return pa.table(columns)
