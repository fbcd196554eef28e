r"""Review text to a list of noun lemmas: the preprocessing step, fast because it looks at each distinct token once.

What it computes, in this order (the original did it word by word, with one file read each):

1. lower-case; delete every match of `https?://\S+|www\.\S+|\[.*?\]|[^a-zA-Z\s]+|\w*\d\w*`;
2. replace `[0-9 \-_]+` by one space, then `[^a-z A-Z]+` by one space;
3. drop NLTK's English stop words, split on spaces, take WordNet's noun lemma of every token; null stays null, and a
   text of which nothing is left gives one empty token.

Why a table of tokens gives the same: after step 1 only ASCII letters and white space are left, so step 2 only turns
white space into spaces. And no alternative of the expression matches across white space except `\[.*?\]`: rows with
such a bracket go through step 1 whole first, which changes nothing for a second time. So a text is its tokens between
white space (Python's notion of it, U+001C to U+001F included), each of which becomes one word or none.

The module is pure: no files, no server, no state that changes results. The lexicon is read at the first call.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl

from pipeline.errors import DataError
from pipeline.lexicon import INFLECTED, Lexicon, load

CORPUS = "corpus"

_NOISE = re.compile(r"https?://\S+|www\.\S+|\[.*?\]|[^a-zA-Z\s]+|\w*\d\w*")
# The same for ASCII text in polars, whose classes would drag Unicode's tables along and whose `\s` lacks U+001C to
# U+001F.
_SPACE = r"\t-\r\x1c-\x1f "
_ASCII_NOISE = rf"https?://[^{_SPACE}]+|www\.[^{_SPACE}]+|\[.*?\]|[^a-zA-Z{_SPACE}]+|[0-9A-Za-z_]*[0-9][0-9A-Za-z_]*"
# A bracket that spans tokens; `.` stops at a line feed only.
_WIDE_BRACKET = r"\[[^\]\n]*[\s\x1c-\x1f][^\]\n]*\]"
# White space for Python, but not for arrow's fast splitter.
_RARE_SPACE = r"[\x1c-\x1f\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"

_PAIR_ROWS = 32_768  # two chunks at a time: small enough for the processor's cache, large enough to share tokens
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
    return frame.drop(CORPUS, strict=False).with_columns(corpus(texts).alias(CORPUS))


def corpus(texts: pl.Series) -> pl.Series:
    """Return the list of lemmas of each text of a string series."""
    lexicon = load()
    lemma = functools.cache(lexicon.lemma)
    count = _THREADS * -(-len(texts) // _PAIR_ROWS)
    rows = -(-len(texts) // max(count, 1))
    chunks = [texts.slice(start, rows) for start in range(0, len(texts), max(rows, 1))]
    with ThreadPoolExecutor(_THREADS) as threads:
        lists = list(threads.map(lambda chunk: _corpus(chunk, lexicon, lemma), chunks))
    return pl.concat(lists) if lists else pl.Series(dtype=pl.List(pl.String))


def _corpus(texts: pl.Series, lexicon: Lexicon, lemma: Callable[[str], str]) -> pl.Series:
    import pyarrow as pa
    import pyarrow.compute as pc

    split = pc.ascii_split_whitespace(_plain(texts).to_arrow(compat_level=pl.CompatLevel.oldest()))
    tokens = split.flatten().dictionary_encode()
    lemmas = _lemmas(_clean(pl.Series(tokens.dictionary, dtype=pl.String)), lexicon, lemma)

    # From here on a token is a number: its place in the table.
    numbers = tokens.indices.to_numpy()
    kept = lemmas.is_not_null().to_numpy()[numbers]
    offsets = np.concatenate(([0], np.cumsum(kept, dtype=np.int32)))[split.offsets.to_numpy()]
    numbers = numbers[kept]

    bare = np.flatnonzero((np.diff(offsets) == 0) & texts.is_not_null().to_numpy())
    if len(bare):  # nothing left of the text: one empty token, as "".split(" ") gives
        lemmas.append(pl.Series([""]))
        numbers = np.insert(numbers, offsets[bare], len(lemmas) - 1)
        offsets[1:] += np.cumsum(np.isin(np.arange(len(texts)), bare))

    values = lemmas.gather(numbers).to_arrow(compat_level=pl.CompatLevel.newest())
    nulls = pa.array(texts.is_null().to_numpy()) if texts.null_count() else None
    lists = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values, mask=nulls)
    return pl.Series(lists, dtype=pl.List(pl.String))


def _plain(texts: pl.Series) -> pl.Series:
    """Mend the few rows whose tokens could not be told by ASCII white space and cleaned one by one."""
    wide = texts.str.contains(_WIDE_BRACKET).fill_null(False).arg_true()
    if len(wide):
        texts = texts.clone().scatter(wide, _clean(texts.gather(wide)))
    rare = (_foreign(texts) | texts.str.contains(r"[\x1c-\x1f]")).fill_null(False).arg_true()
    if len(rare):
        texts = texts.clone().scatter(rare, texts.gather(rare).str.replace_all(_RARE_SPACE, " "))
    return texts


def _clean(texts: pl.Series) -> pl.Series:
    """Lower-case and delete the noise: step 1, of whole texts or of tokens."""
    cleaned = texts.str.to_lowercase().str.replace_all(_ASCII_NOISE, "")
    # Only Python knows Python's Unicode: which characters `\w` and `\d` take, and what they look like in lower case.
    foreign = _foreign(texts).arg_true()
    if len(foreign):
        cleaned = cleaned.scatter(foreign, [_NOISE.sub("", text.lower()) for text in texts.gather(foreign)])
    return cleaned


def _lemmas(words: pl.Series, lexicon: Lexicon, lemma: Callable[[str], str]) -> pl.Series:
    """Return the lemma of each cleaned token, null where the token is dropped."""
    inflected = words.str.contains(INFLECTED) | words.is_in(list(lexicon.exceptions))
    where = inflected.arg_true()
    lemmas = words.clone().scatter(where, [lemma(word) for word in words.gather(where)])
    return lemmas.set(words.is_in(["", *lexicon.stop_words]), None)


def _foreign(texts: pl.Series) -> pl.Series:
    """Tell which texts are more than ASCII."""
    return texts.str.len_bytes() != texts.str.len_chars()
