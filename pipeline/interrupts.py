"""Ctrl-C and SIGTERM: heard once, and not lost.

Python delivers a signal as an exception wherever the program happens to be. Where that is inside another library's
`except:` or a destructor, the exception is swallowed and the command goes on as if nobody had asked. So the handler
also remembers the request, and every loop that waits for a run asks for it.
"""

from __future__ import annotations

import signal
from types import FrameType

_asked = False


def listen() -> None:
    """Let SIGTERM and Ctrl-C raise `KeyboardInterrupt`, and remember the request for `raise_if_asked`."""
    global _asked
    _asked = False
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)


def raise_if_asked() -> None:
    """Deliver a request whose exception was swallowed.

    Raises:
        KeyboardInterrupt: Somebody asked for the end, and nobody has heard of it here yet.
    """
    global _asked
    if _asked:
        _asked = False
        raise KeyboardInterrupt


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _asked
    _asked = True
    raise KeyboardInterrupt
