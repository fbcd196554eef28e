"""A request to end is heard even where another library swallows the exception that carries it."""

from __future__ import annotations

import contextlib
import os
import signal

import pytest

from command_line import interrupts


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_a_swallowed_request_is_delivered_at_the_next_look(number, code):
    with interrupts.listening():
        with contextlib.suppress(BaseException):  # as a library does that catches everything
            os.kill(os.getpid(), number)
        with pytest.raises(KeyboardInterrupt):
            interrupts.raise_if_asked()
        interrupts.raise_if_asked()  # once is enough: what follows is the clean-up
        assert (interrupts.last_signal(), interrupts.exit_code()) == (number, code)


@pytest.mark.parametrize("number", interrupts.SIGNALS)
def test_a_request_is_held_until_what_is_begun_is_known(number):
    known = []
    with interrupts.listening():
        with pytest.raises(KeyboardInterrupt), interrupts.held():
            os.kill(os.getpid(), number)
            known.append("process")
        assert (known, interrupts.last_signal()) == (["process"], number)
        with interrupts.held():
            known.append("the next one")
    assert len(known) == 2


def test_without_a_request_nothing_is_raised():
    with interrupts.listening():
        interrupts.raise_if_asked()


def test_a_request_from_before_is_forgotten():
    with interrupts.listening(), contextlib.suppress(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)
    with interrupts.listening():
        interrupts.raise_if_asked()
        assert interrupts.exit_code() == 130


def test_an_ignored_signal_stays_ignored_and_the_handlers_from_before_come_back():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN), signal.getsignal(signal.SIGTERM)
    try:
        with interrupts.listening():
            os.kill(os.getpid(), signal.SIGINT)
            assert signal.getsignal(signal.SIGTERM) is not before[1]
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before[0])
    assert signal.getsignal(signal.SIGTERM) is before[1]
