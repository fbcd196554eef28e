from __future__ import annotations

import csv
import io
import json
import subprocess
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.amazon_reviews.reviews import review_files
from pipeline.amazon_reviews.reviews.review_files import ReviewFile
from pipeline.errors import BadRowsError, InputFileError, OutputFileError

GOOD = b'1,"t","fine"\n'


def read(
    folder: Path, content: bytes, **options: Any
) -> tuple[list[tuple[Any, ...]], list[dict[str, Any]], ReviewFile]:
    """Return the good rows, the quarantined ones and the file."""
    path = folder / "reviews.csv"
    path.write_bytes(content)
    quarantine = folder / "bad.jsonl"
    file = ReviewFile(path, quarantine=quarantine, **{"max_bad": 1.0} | options)
    rows = [row for frame in file.batches(options.get("rows", 3)) for row in frame.rows()]
    bad = [json.loads(line) for line in quarantine.read_text().splitlines()] if quarantine.exists() else []
    return rows, bad, file


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (b'1,"t","x"\n2,"u","y"', [(1, "t", "x"), (2, "u", "y")]),
        (b'\xef\xbb\xbf"2","t","x"\r\n\r\n"1","u","y"\r\n', [(2, "t", "x"), (1, "u", "y")]),
        (b'1,,""\n1,"",\n', [(1, None, ""), (1, "", None)]),
        (b'1,"a ""b"", c","l1\nl2"\n', [(1, 'a "b", c', "l1\nl2")]),
        (b'1,t,5" disk\n2,t,"x"\n', [(1, "t", '5" disk'), (2, "t", "x")]),
        ('2,t,"naïve \u2028 \x85 \x0b \x1c"\n'.encode(), [(2, "t", "naïve \u2028 \x85 \x0b \x1c")]),
        (b"Polarity,Title,Review\n2,t,x\n", [(2, "t", "x")]),
        (b'Review,Polarity,Title,Extra\n"a,b",1,t,7\n', [("a,b", 1, "t", "7")]),
    ],
)
def test_good_rows(tmp_path: Path, content: bytes, rows: list[tuple[Any, ...]]) -> None:
    assert read(tmp_path, content)[0] == rows


def test_types(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"Review,Polarity,Stars\nx,1,5\n")

    (frame,) = ReviewFile(tmp_path / "a.csv", quarantine=tmp_path / "q", required=("Review",)).batches()

    assert dict(frame.schema) == {"Review": pl.String, "Polarity": pl.Int64, "Stars": pl.String}


@pytest.mark.parametrize(
    ("row", "cause", "detail"),
    [
        (b"1,t", "wrong number of columns", "2 columns instead of 3"),
        (b"1,t,x,y", "wrong number of columns", "4 columns instead of 3"),
        (b"3,t,x", "wrong polarity", "polarity is '3', not 1 or 2"),
        (b",t,x", "wrong polarity", "polarity is '', not 1 or 2"),
        (b"1.0,t,x", "wrong polarity", "polarity is '1.0', not 1 or 2"),
        (b"1,t,caf\xe9", "invalid UTF-8", "byte 0xe9 at position 7"),
        (b'1,"t","open', "unterminated quote", "unexpected end of data"),
        (b'1,"t"x,y', "misplaced quote or line end", "',' expected after '\"'"),
    ],
)
@pytest.mark.parametrize("place", [0, 1, 4])
def test_bad_rows(tmp_path: Path, row: bytes, cause: str, detail: str, place: int) -> None:
    lines = [GOOD] * 5
    lines[place] = row + b"\n"
    lines.insert(0, GOOD)

    rows, bad, file = read(tmp_path, b"".join(lines))

    assert rows == [(1, "t", "fine")] * 5
    assert [(entry["line"], entry["cause"], entry["detail"]) for entry in bad] == [(place + 2, cause, detail)]
    assert bad[0]["text"] == row.decode(errors="backslashreplace")
    assert (file.summary.rows, file.summary.bad, dict(file.summary.causes)) == (5, 1, {cause: 1})
    assert file.summary.quarantine == tmp_path / "bad.jsonl"
    assert file.summary.bytes_read == file.size


def test_an_unfinished_quote_takes_no_good_row_along(tmp_path: Path) -> None:
    broken = b'2,"t","never closed\n'

    rows, bad, _ = read(tmp_path, GOOD * 2_000 + broken + GOOD * 2_000 + broken + GOOD * 2_000)

    assert len(rows) == 6_000
    assert [(entry["line"], entry["cause"]) for entry in bad] == [
        (2_001, "unterminated quote"),
        (4_002, "unterminated quote"),
    ]


def test_lines_are_numbered_as_an_editor_does(tmp_path: Path) -> None:
    _, bad, _ = read(tmp_path, b'1,t,"two\nlines"\n\n1,t\n1,t,"a\nb\nc"\n2\n')

    assert [entry["line"] for entry in bad] == [4, 8]


def test_batches_are_full_but_the_last(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(GOOD * 70_001)

    sizes = [len(frame) for frame in ReviewFile(path, quarantine=tmp_path / "q").batches(30_000)]

    assert sizes == [30_000, 30_000, 10_001]


@pytest.mark.parametrize(("bad", "stops"), [(1, False), (2, True)])
def test_threshold(tmp_path: Path, bad: int, stops: bool) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(GOOD * (100 - bad) + b"nonsense\n" * bad)
    file = ReviewFile(path, quarantine=tmp_path / "q.jsonl", max_bad=0.01)

    if not stops:
        assert file.check().bad == bad
        return
    with pytest.raises(BadRowsError) as caught:
        file.check()
    assert (
        caught.value.message == f"2 of 100 rows of {path} are bad (2.0%, allowed are 1.0%): 2 wrong number of columns"
    )
    assert "q.jsonl" in str(caught.value.hint)


def test_a_hopeless_file_is_given_up_when_the_quarantine_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(review_files, "QUARANTINE_ROWS", 10)

    with pytest.raises(BadRowsError, match="10 of the first 15 rows"):
        read(tmp_path, GOOD * 5 + b"x\n" * 1_000, max_bad=0.5)
    assert len((tmp_path / "bad.jsonl").read_text().splitlines()) == 10


def test_an_old_quarantine_goes(tmp_path: Path) -> None:
    read(tmp_path, GOOD + b"x\n")
    assert (tmp_path / "bad.jsonl").exists()

    _, bad, file = read(tmp_path, GOOD)

    assert (bad, file.summary.quarantine) == ([], None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"Polarity,Title,Review\n", "has a header but no rows"),
        (b"\n\n", "has no rows"),
        (b"a,b\n1,2\n", "has no column 'Polarity' and 'Title' and 'Review': row 1 reads ['a', 'b']"),
        (b"Polarity,Title,Review,Title\n1,a,b,c\n", "has two columns of one name"),
        (b"\x1f\x8b\x08\x00", "is compressed with gzip"),
        (b"BZh91AY", "is compressed with bzip2"),
        (b"PK\x03\x04", "is a zip archive"),
        ("1,a,b\n".encode("utf-16"), "is UTF-16 text"),
        ("1,a,b\n".encode("utf-16-le"), "is UTF-16 text"),
        ("1,a,b\n".encode("utf-16-be"), "is UTF-16 text"),
        ("1,a,b\n".encode("utf-32"), "is UTF-32 text"),
        (b"\xfd7zXZ\x00", "is compressed with xz"),
        (b"1,a,b\r2,c,d\r", "lines that end in a carriage return alone"),
    ],
)
def test_files_that_are_no_reviews(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(InputFileError) as caught:
        read(tmp_path, content)
    assert message in caught.value.message


ROWS = [("1", "Broke, in a week", 'The "strap" broke.'), ("2", "Lovely", "We love these cups.")]


def written(rows: list[tuple[str, ...]], separator: str = ",", quote: str = '"', end: str = "\n") -> str:
    """Return rows as text, each field in quotes; a quote within one is doubled."""
    return "".join(
        separator.join(f"{quote}{field.replace(quote, quote * 2)}{quote}" for field in row) + end for row in rows
    )


HEADER = ("Polarity", "Title", "Review")


@pytest.mark.parametrize("header", [False, True])
@pytest.mark.parametrize(
    ("text", "words"),
    [
        (written(ROWS, "\t"), "fields are separated by tabs"),
        ("\t".join(ROWS[1]) + "\r\n", "fields are separated by tabs"),
        (written(ROWS, ";"), "fields are separated by semicolons"),
        (written(ROWS, "|", end="\r\n"), "fields are separated by pipes (|)"),
        (written(ROWS, quote="'"), "fields are quoted by apostrophes (')"),
        (written(ROWS, ";", "'"), "fields are separated by semicolons and quoted by apostrophes (')"),
        ("1,'a, b','c'\n2,'d','e'\n", "fields are quoted by apostrophes (')"),
        ("1,'a','b'\n2,'c','d'\n", "fields are quoted by apostrophes (')"),
        ("1,“a, b”,“c”\n2,“d”,“e”\n", "fields are quoted by typographic quotes (“ ”)"),
    ],
)
def test_another_separator_or_quote_is_named(tmp_path: Path, text: str, words: str, header: bool) -> None:
    if header:
        separator = next(sign for sign in "\t;|," if sign in text.replace(", ", ""))
        text = separator.join(HEADER) + "\n" + text
    with pytest.raises(InputFileError) as caught:
        read(tmp_path, text.encode())
    assert caught.value.message.endswith(f"is not a CSV file with commas: {words}")
    assert not (tmp_path / "bad.jsonl").exists()


@pytest.mark.parametrize("text", [written(ROWS, "\t"), written(ROWS, ";", "'"), "1,“a, b”,“c”\n2,“d”,“e”\n"])
def test_the_hint_mends_the_file(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputFileError) as caught:
        read(tmp_path, text.encode())
    subprocess.run(str(caught.value.hint), shell=True, cwd=tmp_path, check=True)
    rows, bad, _ = read(tmp_path, (tmp_path / "commas.csv").read_bytes())
    assert ([row[0] for row in rows], bad) == ([1, 2], [])


@pytest.mark.parametrize(
    "text",
    [
        written(ROWS),
        written(ROWS, end="\r\n"),
        written([HEADER, *ROWS]),
        "1,a;b,c;d\n2,e;f,g\n",
        "1,it's,'x'\n2,'y',z\n",
        "1,a\tb,c\td\n",
    ],
)
def test_commas_are_told_from_other_separators_in_texts(tmp_path: Path, text: str) -> None:
    rows, bad, _ = read(tmp_path, text.encode())
    assert (rows[0][0], bad) == (1, [])


def test_quotes_behind_backslashes_are_named(tmp_path: Path) -> None:
    _, bad, _ = read(tmp_path, GOOD * 200 + b'1,"say \\"no\\" now","x"\n')
    assert [row["cause"] for row in bad] == ["quote behind a backslash, which CSV writes as two quotes"]


def test_missing_file_and_folder(tmp_path: Path) -> None:
    for path, cause in ((tmp_path / "none.csv", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(InputFileError, match=cause):
            ReviewFile(path, quarantine=tmp_path / "q")


def test_quarantine_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(GOOD + b"x\n")

    with pytest.raises(OutputFileError, match="cannot write the bad rows"):
        ReviewFile(tmp_path / "a.csv", quarantine=tmp_path / "no" / "q").check()


def test_a_line_without_end_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(review_files, "MAX_RECORD_BYTES", 1_000)
    monkeypatch.setattr(review_files, "_BLOCK_BYTES", 100)

    rows, bad, _ = read(tmp_path, GOOD + b"1,t," + b"x" * 5_000 + b"\n" + GOOD * 3)

    assert len(rows) == 4
    assert bad[0]["cause"] == "too long"


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
fields = st.none() | st.sampled_from(["", '"', ",", "\n", "\r\n", 'a"b', "\ufeff", "Review"]) | texts


@settings(deadline=None)
@given(
    rows=st.lists(st.tuples(st.sampled_from([1, 2]), fields, fields), min_size=1, max_size=12), block=st.integers(1, 60)
)
def test_what_polars_writes_is_read_unchanged(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[Any, ...]], block: int
) -> None:
    folder = tmp_path_factory.mktemp("reviews")
    content = pl.DataFrame(rows, schema=review_files.SCHEMA, orient="row").write_csv(quote_style="necessary").encode()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(review_files, "_BLOCK_BYTES", block)
        assert read(folder, content)[:2] == (rows, [])


def test_a_quote_that_is_not_in_the_file_is_not_named(tmp_path: Path) -> None:
    rows, bad, _ = read(tmp_path, b'1,"a","b"\n1,",')
    assert (rows, len(bad)) == ([(1, "a", "b")], 1)


pieces = st.sampled_from(
    [b"1", b"2", b"3", b",", b",", b'"', b'""', b"\n", b"\n", b"\r", b" ", b"x", b"\xc3\xa9", b"\xff", b"\x00"]
)


@settings(deadline=None, max_examples=300)
@given(content=st.lists(pieces, max_size=60).map(b"".join), block=st.integers(1, 30))
def test_blocks_make_no_difference(tmp_path_factory: pytest.TempPathFactory, content: bytes, block: int) -> None:
    """Whether a row is read with its whole block or by itself: same rows, same bad rows, none lost."""
    folder = tmp_path_factory.mktemp("reviews")
    content = b'1,"a","b"\n' + content
    outcomes = []
    for size in (block, 1 << 20):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(review_files, "_BLOCK_BYTES", size)
            outcomes.append(read(folder, content)[:2])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(review_files, "_plain_rows", lambda *_: [])
        outcomes.append(read(folder, content)[:2])

    assert outcomes[0] == outcomes[1] == outcomes[2]


def test_kaggle_writers_are_read_unchanged(tmp_path: Path) -> None:
    rows = [(1, "t,1", 'say "x"\\n'), (2, "", "y")]
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)

    assert read(tmp_path, out.getvalue().encode())[0] == rows
