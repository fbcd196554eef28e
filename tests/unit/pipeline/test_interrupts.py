"""A request to end is heard even where another library swallows the exception that carries it."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

import pytest

from pipeline import interrupts


@pytest.fixture(autouse=True)
def own_handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    interrupts.listen()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_swallowed_request_is_delivered_at_the_next_look(number):
    with contextlib.suppress(BaseException):  # as a library does that catches everything
        os.kill(os.getpid(), number)
    with pytest.raises(KeyboardInterrupt):
        interrupts.raise_if_asked()
    interrupts.raise_if_asked()  # once is enough: what follows is the clean-up


def test_without_a_request_nothing_is_raised():
    interrupts.raise_if_asked()


def test_a_request_from_before_is_forgotten():
    with contextlib.suppress(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)
    interrupts.listen()
    interrupts.raise_if_asked()
