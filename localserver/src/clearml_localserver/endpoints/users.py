"""Service `users`: users and their web preferences. Access keys are in service `auth`."""

from __future__ import annotations

from clearml_localserver import accounts
from clearml_localserver.auth import SERVER_VERSION
from clearml_localserver.errors import ApiError, validation_error
from clearml_localserver.query import all_of, by_id, find_all, find_all_ex, render
from clearml_localserver.registry import Call, Data, endpoint
from clearml_localserver.rules import roles
from clearml_localserver.rules.preferences import merged
from clearml_localserver.store import Tx
from clearml_localserver.tables.users import active_in
from clearml_localserver.times import iso

ANY = {"type": "object"}
TEXT = {"type": "string"}
USER = {"type": "object", "required": ["user"], "properties": {"user": TEXT}}
UPDATE = {"type": "object", "required": ["user"], "properties": dict.fromkeys(("user", *accounts.NAMES), TEXT)}
CREATE = {
    "type": "object",
    "required": ["id", "name", "company"],
    "properties": dict.fromkeys(("id", "company", "email", *accounts.NAMES), TEXT),
}
PREFERENCES = {"type": "object", "required": ["preferences"], "properties": {"preferences": {"type": "object"}}}

GETTING_STARTED = {
    "agentName": "clearml",
    "configure": "clearml-init",
    "install": "pip install clearml",
    "packageName": "clearml",
}
MAX_DOWNLOAD_ITEMS = 50_000


@endpoint("users.get_current_user", schema=ANY)
def get_current_user(call: Call, tx: Tx) -> Data:
    """Return who calls."""
    user = by_id(tx, "user", call.user, call.company)
    shown = {name: user[name] for name in ("id", "created", *accounts.NAMES) if name in user}
    return {
        "user": {**shown, "company": {"id": call.company, "name": call.company_name}, "role": call.role},
        "getting_started": GETTING_STARTED,
        "settings": {"max_download_items": MAX_DOWNLOAD_ITEMS},
    }


@endpoint("users.get_by_id", schema=USER)
def get_by_id(call: Call, tx: Tx) -> Data:
    """Return a user."""
    user = by_id(tx, "user", call.data["user"], call.company)
    more = {"preferences": user.get("preferences", ""), "created_in_version": SERVER_VERSION}
    return {"user": more | render("user", user, call.version)}


@endpoint("users.get_all", schema=ANY)
def get_all(call: Call, tx: Tx) -> Data:
    """Find users."""
    return find_all(tx, "user", call).reply("users")


@endpoint(
    "users.get_all_ex",
    schema=ANY,
    since="2.8",
    fields={"active_in_projects": {"type": "array", "items": TEXT}},
    differs="`role` can be requested",
)
def get_all_ex(call: Call, tx: Tx) -> Data:
    """Find users, with the company as an object; `active_in_projects` asks for those who have tasks or models there."""
    projects = call.data.get("active_in_projects")
    return find_all_ex(tx, "user", call, where=active_in(projects) if projects else all_of([])).reply("users")


@endpoint("users.get_preferences", schema=ANY)
def get_preferences(call: Call, tx: Tx) -> Data:
    """Return what the calling user has set."""
    return {"preferences": by_id(tx, "user", call.user, call.company).get("preferences") or {}}


@endpoint("users.set_preferences", writes=True, role=roles.GUEST, schema=PREFERENCES)
def set_preferences(call: Call, tx: Tx) -> Data:
    """Set some of the calling user's preferences; the others are kept."""
    user = by_id(tx, "user", call.user, call.company)
    # A null is a value here, so the body as sent has to be read.
    preferences = merged(user.get("preferences") or {}, call.raw["preferences"])
    tx.put("user", user | {"preferences": preferences})
    return {"updated": 1, "fields": {"preferences": preferences}}


@endpoint(
    "users.update",
    writes=True,
    schema=UPDATE,
    differs="only admins change others' names (genuine: everybody), and a name is not empty",
)
def update(call: Call, tx: Tx) -> Data:
    """Change a user's names; other users' only with the right to."""
    if call.data["user"] != call.user:
        roles.require(call.role, roles.ADMIN)
    user = tx.get("user", call.data["user"])
    fields = {name: call.data[name] for name in accounts.NAMES if name in call.data}
    if user is None or user["company"] != call.company or not fields:
        return {"updated": 0, "fields": {}}
    if not str(fields.get("name", user["name"])).strip():
        raise validation_error("field=name: a user needs a name")
    accounts.store_user(call, tx, user | fields)
    return {"updated": 1, "fields": fields}


@endpoint(
    "users.create",
    writes=True,
    role=roles.ADMIN,
    schema=CREATE,
    differs="admins may call it (genuine: root and system); such a user can log in and be impersonated",
)
def create(call: Call, tx: Tx) -> Data:
    """Make a user, who has no access key yet."""
    id = call.data["id"]
    if call.data["company"] != call.company:
        raise validation_error(f"unknown company: {call.data['company']}")
    if tx.get("user", id) is not None:
        raise ApiError(400, 302, f"User id already exists: id={id}")
    fields = {name: call.data[name] for name in ("id", "company", "email", *accounts.NAMES) if name in call.data}
    accounts.store_user(call, tx, fields | {"role": roles.USER, "created": iso(call.now)})
    return {}


@endpoint(
    "users.delete",
    writes=True,
    role=roles.ADMIN,
    schema=USER,
    differs="admins may call it (genuine: root and system); the user's keys and tokens end at once",
)
def delete(call: Call, tx: Tx) -> Data:
    """Delete a user with their access keys; what they have made stays."""
    user = accounts.find_user(call, tx, call.data["user"])
    if user["id"] == call.user:
        raise validation_error("the calling user cannot delete itself")
    accounts.remove_user(call, tx, user)
    return {}
