from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter
from statistics import mean

import pytest

from pipeline.amazon_reviews.reviews.generate import BLOCK_ROWS, generate


@pytest.fixture(scope="module")
def rows() -> list[list[str]]:
    content = b"".join(generate(BLOCK_ROWS, 7)).decode()
    return list(csv.reader(io.StringIO(content, newline=""), strict=True))


@pytest.mark.parametrize(
    ("count", "seed", "sha256"),
    [
        (3, 0, "39d5bbd2c0cf82333d95027352cfc4d96f39648115557c4cdd0601524760012a"),
        (25_000, 42, "5dd140ccd837e9128f6f77cb5afe1b94b13d18c8877954cc5d9aae1f138f4f04"),
    ],
)
def test_same_seed_same_bytes_on_every_machine(count: int, seed: int, sha256: str) -> None:
    assert hashlib.sha256(b"".join(generate(count, seed))).hexdigest() == sha256


def test_a_smaller_file_is_the_beginning_of_a_larger_one() -> None:
    larger = b"".join(generate(BLOCK_ROWS + 50, 1))

    for count in (1, BLOCK_ROWS, BLOCK_ROWS + 1):
        smaller = b"".join(generate(count, 1))
        assert larger.startswith(smaller)
        assert smaller.count(b"\n") == count


def test_seeds_differ() -> None:
    assert b"".join(generate(10, 1)) != b"".join(generate(10, 2))


def test_shape_of_the_reviews(rows: list[list[str]]) -> None:
    lengths = [len(review.split()) for _, _, review in rows]
    words = Counter(word for _, _, review in rows for word in review.lower().split())

    assert {len(row) for row in rows} == {3}
    assert Counter(polarity for polarity, _, _ in rows).keys() == {"1", "2"}
    assert 78 < mean(lengths) < 81
    assert [word for word, _ in words.most_common(3)] == ["the", "i", "and"]
    # Zipf: the tenth word comes about a third as often as the third, and most words come once.
    ranked = [count for _, count in words.most_common()]
    assert 0.2 < ranked[9] / ranked[2] < 0.6
    assert sum(count == 1 for count in ranked) > len(ranked) / 3


@pytest.mark.parametrize(
    "oddity", ["http://www.example.com/item?id=42", "[see my other review]", "$9.99", "café", "\u3000", '"']
)
def test_reviews_hold_what_the_text_step_has_to_cope_with(rows: list[list[str]], oddity: str) -> None:
    assert any(oddity in review for _, _, review in rows)


def test_polarity_can_be_learned(rows: list[list[str]]) -> None:
    good = sum("excellent" in review for polarity, _, review in rows if polarity == "2")
    bad = sum("excellent" in review for polarity, _, review in rows if polarity == "1")

    assert good > 2 * bad
