"""Who may call what: every endpoint, by every role."""

from __future__ import annotations

import re
from pathlib import Path

import clearml_localserver.endpoints  # noqa: F401  registers every endpoint
import pytest
from clearml_localserver.errors import ApiError
from clearml_localserver.registry import ENDPOINTS
from clearml_localserver.rules import roles

OPEN = {
    "auth.fixed_users_mode",
    "auth.login",
    "debug.ping",
    "login.logout",
    "login.supported_modes",
}
"""Endpoints that ask for no credentials."""

READERS_WRITE = {"auth.logout", "users.set_preferences"}
"""What changes something and is open to those who only read: their own session, their own preferences."""

ADMINS_ONLY = {
    "auth.create_user",
    "auth.edit_user",
    "auth.get_token_for_user",
    "auth.validate_token",
    "server.config",
    "server.get_stats",
    "storage.reset_settings",
    "storage.set_settings",
    "users.create",
    "users.delete",
}


def allowed(role: str) -> set[str]:
    names = set()
    for name, item in ENDPOINTS.items():
        try:
            item.require_role(role)
        except ApiError as error:
            assert (error.code, error.subcode) == (403, 20)
        else:
            names.add(name)
    return names


def test_only_these_endpoints_ask_for_no_credentials() -> None:
    assert {name for name, item in ENDPOINTS.items() if not item.needs_auth} == OPEN


@pytest.mark.parametrize("role", ["admin", "root", "system"])
def test_an_admin_may_call_everything(role: str) -> None:
    assert allowed(role) == set(ENDPOINTS)


@pytest.mark.parametrize("role", ["user", "annotator", "superuser"])
def test_a_user_may_call_all_but_what_is_for_admins(role: str) -> None:
    assert set(ENDPOINTS) - allowed(role) == ADMINS_ONLY


def test_a_guest_may_call_what_cannot_change_anything() -> None:
    writing = {name for name, item in ENDPOINTS.items() if item.writes}
    assert allowed("guest") == set(ENDPOINTS) - ADMINS_ONLY - (writing - READERS_WRITE - OPEN)


@pytest.mark.parametrize("role", ["", "owner", "Admin"])
def test_an_unknown_role_may_call_nothing_that_asks_who_calls(role: str) -> None:
    assert allowed(role) == OPEN


def test_the_page_on_security_names_what_is_for_admins() -> None:
    text = (Path(__file__).parents[3] / "docs" / "security.md").read_text(encoding="utf-8")
    listed = text.partition("Only an admin may call")[2].partition("Only an admin may also")[0]
    named = set(re.findall(r"`(\w+\.\w+)`", listed)) - {"storage.get_settings"}
    assert named == ADMINS_ONLY


def test_a_refusal_names_the_roles_that_may() -> None:
    with pytest.raises(ApiError) as caught:
        roles.require("user", roles.ADMIN)
    assert caught.value.msg == "Forbidden (not allowed for role): role=user, allowed=(system, root, admin)"


def test_the_weakest_of_two_roles_counts() -> None:
    assert roles.weakest(["admin", "guest"]) == "guest"
    assert roles.weakest(["user", "root"]) == "user"
    assert roles.weakest(["nonsense", "guest"]) == "nonsense"
