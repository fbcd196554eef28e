"""SQLite's result codes: Python 3.10 neither names them nor gives them with an error."""

from __future__ import annotations

PERM, BUSY, LOCKED, READONLY, IOERR, CORRUPT, FULL, CANTOPEN, AUTH, NOTADB = 3, 5, 6, 8, 10, 11, 13, 14, 23, 26
IOERR_WRITE, IOERR_FSYNC = IOERR | 3 << 8, IOERR | 4 << 8

MESSAGES = {
    "access permission denied": PERM,
    "database is locked": BUSY,
    "database table is locked": LOCKED,
    "attempt to write a readonly database": READONLY,
    "disk I/O error": IOERR,
    "database disk image is malformed": CORRUPT,
    "database or disk is full": FULL,
    "unable to open database file": CANTOPEN,
    "authorization denied": AUTH,
    "file is not a database": NOTADB,
}
"""SQLite's own texts of these codes (`sqlite3_errstr`)."""


def result_code(error: Exception) -> int:
    """Return the extended result code of an error of SQLite, on Python 3.10 the primary one; 0 for other errors."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    if code is not None:
        return code
    return next((code for text, code in MESSAGES.items() if str(error).startswith(text)), 0)


def primary_code(error: Exception) -> int:
    """Return the kind of an error of SQLite, without its detail; 0 for other errors."""
    return result_code(error) & 0xFF
