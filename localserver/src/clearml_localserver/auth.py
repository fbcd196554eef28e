"""Authentication: access keys, session tokens, and where a request may present them.

Tokens are HS256 JWTs with the claims that ClearML clients read from them (`api_version`, `server_version`,
`feature_set`). Unlike on a genuine server, a token ends with the access key that it was made from, and its
rights are those of the key and its user now, not those of when it was made. This module holds the live users, keys and
ended sessions in memory; `clearml_localserver.bootstrap` loads them, the endpoints of `auth` and `users` change both.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import logging
import secrets
import string
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import jwt

from clearml_localserver.cross_origin import is_cross_origin
from clearml_localserver.errors import ApiError, unauthorized
from clearml_localserver.ids import new_id
from clearml_localserver.rules import roles
from clearml_localserver.rules.throttle import LoginThrottle

log = logging.getLogger(__name__)

API_VERSION = "2.34"
"""Newest API version that is answered as the genuine 2.3.0 server does."""

SERVER_VERSION = "2.3.0"
COMPANY_NAME = "clearml"
TOKEN_LIFE_S = 2_592_000
MAX_TOKEN_LIFE_S = 31_536_000
KNOWN_TOKENS = 1024
"""How many tokens' claims are kept: to check a signature takes a quarter of a call's time, and clients call often.
What may change while a token lives (its end, its session, key and user) is looked at each time."""

LEEWAY_S = 60
"""How long a token outlives its end: clocks are set while servers run."""

COOKIE = "clearml_token_basic"

NO_CREDENTIALS, WRONG_CREDENTIALS, BAD_TOKEN = 20, 22, 30
UNSUPPORTED_SCHEME = 10
IMPERSONATION = 6

FAILURES_AT_ONCE, FAILURE_EVERY_S = 10, 6.0
"""Failed log-ins that an address, or an access key, may make at once, and after that one per so many seconds."""


@dataclass(frozen=True)
class Identity:
    """A user, as a request acts for one."""

    user: str
    company: str
    role: str = "admin"
    user_name: str = ""
    company_name: str = ""
    session: str = ""
    access_key: str = ""
    """The key that was presented, or that the presented token was made from."""


def identity(person: Mapping[str, Any]) -> Identity:
    """Return a stored user as requests act for them."""
    return Identity(person["id"], person["company"], person.get("role", roles.USER), person["name"], COMPANY_NAME)


@dataclass(frozen=True)
class Key:
    """What is kept of an access key."""

    secret_hash: str
    user: str
    role: str | None = None
    """The most that the key may do, where that is less than its user may."""


@dataclass(frozen=True)
class Presented:
    """The parts of a request that say who sends it; None where they are missing."""

    authorization: str | None = None
    cookie: str | None = None
    impersonate_as: str | None = None
    """A user to act for, with that user's role."""
    act_as: str | None = None
    """A user to act for, with the caller's own role."""
    address: str = ""

    @classmethod
    def of(cls, headers: Mapping[str, str], cookies: Mapping[str, str], address: str) -> Presented:
        """Read a request's headers (whose names are found in any case of letters) and cookies.

        A cookie counts only where no foreign page has made the browser send it.
        """

        def either(name: str) -> str | None:
            return headers.get(f"X-ClearML-{name}", headers.get(f"X-Trains-{name}"))

        cookie = None if is_cross_origin(headers) else cookies.get(COOKIE)
        return cls(headers.get("Authorization"), cookie, either("Impersonate-As"), either("Act-As"), address)


def hash_secret(secret: str) -> str:
    """Return the stored form of a secret key. The keys are 67 random characters: no salt or slow hash is needed."""
    return hashlib.sha256(secret.encode()).hexdigest()


NO_HASH = hash_secret("")


def new_credentials() -> tuple[str, str]:
    """Return a random access key (30 characters) and secret key (67), ClearML's own lengths."""
    alphabet = string.ascii_letters + string.digits
    access = "".join(secrets.choice(string.ascii_uppercase + string.digits) for _ in range(30))
    return access, "".join(secrets.choice(alphabet) for _ in range(67))


class Auth:
    """Checks and issues credentials.

    Args:
        secret: Signing key of the tokens.
        people: The users by id, as a request acts for them.
        keys: Live access keys.
        ended: Session ids that were logged out, with the epoch second at which their token runs out anyway.
        own: The server's own user and access key, which no call may remove.
    """

    def __init__(
        self, secret: str, people: dict[str, Identity], keys: dict[str, Key], ended: dict[str, int], own: Identity
    ) -> None:
        self._secret = secret
        self.people = people
        self.keys = keys
        self.ended = ended
        self.own = own
        self._throttle = LoginThrottle(FAILURES_AT_ONCE, FAILURE_EVERY_S)
        self._known_claims = lru_cache(KNOWN_TOKENS)(self._verified)

    def authenticate(self, presented: Presented) -> Identity:
        """Return the user on whose behalf a request acts.

        Raises:
            ApiError: 401 with the subcode that tells clients why, 429 after too many wrong secrets, 400/6 for acting
                as another user without the right to.
        """
        return self._acting_as(self._presenter(presented), presented)

    def issue(self, identity: Identity, expiration_s: int | None = None) -> str:
        """Sign a token. `expiration_s` of None or 0 means 30 days.

        Raises:
            ApiError: 400/12 for more than a year.
        """
        life = expiration_s or TOKEN_LIFE_S
        if life > MAX_TOKEN_LIFE_S:
            raise ApiError(400, 12, f"Validation error (expiration_sec above {MAX_TOKEN_LIFE_S}): {life}")
        now = int(time.time())
        claims = {
            "exp": now + (life if life > 0 else life - LEEWAY_S),
            "iat": now,
            "auth_type": "Bearer",
            "env": "localserver",
            "session_id": new_id(),
            "api_version": API_VERSION,
            "server_version": SERVER_VERSION,
            "server_build": "localserver",
            # Agents from 2.0.7 on read this and then leave out the call that an open-source server refuses
            # (clearml-agent#223).
            "feature_set": "basic",
            "key": identity.access_key,
            "identity": {
                "user": identity.user,
                "company": identity.company,
                "role": identity.role,
                "user_name": identity.user_name,
                "company_name": identity.company_name,
            },
        }
        return jwt.encode(claims, self._secret, algorithm="HS256")

    def identity_of(self, token: str) -> Identity:
        """Return whose session a token is, with what that user and the token's key may do now.

        Raises:
            ApiError: 401/30 for a token that is malformed, forged, expired, logged out, or made from a revoked key.
        """
        claims = self._decode(token)
        session, access_key, user = claims["session_id"], claims["key"], claims["identity"]["user"]
        key = self.keys.get(access_key)
        if session in self.ended or key is None:
            raise unauthorized(BAD_TOKEN, "invalid token: session ended")
        acting = self._acting_for(user, access_key, key, session)
        if acting is None:
            raise unauthorized(BAD_TOKEN, "invalid token: session ended")
        return acting

    def receipt(self, user: str, life_s: int) -> str:
        """Sign that somebody has been logged in as a user. It gives no right, and no call takes it as a token."""
        return jwt.encode({"exp": int(time.time()) + life_s, "receipt": user}, self._secret, algorithm="HS256")

    def is_receipt(self, presented: str) -> bool:
        """Return whether this is a receipt of a user who is still there."""
        try:
            claims: dict[str, Any] = jwt.decode(
                presented, self._secret, algorithms=["HS256"], options={"require": ["exp", "receipt"]}
            )
        except jwt.InvalidTokenError:
            return False
        return claims["receipt"] in self.people

    def end_session(self, session: str) -> int:
        """Refuse a session's token from now on; return when it may be forgotten (epoch seconds)."""
        expires = int(time.time()) + MAX_TOKEN_LIFE_S
        self.ended[session] = expires
        return expires

    def forget_user(self, user: str) -> None:
        """Take all rights from a user, and from every key and token of theirs."""
        self.people.pop(user, None)
        for access_key in [name for name, key in self.keys.items() if key.user == user]:
            del self.keys[access_key]

    def _presenter(self, presented: Presented) -> Identity:
        if presented.authorization:
            scheme, _, value = presented.authorization.partition(" ")
            if scheme == "Bearer":
                return self.identity_of(value.strip())
            if scheme == "Basic":
                return self._check_basic(value, presented.address)
            raise unauthorized(UNSUPPORTED_SCHEME, "unsupported authorization scheme")
        if presented.cookie:
            return self.identity_of(presented.cookie)
        raise unauthorized(NO_CREDENTIALS, "missing credentials")

    def _acting_as(self, identity: Identity, presented: Presented) -> Identity:
        wanted = [user for user in (presented.impersonate_as, presented.act_as) if user is not None]
        if not wanted:
            return identity
        if not roles.reaches(identity.role, roles.ADMIN):
            raise _no_impersonation(f"impersonation not allowed): role={identity.role}")
        if len(wanted) > 1:
            raise _no_impersonation(f"both Impersonate-As and Act-As are given): ids={', '.join(wanted)}")
        person = self.people.get(wanted[0])
        if person is None or person.company != identity.company:
            raise _no_impersonation(f"unknown user): id={wanted[0]}, company={identity.company}")
        role = person.role if presented.act_as is None else identity.role
        return replace(person, role=role, session=identity.session, access_key=identity.access_key)

    def _acting_for(self, user: str, access_key: str, key: Key, session: str = "") -> Identity | None:
        """Return a user as a key acts for them: its own user with what both may do, others as an admin alone may."""
        person, owner = self.people.get(user), self.people.get(key.user)
        if person is None or owner is None:
            return None
        role = roles.weakest([owner.role, key.role]) if key.role else owner.role
        if user != key.user:
            if not roles.reaches(role, roles.ADMIN):
                return None
            role = person.role
        return replace(person, role=role, session=session, access_key=access_key)

    def _decode(self, token: str) -> dict[str, Any]:
        claims = self._known_claims(token)
        if claims["exp"] <= time.time() - LEEWAY_S:
            raise unauthorized(BAD_TOKEN, "invalid token: signature has expired")
        return claims

    def _verified(self, token: str) -> dict[str, Any]:
        # "Issued at" is not checked: a server whose clock was set back must still accept its own tokens.
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._secret,
                algorithms=["HS256"],
                leeway=LEEWAY_S,
                options={"require": ["exp", "session_id", "identity", "key"], "verify_iat": False, "verify_nbf": False},
            )
        except jwt.InvalidTokenError as error:
            raise unauthorized(BAD_TOKEN, f"invalid token: {str(error).lower()}") from error
        return claims

    def _check_basic(self, value: str, address: str) -> Identity:
        try:
            access_key, _, secret = base64.b64decode(value.strip(), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise unauthorized(WRONG_CREDENTIALS, "malformed credentials") from error
        if wait_s := self._throttle.wait_s(address, access_key):
            raise ApiError(
                429,
                0,
                f"Too many failed log-ins from this address or with this access key: try again in {wait_s} s",
                {"Retry-After": str(wait_s)},
            )
        key = self.keys.get(access_key)
        # An unknown key costs the same comparison, so that timing does not tell which keys exist.
        fits = hmac.compare_digest(hash_secret(secret), key.secret_hash if key else NO_HASH)
        identity = self._acting_for(key.user, access_key, key) if key and fits else None
        if identity is None:
            self._throttle.failed(address, access_key)
            # What is not a key of ours may be a secret in the wrong place: it is not written down.
            shown = access_key if key else "unknown"
            log.warning("log-in refused: wrong credentials from %s, access key %s", address or "?", shown)
            raise unauthorized(WRONG_CREDENTIALS, "invalid credentials")
        self._throttle.passed(address, access_key)
        return identity


def _no_impersonation(why: str) -> ApiError:
    return ApiError(400, IMPERSONATION, f"Impersonation error ({why}")
