"""How many failed log-ins an address and an access key may make."""

from __future__ import annotations

import pytest
from clearml_localserver.rules.addresses import counted_as, is_of_this_machine
from clearml_localserver.rules.throttle import LoginThrottle


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def throttle(clock: Clock) -> LoginThrottle:
    return LoginThrottle(burst=3, refill_s=6, most=100, clock=clock)


def fail(throttle: LoginThrottle, times: int, address: str = "10.0.0.1", key: str = "KEY") -> None:
    for _ in range(times):
        throttle.failed(address, key)


def test_some_failures_are_free_and_then_one_each_few_seconds(throttle: LoginThrottle, clock: Clock) -> None:
    fail(throttle, 2)
    assert throttle.wait_s("10.0.0.1", "KEY") == 0
    fail(throttle, 1)
    assert throttle.wait_s("10.0.0.1", "KEY") == 6
    clock.now += 4.5
    assert throttle.wait_s("10.0.0.1", "KEY") == 2
    clock.now += 1.5
    assert throttle.wait_s("10.0.0.1", "KEY") == 0
    fail(throttle, 1)
    assert throttle.wait_s("10.0.0.1", "KEY") == 6
    clock.now += 100
    fail(throttle, 2)
    assert throttle.wait_s("10.0.0.1", "KEY") == 0


def test_an_address_is_counted_over_all_keys_and_a_key_over_all_addresses(throttle: LoginThrottle) -> None:
    for number in range(3):
        throttle.failed("10.0.0.1", f"KEY{number}")
        throttle.failed(f"10.0.1.{number}", "VICTIM")
    assert throttle.wait_s("10.0.0.1", "ANOTHER") > 0
    assert throttle.wait_s("10.9.9.9", "VICTIM") > 0
    assert throttle.wait_s("10.9.9.9", "ANOTHER") == 0


def test_who_came_in_before_is_not_shut_out_by_others(throttle: LoginThrottle) -> None:
    throttle.passed("10.0.0.1", "GOOD")
    fail(throttle, 50, key="BAD")
    fail(throttle, 50, address="10.6.6.6", key="GOOD")
    assert throttle.wait_s("10.0.0.1", "GOOD") == 0
    assert throttle.wait_s("10.0.0.1", "FRESH") > 0
    assert throttle.wait_s("10.7.7.7", "GOOD") > 0


def test_who_came_in_before_may_not_guess_without_end(throttle: LoginThrottle) -> None:
    throttle.passed("10.0.0.1", "GOOD")
    fail(throttle, 3, key="GOOD")
    assert throttle.wait_s("10.0.0.1", "GOOD") == 6


def test_an_ipv6_network_is_one_address(throttle: LoginThrottle) -> None:
    for number in range(3):
        throttle.failed(f"2001:db8::{number}", f"KEY{number}")
    assert throttle.wait_s("2001:db8::ffff", "OTHER") > 0
    assert throttle.wait_s("2001:db8:1::1", "OTHER") == 0


def test_clients_of_a_socket_for_both_kinds_of_address_are_counted_apart(throttle: LoginThrottle) -> None:
    """Such a socket (`--host ::`) shows IPv4 addresses as if all were of one IPv6 network."""
    for number in range(10):
        throttle.failed("::ffff:203.0.113.9", f"KEY{number}")
    assert throttle.wait_s("203.0.113.9", "OTHER") > 0
    assert throttle.wait_s("::ffff:203.0.113.10", "OTHER") == 0


@pytest.mark.parametrize(
    ("address", "counted", "own"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("::ffff:127.0.0.1", "127.0.0.1", True),
        ("::1", "::1", True),
        ("::2", "::/64", False),
        ("2001:db8::7:1", "2001:db8::/64", False),
        ("fe80::1%eth0", "fe80::/64", False),
        ("10.0.0.1", "10.0.0.1", False),
        ("unix:socket", "unix:socket", False),
        ("", "", False),
    ],
)
def test_what_an_address_is_counted_by(address: str, counted: str, own: bool) -> None:
    assert counted_as(address) == counted
    assert is_of_this_machine(address) == is_of_this_machine(counted) == own


def test_memory_is_bounded_whatever_is_tried(throttle: LoginThrottle) -> None:
    for number in range(1000):
        throttle.failed(f"10.1.{number // 250}.{number % 250}", "K" * 5000 + str(number))
        throttle.passed(f"host {number}", str(number))
    assert len(throttle) <= 200
    assert max(len(str(name)) for name in throttle._busy_until) < 200
