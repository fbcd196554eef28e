"""Start-up of a data folder: lock, company, user, access key, default queue, `clearml.conf`.

The access key is made at random once and kept in `credentials.json`; it is never printed. `clearml.conf` is
rewritten at each start, because it names the addresses of this start. Only the server's own user can read both: modes
are corrected at each start, because other programs may have made, copied or restored folders and files.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import secrets
import stat
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from clearml_localserver.auth import Auth, Key, hash_secret, identity, new_credentials
from clearml_localserver.database import FILE_NAME
from clearml_localserver.errors import StartError
from clearml_localserver.file_locks import try_lock
from clearml_localserver.ids import new_id
from clearml_localserver.settings import Settings
from clearml_localserver.store import Store, Tx
from clearml_localserver.tables.credentials import remove_key
from clearml_localserver.tables.settings import read_setting, remove_settings, write_setting
from clearml_localserver.times import iso, utcnow

USER_NAME = "localserver"

CLEARML_CONF = """\
# Written by localserver at each start. Use it by CLEARML_CONFIG_FILE={path}
api {{
    web_server: "{web}"
    api_server: "{api}"
    files_server: "{files}"
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


PRIVATE = (
    "files",
    *(f"{FILE_NAME}{suffix}" for suffix in ("", "-wal", "-shm")),
    "credentials.json",
    "clearml.conf",
    "lock",
)
"""What only its owner can read in the data folder, besides the folder itself."""


def prepare_folder(data: Path) -> IO[str]:
    """Make the data folder and lock it for this process; the lock lives as long as the returned file is open.

    Raises:
        StartError: The folder cannot be used or be kept from others, or another server runs on it.
    """
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make_private(data)
        (data / "files").mkdir(exist_ok=True)
        lock = (data / "lock").open("a+", encoding="ascii")
    except OSError as error:
        raise StartError(
            f"data folder {data} cannot be used: {error.strerror}\nHint: choose another one with --data"
        ) from error
    if not try_lock(lock.fileno()):
        lock.seek(0)
        owner = lock.read().strip() or "unknown"
        raise StartError(
            f"data folder {data} is in use by another localserver (pid {owner})\n"
            f"Hint: stop that one (kill {owner}; ./task server-down, if ./task server-up started it) "
            "or choose another folder with --data"
        )
    for name in PRIVATE:
        if (data / name).exists():
            _make_private(data / name)
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
            f"Hint: restore a backup (clearml-localserver restore BACKUP {data}) or start with another --data folder"
        )


def _make_private(path: Path) -> None:
    """Let only its owner read a file or folder.

    Raises:
        StartError: That is not possible, or it is a folder that everybody shares, such as /tmp.
    """
    state = path.stat()
    if state.st_mode & stat.S_ISVTX:
        raise StartError(
            f"data folder {path} is shared by all users\nHint: choose a folder of the server's own with --data"
        )
    if not state.st_mode & 0o077:
        return
    why = "this file system does not store file modes"
    try:
        path.chmod(stat.S_IMODE(state.st_mode) & 0o700)
    except PermissionError:
        why = f"it belongs to uid {state.st_uid}, the server runs as uid {os.geteuid()}"
    if path.stat().st_mode & 0o077:
        raise StartError(
            f"other users can read {path}, and this cannot be changed: {why}\n"
            "Hint: give it to the user that runs the server (chown), or choose another folder with --data: "
            "a new one inside will do"
        )


def read_credentials(data: Path) -> Credentials | None:
    """Return the server's access key; None where the folder has none yet.

    Raises:
        StartError: The file is there and does not hold one.
    """
    path = data / "credentials.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StartError(
            f"access key file {path} cannot be read: {error.strerror}\nHint: do this as the user that runs the server"
        ) from error
    except ValueError as error:
        raise _no_credentials(path, str(error)) from error
    names = ("access_key", "secret_key")
    if not isinstance(found, dict) or not all(isinstance(found.get(name), str) and found[name] for name in names):
        raise _no_credentials(path, 'it must hold {"access_key": "…", "secret_key": "…"}')
    return Credentials(found["access_key"], found["secret_key"])


def load_credentials(data: Path) -> Credentials:
    """Return the server's access key, made at random where the folder has none yet.

    Raises:
        StartError: As `read_credentials`.
    """
    credentials = read_credentials(data)
    if credentials is None:
        credentials = Credentials(*new_credentials())
        text = json.dumps({"access_key": credentials.access_key, "secret_key": credentials.secret_key})
        _write_private(data / "credentials.json", text)
    return credentials


def _no_credentials(path: Path, why: str) -> StartError:
    return StartError(
        f"access key file {path} cannot be read: {why}\n"
        "Hint: restore it from a backup, or delete it: the next start makes a new key, and the old one is refused"
    )


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


def last_addresses(data: Path) -> dict[str, str]:
    """Return `api_server`, `web_server` and `files_server` of the folder's last start; nothing where none was.

    Older servers wrote them without quotes.
    """
    try:
        text = (data / "clearml.conf").read_text(encoding="utf-8")
    except OSError:
        return {}
    return dict(re.findall(r'^\s*(api_server|web_server|files_server):\s*"?([^"\s]+)', text, re.MULTILINE))


async def load_auth(store: Store, credentials: Credentials) -> Auth:
    """Set the database up where it is new; return its users and keys, the server's own among them."""
    return await store.write(_load_auth(credentials))


def _load_auth(credentials: Credentials) -> Callable[[Tx], Auth]:
    def load(tx: Tx) -> Auth:
        company = _setting(tx, "company", new_id)
        user = _setting(tx, "user", new_id)
        now = iso(utcnow())
        if tx.get("user", user) is None:
            tx.put("user", {"id": user, "name": USER_NAME, "company": company, "role": "admin", "created": now})
        if read_setting(tx, "default_queue") is None:
            queue = _setting(tx, "default_queue", new_id)
            fields = {"id": queue, "name": "default", "company": company, "user": user, "created": now}
            rest = {"last_update": now, "tags": [], "system_tags": ["default"], "entries": [], "metadata": {}}
            tx.put("queue", fields | rest)
        _keep_own_key(tx, credentials, user)
        secret = _setting(tx, "token_secret", lambda: secrets.token_hex(32))
        people = {doc["id"]: identity(doc) for doc in tx.docs("SELECT doc FROM user")}
        keys = {
            access_key: Key(hash_, owner, role)
            for access_key, hash_, owner, role in tx.rows("SELECT access_key, secret_hash, user, role FROM credential")
        }
        ended = dict(tx.rows("SELECT session_id, expires FROM revoked_session"))
        own = replace(people[user], access_key=credentials.access_key)
        return Auth(secret, people, keys, ended, own)

    return load


def _keep_own_key(tx: Tx, credentials: Credentials, user: str) -> None:
    """Store the server's own key; where `credentials.json` was made again, refuse the old one and all its tokens.

    The key that signs tokens goes too: a person deletes that file because others may have read the folder.
    """
    previous = _setting(tx, "own_key", lambda: credentials.access_key)
    if previous != credentials.access_key:
        remove_key(tx, previous)
        remove_settings(tx, ["own_key", "token_secret"])
        _setting(tx, "own_key", lambda: credentials.access_key)
    tx.execute(
        "INSERT INTO credential (access_key, secret_hash, user, label) VALUES (?, ?, ?, 'localserver') "
        "ON CONFLICT (access_key) DO UPDATE SET secret_hash = excluded.secret_hash, user = excluded.user, role = NULL",
        (credentials.access_key, hash_secret(credentials.secret_key), user),
    )


def _setting(tx: Tx, name: str, make: Callable[[], str]) -> str:
    found = read_setting(tx, name)
    if found is not None:
        return str(found)
    value = make()
    write_setting(tx, name, value)
    return value


def _write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, and never leave half of one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
