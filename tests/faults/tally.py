"""Counts how often the code of each task ran: the code itself reports it, by a request to this process.

The count does not go by way of the server or the agent, which are under test.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BEGUN, DONE = "begun", "done"


class Tally:
    """How often each task reported each word."""

    def __init__(self) -> None:
        self.address = ""
        self._lock = threading.Lock()
        self._seen: Counter[tuple[str, str]] = Counter()

    def add(self, word: str, task: str) -> None:
        """Count one report."""
        with self._lock:
            self._seen[word, task] += 1

    def count(self, word: str, task: str) -> int:
        """Return how often a task reported a word."""
        with self._lock:
            return self._seen[word, task]


@contextmanager
def counting(host: str) -> Iterator[Tally]:
    """Take reports (`PUT /WORD/TASK`) on an address that pods reach, for the length of the block."""
    tally = Tally()

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            word, task = self.path.strip("/").split("/")
            tally.add(word, task)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Write no line for each request."""

    with ThreadingHTTPServer((host, 0), Handler) as server:
        tally.address = f"http://{host}:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield tally
        server.shutdown()
        thread.join()
