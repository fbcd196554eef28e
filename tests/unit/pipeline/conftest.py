"""NLTK itself, with data made from the package's own files: no download, the same on every machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.nltk_reference import REFERENCE, reference
from pipeline.amazon_reviews.reviews.nltk_data import write_nltk_data


@pytest.fixture(scope="session")
def nltk_data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that NLTK reads; nothing else is on its path."""
    import nltk

    folder = tmp_path_factory.mktemp("nltk_data")
    write_nltk_data(folder)
    before = list(nltk.data.path)
    nltk.data.path[:] = [str(folder)]
    yield folder
    nltk.data.path[:] = before


@pytest.fixture(scope="session")
def nltk_lemmatize(nltk_data: Path) -> Callable[[str], str]:
    """NLTK's noun lemmatizer."""
    from nltk.stem import WordNetLemmatizer

    lemmatize: Callable[[str], str] = WordNetLemmatizer().lemmatize
    return lemmatize


@pytest.fixture(scope="session")
def nltk_stop_words(nltk_data: Path) -> frozenset[str]:
    """NLTK's English stop words."""
    from nltk.corpus import stopwords

    return frozenset(stopwords.words("english"))


@pytest.fixture(scope="session")
def nltk_corpus(nltk_stop_words: frozenset[str], nltk_lemmatize: Callable[[str], str]) -> REFERENCE:
    """The reference preprocessing of one review."""
    return reference(nltk_stop_words, nltk_lemmatize)
