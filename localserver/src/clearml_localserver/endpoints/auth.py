"""Service `auth`: sessions, access keys and roles.

Extensions: an access key may have a role of its own (`role`), and an admin creates, lists and revokes the keys of other
users (`user`, `all_users`).
"""

from __future__ import annotations

import re
from dataclasses import replace

from clearml_localserver import accounts
from clearml_localserver.auth import SERVER_VERSION, Key, hash_secret, new_credentials
from clearml_localserver.endpoints.server import end_session
from clearml_localserver.errors import ApiError
from clearml_localserver.ids import new_id
from clearml_localserver.registry import Call, Data, WithCookie, endpoint
from clearml_localserver.rules import roles
from clearml_localserver.store import Tx
from clearml_localserver.tables import credentials
from clearml_localserver.tables.users import is_email_taken
from clearml_localserver.times import iso

TEXT = {"type": "string"}
ROLE = {"enum": list(roles.RANKS)}
ACCESS_KEY = {"type": "object", "required": ["access_key"], "properties": {"access_key": TEXT}}
CREATE_CREDENTIALS = {"type": "object", "properties": {"label": TEXT, "user": TEXT, "role": ROLE}}
GET_CREDENTIALS = {"type": "object", "properties": {"user": TEXT, "all_users": {"type": "boolean"}}}
EDIT_CREDENTIALS = {
    "type": "object",
    "required": ["access_key"],
    "properties": {"access_key": TEXT, "label": TEXT, "role": ROLE},
}
CREATE_USER = {
    "type": "object",
    "required": ["company", "name", "email"],
    "properties": {**dict.fromkeys((*accounts.NAMES, "company", "email"), TEXT), "role": ROLE},
}
EDIT_USER = {
    "type": "object",
    "required": ["user", "role"],
    "properties": {"user": TEXT, "role": {"enum": list(roles.GIVEN)}},
}
TOKEN_FOR_USER = {
    "type": "object",
    "required": ["user"],
    "properties": {"user": TEXT, "company": TEXT, "expiration_sec": {"type": "integer"}},
}
EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]{2,}")


@endpoint(
    "auth.login",
    needs_auth=False,
    writes=True,
    differs="429 for a few seconds after too many wrong secrets",
)
def login(call: Call, tx: Tx) -> WithCookie:
    """Exchange an access key (Basic) or a live token (Bearer) for a new token."""
    identity = call.context.auth.authenticate(call.presented)
    token = call.context.auth.issue(identity, call.data.get("expiration_sec"))
    credentials.record_use(tx, identity.access_key, iso(call.now), call.client_host)
    return WithCookie({"token": token}, token)


@endpoint("auth.logout", writes=True, role=roles.GUEST)
def logout(call: Call, tx: Tx) -> WithCookie:
    """End the calling session."""
    end_session(call, tx, call.identity.session)
    return WithCookie({}, "")


@endpoint("auth.fixed_users_mode", needs_auth=False, schema={"type": "object"})
def fixed_users_mode(call: Call, tx: Tx) -> Data:
    """Answer that users are not read from a configuration file."""
    return {"enabled": False, "guest": {"enabled": False}, "server_errors": {}}


@endpoint(
    "auth.validate_token",
    role=roles.ADMIN,
    schema={"type": "object", "required": ["token"], "properties": {"token": TEXT}},
    differs="admins may call it (genuine: root and system)",
)
def validate_token(call: Call, tx: Tx) -> Data:
    """Return whether a token is valid, and whose it is."""
    try:
        identity = call.context.auth.identity_of(call.data["token"])
    except ApiError as error:
        return {"valid": False, "msg": error.msg}
    return {"valid": True, "user": identity.user, "company": identity.company}


# --- access keys ------------------------------------------------------------------------------------------------------


@endpoint(
    "auth.create_credentials",
    writes=True,
    schema=CREATE_CREDENTIALS,
    differs="`role` limits the key; an admin makes keys for others by `user`",
)
def create_credentials(call: Call, tx: Tx) -> Data:
    """Create an access key; the secret is shown only this once."""
    user = _user_asked_for(call)
    accounts.find_user(call, tx, user)
    role = accounts.granted_role(call, user, call.data.get("role"))
    access_key, secret_key = new_credentials()
    label = call.data.get("label")
    accounts.store_key(call, tx, access_key, Key(hash_secret(secret_key), user, role), label)
    shown = {"access_key": access_key, "secret_key": secret_key}
    return {"credentials": shown | ({"label": label} if label else {})}


@endpoint(
    "auth.get_credentials",
    schema=GET_CREDENTIALS,
    differs="shows each key's `role`; an admin sees others' by `user`, all by `all_users`",
)
def get_credentials(call: Call, tx: Tx) -> Data:
    """List access keys, without their secrets: the calling user's, or by `all_users` everybody's."""
    everybody = call.data.get("all_users", False)
    if everybody:
        roles.require(call.role, roles.ADMIN)
    keys = call.context.auth.keys
    return {
        "credentials": [
            {name: value for name, value in stored.items() if value is not None} | {"role": accounts.role_of(call, key)}
            for stored in credentials.stored_keys(tx, None if everybody else _user_asked_for(call))
            if (key := keys.get(stored["access_key"] or ""))
        ]
    }


@endpoint(
    "auth.edit_credentials",
    writes=True,
    schema=EDIT_CREDENTIALS,
    differs="also sets the key's `role`; an admin may change others' keys",
)
def edit_credentials(call: Call, tx: Tx) -> Data:
    """Rename an access key, or change what it may do; `role: null` lets it do what its user may."""
    access_key = call.data["access_key"]
    key = accounts.find_key(call, access_key)
    if key is None:
        where = f"user={call.user}, access_key={access_key}, company={call.company}"
        raise ApiError(400, 75, f"Access key not found (invalid user or invalid access key): {where}")
    if "role" in call.raw:
        accounts.require_unprotected(call, access_key=access_key)
        role = accounts.granted_role(call, key.user, call.data.get("role"))
        accounts.limit_key(call, tx, access_key, key, role)
    if "label" in call.raw:
        credentials.set_label(tx, access_key, call.data.get("label"))
    return {"updated": 1}


# The SDK's schema asks for `key_id`, which no server takes; people and the web application send `access_key`.
@endpoint(
    "auth.revoke_credentials",
    writes=True,
    schema=ACCESS_KEY,
    differs="ends the key's tokens at once; an admin may revoke others' keys",
)
def revoke_credentials(call: Call, tx: Tx) -> Data:
    """Delete an access key; tokens made from it end with it."""
    access_key = call.data["access_key"]
    if accounts.find_key(call, access_key) is None:
        where = f"id={call.user}, company={call.company}, credentials__key={access_key}"
        raise ApiError(400, 300, f"Invalid user (invalid user or invalid access key): {where}")
    accounts.require_unprotected(call, access_key=access_key)
    accounts.remove_key(call, tx, access_key)
    return {"revoked": 1}


def _user_asked_for(call: Call) -> str:
    user: str = call.data.get("user", call.user)
    if user != call.user:
        roles.require(call.role, roles.ADMIN)
    return user


# --- users ------------------------------------------------------------------------------------------------------------


@endpoint(
    "auth.create_user",
    writes=True,
    role=roles.ADMIN,
    schema=CREATE_USER,
    differs="admins may call it (genuine: root and system)",
)
def create_user(call: Call, tx: Tx) -> Data:
    """Make a user, who has no access key yet."""
    email = call.data["email"].strip()
    if call.data["company"] != call.company:
        raise ApiError(400, 10, f"Invalid object id: company={call.data['company']}")
    if not EMAIL.fullmatch(email):
        raise ApiError(400, 800, f"Data validation error: email=Invalid email address: {email}")
    if is_email_taken(tx, email):
        text = "Value combination already exists (unique field already contains this value)"
        raise ApiError(400, 801, f"{text}: email={email}")
    fields = {name: call.data[name] for name in accounts.NAMES if name in call.data}
    made = {"role": call.data.get("role", roles.USER), "created": iso(call.now), "created_in_version": SERVER_VERSION}
    user = {"id": new_id(), "company": call.company, "email": email, **fields, **made}
    accounts.store_user(call, tx, user)
    return {"id": user["id"]}


@endpoint(
    "auth.edit_user",
    writes=True,
    role=roles.ADMIN,
    schema=EDIT_USER,
    differs="takes effect at once (genuine: in tokens made afterwards); the server's own user cannot be changed",
)
def edit_user(call: Call, tx: Tx) -> Data:
    """Give a user another role; it holds at once, also for tokens that they have."""
    user, role = accounts.find_user(call, tx, call.data["user"]), call.data["role"]
    before = user.get("role", roles.USER)
    if role != before:
        accounts.require_unprotected(call, user=user["id"])
        accounts.store_user(call, tx, user | {"role": role})
    return {"updated": int(role != before), "fields": {"role": role}}


@endpoint(
    "auth.get_token_for_user",
    role=roles.ADMIN,
    schema=TOKEN_FOR_USER,
    differs=(
        "admins may call it (genuine: root and system); the token ends with the key that asked for it, and with its "
        "user"
    ),
)
def get_token_for_user(call: Call, tx: Tx) -> Data:
    """Make a token for another user. It ends with the access key that calls, and with that key's right to do this."""
    user = call.data["user"]
    if (company := call.data.get("company", call.company)) != call.company:
        raise ApiError(400, 301, f"Invalid user id: id={user}, company={company}")
    accounts.find_user(call, tx, user)
    auth = call.context.auth
    identity = replace(auth.people[user], access_key=call.identity.access_key)
    return {"token": auth.issue(identity, call.data.get("expiration_sec"))}
