"""Services `server`, `debug` and `login`: information about the server, and ways to log in."""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import asdict

import psutil

from clearml_localserver.auth import API_VERSION, SERVER_VERSION
from clearml_localserver.errors import ApiError, validation_error
from clearml_localserver.registry import ENDPOINTS, Call, Data, WithCookie, endpoint
from clearml_localserver.rules import roles
from clearml_localserver.store import Tx
from clearml_localserver.tables import credentials, queues, users
from clearml_localserver.tables.tasks import run_figures
from clearml_localserver.tables.workers import machine_figures
from clearml_localserver.times import iso

NO_FIELDS = {"type": "object"}
DAY_S = 86_400
GIB = 2**30


@endpoint("debug.ping", needs_auth=False, schema=NO_FIELDS, fields={"verbose": {"type": "boolean"}})
def ping(call: Call, tx: Tx) -> Data:
    """Answer that the server is alive; the agent chart's init container waits for this."""
    return {"msg": "Because it trains cats and dogs"} if call.data.get("verbose") else {}


@endpoint("server.info", schema=NO_FIELDS)
def info(call: Call, tx: Tx) -> Data:
    """Describe the server."""
    return {"version": SERVER_VERSION, "build": "localserver", "commit": "", "api_version": API_VERSION}


@endpoint(
    "server.endpoints",
    schema=NO_FIELDS,
    differs="everybody may call it (genuine: root and system); schemas that the SDK has are left out",
)
def endpoints(call: Call, tx: Tx) -> Data:
    """List the endpoints."""
    return {
        "endpoints": {
            name: [
                {
                    "min_version": item.since,
                    "required_fields": None,
                    "request_data_model": item.schema,
                    "response_data_model": None,
                }
            ]
            for name, item in sorted(ENDPOINTS.items())
        }
    }


@endpoint(
    "server.config",
    role=roles.ADMIN,
    schema={"type": "object", "properties": {"path": {"type": "string"}}},
    differs="admins may call it (genuine: root and system); names this server's settings",
)
def config(call: Call, tx: Tx) -> Data:
    """Return the server's settings, or the part of them that `path` names by names between dots."""
    settings = call.context.settings
    found: Data = {
        "hosts": {"apiserver": settings.api_url, "fileserver": settings.files_url, "webserver": settings.web_url},
        "apiserver": {
            "version": {"default": API_VERSION, "check_max_version": False},
            **{name: str(value) if name == "data" else value for name, value in asdict(settings).items()},
        },
    }
    path = call.data.get("path", "")
    for name in path.split(".") if path else ():
        value = found.get(name)
        if value is None:
            raise validation_error(f"field=path: nothing is set at {path}")
        found = value if isinstance(value, dict) else {name: value}
    return found


@endpoint(
    "server.get_stats",
    role=roles.ADMIN,
    schema={"type": "object", "properties": {"interval": {}}},
    differs=(
        "admins may call it (genuine: root and system); load is the present one, with the extremes of all cores; "
        "memory of workers in GB"
    ),
)
def get_stats(call: Call, tx: Tx) -> Data:
    """Return how many documents there are, and how busy this machine and the workers' machines are."""
    count, run_time, iterations = run_figures(tx)
    return {
        "time": iso(call.now),
        "company_id": call.company,
        "server": {
            "version": SERVER_VERSION,
            "deployment": sys.platform,
            "uuid": call.company,
            "queues": {"count": queues.count(tx)},
            "users": {"count": users.count(tx)},
            "resources": METER.read(),
            "experiments": {"count": count, "avg_run_time_sec": run_time or 0, "avg_iterations": iterations or 0},
        },
        "agents": _agents(tx, call.now.timestamp() - DAY_S),
    }


@endpoint(
    "server.report_stats_option",
    schema={"type": "object", "properties": {"enabled": {"type": ["boolean", "null"]}}},
    differs="no statistics are sent; `enabled: true` is refused",
)
def report_stats_option(call: Call, tx: Tx) -> Data:
    """Answer that this server sends no statistics, and refuse to enable it."""
    if call.data.get("enabled"):
        raise validation_error("this server sends no statistics, and this cannot be changed")
    no_one = dict.fromkeys(("enabled_time", "enabled_version", "enabled_user"))
    return {"current_version": SERVER_VERSION, "supported": False, "enabled": False, **no_one}


class Meter:
    """The load of this machine since the last call."""

    def __init__(self) -> None:
        self._asked = time.monotonic()
        self._lock = threading.Lock()
        psutil.cpu_percent(percpu=True)  # the first call returns zeros

    def read(self) -> Data:
        """Return the load, least and most of all cores, and the memory now."""
        with self._lock:
            now, before = time.monotonic(), self._asked
            self._asked = now
            cores = psutil.cpu_percent(percpu=True)
        memory = psutil.virtual_memory()
        return {
            "interval_sec": now - before,
            "num_cores": len(cores),
            "cpu_usage": {"min": min(cores), "max": max(cores), "avg": sum(cores) / len(cores)},
            "mem_used_gb": dict.fromkeys(("min", "max", "avg"), memory.used / GIB),
            "mem_free_gb": dict.fromkeys(("min", "max", "avg"), memory.available / GIB),
        }


METER = Meter()


def _agents(tx: Tx, since: float) -> list[Data]:
    """Return what each worker has reported of its machine; memory comes in MB."""
    agents: dict[str, Data] = {}
    for worker, metric, least, most, mean, cores in machine_figures(tx, since):
        resources = agents.setdefault(worker, {"interval_sec": float(DAY_S)})
        if metric == "cpu_usage":
            resources |= {"num_cores": cores or 1, "cpu_usage": {"min": least, "max": most, "avg": mean}}
        else:
            values = {"min": least / 1024, "max": most / 1024, "avg": mean / 1024}
            resources[metric.replace("memory", "mem") + "_gb"] = values
    return [{"uuid": worker, "resources": resources} for worker, resources in agents.items()]


@endpoint("login.supported_modes", needs_auth=False, schema=NO_FIELDS)
def supported_modes(call: Call, tx: Tx) -> Data:
    """Return the ways to log in: with an access key."""
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
        expires = call.context.auth.end_session(session)
        credentials.end_session(tx, session, expires, int(time.time()))
