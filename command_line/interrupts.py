"""Ctrl-C, SIGTERM and a terminal that was closed (SIGHUP): received once, and not lost.

Python delivers a signal as an exception wherever the program happens to be. Where that is inside another library's
`except:` or a destructor, the exception is swallowed and the command continues as if there had been no signal. So the
handler also remembers the signal, and every loop that waits for a run calls `raise_if_asked`.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_pending = False
_last = signal.SIGINT
_holders = 0
_is_late = False


@contextlib.contextmanager
def listening() -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and SIGHUP raise `KeyboardInterrupt` in this block, so that it cleans up after itself.

    A signal that the process ignores (`nohup`, a job in the background) stays ignored.
    """
    global _pending, _last, _is_late
    _pending, _last, _is_late = False, signal.SIGINT, False
    numbers = SIGNALS if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.getsignal(number) for number in numbers}
    taken = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    for number in taken:
        signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, before[number])


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Deliver a signal that comes in this block at its end: what the block starts is known by then, and can be ended.

    Python may deliver it inside of `Popen`, after the process has started and before anybody knows it. In a thread
    other than the main one, which no signal reaches, nothing is held.

    Raises:
        KeyboardInterrupt: There was a signal in the block.
    """
    global _holders, _is_late
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _holders += 1
    try:
        yield
    finally:
        _holders -= 1
    if _is_late and not _holders:
        _is_late = False
        raise KeyboardInterrupt


def raise_if_asked() -> None:
    """Deliver a signal whose exception was swallowed.

    Raises:
        KeyboardInterrupt: There was a signal since the last call.
    """
    global _pending
    if _pending:
        _pending = False
        raise KeyboardInterrupt


def last_signal() -> signal.Signals:
    """Return the signal that came last; SIGINT where there was none."""
    return _last


def exit_code() -> int:
    """Return the exit code of a command that a signal has ended, as shells have it: 129, 130 or 143."""
    return 128 + _last


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _pending, _last, _is_late
    _pending, _last = True, signal.Signals(number)
    if _holders:
        _is_late = True
        return
    raise KeyboardInterrupt
