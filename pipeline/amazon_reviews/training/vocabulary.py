"""Terms: which ones become features, and how often each row has them.

Terms are what scikit-learn's `TfidfVectorizer(analyzer="word")` would find in the lemmas joined by spaces: lower-case
words of two characters or more, and runs of up to `ngram_max` of them. Features are the commonest terms by the number
of their occurrences; of equally common ones the first in the alphabet, where scikit-learn lets its version decide.

Counting is exact in little memory: a run of words is at most as common as its rarest word, so that runs are counted
only of words that are common enough themselves to become features. Every length costs one more pass over the rows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.amazon_reviews.training.errors import TrainingDataError
from pipeline.amazon_reviews.training.tables import Batch, Integers, Lemmas

if TYPE_CHECKING:
    import pyarrow as pa
    from scipy import sparse

_WORD = re.compile(r"(?u)\b\w\w+\b")
_PLAIN = r"^[a-z]{2,}$"
"""Lemmas that are one word as they stand."""

_MERGE_ROWS = 2_000_000
"""Counts of that many words are collected before equal ones are added up."""

NONE = -1


@dataclass(frozen=True)
class Words:
    """The words of some rows: `distinct[places]`, and each one's row."""

    distinct: pa.Array
    places: Integers
    rows: Integers
    count: int
    """Number of rows, those without words included."""

    @classmethod
    def of(cls, lemmas: Lemmas) -> Words:
        """Find the words in lemmas: most are one as they stand, short ones are none, odd ones may be several."""
        import pyarrow as pa
        import pyarrow.compute as pc

        distinct = lemmas.distinct
        many = np.ones(len(distinct), np.int32)
        pieces: list[str] = []
        plain = pc.match_substring_regex(distinct, _PLAIN).to_numpy(zero_copy_only=False).astype(bool)
        odd = np.flatnonzero(~plain)
        first = np.arange(len(distinct), dtype=np.int32)
        for place in odd:
            found = _WORD.findall(distinct[int(place)].as_py().lower())
            many[place], first[place] = len(found), len(distinct) + len(pieces)
            pieces += found
        if pieces:
            distinct = pa.concat_arrays([distinct, pa.array(pieces, distinct.type)])
        size = len(lemmas.offsets) - 1
        rows = np.repeat(np.arange(size, dtype=np.int32), np.diff(lemmas.offsets))
        places, lengths = lemmas.places, many[lemmas.places]
        none, several = not lengths.all(), bool((lengths > 1).any())
        if several:
            starts = np.cumsum(lengths) - lengths
            within = np.arange(int(lengths.sum())) - np.repeat(starts, lengths)
            places, rows = np.repeat(first[places], lengths) + within, np.repeat(rows, lengths)
        elif none:
            some = lengths > 0
            places, rows = first[places[some]], rows[some]
        else:
            places = first[places]
        return cls(distinct, places, rows, size)


@dataclass(frozen=True)
class Vocabulary:
    """Terms as whole numbers: a run of words is their places among all words, read as the digits of one number.

    Attributes:
        words: The words of all terms, in alphabetical order.
        terms: For each length the numbers of the terms that have it, ascending.
        features: For each length the feature of each of these terms.
    """

    words: pa.Array
    terms: tuple[Integers, ...] = ()
    features: tuple[Integers, ...] = ()

    @classmethod
    def of_words(cls, words: Iterable[str]) -> Vocabulary:
        """Begin with words alone."""
        import pyarrow as pa

        return cls(pa.array(sorted(words), pa.large_string()))

    @classmethod
    def of_terms(cls, terms: Sequence[str]) -> Vocabulary:
        """Take the terms as features: each one's number is its place in `terms`."""
        split = [term.split(" ") for term in terms]
        bare = cls.of_words({word for words in split for word in words})
        place = {word: at for at, word in enumerate(bare.words.to_pylist())}
        numbers, features = [], []
        for length in range(1, max(map(len, split), default=0) + 1):
            mine = np.array([at for at, words in enumerate(split) if len(words) == length], np.int64)
            codes = np.array([[place[word] for word in split[at]] for at in mine], np.int64).reshape(-1, length)
            number = bare._numbers(list(codes.T))
            order = np.argsort(number)
            numbers.append(number[order])
            features.append(mine[order])
        return cls(bare.words, tuple(numbers), tuple(features))

    def runs(self, words: Words, length: int) -> tuple[Integers, Integers]:
        """Return number and row of each run of that many known words, in their order."""
        import pyarrow as pa
        import pyarrow.compute as pc

        known = pc.fill_null(pc.index_in(words.distinct.cast(pa.large_string()), value_set=self.words), NONE)
        codes = known.to_numpy(zero_copy_only=False).astype(np.int64)[words.places]
        reach = max(len(codes) - length + 1, 0)
        parts = [codes[at : at + reach] for at in range(length)]
        whole = words.rows[:reach] == words.rows[length - 1 :]
        for part in parts:
            whole &= part >= 0
        return self._numbers([part[whole] for part in parts]), words.rows[:reach][whole]

    def _numbers(self, digits: Sequence[Integers]) -> Integers:
        """Read places of words as digits, the first one first."""
        if len(self.words) ** len(digits) > np.iinfo(np.int64).max:
            raise TrainingDataError(
                f"{len(self.words):,} words are too many for terms of {len(digits)}", hint="lower max_features"
            )
        number = digits[0]
        for digit in digits[1:]:
            number = number * len(self.words) + digit
        return number

    def texts(self, numbers: pl.Series, length: int) -> pl.Series:
        """Return the terms that numbers stand for."""
        words = pl.Series(self.words, dtype=pl.String)
        text = words.gather(numbers % len(words))
        for _ in range(length - 1):
            numbers = numbers // len(words)
            text = words.gather(numbers % len(words)) + " " + text
        return text

    def counts(self, lemmas: Lemmas, features: int) -> sparse.csr_matrix:
        """Return how often each row has each feature, features in ascending order."""
        from scipy import sparse

        words = Words.of(lemmas)
        rows, columns = [], []
        for length, (terms, feature_of) in enumerate(zip(self.terms, self.features, strict=True), start=1):
            numbers, row = self.runs(words, length)
            place, found = _find(numbers, terms)
            rows.append(row[found])
            columns.append(feature_of[place[found]])
        row, column = np.concatenate(rows), np.concatenate(columns)
        ones = np.ones(len(row), np.int32)
        return sparse.coo_matrix((ones, (row, column)), shape=(words.count, features)).tocsr()  # adds up equal places


def _find(numbers: Integers, ascending: Integers) -> tuple[Integers, npt.NDArray[np.bool_]]:
    """Return each number's place among others, and whether it is there."""
    if not len(ascending):
        return np.zeros(len(numbers), np.int64), np.zeros(len(numbers), np.bool_)
    place = np.minimum(np.searchsorted(ascending, numbers), len(ascending) - 1)
    return place, ascending[place] == numbers


class _Tally:
    """Adds up counts by key, in bounded memory: equal keys are merged now and then."""

    def __init__(self) -> None:
        self._parts: list[pl.DataFrame] = []
        self._waiting = 0

    def add(self, keys: Any, counts: Integers) -> None:
        self._parts.append(pl.DataFrame({"key": keys, "count": counts}))
        self._waiting += len(counts)
        if self._waiting > _MERGE_ROWS:
            self._parts, self._waiting = [self.total()], 0

    def total(self) -> pl.DataFrame:
        """Return a row per key: `key` and `count`."""
        return pl.concat(self._parts).group_by("key").agg(pl.col("count").sum())


Batches = Callable[[], Iterable[Batch]]
"""Begins a pass over the rows."""


def choose(batches: Batches, *, max_features: int, ngram_max: int = 1) -> list[str]:
    """Return the commonest terms, in alphabetical order: as many as there are, `max_features` at most.

    Args:
        batches: Called once for each length of terms.
        max_features: How many to choose.
        ngram_max: The length of the longest.

    Raises:
        TrainingDataError: There are too many words for terms of that length (2,097,151 for three).
    """
    found = _count_words(batches)
    vocabulary = Vocabulary.of_words(found.filter(pl.col("count") >= _cut_off(found, max_features))["key"])
    beginnings = np.arange(len(vocabulary.words))
    for length in range(2, ngram_max + 1):
        longer = _count_runs(batches, vocabulary, length, beginnings)
        terms = longer.select(vocabulary.texts(longer["key"], length).alias("key"), "count")
        found = pl.concat([found, terms])
        beginnings = longer.filter(pl.col("count") >= _cut_off(found, max_features))["key"].sort().to_numpy()
    chosen = found.sort(["count", "key"], descending=[True, False]).head(max_features)
    return sorted(chosen["key"])


def _count_words(batches: Batches) -> pl.DataFrame:
    tally = _Tally()
    for batch in batches():
        words = Words.of(batch.lemmas)
        counts = np.bincount(words.places, minlength=len(words.distinct))
        seen = np.flatnonzero(counts)
        texts = pl.Series(words.distinct, dtype=pl.String)
        tally.add(texts.gather(seen), counts[seen])
    return tally.total()


def _count_runs(batches: Batches, vocabulary: Vocabulary, length: int, beginnings: Integers) -> pl.DataFrame:
    """Count the runs of that length which are one word longer than one of the beginnings."""
    tally = _Tally()
    for batch in batches():
        numbers, _ = vocabulary.runs(Words.of(batch.lemmas), length)
        _, common = _find(numbers // max(len(vocabulary.words), 1), beginnings)
        tally.add(*np.unique(numbers[common], return_counts=True))
    return tally.total()


def _cut_off(found: pl.DataFrame, max_features: int) -> int:
    """Return the count below which a term cannot become a feature."""
    if len(found) < max_features:
        return 0
    return int(found["count"].sort(descending=True)[max_features - 1])
