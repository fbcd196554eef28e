"""The record of an import, written step by step: an interrupted import continues, and nothing is done twice."""

from __future__ import annotations

import json
import os
from pathlib import Path


class Journal:
    """A file of JSON lines, appended to and on disk before the next step.

    Args:
        path: The file; made if it is absent.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ids: dict[str, str] = {}
        """New ids by old ones."""
        self._intended: set[tuple[str, str]] = set()
        self._done: set[tuple[str, str]] = set()
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        for line in text.splitlines():
            self._read(line)
        self._file = path.open("a", encoding="utf-8")
        if text and not text.endswith("\n"):  # the process was killed while it wrote
            self._file.write("\n")

    def _read(self, line: str) -> None:
        try:
            what, *rest = json.loads(line)
        except ValueError:  # truncated
            return
        if what == "made":
            self.ids[rest[0]] = rest[1]
        else:
            (self._intended if what == "intend" else self._done).add((rest[0], rest[1]))

    def intended(self, step: str, old: str) -> bool:
        """Return whether a step was begun, now or by an earlier import."""
        return (step, old) in self._intended

    def done(self, step: str, old: str) -> bool:
        """Return whether a step has been finished."""
        return (step, old) in self._done

    def intend(self, step: str, old: str) -> None:
        """Record the start of a step."""
        self._intended.add((step, old))
        self._append("intend", step, old)

    def finish(self, step: str, old: str) -> None:
        """Record that a step has been finished."""
        self._done.add((step, old))
        self._append("done", step, old)

    def made(self, old: str, new: str) -> None:
        """Record the new id of a document."""
        self.ids[old] = new
        self._append("made", old, new)

    def _append(self, *items: str) -> None:
        self._file.write(json.dumps(items) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()
