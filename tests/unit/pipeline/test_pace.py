from __future__ import annotations

import pytest

from pipeline.amazon_reviews.reviews.pace import Lines, Pace, duration


@pytest.mark.parametrize(
    ("pace", "words"),
    [
        (Pace(0, 0.0, 0.0), "0 rows (0%), 0 rows/s"),
        (Pace(1_200_000, 1 / 3, 20.0), "1,200,000 rows (33%), 60,000 rows/s, 0:40 left"),
        (Pace(10, 1.0, 5.0), "10 rows (100%), 2 rows/s, 0:00 left"),
    ],
)
def test_a_pace_in_words(pace: Pace, words: str) -> None:
    assert str(pace) == words


@pytest.mark.parametrize(("seconds", "words"), [(0.4, "0:00"), (59.6, "1:00"), (61, "1:01"), (3723, "1:02:03")])
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_lines_come_every_few_seconds_and_not_for_short_work() -> None:
    now, said = 0.0, []
    lines = Lines("train set", every=5, clock=lambda: now, say=said.append)

    for now in range(0, 13):
        lines(Pace(now * 10, now / 20, float(now)))

    assert said == [
        "train set: 50 rows (25%), 10 rows/s, 0:15 left",
        "train set: 100 rows (50%), 10 rows/s, 0:10 left",
    ]
