"""`keys`: the access keys of a server that runs."""

from __future__ import annotations

import base64
import json
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import click

from clearml_localserver.bootstrap import last_addresses, read_credentials
from clearml_localserver.commands.progress import printable
from clearml_localserver.errors import OperatorError
from clearml_localserver.rules import roles
from clearml_localserver.upkeep.data_folder import running_pid

TIMEOUT_S = 30
ROLES = click.Choice([roles.GUEST, roles.USER, roles.ADMIN])
FOLDER = click.argument("data", type=click.Path(path_type=Path, file_okay=False, exists=True), metavar="DIR")


@click.group("keys", short_help="List, create and revoke access keys.")
def keys_command() -> None:
    """List, create and revoke access keys of the server that runs on data folder DIR.

    \b
    Example, a key for a dashboard, which may only read:
        clearml-localserver keys create ./data --role guest --label dashboard

    Exit codes: 0 done, 10 the server does not run or refuses.
    """  # noqa: D301  \b keeps click from folding the lines


@keys_command.command("list", short_help="List all keys, without their secrets.")
@FOLDER
def list_command(data: Path) -> None:
    """List all keys with their role, their user and their last use; the server does not know the secrets.

    \b
    Example:
        clearml-localserver keys list ./data
    """  # noqa: D301  \b keeps click from folding the lines
    found = _call(data, "auth.get_credentials", {"all_users": True})["credentials"]
    names = {user["id"]: user["name"] for user in _call(data, "users.get_all", {})["users"]}
    rows = [("access key", "role", "user", "label", "last used", "from")]
    for key in found:
        who = names.get(key["user"], key["user"])
        used = key.get("last_used", "")[:19]
        rows.append((key["access_key"], key["role"], who, key.get("label", ""), used, key.get("last_used_from", "")))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo(printable(line).rstrip())


@keys_command.command("create", short_help="Create a key and print its secret, once.")
@FOLDER
@click.option("--role", type=ROLES, help="Highest role that the key gives.  [default: its user's role]")
@click.option("--user", help="Id of the key's user.  [default: the server's own user, an admin]")
@click.option("--label", help="Text that says what the key is for.")
def create_command(data: Path, role: str | None, user: str | None, label: str | None) -> None:
    """Create a key and print it with its secret, which cannot be shown again.

    \b
    Example:
        clearml-localserver keys create ./data --role guest --label dashboard
    """  # noqa: D301  \b keeps click from folding the lines
    given = {name: value for name, value in (("role", role), ("user", user), ("label", label)) if value is not None}
    made = _call(data, "auth.create_credentials", given)["credentials"]
    click.echo(f'access_key: "{made["access_key"]}"\nsecret_key: "{made["secret_key"]}"')


@keys_command.command("revoke", short_help="Revoke a key.")
@FOLDER
@click.argument("access_key")
def revoke_command(data: Path, access_key: str) -> None:
    """Revoke a key: the server refuses all requests with it from now on.

    \b
    Example:
        clearml-localserver keys revoke ./data 8V0X4K2T7Q1M
    """  # noqa: D301  \b keeps click from folding the lines
    known = _call(data, "auth.get_credentials", {"all_users": True})["credentials"]
    if access_key not in [key["access_key"] for key in known]:
        name = printable(access_key)
        raise OperatorError(f"there is no access key {name}\nHint: clearml-localserver keys list {data}")
    _call(data, "auth.revoke_credentials", {"access_key": access_key})
    click.echo(f"revoked {access_key}")


def _call(data: Path, name: str, body: dict[str, Any]) -> dict[str, Any]:
    """Call the server that runs on a data folder, as its own user.

    Raises:
        OperatorError: It does not run, or refuses.
    """
    credentials, address = read_credentials(data), last_addresses(data).get("api_server")
    if credentials is None or address is None:
        raise OperatorError(f"no server has run on {data} yet\nHint: start it: clearml-localserver --data {data}")
    if running_pid(data) is None:  # what listens at its address now may be anybody, and the key is an admin's
        raise OperatorError(f"no server runs on {data}\nHint: start it: clearml-localserver --data {data}")
    basic = base64.b64encode(f"{credentials.access_key}:{credentials.secret_key}".encode()).decode()
    headers = {"Authorization": f"Basic {basic}", "Content-Type": "application/json"}
    request = Request(f"{address}/{name}", json.dumps(body).encode(), headers)  # noqa: S310  our own http address
    try:
        with build_opener(ProxyHandler({})).open(request, timeout=TIMEOUT_S) as reply:
            found: dict[str, Any] = json.load(reply)["data"]
            return found
    except HTTPError as error:
        raise OperatorError(f"the server at {address} refuses {name}: {_reason(error)}") from error
    except (OSError, HTTPException, ValueError, KeyError, TypeError) as error:
        raise OperatorError(
            f"the server on {data} does not answer at {address}: {getattr(error, 'reason', error)}\n"
            "Hint: see its log; a server that has just started needs a few seconds"
        ) from error


def _reason(error: HTTPError) -> str:
    try:
        return printable(str(json.load(error)["meta"]["result_msg"]))
    except (ValueError, KeyError, TypeError):
        return f"{error.code} {error.reason}"
