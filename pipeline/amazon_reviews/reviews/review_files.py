"""Reading review files: CSV in batches, with every bad row counted, kept aside and explained.

Two shapes are read: the Kaggle file (no header; Polarity, Title, Review) and any CSV with a header. A row is bad when
it has the wrong number of columns, is not UTF-8, has a quote that does not end where it should, or a `Polarity` other
than 1 and 2. A quote that never ends costs its own line only: the lines that it swallowed are read again. As in
polars, an empty field is null and a quoted empty field is an empty text.

The module must not hold more than one batch (3.6 million rows pass in constant memory), and must not repair a row or
guess at one. It talks to no outside system but the files.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import polars as pl

from pipeline.amazon_reviews.reviews.csv_dialect import Expected, require_csv
from pipeline.errors import BadRowsError, InputFileError, OutputFileError

POLARITY = "Polarity"
SCHEMA = {POLARITY: pl.Int64, "Title": pl.String, "Review": pl.String}

BATCH_ROWS = 25_000
MAX_BAD = 0.01

MAX_RECORD_BYTES = 16 * 1024 * 1024
_BLOCK_BYTES = 256 * 1024
QUARANTINE_ROWS = 10_000
"""As many bad rows are kept; a file that reaches this and is above its threshold is given up at once."""

_POLARITIES = {"1": 1, "2": 2}
# Perhaps an empty field without quotes: csv reads it as "" like a quoted one, but it is null.
_BARE_EMPTY = re.compile(r"^,|,,|,\r?$", re.MULTILINE)
_FIELD = re.compile(r'(?:^|,)(?:"(?P<quoted>(?:[^"]|"")*)"|(?P<bare>[^,]*))')


@dataclass
class Summary:
    """What reading a file has come to so far."""

    rows: int = 0
    """Good rows."""
    causes: Counter[str] = field(default_factory=Counter)
    """Cause → number of bad rows."""
    bytes_read: int = 0
    quarantine: Path | None = None
    """Where the bad rows are, once there is one."""

    @property
    def bad(self) -> int:
        """Number of bad rows."""
        return self.causes.total()

    @property
    def bad_share(self) -> float:
        """Bad rows among all rows."""
        return self.bad / (self.bad + self.rows) if self.bad else 0.0


@dataclass(frozen=True)
class _Bad:
    """A row that is not a review."""

    cause: str
    detail: str


_Row = list[Any]  # texts and nulls; the polarity becomes a number


class ReviewFile:
    """A CSV file of reviews.

    Args:
        path: The file.
        required: Columns that a header must have.
        max_bad: Share of bad rows above which the file is refused.
        quarantine: File for the bad rows, one JSON object a line: `line`, `cause`, `detail`, `text`. Made only when
        there
            is a bad row; one from an earlier reading is removed.

    Attributes:
        summary: Counts of the reading that is under way or was the last.
    """

    def __init__(
        self,
        path: Path,
        *,
        quarantine: Path,
        required: tuple[str, ...] = tuple(SCHEMA),
        max_bad: float = MAX_BAD,
    ) -> None:
        self.path = path
        self.size = _size(path)
        self.summary = Summary()
        self._required = required
        self._max_bad = max_bad
        self._quarantine = quarantine

    def check(self) -> Summary:
        """Read the whole file for its bad rows only: what publishes batch by batch calls this first.

        Returns:
            The summary.

        Raises:
            InputFileError: As `batches`.
            BadRowsError: As `batches`.
        """
        for _ in self.batches():
            pass
        return self.summary

    def batches(self, rows: int = BATCH_ROWS) -> Iterator[pl.DataFrame]:
        """Yield the good rows.

        Args:
            rows: Rows of each frame; the last one may have fewer.

        Yields:
            Frames with the file's columns: `Polarity` as integer, all others as text.

        Raises:
            InputFileError: The file is empty, has no rows, lacks a required column, is not UTF-8 text, or has
                another separator or other quotes.
            BadRowsError: Too many rows are bad; raised behind the last batch, or when the quarantine is full.
        """
        self.summary = Summary()
        require_review_file(self.path, self._required)
        with self.path.open("rb") as stream, _Quarantine(self._quarantine, self.summary) as quarantine:
            csv.field_size_limit(MAX_RECORD_BYTES)  # a setting of the process, and far too low for long texts
            columns: list[str] = []
            batch: list[_Row] = []
            blocks = _Blocks(stream, self.summary)
            while block := blocks.next():
                good = columns and _plain_rows(block, columns)
                if good:
                    batch += good
                    self.summary.rows += len(good)
                    blocks.line += block.count(b"\n")
                else:
                    for line, record, row in _records(block, blocks, len(columns)):
                        if not columns and not isinstance(row, _Bad):
                            columns, is_header = self._columns(row)
                            if is_header:
                                continue
                        row = _checked(row, columns)
                        if isinstance(row, _Bad):
                            quarantine.put(line, record, row)
                            self._refuse_bad(at_end=False)
                        else:
                            batch.append(row)
                            self.summary.rows += 1
                while len(batch) >= rows:
                    yield _frame(columns, batch[:rows])
                    del batch[:rows]
            self._refuse_bad(at_end=True)
            if batch:
                yield _frame(columns, batch)
            if not self.summary.rows:
                raise InputFileError(f"{self.path} has a header but no rows" if columns else f"{self.path} has no rows")

    def _columns(self, first: _Row) -> tuple[list[str], bool]:
        """Tell the columns from the first readable row, and whether that row is a header."""
        if len(first) == len(SCHEMA) and (first[0] or "").strip() in _POLARITIES:
            return list(SCHEMA), False
        names = [name or "" for name in first]
        missing = [name for name in self._required if name not in names]
        if missing:
            raise InputFileError(
                f"{self.path} has no column {' and '.join(map(repr, missing))}: row 1 reads {_cut(str(names), 200)}",
                hint="a file without a header must begin with a row of polarity (1 or 2), title and review",
            )
        if len(set(names)) != len(names):
            raise InputFileError(f"{self.path} has two columns of one name: {_cut(str(names), 200)}")
        return names, True

    def _refuse_bad(self, *, at_end: bool) -> None:
        summary = self.summary
        if summary.bad_share <= self._max_bad or not (at_end or summary.bad >= QUARANTINE_ROWS):
            return
        causes = ", ".join(f"{count:,} {cause}" for cause, count in summary.causes.most_common())
        which = "" if at_end else "the first "
        raise BadRowsError(
            f"{summary.bad:,} of {which}{summary.bad + summary.rows:,} rows of {self.path} are bad "
            f"({summary.bad_share:.1%}, allowed are {self._max_bad:.1%}): {causes}",
            hint=f"the bad rows are in {self._quarantine}; correct them, or allow more with --max-bad",
        )


def require_review_file(path: Path, required: tuple[str, ...] = tuple(SCHEMA)) -> None:
    """Refuse a file whose first lines show that it is not CSV with commas and double quotes.

    Raises:
        InputFileError: The message says what it is instead.
    """
    require_csv(path, Expected(required, tuple(SCHEMA), POLARITY, tuple(_POLARITIES)))


class _Quarantine:
    """The file of the bad rows, made with the first of them."""

    def __init__(self, path: Path, summary: Summary) -> None:
        self._path = path
        self._summary = summary
        self._stream: IO[str] | None = None

    def __enter__(self) -> _Quarantine:
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputFileError(f"cannot replace the bad rows in {self._path}: {error.strerror}") from error
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream:
            self._stream.close()

    def put(self, line: int, record: bytes, row: _Bad) -> None:
        self._summary.causes[row.cause] += 1
        if self._summary.bad > QUARANTINE_ROWS:
            return
        text = record.rstrip(b"\r\n").decode(errors="backslashreplace")
        entry = {"line": line, "cause": row.cause, "detail": row.detail, "text": _cut(text, 2_000)}
        try:
            if self._stream is None:
                self._stream = self._path.open("w", encoding="utf-8")
                self._summary.quarantine = self._path
            self._stream.write(json.dumps(entry, ensure_ascii=False) + "\n")
        except OSError as error:
            raise OutputFileError(f"cannot write the bad rows to {self._path}: {error.strerror}") from error


def _size(path: Path) -> int:
    try:
        with path.open("rb"):
            size = path.stat().st_size
    except OSError as error:
        raise InputFileError(f"cannot read {path}: {error.strerror}") from error
    if not size:
        raise InputFileError(f"{path} is empty")
    return size


class _Blocks:
    """A stream in blocks of whole lines.

    Attributes:
        line: Number of the next block's first line.
    """

    def __init__(self, stream: IO[bytes], summary: Summary) -> None:
        self._stream = stream
        self._summary = summary
        self.line = 1

    def next(self) -> bytes:
        block = self._stream.read(_BLOCK_BYTES)
        if block and not block.endswith(b"\n"):
            block += self._stream.readline(MAX_RECORD_BYTES)
        if not self._summary.bytes_read:
            block = block.removeprefix(b"\xef\xbb\xbf")
        self._summary.bytes_read += len(block)
        return block


def _plain_rows(block: bytes, columns: list[str]) -> list[_Row]:
    """Return the rows of a block in which every row is good; none at all if one of them needs a closer look."""
    try:
        text = block.decode()
        lines = [line + "\n" for line in text.split("\n")]  # nothing else ends a line here, unlike in `splitlines`
        rows: list[_Row] = [row for row in csv.reader(lines, strict=True) if row]
    except (UnicodeDecodeError, csv.Error):
        return []
    if {len(row) for row in rows} != {len(columns)}:
        return []
    if any("" in row for row in rows) and _BARE_EMPTY.search(text):
        return []
    if POLARITY in columns:
        place = columns.index(POLARITY)
        for row in rows:
            row[place] = _POLARITIES.get(row[place])
        if any(row[place] is None for row in rows):
            return []
    return rows


def _records(block: bytes, blocks: _Blocks, columns: int) -> Iterator[tuple[int, bytes, _Row | _Bad]]:
    """Yield each record of a block with the number of its first line.

    A record continues over line ends while its number of quotes is odd, if need be into the next blocks. Where that
    leads to nonsense, the first line is a record of its own and the others start afresh: an unfinished quote must not
    take good rows along.
    """
    lines = deque(io.BytesIO(block))
    while lines:
        taken = [lines.popleft()]
        quotes, size = taken[0].count(b'"'), len(taken[0])
        while quotes % 2 and size < MAX_RECORD_BYTES:
            if not lines:
                lines.extend(io.BytesIO(blocks.next()))
                if not lines:
                    break
            taken.append(lines.popleft())
            quotes += taken[-1].count(b'"')
            size += len(taken[-1])
        record = b"".join(taken)
        fields = _parse(record)
        if len(taken) > 1 and (isinstance(fields, _Bad) or (columns and len(fields) != columns)):
            lines.extendleft(reversed(taken[1:]))
            taken, record = taken[:1], taken[0]
            fields = _parse(record)
        if fields:  # an empty line is not a row
            if not isinstance(fields, _Bad):
                columns = columns or len(fields)
            yield blocks.line, record, fields
        blocks.line += len(taken)


def _parse(record: bytes) -> _Row | _Bad:
    if len(record) >= MAX_RECORD_BYTES:
        return _Bad("too long", f"a row of more than {MAX_RECORD_BYTES >> 20} MiB")
    try:
        text = record.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        return _Bad("invalid UTF-8", f"byte 0x{record[error.start]:02x} at position {error.start}")
    try:
        (fields,) = csv.reader([text], strict=True)
    except csv.Error as error:
        cause = "unterminated quote" if "end of data" in str(error) else "misplaced quote or line end"
        if b'\\"' in record:
            cause = "quote behind a backslash, which CSV writes as two quotes"
        return _Bad(cause, str(error))
    if "" not in fields:
        return list(fields)
    bare = [match["quoted"] is None for match in _FIELD.finditer(text)]
    return [None if value == "" and bare[place] else value for place, value in enumerate(fields)]


def _checked(row: _Row | _Bad, columns: list[str]) -> _Row | _Bad:
    """Return the row with its polarity as a number, or what is wrong with it."""
    if isinstance(row, _Bad) or not columns:
        return row
    if len(row) != len(columns):
        return _Bad("wrong number of columns", f"{len(row)} columns instead of {len(columns)}")
    if POLARITY in columns:
        place = columns.index(POLARITY)
        value = (row[place] or "").strip()
        if value not in _POLARITIES:
            return _Bad("wrong polarity", f"polarity is {_cut(repr(value), 80)}, not 1 or 2")
        row[place] = _POLARITIES[value]
    return row


def _frame(columns: list[str], rows: list[_Row]) -> pl.DataFrame:
    types = {name: pl.Int64 if name == POLARITY else pl.String for name in columns}
    return pl.DataFrame(
        [
            pl.Series(name, values, dtype=types[name])
            for name, values in zip(columns, zip(*rows, strict=True), strict=True)
        ]
    )


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
