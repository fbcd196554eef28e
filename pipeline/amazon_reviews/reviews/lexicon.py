"""English stop words and WordNet's noun lemmas, from two small files inside the package.

Nothing is downloaded, neither at set-up nor at run time: a step in a sealed pod has the same words as a laptop. NLTK's
own lemmatizer needs 2 s and 30 MB of files to load and then looks at a set of nouns, a table of exceptions and nine
endings; that is all this module holds, and `tests/unit/pipeline/test_lexicon.py` proves that both agree on every noun
and its derived forms. `pipeline.amazon_reviews.reviews.nltk_data` makes the files, and makes a folder of them that NLTK
itself can use.

It must not be read at import: `load()` takes about 0.04 s and only the text step needs it. It talks to no outside
system.
"""

from __future__ import annotations

import functools
import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import LexiconError

FOLDER = Path(__file__).parents[1] / "data"
STOP_WORDS_FILE = "stopwords_english.txt"
NOUNS_FILE = "wordnet_nouns.txt.gz"

STOP_WORD_COUNT = 198  # NLTK's list since 2025 (nltk_data#228); 179 before
NOUN_COUNT = 117_798  # WordNet 3.0, index.noun
EXCEPTION_COUNT = 2_050  # WordNet 3.0, noun.exc: 2,054 lines, four forms are there twice and the last line counts

# WordNet's detachment rules for nouns, morphy(7WN), by a word's last three letters: what goes, what comes instead.
# The two others, "s" → "" and "men" → "man", are in `Lexicon.lemma`.
_ENDINGS = {
    "ses": ("es", ""),
    "xes": ("es", ""),
    "zes": ("es", ""),
    "hes": ("es", ""),  # after c and s only
    "ves": ("ves", "f"),
    "ies": ("ies", "y"),
}


@dataclass(frozen=True)
class Lexicon:
    """What the text step knows about English."""

    stop_words: frozenset[str]
    nouns: frozenset[str]
    """Every lemma of WordNet's noun index, in its spelling: lower-case, `_` for a space."""
    exceptions: dict[str, tuple[str, ...]]
    """Irregular plural → its lemmas, as in `noun.exc`."""

    def lemma(self, word: str) -> str:
        """Return the shortest noun lemma of a word, or the word itself where WordNet has none.

        Equal to `nltk.stem.WordNetLemmatizer().lemmatize(word)`, oddities included: "us" becomes "u", "was" becomes
        "wa".
        """
        forms = self.exceptions.get(word)
        if forms is not None:
            return min((form for form in (word, *forms) if form in self.nouns), key=len, default=word)
        # The rules' results, shortest first: two letters less, one letter less, none less.
        if word.endswith("s"):
            cut, put = _ENDINGS.get(word[-3:], ("", ""))
            if cut and (word[-3] != "h" or word[-4:-3] in ("c", "s")):
                form = word[: -len(cut)] + put
                if form in self.nouns:
                    return form
            if word[:-1] in self.nouns:
                return word[:-1]
        elif word.endswith("men") and word not in self.nouns and word[:-2] + "an" in self.nouns:
            return word[:-2] + "an"
        return word


@functools.cache
def load(folder: Path = FOLDER) -> Lexicon:
    """Read the lexicon once per process.

    Raises:
        LexiconError: A file is missing, damaged or incomplete.
    """
    stop_words = frozenset(_read(folder / STOP_WORDS_FILE).split())
    noun_part, _, exception_part = _read(folder / NOUNS_FILE).partition("\n\n")
    # The copyright notice is at the top, each of its lines behind two spaces, as in WordNet's own files.
    nouns = frozenset(noun_part[noun_part.rfind("\n  ") :].split("\n")[2:])
    exceptions = {form: tuple(lemmas) for form, *lemmas in map(str.split, exception_part.splitlines())}
    for name, found, expected in (
        (STOP_WORDS_FILE, len(stop_words), STOP_WORD_COUNT),
        (NOUNS_FILE, len(nouns), NOUN_COUNT),
        (NOUNS_FILE, len(exceptions), EXCEPTION_COUNT),
    ):
        if found != expected:
            raise _damaged(folder / name, f"it holds {found:,} entries instead of {expected:,}")
    return Lexicon(stop_words, nouns, exceptions)


def _read(path: Path) -> str:
    try:
        content = path.read_bytes()
        return (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    except FileNotFoundError:
        raise LexiconError(f"lexicon file {path} is missing", hint=_HINT) from None
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, cause: str) -> LexiconError:
    return LexiconError(f"lexicon file {path} is damaged: {cause}", hint=_HINT)


_HINT = (
    "the file belongs to the package: `git checkout -- pipeline/amazon_reviews/data` in a clone, "
    "else install the package again"
)
