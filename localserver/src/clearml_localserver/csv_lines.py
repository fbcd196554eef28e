"""Lines of CSV files that people open in a spreadsheet. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any, Literal

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""What spreadsheets take a cell's text for a formula by."""


def csv_line(cells: Iterable[Any], quoting: Literal[0, 1] = csv.QUOTE_MINIMAL) -> str:
    """Return one line of a CSV file, without NUL: Python 3.10 writes none, and no spreadsheet reads one."""
    made = io.StringIO()
    writable = [cell.replace("\0", "") if isinstance(cell, str) else cell for cell in cells]
    csv.writer(made, quoting=quoting).writerow(writable)
    return made.getvalue()


def harmless(cell: Any) -> Any:
    """Return a cell that no spreadsheet takes for a formula: such a text gets an apostrophe before it."""
    shown = ", ".join(map(str, cell)) if isinstance(cell, list) else cell
    if isinstance(shown, str) and shown.startswith(FORMULA_STARTS):
        try:
            float(shown)
        except ValueError:
            return f"'{shown}"
    return shown
