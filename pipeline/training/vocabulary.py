"""Terms: which ones become features, and how often each row has them.

Terms are what scikit-learn's `TfidfVectorizer(analyzer="word")` would find in the lemmas joined by spaces: lower-case
words of two characters or more, and runs of up to `ngram_max` of them. Features are the commonest terms by the number
of their occurrences; of equally common ones the first in the alphabet, where scikit-learn lets its version decide.

Counting is exact in little memory: a run of words is at most as common as its rarest word, so that runs are counted
only of words that are common enough themselves to become features. Every length costs one more pass over the rows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from pipeline.training.tables import Batch, Integers, Lemmas

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
class Trie:
    """Terms by their words: a level per length, a node per beginning of a term, found by sorted numbers.

    Attributes:
        words: The words of all terms; a word's place is its node on the first level.
        levels: For each further length its nodes, as `node of all words but the last * len(words) + last word`.
        features: For each length the feature of every node, `NONE` where it is only a beginning.
    """

    words: pa.Array
    levels: tuple[Integers, ...] = ()
    features: tuple[Integers, ...] = field(default=())

    @classmethod
    def of_terms(cls, terms: Sequence[str]) -> Trie:
        """Build the trie of features: the term's place in `terms`."""
        import pyarrow as pa

        split = [term.split(" ") for term in terms]
        words = sorted({word for term in split for word in term})
        number = {word: place for place, word in enumerate(words)}
        nodes: dict[tuple[str, ...], int] = {(word,): place for word, place in number.items()}
        levels = []
        for length in range(2, max(map(len, split), default=1) + 1):
            keys = {
                tuple(term[:length]): nodes[tuple(term[: length - 1])] * len(words) + number[term[length - 1]]
                for term in split
                if len(term) >= length
            }
            ordered = sorted(keys, key=keys.__getitem__)
            nodes |= {beginning: place for place, beginning in enumerate(ordered)}
            levels.append(np.array([keys[beginning] for beginning in ordered], np.int64))
        features = [np.full(size, NONE, np.int64) for size in (len(words), *map(len, levels))]
        for place, term in enumerate(split):
            features[len(term) - 1][nodes[tuple(term)]] = place
        return cls(pa.array(words, pa.large_string()), tuple(levels), tuple(features))

    def walk(self, words: Words, *, further: bool = False) -> Iterator[Integers]:
        """Yield for each length the node of the run that begins at each word; `NONE` where there is no such node.

        Args:
            words: The words of some rows.
            further: Yield at the end, instead of nodes, the keys that a next level would have.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        known = pc.index_in(words.distinct.cast(pa.large_string()), value_set=self.words)
        first = pc.fill_null(known, NONE).to_numpy(zero_copy_only=False).astype(np.int64)[words.places]
        node = first
        yield node
        for length, keys in enumerate([*self.levels, *([None] if further else [])], start=2):
            node = self._longer(node, first, words.rows, length)
            if keys is not None:
                place = np.minimum(np.searchsorted(keys, node), len(keys) - 1)
                node = np.where(keys[place] == node, place, NONE)
            yield node

    def _longer(self, node: Integers, first: Integers, rows: Integers, length: int) -> Integers:
        """Return the keys of the runs that are one word longer."""
        longer = np.full(len(node), NONE, np.int64)
        reach = len(node) - length + 1
        if reach > 0:
            last = first[length - 1 :]
            whole = (node[:reach] >= 0) & (last >= 0) & (rows[:reach] == rows[length - 1 :])
            longer[:reach] = np.where(whole, node[:reach] * len(self.words) + last, NONE)
        return longer

    def counts(self, lemmas: Lemmas, features: int) -> sparse.csr_matrix:
        """Return how often each row has each feature, features in ascending order."""
        from scipy import sparse

        words = Words.of(lemmas)
        rows, columns = [], []
        for nodes, feature_of in zip(self.walk(words), self.features, strict=True):
            found = np.where(nodes >= 0, feature_of[nodes], NONE) if len(feature_of) else nodes
            where = np.flatnonzero(found >= 0)
            rows.append(words.rows[where])
            columns.append(found[where])
        row, column = np.concatenate(rows), np.concatenate(columns)
        ones = np.ones(len(row), np.int32)
        return sparse.coo_matrix((ones, (row, column)), shape=(words.count, features)).tocsr()  # adds up equal places


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
        if not self._parts:
            return pl.DataFrame({"key": [], "count": []}, schema={"key": pl.String, "count": pl.Int64})
        return pl.concat(self._parts).group_by("key").agg(pl.col("count").sum())


Batches = Callable[[], Iterable[Batch]]
"""Begins a pass over the rows."""


def choose(batches: Batches, *, max_features: int, ngram_max: int = 1) -> list[str]:
    """Return the commonest terms, in alphabetical order: as many as there are, `max_features` at most.

    Args:
        batches: Called once for each length of terms.
        max_features: How many to choose.
        ngram_max: The length of the longest.
    """
    import pyarrow as pa

    found = _count_words(batches)
    beginnings: list[str] = []
    level = found
    trie = Trie(pa.array([], pa.large_string()))
    for length in range(2, ngram_max + 1):
        enough = _cut_off(found, max_features)
        if length == 2:
            words = sorted(level.filter(pl.col("count") >= enough)["key"])
            trie, beginnings = Trie(pa.array(words, pa.large_string())), words
        else:
            kept = level.filter(pl.col("count") >= enough).sort("node")
            trie = Trie(trie.words, (*trie.levels, kept["node"].to_numpy()))
            beginnings = kept["key"].to_list()
        if not len(beginnings):
            break
        level = _count_longer(batches, trie, beginnings)
        found = pl.concat([found, level.select("key", "count")])
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


def _count_longer(batches: Batches, trie: Trie, beginnings: Sequence[str]) -> pl.DataFrame:
    """Count the runs that are one word longer than the trie's longest: `node` is their key, `key` their text."""
    tally = _Tally()
    for batch in batches():
        *_, keys = trie.walk(Words.of(batch.lemmas), further=True)
        tally.add(*np.unique(keys[keys >= 0], return_counts=True))
    total = tally.total()
    nodes = total["key"].cast(pl.Int64)
    before = pl.Series(beginnings, dtype=pl.String).gather(nodes // len(trie.words))
    last = pl.Series(trie.words, dtype=pl.String).gather(nodes % len(trie.words))
    return pl.DataFrame({"key": before + " " + last, "count": total["count"], "node": nodes})


def _cut_off(found: pl.DataFrame, max_features: int) -> int:
    """Return the count below which a term cannot become a feature."""
    if len(found) < max_features:
        return 0
    return int(found["count"].sort(descending=True)[max_features - 1])
