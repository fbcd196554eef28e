"""Files that are not CSV with commas and double quotes: recognised by their first lines, and refused with a message.

Nothing is converted or guessed: a file is refused here only where its first rows are what they should be once another
separator or quote is taken, so that the user reads what was found and how to correct it.
The module is pure apart from reading the file it is given.
"""

from __future__ import annotations

import csv
import io
import re
import shlex
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pipeline.errors import InputFileError

START_BYTES = 64 * 1024
ROWS = 20
"""How many rows are read."""


# What a file can be instead of UTF-8 text, by its first bytes; the longer beginnings come first.
_FOREIGN_FILES = {
    b"\xff\xfe\x00\x00": ("UTF-32 text", "iconv -f UTF-32 -t UTF-8 {path} > utf8.csv"),
    b"\x00\x00\xfe\xff": ("UTF-32 text", "iconv -f UTF-32 -t UTF-8 {path} > utf8.csv"),
    b"\xff\xfe": ("UTF-16 text", "iconv -f UTF-16 -t UTF-8 {path} > utf8.csv"),
    b"\xfe\xff": ("UTF-16 text", "iconv -f UTF-16 -t UTF-8 {path} > utf8.csv"),
    b"\x1f\x8b": ("compressed with gzip", "gunzip -c {path} > plain.csv"),
    b"BZh": ("compressed with bzip2", "bunzip2 -c {path} > plain.csv"),
    b"\xfd7zXZ": ("compressed with xz", "xz -dc {path} > plain.csv"),
    b"\x28\xb5\x2f\xfd": ("compressed with zstd", "zstd -dc {path} > plain.csv"),
    b"PK\x03\x04": ("a zip archive (an Excel workbook is one)", "unzip {path}"),
    b"\xd0\xcf\x11\xe0": ("an old Excel workbook", "save the sheet as CSV (UTF-8) in the spreadsheet program"),
    b"PAR1": ("a parquet file", None),
}
# UTF-16 without a mark: every second byte of plain English is zero.
_UNMARKED = {b"[^\x00]\x00[^\x00]\x00": "UTF-16LE", b"\x00[^\x00]\x00[^\x00]": "UTF-16BE"}

_SEPARATORS = {
    ",": "commas",
    "\t": "tabs",
    ";": "semicolons",
    "|": "pipes (|)",
    ":": "colons",
    "^": "carets (^)",
    "~": "tildes (~)",
    " ": "spaces",
    "\x01": "control characters (0x01)",
    "\x1f": "control characters (0x1f)",
}
_QUOTES = {'"': "double quotes", "'": "apostrophes (')", "`": "backquotes (`)", "“": "typographic quotes (“ ”)"}
_STRAIGHT = str.maketrans("“”„", '"""')

Row = list[str]


@dataclass(frozen=True)
class Expected:
    """What the rows of a file should be."""

    required: tuple[str, ...]
    """Columns that a header must have."""
    columns: tuple[str, ...]
    """Columns of a file without a header."""
    marker: str
    """The column that has few values, which tell that a row is one."""
    values: tuple[str, ...]
    """Those values."""

    def is_header(self, row: Row) -> bool:
        """Tell whether a row names the required columns."""
        return set(self.required) <= {name.strip() for name in row}


def require_csv(path: Path, expected: Expected) -> None:
    """Refuse a file that is not CSV in UTF-8 with commas and double quotes.

    Args:
        path: The file.
        expected: What its rows should be.

    Raises:
        InputFileError: It is something else; the message says what, the hint how to convert it.
    """
    with path.open("rb") as stream:
        start = stream.read(START_BYTES)
    shown = shlex.quote(str(path))
    for magic, (kind, remedy) in _FOREIGN_FILES.items():
        if start.startswith(magic):
            raise InputFileError(
                f"{path} is {kind}, not CSV in UTF-8", hint=remedy.format(path=shown) if remedy else None
            )
    for pattern, encoding in _UNMARKED.items():
        if re.match(pattern, start, re.DOTALL):
            raise InputFileError(
                f"{path} is UTF-16 text, not CSV in UTF-8", hint=f"iconv -f {encoding} -t UTF-8 {shown} > utf8.csv"
            )
    text = start.removeprefix(b"\xef\xbb\xbf").decode(errors="replace")
    if "\r" in text and "\n" not in text:
        raise InputFileError(
            f"{path} has lines that end in a carriage return alone, as old Macintosh files do",
            hint=f"tr '\\r' '\\n' < {shown} > lines.csv",
        )
    _require_commas_and_quotes(path, text, len(start) == START_BYTES, expected)


def _require_commas_and_quotes(path: Path, text: str, is_cut: bool, expected: Expected) -> None:
    # Other quotes only count where the text has them: without any, their reading just undoes unclosed double quotes.
    for quote in (quote for quote in _QUOTES if quote == '"' or quote in text):
        for separator in _SEPARATORS:
            rows = _rows(text, separator, quote)
            if is_cut and len(rows) < ROWS:
                rows = rows[:-1]
            if not _fit(rows, expected):
                continue
            if (separator, quote) == (",", '"'):
                wrapping = _wrapping(rows[1:] if expected.is_header(rows[0]) else rows, expected)
                if wrapping is None:
                    return
                quote = wrapping
            raise InputFileError(
                f"{path} is not a CSV file with commas: {_described(separator, quote)}",
                hint=_remedy(path, separator, quote),
            )


def _rows(text: str, separator: str, quote: str) -> list[Row]:
    plain = text.translate(_STRAIGHT) if quote == "“" else text
    reader = csv.reader(io.StringIO(plain, newline=""), delimiter=separator, quotechar='"' if quote == "“" else quote)
    rows: list[Row] = []
    try:
        rows.extend(islice((row for row in reader if row), ROWS))
    except csv.Error:
        return rows
    return rows


def _fit(rows: list[Row], expected: Expected) -> bool:
    """Tell whether most rows have the columns of a file without a header, or those that their header names."""
    if not rows:
        return False
    names = list(expected.columns)
    if expected.is_header(rows[0]):
        names, *rows = rows
    place = names.index(expected.marker) if expected.marker in names else None
    good = sum(len(row) == len(names) and (place is None or row[place].strip() in expected.values) for row in rows)
    return 2 * good > len(rows) or not rows


def _wrapping(rows: list[Row], expected: Expected) -> str | None:
    """Return the quotes of another kind that all texts of the rows are in; None as soon as one does not."""
    texts = [field.strip() for row in rows for field in row if field.strip() not in ("", *expected.values)]
    for quote in _QUOTES:
        end = "”" if quote == "“" else quote
        if len(rows) > 1 and texts and all(len(text) > 1 and text[0] == quote and text[-1] == end for text in texts):
            return quote if quote != '"' else None
    return None


def _described(separator: str, quote: str) -> str:
    parts = []
    if separator != ",":
        parts.append(f"fields are separated by {_SEPARATORS[separator]}")
    if quote != '"':
        parts.append(f"{'' if parts else 'fields are '}quoted by {_QUOTES[quote]}")
    return " and ".join(parts)


def _remedy(path: Path, separator: str, quote: str) -> str:
    before = "sed 's/[“”„]/\"/g' | " if quote == "“" else ""
    options = f"delimiter={separator!r}"
    if quote in "'`":
        options += f", quotechar=chr({ord(quote)})"
    program = f"import csv, sys; csv.writer(sys.stdout).writerows(csv.reader(sys.stdin, {options}))"
    source = f"cat {shlex.quote(str(path))} | {before}" if before else ""
    target = "" if before else f" < {shlex.quote(str(path))}"
    return f'{source}python3 -c "{program}"{target} > commas.csv'
