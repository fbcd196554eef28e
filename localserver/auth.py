"""Who calls: access keys, session tokens and what a request may present as either.

Tokens are HS256 JWTs with the claims that ClearML clients read from them (`api_version`, `server_version`,
`feature_set`). Unlike the genuine server's, a token dies with the access key that it was made from. This module holds
the live keys and ended sessions in memory; `localserver.bootstrap` loads them, the auth endpoints change both.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import string
import time
from dataclasses import dataclass
from typing import Any

import jwt

from localserver.errors import ApiError, unauthorized
from localserver.ids import new_id

API_VERSION = "2.34"
"""Newest API version that is answered as the genuine 2.3.0 server does."""

SERVER_VERSION = "2.3.0"
TOKEN_LIFE_S = 2_592_000
MAX_TOKEN_LIFE_S = 31_536_000
COOKIE = "clearml_token_basic"

NO_CREDENTIALS, WRONG_CREDENTIALS, BAD_TOKEN = 20, 22, 30
UNSUPPORTED_SCHEME = 10


@dataclass(frozen=True)
class Identity:
    """A user, as a request acts for one."""

    user: str
    company: str
    role: str = "admin"
    user_name: str = ""
    company_name: str = ""
    session: str = ""


@dataclass(frozen=True)
class Key:
    """What is kept of an access key."""

    secret_hash: str
    identity: Identity


def hash_secret(secret: str) -> str:
    """Return the stored form of a secret key. The keys are 67 random characters: no salt or slow hash is needed."""
    return hashlib.sha256(secret.encode()).hexdigest()


def new_credentials() -> tuple[str, str]:
    """Return a random access key (30 characters) and secret key (67), ClearML's own lengths."""
    alphabet = string.ascii_letters + string.digits
    access = "".join(secrets.choice(string.ascii_uppercase + string.digits) for _ in range(30))
    return access, "".join(secrets.choice(alphabet) for _ in range(67))


class Auth:
    """Checks and issues credentials.

    Args:
        secret: Signing key of the tokens.
        keys: Live access keys.
        ended: Session ids that were logged out, with the epoch second at which their token runs out anyway.
    """

    def __init__(self, secret: str, keys: dict[str, Key], ended: dict[str, int]) -> None:
        self._secret = secret
        self.keys = keys
        self.ended = ended

    def authenticate(self, authorization: str | None, cookie: str | None) -> Identity:
        """Return who sends a request with this `Authorization` header and session cookie.

        Raises:
            ApiError: 401 with the subcode that tells clients why.
        """
        if authorization:
            scheme, _, value = authorization.partition(" ")
            if scheme == "Bearer":
                return self.identity_of(value.strip())
            if scheme == "Basic":
                return self._check_basic(value)[1]
            raise unauthorized(UNSUPPORTED_SCHEME, "unsupported authorization scheme")
        if cookie:
            return self.identity_of(cookie)
        raise unauthorized(NO_CREDENTIALS, "missing credentials")

    def login(self, authorization: str | None, cookie: str | None, expiration_s: int | None) -> str:
        """Return a new session token for the presenter of valid credentials."""
        if authorization and authorization.startswith("Basic "):
            access_key, identity = self._check_basic(authorization.removeprefix("Basic "))
        else:
            identity = self.authenticate(authorization, cookie)
            token = (authorization or "").removeprefix("Bearer ").strip() or cookie or ""
            access_key = self.key_of(token)
        return self.issue(access_key, identity, expiration_s)

    def issue(self, access_key: str, identity: Identity, expiration_s: int | None = None) -> str:
        """Sign a token. `expiration_s` of None or 0 means 30 days."""
        life = expiration_s or TOKEN_LIFE_S
        if life > MAX_TOKEN_LIFE_S:
            raise ApiError(400, 12, f"Validation error (expiration_sec above {MAX_TOKEN_LIFE_S}): {life}")
        now = int(time.time())
        claims = {
            "exp": now + life,
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
            "key": access_key,
            "identity": {
                "user": identity.user,
                "company": identity.company,
                "role": identity.role,
                "user_name": identity.user_name,
                "company_name": identity.company_name,
            },
        }
        return jwt.encode(claims, self._secret, algorithm="HS256")

    def key_of(self, token: str) -> str:
        """Return the access key that a token was made from."""
        return str(self._decode(token)["key"])

    def identity_of(self, token: str) -> Identity:
        """Return whose session a token is.

        Raises:
            ApiError: 401/30 for a token that is malformed, forged, expired, logged out, or made from a revoked key.
        """
        claims = self._decode(token)
        session = claims["session_id"]
        if session in self.ended or claims["key"] not in self.keys:
            raise unauthorized(BAD_TOKEN, "invalid token: session ended")
        fields = claims["identity"]
        return Identity(
            fields["user"],
            fields["company"],
            fields["role"],
            fields["user_name"],
            fields["company_name"],
            session,
        )

    def end_session(self, session: str) -> int:
        """Refuse a session's token from now on; return when it may be forgotten (epoch seconds)."""
        expires = int(time.time()) + MAX_TOKEN_LIFE_S
        self.ended[session] = expires
        return expires

    def _decode(self, token: str) -> dict[str, Any]:
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._secret,
                algorithms=["HS256"],
                options={"require": ["exp", "session_id", "identity", "key"]},
            )
        except jwt.InvalidTokenError as error:
            raise unauthorized(BAD_TOKEN, f"invalid token: {str(error).lower()}") from error
        return claims

    def _check_basic(self, value: str) -> tuple[str, Identity]:
        try:
            access_key, _, secret = base64.b64decode(value.strip(), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise unauthorized(WRONG_CREDENTIALS, "malformed credentials") from error
        key = self.keys.get(access_key)
        given = hash_secret(secret)
        # An unknown key costs the same comparison, so that timing does not tell which keys exist.
        if not hmac.compare_digest(given, key.secret_hash if key else hash_secret("")) or key is None:
            raise unauthorized(WRONG_CREDENTIALS, "invalid credentials")
        return access_key, key.identity
