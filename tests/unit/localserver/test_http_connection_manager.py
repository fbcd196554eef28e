"""Who is let in, who gives way, who has waited long enough: the connection manager's rules, without a socket."""

from __future__ import annotations

from pathlib import Path

import pytest
from clearml_localserver.http.connection_manager import (
    CLOSING_S,
    DRAINED_BYTES,
    LOOPBACK_RESERVE,
    SPARE_FILES,
    ConnectionManager,
)
from clearml_localserver.settings import Settings

HOME = "127.0.0.1"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Link:
    """A connection that remembers what was done to it."""

    def __init__(self, address: str, deadline: float = 20.0) -> None:
        self.address = address
        self.deadline = deadline
        self.overdue = "header time-out"
        self.waiting = 0
        self.paused = self.closed = self.aborted = False

    def unsent(self) -> int:
        return self.waiting

    def is_closing(self) -> bool:
        return self.closed or self.aborted

    def is_paused(self) -> bool:
        return self.paused

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def manager(clock: Clock, tmp_path: Path) -> ConnectionManager:
    settings = Settings(
        tmp_path, max_connections=50, max_connections_per_address=40, write_timeout_s=60, max_unsent_bytes=1000
    )
    return ConnectionManager(settings, files=10_000, clock=clock)


def opened(manager: ConnectionManager, address: str, count: int, *, busy: bool = False) -> list[Link]:
    links = [Link(address) for _ in range(count)]
    for link in links:
        assert manager.admit(link)
        if busy:
            manager.mark_busy(link)
    return links


def test_an_address_with_too_many_loses_its_oldest_idle_connection(manager: ConnectionManager) -> None:
    links = opened(manager, "10.0.0.1", 40)
    manager.mark_busy(links[0])
    assert manager.admit(Link("10.0.0.1"))
    assert [link.aborted for link in links] == [False, True] + [False] * 38
    assert manager.connections == 40
    assert manager.refused == {"evicted while idle": 1}


def test_an_address_with_too_many_requests_is_refused_and_others_are_not(manager: ConnectionManager) -> None:
    opened(manager, "10.0.0.1", 40, busy=True)
    assert not manager.admit(Link("10.0.0.1"))
    assert manager.admit(Link("10.0.0.2"))
    assert manager.refused == {"connections of one address": 1}


def test_where_all_is_full_the_address_with_most_connections_gives_way(manager: ConnectionManager) -> None:
    mine = opened(manager, "10.0.0.2", 10)
    others = opened(manager, "10.0.0.1", 40)
    assert manager.admit(Link("10.0.0.3"))
    assert not any(link.aborted for link in mine)
    assert sum(link.aborted for link in others) == 1


def test_this_machine_gets_in_where_all_are_busy(manager: ConnectionManager) -> None:
    opened(manager, "10.0.0.1", 40, busy=True)
    opened(manager, "10.0.0.2", 10, busy=True)
    assert not manager.admit(Link("10.0.0.3"))
    opened(manager, HOME, LOOPBACK_RESERVE, busy=True)
    assert not manager.admit(Link(HOME))


def test_a_connection_that_has_left_makes_room(manager: ConnectionManager) -> None:
    links = opened(manager, "10.0.0.1", 40, busy=True)
    manager.remove(links[7])
    assert manager.admit(Link("10.0.0.1"))
    for link in links:
        manager.remove(link)
    assert manager.connections == 1


def test_the_limit_leaves_files_for_the_rest_of_the_server(tmp_path: Path) -> None:
    assert ConnectionManager(Settings(tmp_path), files=1024).max_connections == 1024 - SPARE_FILES


def test_what_is_overdue_is_closed_and_then_aborted(manager: ConnectionManager, clock: Clock) -> None:
    (link,) = opened(manager, HOME, 1)
    clock.now = 19.0
    manager.sweep()
    assert not link.closed
    clock.now = 21.0
    manager.sweep()
    assert (link.closed, link.aborted) == (True, False)
    clock.now += CLOSING_S + 1
    manager.sweep()
    assert link.aborted
    assert manager.refused == {"header time-out": 1}


def test_a_client_is_not_to_blame_while_the_server_does_not_read(manager: ConnectionManager, clock: Clock) -> None:
    (link,) = opened(manager, HOME, 1)
    link.paused, clock.now = True, 21.0
    manager.sweep()
    assert not link.closed
    assert link.deadline == clock.now + manager.settings.body_timeout_s


def test_a_client_that_reads_slowly_is_kept_and_one_that_does_not_read_is_ended(
    manager: ConnectionManager, clock: Clock
) -> None:
    slow, stuck = opened(manager, HOME, 2, busy=True)
    for link in (slow, stuck):
        link.waiting, link.closed = 10 * DRAINED_BYTES, True
        manager.settings.__dict__["max_unsent_bytes"] = 10**9
        manager.mark_slow(link)
    for minute in range(1, 4):
        clock.now = minute * 60.0
        slow.waiting -= DRAINED_BYTES
        manager.sweep()
    assert (slow.aborted, stuck.aborted) == (False, True)
    assert manager.refused == {"write time-out": 1}


def test_unread_answers_have_a_limit_together(manager: ConnectionManager) -> None:
    links = opened(manager, HOME, 3, busy=True)
    for link in links:
        link.waiting = 600
        manager.mark_slow(link)
    assert [link.aborted for link in links] == [True, True, False]
    assert manager.unsent_bytes == 600
    manager.mark_read(links[2])
    assert manager.unsent_bytes == 0
