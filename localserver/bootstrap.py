"""The first start, and every start: folder, lock, company, user, access key, default queue, `clearml.conf`.

The access key is made at random once and kept in `credentials.json` (0600); it is never printed. `clearml.conf` (0600)
is written anew at each start, because it names the addresses of this start.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import orjson

from localserver.auth import Auth, Identity, Key, hash_secret, new_credentials
from localserver.database import FILE_NAME
from localserver.errors import StartError
from localserver.ids import new_id
from localserver.settings import Settings
from localserver.store import Store, Tx
from localserver.times import iso, utcnow

USER_NAME = "localserver"
COMPANY_NAME = "clearml"

CLEARML_CONF = """\
# Written by localserver at each start. Use it by CLEARML_CONFIG_FILE={path}
api {{
    web_server: {web}
    api_server: {api}
    files_server: {files}
    credentials {{
        access_key: "{access_key}"
        secret_key: "{secret_key}"
    }}
}}
sdk {{
    development {{
        # Reporting as a thread: with the default subprocess every process that uses the SDK takes about ten
        # seconds longer to end.
        report_use_subprocess: false
    }}
}}
"""


@dataclass(frozen=True)
class Credentials:
    """The access key of the server's own user."""

    access_key: str
    secret_key: str


def prepare_folder(data: Path) -> IO[str]:
    """Make the data folder and lock it for this process; the lock lives as long as the returned file is open.

    Raises:
        StartError: The folder cannot be used, or another server runs on it.
    """
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        (data / "files").mkdir(exist_ok=True)
        lock = (data / "lock").open("a+", encoding="ascii")
    except OSError as error:
        raise StartError(
            f"data folder {data} cannot be used: {error.strerror}\nHint: choose another one with --data"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.seek(0)
        owner = lock.read().strip() or "unknown"
        raise StartError(
            f"data folder {data} is in use by another localserver (pid {owner})\n"
            "Hint: stop that one (task server-down) or choose another folder with --data"
        ) from error
    try:
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
    except OSError as error:
        raise StartError(f"data folder {data} cannot be written: {error.strerror}\nHint: is its disk full?") from error
    return lock


def refuse_lost_database(data: Path) -> None:
    """Check that a folder that was in use still has its database: a new one would hide the loss.

    Raises:
        StartError: The database is missing or empty, and there are an access key or uploads.
    """
    database = data / FILE_NAME
    if database.exists() and database.stat().st_size > 0:
        return
    traces = [path for path in (data / "credentials.json",) if path.exists()]
    uploads = (Path(folder) / names[0] for folder, _, names in os.walk(data / "files") if names)
    traces += itertools.islice(uploads, 1)
    if traces:
        raise StartError(
            f"database {database} is {'empty' if database.exists() else 'missing'}, but the folder was in use: "
            f"{traces[0]} is there\n"
            f"Hint: restore a backup (python -m localserver restore BACKUP {data}) or start with another --data folder"
        )


def load_credentials(data: Path) -> Credentials:
    """Return the server's access key, made at random where the folder has none yet."""
    path = data / "credentials.json"
    if path.exists():
        return Credentials(**json.loads(path.read_text(encoding="utf-8")))
    credentials = Credentials(*new_credentials())
    _write_private(path, json.dumps({"access_key": credentials.access_key, "secret_key": credentials.secret_key}))
    return credentials


def write_client_configuration(settings: Settings, credentials: Credentials) -> Path:
    """Write `clearml.conf` into the data folder and return its path."""
    path = settings.data / "clearml.conf"
    text = CLEARML_CONF.format(
        path=path,
        web=settings.web_url,
        api=settings.api_url,
        files=settings.files_url,
        access_key=credentials.access_key,
        secret_key=credentials.secret_key,
    )
    _write_private(path, text)
    return path


async def load_auth(store: Store, credentials: Credentials) -> tuple[Auth, Identity]:
    """Set the database up where it is new; return its keys and the server's own user."""
    return await store.write(_load_auth(credentials))


def _load_auth(credentials: Credentials) -> Callable[[Tx], tuple[Auth, Identity]]:
    def load(tx: Tx) -> tuple[Auth, Identity]:
        company = _setting(tx, "company", new_id)
        user = _setting(tx, "user", new_id)
        secret = _setting(tx, "token_secret", lambda: secrets.token_hex(32))
        own = Identity(user, company, "admin", USER_NAME, COMPANY_NAME)
        now = iso(utcnow())
        if tx.get("user", user) is None:
            tx.put("user", {"id": user, "name": USER_NAME, "company": company, "role": "admin", "created": now})
        if not tx.rows("SELECT 1 FROM setting WHERE name = 'default_queue'"):
            queue = _setting(tx, "default_queue", new_id)
            fields = {"id": queue, "name": "default", "company": company, "user": user, "created": now}
            rest = {"last_update": now, "tags": [], "system_tags": ["default"], "entries": [], "metadata": {}}
            tx.put("queue", fields | rest)
        tx.execute(
            "INSERT OR IGNORE INTO credential (access_key, secret_hash, user, label) VALUES (?, ?, ?, 'localserver')",
            (credentials.access_key, hash_secret(credentials.secret_key), user),
        )
        people = {doc["id"]: doc for doc in tx.docs("SELECT doc FROM user")}
        keys = {
            access_key: Key(hash_, _identity(people[owner]))
            for access_key, hash_, owner in tx.rows("SELECT access_key, secret_hash, user FROM credential")
            if owner in people
        }
        return Auth(secret, keys, dict(tx.rows("SELECT session_id, expires FROM revoked_session"))), own

    return load


def _identity(person: dict[str, str]) -> Identity:
    return Identity(person["id"], person["company"], person.get("role", "user"), person["name"], COMPANY_NAME)


def _setting(tx: Tx, name: str, make: Callable[[], str]) -> str:
    rows = tx.rows("SELECT value FROM setting WHERE name = ?", (name,))
    if rows:
        return str(orjson.loads(rows[0][0]))
    value = make()
    tx.execute("INSERT INTO setting VALUES (?, ?)", (name, orjson.dumps(value).decode()))
    return value


def _write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, and never leave half of one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
