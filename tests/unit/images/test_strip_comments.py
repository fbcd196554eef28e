"""What of a configuration counts as comment."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from images import strip_comments

CASES = [
    ("# all\na: 1\n\n  // of it\nb: 2\n", "a: 1\nb: 2\n"),
    ('url: "http://host"  # stays with its line\n', 'url: "http://host"  # stays with its line\n'),
    ("list: [\n  # first: 1\n  2\n]\n", "list: [\n  2\n]\n"),
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_only_whole_lines_go(text, expected):
    assert strip_comments.without_comments(text) == expected


def test_a_file_that_is_a_link_to_a_package_cache_is_replaced_and_not_written_to(tmp_path):
    cached, installed = tmp_path / "cached.conf", tmp_path / "installed.conf"
    cached.write_text("# all\na: 1\n")
    installed.hardlink_to(cached)
    strip_comments.strip(installed, "clearml.utilities.pyhocon")
    assert (cached.read_text(), installed.read_text()) == ("# all\na: 1\n", "a: 1\n")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["cached.conf", "installed.conf"]


def test_a_file_that_would_say_something_else_is_refused(tmp_path):
    file = tmp_path / "text.conf"
    file.write_text('text: """\n# a line of the text\n"""\n')
    with pytest.raises(SystemExit, match="does not say the same"):
        strip_comments.strip(file, "clearml.utilities.pyhocon")
    assert "# a line" in file.read_text()


def test_the_environment_of_these_tests_is_stripped():
    spec = importlib.util.find_spec("clearml")
    files = list(Path(str(spec and spec.origin)).parent.rglob("default/*.conf"))
    assert len(files) == 4
    for file in files:
        text = file.read_text()
        assert text == strip_comments.without_comments(text), f"./task setup strips {file}"
