"""Requests made of the schemas, and spoilt: `./task test-fuzz` sends more of them."""

from __future__ import annotations

import pytest
from clearml_localserver.pytest_plugin import ClearmlServer

from tests.fuzz.client import Client, Fuzzer, judged

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SEED = 10


@pytest.mark.parametrize("requests", [2000, pytest.param(4000, marks=pytest.mark.thorough)])
def test_no_request_makes_a_fault_or_hangs(requests: int, clearml_server_factory) -> None:  # type: ignore[no-untyped-def]
    problems = Fuzzer(clearml_server_factory(), SEED).run(requests)
    assert problems == [], "\n".join(problems)


def test_a_run_is_repeated_by_its_seed(clearml_server: ClearmlServer) -> None:
    one, same, other = (Fuzzer(clearml_server, seed) for seed in (1, 1, 2))
    assert [one.request(number) for number in range(300)] == [same.request(number) for number in range(300)]
    assert [one.request(number) for number in range(50)] != [other.request(number) for number in range(50)]


@pytest.mark.parametrize(
    ("status", "body", "problem"),
    [
        (500, b"{}", "status 500"),
        (200, b"<html>", "not JSON"),
        (200, b"[]", "no envelope"),
        (200, b'{"meta": {}, "data": {}}', "wrong in the envelope"),
    ],
)
def test_an_answer_that_clients_cannot_use_is_a_problem(status: int, body: bytes, problem: str) -> None:
    assert problem in judged(status, "application/json", body)[0]


def test_a_server_that_does_not_answer_is_a_problem(clearml_server: ClearmlServer) -> None:
    request = Fuzzer(clearml_server, 1).request(0)
    assert "no answer" in Client("http://127.0.0.1:9", "").send(request)[0]
