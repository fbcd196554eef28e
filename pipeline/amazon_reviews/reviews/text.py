r"""Review text to a list of noun lemmas: the preprocessing step, fast because it looks at each distinct token once.

What it computes, in this order (the original did it word by word, with one file read each):

1. lower-case; delete every match of `https?://\S+|www\.\S+|\[.*?\]|[^a-zA-Z\s]+|\w*\d\w*`;
2. replace `[0-9 \-_]+` by one space, then `[^a-z A-Z]+` by one space;
3. drop NLTK's English stop words, split on spaces, take WordNet's noun lemma of every token; null stays null, and a
   text of which nothing is left gives one empty token.

Why a table of tokens gives the same: after step 1 only ASCII letters and white space are left, so step 2 only turns
white space into spaces. And no alternative of the expression matches across white space except `\[.*?\]`: rows with
such a bracket go through step 1 whole first, which changes nothing for a second time. So a text is its tokens between
white space (Python's notion of it, U+001C to U+001F included), each of which becomes one word or none. Of a character
beyond ASCII the rules see only its kind (white space, digit, letter, other), so one of that kind can stand for it.

The module is pure: no files, no server, no state that changes results. The lexicon is read at the first call.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from pipeline.amazon_reviews.reviews.lexicon import load
from pipeline.errors import DataError

if TYPE_CHECKING:
    import numpy.typing as npt

    Integers = npt.NDArray[np.int32]

CORPUS = "corpus"

# Of what is not ASCII only the kind matters, and `_ascii` has seen to that. White space is Python's.
_SPACE = r"\t-\r\x1c-\x1f "
_NOISE = rf"https?://[^{_SPACE}]+|www\.[^{_SPACE}]+|\[.*?\]|[^a-zA-Z{_SPACE}]+|[0-9A-Za-z_]*[0-9][0-9A-Za-z_]*"
# A bracket that spans tokens; `.` stops at a line feed only.
_WIDE_BRACKET = rf"\[[^\]\n]*[{_SPACE}][^\]\n]*\]"
# What is not ASCII; and what is white space for Python, but not for arrow's splitter.
_FOREIGN = r"[^\x00-\x1b\x20-\x7f]"
_RARE_SPACE = r"[\x1c-\x1f]"

_PAIR_ROWS = 32_768  # two chunks at a time: small enough for the processor's cache, large enough to share tokens
_REMEMBERED = 200_000  # lemmas of inflected words, some 30 MB
_THREADED_ROWS = 4_000  # of fewer texts, starting threads takes longer than the work that they share
_THREADS = 2  # splitting and hashing are outside the GIL: two threads are worth it, more are not


def preprocess(frame: pl.DataFrame, column: str = "Review") -> pl.DataFrame:
    """Add the list column `corpus`: the noun lemmas of each text.

    Args:
        frame: Any frame with a text column.
        column: Its name.

    Returns:
        The frame with `corpus` as its last column; a `corpus` that was there before is replaced.

    Raises:
        DataError: There is no such column, or it holds no text.
        LexiconError: The package's word lists are missing or damaged.
    """
    return frame.drop(CORPUS, strict=False).with_columns(corpus(texts_of(frame, column)).alias(CORPUS))


def texts_of(frame: pl.DataFrame, column: str) -> pl.Series:
    """Return a column as strings.

    Raises:
        DataError: There is no such column, or it holds no text.
    """
    if column not in frame.columns:
        raise DataError(
            f"column {column!r} is not in the data, which has {', '.join(map(repr, frame.columns)) or 'no columns'}",
            hint="name the text column with --column",
        )
    texts = frame[column]
    if texts.dtype in (pl.Null, pl.Categorical, pl.Enum):
        texts = texts.cast(pl.String)
    if texts.dtype != pl.String:
        raise DataError(f"column {column!r} holds {texts.dtype}, not text", hint="name the text column with --column")
    return texts


def corpus(texts: pl.Series) -> pl.Series:
    """Return the list of lemmas of each text of a string series."""
    _tables()  # read here: two threads at once would both read it
    if len(texts) < _THREADED_ROWS:
        return _lists(encode(texts))
    count = _THREADS * -(-len(texts) // _PAIR_ROWS)
    rows = -(-len(texts) // count)
    chunks = [texts.slice(start, rows) for start in range(0, len(texts), rows)]
    with ThreadPoolExecutor(_THREADS) as threads:
        return pl.concat(list(threads.map(lambda chunk: _lists(encode(chunk)), chunks)))


@dataclass(frozen=True)
class Encoded:
    """The lemmas of some texts, each distinct one written once."""

    lemmas: pl.Series
    """The distinct ones, in the order in which they come first."""
    numbers: Integers
    """The places in `lemmas` of all words of all texts."""
    offsets: Integers
    """Where in `numbers` each text begins, and the end."""
    nulls: npt.NDArray[np.bool_]
    """Which texts are null."""
    words: int
    """How many words there are, without the empty tokens that stand for nothing."""


def encode(texts: pl.Series) -> Encoded:
    """Return the lemmas of each text of a string series, for who writes them to a file: much smaller than lists.

    Runs on one thread and may be called from several; a part of a few ten thousand texts is best.
    """
    import pyarrow.compute as pc

    # Lower case first: there are fewer distinct tokens then.
    split = pc.ascii_split_whitespace(pc.ascii_lower(_arrow(_plain(texts))))
    tokens = split.flatten().dictionary_encode()
    # From here on a token is a number: its place in the dictionary, and then that of its lemma, -1 for none.
    lemmas, places = _lemmas(_clean(pl.Series(tokens.dictionary, dtype=pl.String)))
    numbers = places[tokens.indices.to_numpy()]
    kept = numbers >= 0
    ends = np.cumsum(kept, dtype=np.int32)
    offsets = np.concatenate((np.zeros(1, np.int32), ends))[split.offsets.to_numpy()]
    numbers = numbers[kept]
    words = len(numbers)

    nulls = texts.is_null().to_numpy()
    bare = np.flatnonzero((np.diff(offsets) == 0) & ~nulls)
    if len(bare):  # nothing left of the text: one empty token, as "".split(" ") gives
        before = numbers[: offsets[bare[0]]]
        rank = int(before.max()) + 1 if len(before) else 0  # so many distinct lemmas come before the first empty one
        lemmas = pl.concat([lemmas[:rank], pl.Series([""]), lemmas[rank:]])
        numbers = np.insert(numbers + (numbers >= rank), offsets[bare], rank)
        extra = np.zeros(len(texts), np.int32)
        extra[bare] = 1
        offsets[1:] += np.cumsum(extra, dtype=np.int32)
    return Encoded(lemmas, numbers, offsets, nulls, words)


def _lists(encoded: Encoded) -> pl.Series:
    import pyarrow as pa

    values = encoded.lemmas.gather(encoded.numbers).to_arrow(compat_level=pl.CompatLevel.newest())
    nulls = pa.array(encoded.nulls) if encoded.nulls.any() else None
    lists = pa.ListArray.from_arrays(pa.array(encoded.offsets, pa.int32()), values, mask=nulls)
    return pl.Series(lists, dtype=pl.List(pl.String))


def _plain(texts: pl.Series) -> pl.Series:
    """Correct the few rows that are more than ASCII, or whose tokens could not be cleaned one by one."""
    text = pl.col("text")
    foreign = (text.str.len_bytes() != text.str.len_chars()) | text.str.contains(_RARE_SPACE)
    marks = texts.to_frame("text").select_seq(foreign=foreign, wide=text.str.contains(_WIDE_BRACKET))
    rows = _where(marks["foreign"])
    if len(rows):
        texts = texts.clone().scatter(rows, _ascii(texts.gather(rows)))
        marks = texts.to_frame("text").select_seq(wide=text.str.contains(_WIDE_BRACKET))
    rows = _where(marks["wide"])
    if len(rows):
        texts = texts.clone().scatter(rows, _clean(texts.gather(rows).str.to_lowercase()))
    return texts


def _where(marks: pl.Series) -> npt.NDArray[np.intp]:
    """Return the places that are true; null is not."""
    return np.flatnonzero(marks.fill_null(False).to_numpy()) if marks.null_count() else np.flatnonzero(marks.to_numpy())


def _ascii(texts: pl.Series) -> pl.Series:
    """Put ASCII characters of the same kind in the place of all others: the rules look at nothing but the kind."""
    found = texts.str.extract_all(_FOREIGN).explode(empty_as_null=True).drop_nulls().unique().to_list()
    return texts.str.replace_many(found, [_stand_in(character) for character in found])


@functools.cache
def _stand_in(character: str) -> str:
    r"""Return an ASCII text that the rules treat as they treat this character.

    Only Python knows Python's Unicode: what is lower case (of two letters beyond ASCII it is an ASCII letter), and
    which characters are `\s`, `\d` and `\w`.
    """
    kinds = (" " if c.isspace() else "0" if c.isdecimal() else "_" if c.isalnum() else "!" for c in character.lower())
    return "".join(c if "a" <= c <= "z" else kind for c, kind in zip(character.lower(), kinds, strict=True))


def _clean(texts: pl.Series) -> pl.Series:
    """Delete the noise from whole texts or tokens in lower case: step 1."""
    return texts.str.replace_all(_NOISE, "")


def _lemmas(words: pl.Series) -> tuple[pl.Series, Integers]:
    """Return the distinct lemmas of cleaned tokens, and for each token the place of its lemma, -1 where it is dropped.

    Many tokens become the same word, and only the distinct words are looked up.
    """
    tables = _tables()
    encoded = _arrow(words).dictionary_encode()
    words = pl.Series(encoded.dictionary, dtype=pl.String)
    word = pl.col("word")
    kept = ~word.is_in(tables.dropped)
    inflected = word.str.ends_with("s") | word.str.ends_with("men") | word.is_in(tables.exceptions)
    # In one query: of a single text, each query costs more than its work.
    marks = words.to_frame("word").select_seq(lemma=pl.when(kept).then(word), inflected=inflected & kept)
    where = _where(marks["inflected"])
    lemma = tables.lemma
    lemmas = marks["lemma"].scatter(where, [lemma(word) for word in words.gather(where)])
    found = _arrow(lemmas).dictionary_encode()
    places = found.indices.fill_null(-1).to_numpy()[encoded.indices.to_numpy()]
    return pl.Series(found.dictionary, dtype=pl.String), places


@dataclass(frozen=True)
class _Tables:
    lemma: Callable[[str], str]
    exceptions: pl.Series
    dropped: pl.Series


@functools.cache
def _tables() -> _Tables:
    lexicon = load()
    lemma = functools.lru_cache(_REMEMBERED)(lexicon.lemma)
    return _Tables(lemma, pl.Series(list(lexicon.exceptions)).implode(), pl.Series(["", *lexicon.stop_words]).implode())


def _arrow(texts: pl.Series) -> Any:
    return texts.to_arrow(compat_level=pl.CompatLevel.oldest())
