"""Access keys and tokens without a server."""

from __future__ import annotations

import base64
import logging
import time
from collections.abc import Mapping
from typing import Any

import jwt
import pytest
from clearml_localserver.auth import LEEWAY_S, Auth, Identity, Key, Presented, hash_secret
from clearml_localserver.errors import ApiError

SECRET = "signing key" * 4
ANN = Identity("ann", "co", "admin", "Ann")
BOB = Identity("bob", "co", "user", "Bob")
CARL = Identity("carl", "elsewhere", "user", "Carl")


@pytest.fixture
def auth() -> Auth:
    keys = {
        "OWN": Key(hash_secret("own"), "ann"),
        "ANN": Key(hash_secret("a"), "ann"),
        "ANN-READS": Key(hash_secret("r"), "ann", "guest"),
        "BOB": Key(hash_secret("b"), "bob"),
        "BOB-ADMIN": Key(hash_secret("x"), "bob", "admin"),
    }
    people = {person.user: person for person in (ANN, BOB, CARL)}
    return Auth(SECRET, people, keys, {}, Identity("ann", "co", "admin", access_key="OWN"))


def basic(key: str, secret: str, **more: Any) -> Presented:
    return Presented("Basic " + base64.b64encode(f"{key}:{secret}".encode()).decode(), **more)


def token(auth: Auth, key: str, secret: str) -> str:
    return auth.issue(auth.authenticate(basic(key, secret)))


def bearer(text: str, **more: Any) -> Presented:
    return Presented(f"Bearer {text}", **more)


def refusal(auth: Auth, presented: Presented) -> tuple[int, int]:
    with pytest.raises(ApiError) as caught:
        auth.authenticate(presented)
    return caught.value.code, caught.value.subcode


@pytest.mark.parametrize(
    ("key", "secret", "role"), [("ANN", "a", "admin"), ("ANN-READS", "r", "guest"), ("BOB-ADMIN", "x", "user")]
)
def test_a_key_may_do_what_it_and_its_user_may(auth: Auth, key: str, secret: str, role: str) -> None:
    assert auth.authenticate(basic(key, secret)).role == role
    assert auth.authenticate(bearer(token(auth, key, secret))).role == role


def test_a_token_follows_the_role_of_its_user_and_key(auth: Auth) -> None:
    live = bearer(token(auth, "BOB", "b"))
    auth.people["bob"] = Identity("bob", "co", "guest", "Bobby")
    assert (auth.authenticate(live).role, auth.authenticate(live).user_name) == ("guest", "Bobby")
    auth.people["bob"] = BOB
    auth.keys["BOB"] = Key(hash_secret("b"), "bob", "guest")
    assert auth.authenticate(live).role == "guest"


def test_a_token_dies_with_its_key_and_with_its_user(auth: Auth) -> None:
    first, second = bearer(token(auth, "BOB", "b")), bearer(token(auth, "ANN", "a"))
    auth.forget_user("bob")
    assert refusal(auth, first) == (401, 30)
    assert refusal(auth, basic("BOB", "b")) == (401, 22)
    del auth.keys["ANN"]
    assert refusal(auth, second) == (401, 30)


def claims(**changes: Any) -> Mapping[str, Any]:
    """Return a token's claims; times are seconds from now."""
    made = {"exp": 1000, "session_id": "s", "key": "BOB", "identity": {"user": "bob"}} | changes
    now = time.time()
    shown = {name: now + value if isinstance(value, int) else value for name, value in made.items()}
    return {name: value for name, value in shown.items() if value is not None}


@pytest.mark.parametrize(
    ("changes", "fine"),
    [
        ({}, True),
        ({"iat": 1_000_000}, True),  # made before the clock was set back
        ({"nbf": 1_000_000}, True),
        ({"exp": -20}, True),
        ({"exp": -500}, False),
        ({"exp": None}, False),
        ({"exp": "soon"}, False),
        ({"session_id": None}, False),
        ({"identity": {"user": "nobody"}}, False),
        ({"identity": {"user": "ann"}}, False),  # only an admin's key makes tokens for others
        ({"key": "ANN", "identity": {"user": "bob"}}, True),
        ({"key": "ANN-READS", "identity": {"user": "bob"}}, False),
    ],
)
def test_which_tokens_are_valid(auth: Auth, changes: dict[str, Any], fine: bool) -> None:
    presented = bearer(jwt.encode(dict(claims(**changes)), SECRET, algorithm="HS256"))
    if fine:
        assert auth.authenticate(presented).user == "bob"
    else:
        assert refusal(auth, presented) == (401, 30)


def test_a_token_that_is_over_when_it_is_made_is_refused(auth: Auth) -> None:
    assert refusal(auth, bearer(auth.issue(auth.authenticate(basic("BOB", "b")), -1))) == (401, 30)


def test_an_admin_acts_as_another_user(auth: Auth) -> None:
    as_bob = auth.authenticate(basic("ANN", "a", impersonate_as="bob"))
    assert (as_bob.user, as_bob.user_name, as_bob.role) == ("bob", "Bob", "user")
    for_bob = auth.authenticate(basic("ANN", "a", act_as="bob"))
    assert (for_bob.user, for_bob.user_name, for_bob.role) == ("bob", "Bob", "admin")
    assert auth.authenticate(bearer(auth.issue(as_bob))).user == "bob"


@pytest.mark.parametrize("header", ["impersonate_as", "act_as"])
@pytest.mark.parametrize(
    ("key", "secret", "user"),
    [("BOB", "b", "ann"), ("BOB", "b", "bob"), ("ANN-READS", "r", "bob"), ("ANN", "a", "nobody"), ("ANN", "a", "carl"),
     ("ANN", "a", "")],
)  # fmt: skip
def test_acting_as_others_is_refused_not_passed_over(auth: Auth, header: str, key: str, secret: str, user: str) -> None:
    assert refusal(auth, basic(key, secret, **{header: user})) == (400, 6)


def test_both_headers_at_once_are_refused(auth: Auth) -> None:
    assert refusal(auth, basic("ANN", "a", impersonate_as="bob", act_as="bob")) == (400, 6)


@pytest.mark.parametrize("prefix", ["X-ClearML", "X-Trains"])
def test_headers_are_found_under_both_names(prefix: str) -> None:
    presented = Presented.of({f"{prefix}-Impersonate-As": "x", f"{prefix}-Act-As": "y"}, {}, "")
    assert (presented.impersonate_as, presented.act_as) == ("x", "y")


def test_too_many_wrong_secrets_are_refused_unread(auth: Auth) -> None:
    for _ in range(10):
        assert refusal(auth, basic("BOB", "wrong", address="10.0.0.1")) == (401, 22)
    with pytest.raises(ApiError) as caught:
        auth.authenticate(basic("BOB", "b", address="10.0.0.1"))
    assert caught.value.code == 429
    assert 1 <= int(caught.value.headers["Retry-After"]) <= 6
    assert auth.authenticate(basic("ANN", "a", address="10.0.0.2")).user == "ann"


def test_a_refused_log_in_is_logged_without_its_secret(auth: Auth, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        refusal(auth, basic("BOB", "a-secret", address="10.0.0.1"))
        refusal(auth, basic("a-secret-in-the-wrong-field", "a-secret", address="10.0.0.2"))
    first, second = caplog.messages
    assert "10.0.0.1" in first and "BOB" in first
    assert "10.0.0.2" in second and "unknown" in second
    assert "secret" not in first + second


def test_a_token_that_was_taken_before_ends_with_its_time(auth: Auth, monkeypatch: pytest.MonkeyPatch) -> None:
    live = bearer(auth.issue(auth.authenticate(basic("BOB", "b")), 1000))
    assert auth.authenticate(live).user == "bob"
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 1000 + LEEWAY_S - 5)
    assert auth.authenticate(live).user == "bob"
    monkeypatch.setattr(time, "time", lambda: now + 1000 + LEEWAY_S + 5)
    assert refusal(auth, live) == (401, 30)


def test_a_receipt_of_a_log_in_gives_no_right_and_ends_with_its_user(auth: Auth) -> None:
    receipt = auth.receipt("bob", 60)
    assert auth.is_receipt(receipt)
    assert refusal(auth, bearer(receipt)) == (401, 30) and refusal(auth, Presented(cookie=receipt)) == (401, 30)
    forged = jwt.encode({"exp": int(time.time()) + 60, "receipt": "bob"}, "another key" * 4, algorithm="HS256")
    for wrong in ("", "x", forged, auth.receipt("bob", -60), token(auth, "BOB", "b")):
        assert not auth.is_receipt(wrong)
    auth.forget_user("bob")
    assert not auth.is_receipt(receipt)
