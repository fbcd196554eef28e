"""What of a configuration counts as comment."""

from __future__ import annotations

import pytest

from images.agent import strip_comments

CASES = [
    ("# all\na: 1\n\n  // of it\nb: 2\n", "a: 1\nb: 2\n"),
    ('url: "http://host"  # stays with its line\n', 'url: "http://host"  # stays with its line\n'),
    ("list: [\n  # first: 1\n  2\n]\n", "list: [\n  2\n]\n"),
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_only_whole_lines_go(text, expected):
    assert strip_comments.without_comments(text) == expected
