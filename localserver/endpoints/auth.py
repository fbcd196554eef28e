"""Service `auth`: sessions and access keys."""

from __future__ import annotations

from localserver.auth import Key, hash_secret, new_credentials
from localserver.endpoints.server import end_session
from localserver.errors import ApiError
from localserver.registry import Call, Data, WithCookie, endpoint
from localserver.store import Tx
from localserver.times import iso


@endpoint("auth.login", needs_auth=False, writes=True)
def login(call: Call, tx: Tx) -> WithCookie:
    """Exchange an access key (Basic) or a live token (Bearer) for a new token."""
    auth = call.context.auth
    token = auth.login(call.authorization, call.cookie, call.data.get("expiration_sec"))
    key = auth.key_of(token)
    tx.execute(
        "UPDATE credential SET last_used = ?, last_used_from = ? WHERE access_key = ?",
        (iso(call.now), call.client_host, key),
    )
    return WithCookie({"token": token}, token)


@endpoint("auth.logout", writes=True)
def logout(call: Call, tx: Tx) -> WithCookie:
    """End the calling session."""
    end_session(call, tx, call.identity.session)
    return WithCookie({}, "")


@endpoint("auth.fixed_users_mode", needs_auth=False, schema={"type": "object"})
def fixed_users_mode(call: Call, tx: Tx) -> Data:
    """Say that users are not read from a configuration file."""
    return {"enabled": False, "migration_warning": False, "guest": {"enabled": False}}


@endpoint("auth.validate_token", schema={"type": "object", "required": ["token"]})
def validate_token(call: Call, tx: Tx) -> Data:
    """Tell whether a token is valid, and whose."""
    try:
        identity = call.context.auth.identity_of(str(call.data["token"]))
    except ApiError as error:
        return {"valid": False, "msg": error.msg}
    return {"valid": True, "user": identity.user, "company": identity.company}


@endpoint("auth.create_credentials", writes=True)
def create_credentials(call: Call, tx: Tx) -> Data:
    """Make an access key for the calling user; the secret is shown this once."""
    access_key, secret_key = new_credentials()
    label = call.data.get("label")
    hashed = hash_secret(secret_key)
    tx.execute(
        "INSERT INTO credential (access_key, secret_hash, user, label) VALUES (?, ?, ?, ?)",
        (access_key, hashed, call.user, label),
    )
    call.context.auth.keys[access_key] = Key(hashed, call.identity)
    shown = {"access_key": access_key, "secret_key": secret_key}
    return {"credentials": shown | ({"label": label} if label else {})}


@endpoint("auth.get_credentials")
def get_credentials(call: Call, tx: Tx) -> Data:
    """List the calling user's access keys, without their secrets."""
    names = ("access_key", "label", "last_used", "last_used_from")
    sql = f"SELECT {', '.join(names)} FROM credential WHERE user = ? ORDER BY rowid"
    return {"credentials": [dict(zip(names, row, strict=True)) for row in tx.rows(sql, (call.user,))]}


@endpoint("auth.edit_credentials", writes=True)
def edit_credentials(call: Call, tx: Tx) -> Data:
    """Rename an access key."""
    args = (call.data.get("label"), call.data["access_key"], call.user)
    updated = tx.execute("UPDATE credential SET label = ? WHERE access_key = ? AND user = ?", args)
    if not updated:
        raise ApiError(
            400,
            75,
            "Access key not found (invalid user or invalid access key): "
            f"user={call.user}, access_key={call.data['access_key']}, company={call.company}",
        )
    return {"updated": updated}


# The SDK's schema asks for `key_id`, which no server takes; people and the web application send `access_key`.
@endpoint(
    "auth.revoke_credentials",
    writes=True,
    schema={"type": "object", "required": ["access_key"], "properties": {"access_key": {"type": "string"}}},
)
def revoke_credentials(call: Call, tx: Tx) -> Data:
    """Delete an access key; tokens made from it die with it."""
    access_key = call.data["access_key"]
    if not tx.execute("DELETE FROM credential WHERE access_key = ? AND user = ?", (access_key, call.user)):
        raise ApiError(400, 300, f"Invalid user id or access key: access_key={access_key}")
    call.context.auth.keys.pop(access_key, None)
    return {"revoked": 1}
