from __future__ import annotations

import itertools
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.nltk_reference import REFERENCE
from pipeline.amazon_reviews.reviews import text
from pipeline.amazon_reviews.reviews.text import encode, preprocess
from pipeline.errors import DataError

GOLDEN = Path(__file__).parents[2] / "data" / "preprocess_golden.parquet"

# Everything that a rule of the preprocessing looks at, in the spellings most likely to be mistaken.
FRAGMENTS = (
    *("a", "b", "Z", "feet", "geese", "was", "us", "the", "don't", "men", "women", "Batteries", "buses", "analyses"),
    *("http://", "https://", "HTTPS://", "http:", "www.", "www", "WWW.x", "://", "/", "."),
    *("[", "]", "[a b]", "[a]", "[ ]", "[\n]", "[x\ty]", "[[", "]]"),
    *("0", "1", "9", "٣", "²", "½", "Ⅷ", "１", "_", "__", "-", "'", '"', "(", ")", "&", "é", "ñ", "ß", "ﬁ"),
    *("İ", "ı", "Σ", "σ", "ς", "K", "Å", "\u0301", "\u0307", "一", "🙂", "\ua7cb", "\U00010d50", "\U0001e900"),
    *(" ", "  ", "\t", "\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x1f", "\x85", "\xa0", "\u1680"),
    *(
        "\u2000",
        "\u2003",
        "\u200a",
        "\u200b",
        "\u2028",
        "\u2029",
        "\u202f",
        "\u205f",
        "\u3000",
        "\u180e",
        "\ufeff",
        "\x00",
    ),
)
hostile_texts = st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.text(max_size=2)), max_size=14).map("".join)


def corpus_of(*reviews: str | None) -> list[list[str] | None]:
    frame = pl.DataFrame({"Review": reviews}, schema={"Review": pl.String})
    return preprocess(frame)["corpus"].to_list()


def test_golden_vectors() -> None:
    golden = pl.read_parquet(GOLDEN)

    assert preprocess(golden.select("Review")).equals(golden, null_equal=True)


def test_reference_agrees_with_golden_vectors(nltk_corpus: REFERENCE) -> None:
    golden = pl.read_parquet(GOLDEN)

    assert [nltk_corpus(review) for review in golden["Review"]] == golden["corpus"].to_list()


@pytest.mark.parametrize("examples", [80, pytest.param(400, marks=pytest.mark.thorough)])
def test_equals_reference_on_hostile_texts(nltk_corpus: REFERENCE, examples: int) -> None:
    @settings(deadline=None, max_examples=examples)
    @given(reviews=st.lists(st.none() | hostile_texts, min_size=1, max_size=20))
    def check(reviews: list[str | None]) -> None:
        assert corpus_of(*reviews) == [nltk_corpus(review) for review in reviews]

    check()


@pytest.mark.slow
@settings(deadline=None, max_examples=200)
@given(reviews=st.lists(st.none() | st.text(max_size=60), min_size=1, max_size=10))
def test_equals_reference_on_any_texts(nltk_corpus: REFERENCE, reviews: list[str | None]) -> None:
    assert corpus_of(*reviews) == [nltk_corpus(review) for review in reviews]


@pytest.mark.slow
@settings(deadline=None, max_examples=200)
@given(reviews=st.lists(st.none() | hostile_texts, min_size=1, max_size=20))
def test_encoded_lemmas_are_distinct_and_in_the_order_in_which_they_come(
    nltk_corpus: REFERENCE, reviews: list[str | None]
) -> None:
    encoded = encode(pl.Series(reviews, dtype=pl.String))

    expected = [nltk_corpus(review) for review in reviews]
    lemmas = [lemma for row in expected for lemma in row or []]
    assert encoded.lemmas.to_list() == list(dict.fromkeys(lemmas))
    assert encoded.lemmas.gather(encoded.numbers).to_list() == lemmas
    assert encoded.offsets.tolist() == [0, *itertools.accumulate(len(row or []) for row in expected)]
    assert encoded.nulls.tolist() == [row is None for row in expected]
    assert encoded.words == len([lemma for lemma in lemmas if lemma])


@pytest.mark.slow
def test_every_character_is_treated_as_in_python(nltk_corpus: REFERENCE) -> None:
    characters = [chr(code) for code in range(0x20000) if not 0xD800 <= code < 0xE000]
    reviews = [f"a{character}b c{character}1 {character}d" for character in characters]

    assert corpus_of(*reviews) == [nltk_corpus(review) for review in reviews]


@pytest.mark.parametrize(
    ("review", "corpus"),
    [
        (None, None),
        ("", [""]),
        (" \n ", [""]),
        ("The.", [""]),
        ("first row ok", ["first", "row", "ok"]),
        ("  Two   FEET\tand\nthree geese ", ["two", "foot", "three", "goose"]),
        ("see http://a.b/c?d=1 and www.x.y.", ["see"]),
        ("don't 4GB mp3s 1st up-to-date", ["dont", "gb", "st", "uptodate"]),
        ("a[b c]d e", ["ad", "e"]),
        ("open [b\nc] e", ["open", "b", "c", "e"]),
        ("us has", ["u"]),
    ],
)
def test_single_reviews(review: str | None, corpus: list[str] | None) -> None:
    assert corpus_of(review) == [corpus]


def test_chunks_join_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    reviews = [
        None if row % 7 == 0 else "" if row % 5 == 0 else f"[x {row}] feet w{chr(97 + row % 26)}" for row in range(500)
    ]
    whole = corpus_of(*reviews)

    monkeypatch.setattr(text, "_PAIR_ROWS", 3)

    assert corpus_of(*reviews) == whole
    assert whole[1] == ["foot", "wb"]


def test_other_columns_and_rows_stay() -> None:
    frame = pl.DataFrame({"corpus": ["old", "old"], "n": [1, 2], "Text": ["Feet", None]})

    result = preprocess(frame, "Text")

    assert result.columns == ["n", "Text", "corpus"]
    assert result.rows() == [(1, "Feet", ["foot"]), (2, None, None)]
    assert result.schema["corpus"] == pl.List(pl.String)


@pytest.mark.parametrize(
    "frame",
    [
        pl.DataFrame({"Review": []}, schema={"Review": pl.String}),
        pl.DataFrame({"Review": [None, None]}),
        pl.DataFrame({"Review": ["feet", None]}, schema={"Review": pl.Categorical}),
    ],
)
def test_unusual_text_columns(frame: pl.DataFrame) -> None:
    result = preprocess(frame)

    assert result.schema["corpus"] == pl.List(pl.String)
    assert len(result) == len(frame)
    assert result["corpus"].is_null().equals(frame["Review"].is_null().alias("corpus"))


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pl.DataFrame({"Text": ["x"]}), "column 'Review' is not in the data, which has 'Text'"),
        (pl.DataFrame({"Review": [1]}), "column 'Review' holds Int64, not text"),
    ],
)
def test_unfit_frames(frame: pl.DataFrame, message: str) -> None:
    with pytest.raises(DataError) as caught:
        preprocess(frame)
    assert caught.value.message == message
