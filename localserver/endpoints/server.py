"""Services `server`, `debug` and `login`: what may be asked before anything else."""

from __future__ import annotations

import time

from localserver.auth import API_VERSION, SERVER_VERSION
from localserver.errors import ApiError
from localserver.registry import ENDPOINTS, Call, Data, WithCookie, endpoint
from localserver.store import Tx

NO_FIELDS = {"type": "object"}


@endpoint("debug.ping", needs_auth=False, schema=NO_FIELDS)
def ping(call: Call, tx: Tx) -> Data:
    """Answer that the server lives; the agent chart's init container waits for this."""
    return {"msg": "Because it trains cats and dogs"} if call.data.get("verbose") else {}


@endpoint("server.info", schema=NO_FIELDS)
def info(call: Call, tx: Tx) -> Data:
    """Describe the server."""
    return {"version": SERVER_VERSION, "build": "localserver", "commit": "", "api_version": API_VERSION}


@endpoint("server.endpoints", schema=NO_FIELDS)
def endpoints(call: Call, tx: Tx) -> Data:
    """List the endpoints, by service."""
    services: dict[str, list[Data]] = {}
    for name, item in sorted(ENDPOINTS.items()):
        service = name.partition(".")[0]
        services.setdefault(service, []).append({"name": name, "min_version": item.since})
    return {"endpoints": services}


@endpoint("server.report_stats_option", schema=NO_FIELDS)
def report_stats_option(call: Call, tx: Tx) -> Data:
    """Say that this server sends statistics to nobody."""
    return {"supported": False, "enabled": False, "enabled_time": None, "enabled_version": None, "enabled_user": None}


@endpoint("login.supported_modes", needs_auth=False, schema=NO_FIELDS)
def supported_modes(call: Call, tx: Tx) -> Data:
    """Say how people may log in: with an access key."""
    return {
        "authenticated": False,
        "basic": {"enabled": False, "guest": {"enabled": False}},
        "sso": {},
        "sso_providers": [],
        "server_errors": {"missed_es_upgrade": False, "es_connection_error": False},
    }


@endpoint("login.logout", needs_auth=False, writes=True, schema=NO_FIELDS)
def logout(call: Call, tx: Tx) -> WithCookie:
    """End the presented session, if any, and clear the cookie."""
    auth = call.context.auth
    try:
        identity = auth.authenticate(call.presented)
    except ApiError as error:
        if error.code != 401:
            raise
        return WithCookie({}, "")  # logging out without a valid session is fine
    end_session(call, tx, identity.session)
    return WithCookie({}, "")


def end_session(call: Call, tx: Tx, session: str) -> None:
    """Refuse a session's token from now on, also after a restart; forget those that ran out."""
    if session:
        tx.execute("DELETE FROM revoked_session WHERE expires < ?", (int(time.time()),))
        expires = call.context.auth.end_session(session)
        tx.execute("INSERT OR REPLACE INTO revoked_session VALUES (?, ?)", (session, expires))
