"""Made-up reviews in the shape of the Kaggle file, as many as wanted: inputs for tests, benchmarks and demonstrations.

The same seed gives the same bytes on every machine and with every library version: all chance comes from the raw
output of the PCG64 generator (a fixed algorithm; numpy's distributions are free to change) and all arithmetic is on
integers. A smaller file is the beginning of a larger one. The words are WordNet's and stop words with Zipf frequencies;
a few words lean to one polarity, so that a classifier has something to learn. No reviewer wrote any of it.

It must not be used where real reviews are at hand (`pipeline.amazon_reviews.reviews.sample`). It talks to no outside
system but the file that it writes.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.amazon_reviews.reviews.lexicon import load

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

    Integers = npt.NDArray[np.int64]

BLOCK_ROWS = 10_000
_MIN_WORDS, _LENGTHS = 12, 202  # the smaller of two even throws: many short texts, a long tail, 79 on average
_VOCABULARY = 45_000

# The commonest words of English reviews in about their order; every other word follows by Zipf's law.
_COMMON = """
the i and a to it of is this in that for was my you with not but on have are as be so if at they one all just very
from or an has had me when would what good about great up there out more like will only can were no we get than book
time them after which your do he because their really even by some well who how other its first use too been much
don't then movie she also read product his it's work buy two make into any better could did over bought love now am
way back before new most off money album he's her story years little people never another best still recommend same
think know see being these few days price music songs quality want find through old thing old made games own while
"""

# Words that lean: drawn from the review's own side four times of five.
_NEGATIVE = """
awful bad terrible poor worst waste disappointed broken horrible useless boring refund returned cheap fails junk
defective garbage annoying worse
"""
_POSITIVE = """
excellent perfect amazing wonderful awesome fantastic favorite happy beautiful easy enjoyed loves brilliant superb
delighted fun pleased sturdy recommended classic
"""

# What the text step has to cope with, as in real reviews.
_ODDITIES = (
    "1 2 3 5 10 20 100 1st 2nd 3rd 50% $20 $9.99 2003 90's mp3 mp3s 4GB 24/7 A+ &quot;great&quot; <br /> :) :( :-) ;) "
    "-- ... !!! ??? *** @anonymous #1 w/ b/c e-mail up-to-date o'clock café naïve cliché déjà “classic” isn’t — – … "
    "\u00a0 \u3000 http://www.example.com/item?id=42 https://example.org www.example.net/reviews [sic] [spoiler ahead] "
    "[see my other review] [1] (see below) ½ ² ★★★★★ 3.5/5 OK TV DVD CD"
)
_MULTIWORD = ("<br />", "[spoiler ahead]", "[see my other review]", "(see below)")

_ENDINGS = ("", ",", ".", "!", "...", "?", ";", ")", '""', ":")  # a quote stands twice inside a CSV field
_ENDING_WEIGHTS = (862, 52, 62, 8, 4, 3, 2, 3, 2, 2)
_SENTENCE_ENDINGS = (2, 3, 4, 5)


@dataclass(frozen=True)
class _Vocabulary:
    """Tables that every block draws from."""

    words: pa.Array
    """Lower-case words, the same words with a capital, the same words in capitals: three equal parts."""
    size: int
    thresholds: Integers
    """Cumulative Zipf weights of the words."""
    leaning: tuple[Integers, Integers]
    """Positions of the words that lean to negative and to positive."""
    oddities: Integers
    """Positions of the oddities."""


class _Chance:
    """Bounded integers from raw PCG64 output; no other source of chance is allowed here."""

    def __init__(self, *key: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(key))

    def below(self, bound: int, count: int) -> Integers:
        raw = self._bits.random_raw(count) >> np.uint64(32)
        return ((raw * np.uint64(bound)) >> np.uint64(32)).astype(np.int64)

    def weighted(self, thresholds: Integers, count: int) -> Integers:
        return np.searchsorted(thresholds, self.below(int(thresholds[-1]), count), side="right")


def _split_oddities() -> list[str]:
    text = _ODDITIES
    for phrase in _MULTIWORD:
        text = text.replace(phrase, phrase.replace(" ", "\t"))
    return [oddity.replace("\t", " ") for oddity in text.split(" ")]


@functools.cache
def _vocabulary() -> _Vocabulary:
    import pyarrow as pa

    lexicon = load()
    common = list(dict.fromkeys(_COMMON.split()))
    leaning = [_NEGATIVE.split(), _POSITIVE.split()]
    rest = sorted(lexicon.stop_words.difference(common))
    nouns = sorted(noun for noun in lexicon.nouns if noun.isalpha() and 3 <= len(noun) <= 12)
    # Shuffled, but short words tend to be common: the cube of the length times a throw decides.
    order = np.argsort(_Chance(2003).below(1 << 32, len(nouns)) * [len(noun) ** 3 for noun in nouns], kind="stable")
    words = [*common, *rest, *(nouns[i] for i in order)][:_VOCABULARY]
    # Integer weights: a sum of floats may differ in the last bit from one machine to the next.
    thresholds = np.cumsum([4_000_000_000 // (10 * rank + 27) for rank in range(len(words))], dtype=np.int64)

    plurals = [word + "s" for word in words]  # same ranks again, at a fifth of the frequency
    extra = [*leaning[0], *leaning[1], *_split_oddities()]
    all_words = [*words, *plurals, *extra]
    start = len(words) * 2
    middle, end = start + len(leaning[0]), start + len(leaning[0]) + len(leaning[1])
    styled = [*all_words, *(word[:1].upper() + word[1:] for word in all_words), *(word.upper() for word in all_words)]
    return _Vocabulary(
        words=pa.array(styled, pa.string()),
        size=len(all_words),
        thresholds=thresholds,
        leaning=(np.arange(start, middle), np.arange(middle, end)),
        oddities=np.arange(end, len(all_words)),
    )


def _texts(chance: _Chance, lengths: Integers, polarity: Integers, *, endings: bool) -> pa.Array:
    """Build one text of the given number of words per row."""
    import pyarrow as pa
    import pyarrow.compute as pc

    vocabulary = _vocabulary()
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    count = int(offsets[-1])
    row = np.repeat(np.arange(len(lengths)), lengths)

    word = chance.weighted(vocabulary.thresholds, count)
    plural = (chance.below(5, count) == 0) & (word > 150)  # the commonest words have none
    word = word + plural * len(vocabulary.thresholds)

    kind = chance.below(1000, count)
    side = (polarity[row] == 2) ^ (chance.below(5, count) == 0)
    for leaning, chosen in ((vocabulary.leaning[0], ~side), (vocabulary.leaning[1], side)):
        where = np.flatnonzero((kind < 45) & chosen)
        word[where] = leaning[chance.below(len(leaning), len(where))]
    where = np.flatnonzero((kind >= 45) & (kind < 60))
    odd = vocabulary.oddities
    word[where] = odd[chance.below(len(odd), len(where))]

    ending = chance.weighted(np.cumsum(_ENDING_WEIGHTS), count) * endings
    ending[offsets[1:] - 1] = 2 * endings  # every review ends in a full stop, every title in nothing
    starts = np.zeros(count, dtype=bool)
    starts[1:] = np.isin(ending[:-1], _SENTENCE_ENDINGS)
    starts[offsets[:-1]] = True
    shouted = chance.below(100, count) == 0
    word = word + vocabulary.size * np.where(shouted, 2, starts)

    tokens = vocabulary.words.take(pa.array(word))
    if endings:
        tails = pa.array(_ENDINGS, pa.string()).take(pa.array(ending))
        tokens = pc.binary_join_element_wise(tokens, tails, "")
    return pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), tokens), " ")


def _block(seed: int, number: int) -> pa.Array:
    """Return the lines of one block of the file that this seed stands for."""
    import pyarrow as pa
    import pyarrow.compute as pc

    chance = _Chance(seed, number)
    polarity = 1 + chance.below(2, BLOCK_ROWS)
    lengths = _MIN_WORDS + np.minimum(chance.below(_LENGTHS, BLOCK_ROWS), chance.below(_LENGTHS, BLOCK_ROWS))
    titles = _texts(chance, 1 + chance.below(7, BLOCK_ROWS), polarity, endings=False)
    reviews = _texts(chance, lengths, polarity, endings=True)
    digits = pa.array(["1", "2"], pa.string()).take(pa.array(polarity - 1))
    lines = pc.binary_join_element_wise(digits, titles, reviews, '","')
    return pc.binary_join_element_wise('"', lines, '"\n', "")


def generate(rows: int, seed: int) -> Iterator[bytes]:
    """Yield the bytes of a review CSV: no header; polarity (1 negative, 2 positive), title, review.

    Args:
        rows: How many reviews.
        seed: Any integer from 0 on.

    Yields:
        Pieces of at most `BLOCK_ROWS` reviews, in UTF-8.
    """
    for number in range((rows + BLOCK_ROWS - 1) // BLOCK_ROWS):
        lines = _block(seed, number)[: rows - number * BLOCK_ROWS]
        yield "".join(lines.to_pylist()).encode()
