"""docs/localserver-endpoints.md, which is made of the code."""

from __future__ import annotations

from pathlib import Path

from clearml_localserver.commands.endpoints import ENTERPRISE_ONLY, REFUSED, endpoints_command, page, refused
from clearml_localserver.registry import ENDPOINTS
from clearml_localserver.request_schemas import endpoints_of_clients
from click.testing import CliRunner

PAGE = Path(__file__).parents[3] / "docs" / "localserver-endpoints.md"


def test_the_page_is_what_the_code_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), page().splitlines()[2]


def test_the_command_prints_the_page() -> None:
    assert CliRunner().invoke(endpoints_command).output == page()


def test_whatever_a_client_can_ask_for_is_answered_or_refused_with_a_reason() -> None:
    assert endpoints_of_clients() - ENDPOINTS.keys() <= refused().keys()
    assert not refused().keys() & ENDPOINTS.keys()
    assert set(REFUSED.values()) | {ENTERPRISE_ONLY} == set(refused().values())


def test_every_answered_endpoint_has_one_row() -> None:
    text = page()
    assert all(text.count(f"\n| `{name}` |") == 1 for name in ENDPOINTS)
