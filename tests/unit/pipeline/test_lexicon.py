from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.amazon_reviews.reviews import lexicon
from pipeline.amazon_reviews.reviews.lexicon import load
from pipeline.amazon_reviews.reviews.nltk_data import write_noun_file
from pipeline.errors import InputFileError, LexiconError


def derived_forms(word: str) -> set[str]:
    """Every form that a rule could lead back to this word, and some that none should."""
    endings = {word + ending for ending in ("s", "es", "ses", "ss", "men")}
    return endings | {word[:-1] + "ies", word[:-1] + "ves", word[:-2] + "men", word[:-1]}


@pytest.mark.parametrize("part", [97, pytest.param(1, marks=pytest.mark.thorough)])
def test_lemmas_are_nltks_over_the_whole_vocabulary(part: int, nltk_lemmatize: Callable[[str], str]) -> None:
    """One word in `part`: all of them take 20 s."""
    words = load()
    vocabulary = {*words.nouns, *words.exceptions, *words.stop_words, "", "s", "es", "ies", "men", "hes", "ches"}
    vocabulary.update(*(derived_forms(noun) for noun in words.nouns))
    assert len(vocabulary) > 900_000
    vocabulary = set(sorted(vocabulary)[::part])

    differences = [word for word in vocabulary if words.lemma(word) != nltk_lemmatize(word)]

    assert differences == []


def test_stop_words_are_nltks(nltk_stop_words: frozenset[str]) -> None:
    assert load().stop_words == nltk_stop_words


@pytest.mark.parametrize(
    ("word", "lemma"),
    [
        ("geese", "goose"),
        ("batteries", "battery"),
        ("churches", "church"),
        ("wolves", "wolf"),
        ("axes", "ax"),
        ("us", "u"),
        ("was", "wa"),
        ("women", "woman"),
        ("firemen", "fireman"),
        ("glasses", "glass"),
        ("qwertys", "qwertys"),
    ],
)
def test_lemma(word: str, lemma: str) -> None:
    assert load().lemma(word) == lemma


def damaged(folder: Path, name: str, change: Callable[[Path], object]) -> Path:
    for source in (lexicon.STOP_WORDS_FILE, lexicon.NOUNS_FILE):
        shutil.copy(lexicon.FOLDER / source, folder)
    change(folder / name)
    return folder


@pytest.mark.parametrize(
    ("name", "change", "cause"),
    [
        (lexicon.NOUNS_FILE, Path.unlink, "is missing"),
        (lexicon.STOP_WORDS_FILE, Path.unlink, "is missing"),
        (lexicon.NOUNS_FILE, lambda path: path.write_bytes(path.read_bytes()[:100_000]), "is damaged"),
        (
            lexicon.NOUNS_FILE,
            lambda path: path.write_bytes(b"version https://git-lfs"),
            "is damaged: Not a gzipped file",
        ),
        (lexicon.STOP_WORDS_FILE, lambda path: path.write_bytes(b"the\na\n"), "holds 2 entries instead of 198"),
        (lexicon.STOP_WORDS_FILE, lambda path: path.write_bytes(b"\xff"), "is damaged"),
    ],
)
def test_missing_or_damaged_files(tmp_path: Path, name: str, change: Callable[[Path], object], cause: str) -> None:
    folder = damaged(tmp_path, name, change)

    with pytest.raises(LexiconError) as caught:
        load(folder)

    assert cause in caught.value.message
    assert str(folder / name) in caught.value.message
    assert "git checkout -- pipeline/amazon_reviews/data" in str(caught.value.hint)


def test_noun_file_is_made_again_from_wordnet(tmp_path: Path, nltk_data: Path) -> None:
    wordnet = nltk_data / "corpora" / "wordnet"

    write_noun_file(wordnet, tmp_path / "nouns.gz")

    # The notice's line numbers are gone in ours; all else is the same.
    assert (
        load(damaged(tmp_path, "x", lambda _: (tmp_path / "nouns.gz").replace(tmp_path / lexicon.NOUNS_FILE))) == load()
    )


def test_folder_that_is_no_wordnet(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="is not a WordNet folder"):
        write_noun_file(tmp_path, tmp_path / "nouns.gz")


def test_import_reads_nothing() -> None:
    reviews = "pipeline.amazon_reviews.reviews"
    code = f"import pathlib; pathlib.Path.read_bytes = None; import {reviews}.lexicon, {reviews}.text"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
