"""Where the ClearML server is and the access key to it: the environment first, then `clearml.conf`, as the SDK does.

Outside system: the file system; the file is read with the SDK's own parser.
"""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from clearml_access import own_server
from clearml_access.errors import ConfigurationError, NoCredentialsError, parse_error
from clearml_access.sdk_parser import config_factory

FILE = "~/clearml.conf"

VARIABLES = {
    "api": ("API_HOST", "api_server"),
    "web": ("WEB_HOST", "web_server"),
    "files": ("FILES_HOST", "files_server"),
    "access_key": ("API_ACCESS_KEY", "credentials.access_key"),
    "secret_key": ("API_SECRET_KEY", "credentials.secret_key"),
    "verify": ("API_HOST_VERIFY_CERT", "verify_certificate"),
}
"""Field → the SDK's variable behind its prefix, and the key in the file's section `api`."""

PREFIXES = ("CLEARML_", "TRAINS_")
"""The SDK takes its variables under its old name too."""

HOSTED = {"api": "https://api.clear.ml", "web": "https://app.clear.ml", "files": "https://files.clear.ml"}
"""The server that the SDK means where keys are given and no address."""


class Secret(str):
    """A text that does not show itself in reprs, tracebacks and logs."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


@dataclass(frozen=True)
class Server:
    """A ClearML server and the access key to it."""

    api: str
    web: str
    files: str
    access_key: Secret
    secret_key: Secret
    source: str
    """Where this came from, for messages."""

    token: str = field(default="", repr=False)
    """What the SDK uses in place of the keys where a server gave a task a token of its own."""

    verify: bool = True
    """Whether the server's certificate is checked."""

    def fingerprint(self, release: str) -> str:
        """Return a text that changes when the keys do and says nothing about them."""
        text = f"{release}\0{self.access_key}\0{self.secret_key}"
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def is_configured(environ: Mapping[str, str]) -> bool:
    """Return whether a server is configured, by the SDK's own names and places.

    A variable that names a missing file counts: `find` refuses it, where another server would be a surprise.
    """
    if any(_variable(environ, name) for name in ("CONFIG_FILE", VARIABLES["api"][0], VARIABLES["access_key"][0])):
        return True
    return configuration_file(environ).is_file()


def configuration_file(environ: Mapping[str, str]) -> Path:
    """Return the `clearml.conf` that the SDK reads, whether it exists or not."""
    home = environ.get("HOME") or str(Path.home())
    named = os.path.expandvars(_variable(environ, "CONFIG_FILE") or FILE)
    return Path(home, named[2:]) if named.startswith("~/") else Path(named)


def find(environ: Mapping[str, str], *, needs_key: bool = True) -> Server:
    """Return the server and the key.

    Args:
        environ: The process's environment.
        needs_key: Without it, what is found nowhere is empty in the result.

    Raises:
        ConfigurationError: The named file is missing or cannot be read, or an address is not one.
        NoCredentialsError: An address or a key is found nowhere; the message names all that are missing.
    """
    path = configuration_file(environ)
    named = _variable(environ, "CONFIG_FILE")
    if named and not path.is_file():
        raise ConfigurationError(f"CLEARML_CONFIG_FILE={named} is not a file", hint="unset it, or: clearml-init")
    section = read_section(path, "api") if path.is_file() else {}
    found = {field: _variable(environ, name) or _text(section, key) for field, (name, key) in VARIABLES.items()}
    for part in ("api", "web", "files"):
        variable, key = VARIABLES[part]
        _check_address(part, f"CLEARML_{variable}" if _variable(environ, variable) else f"{path}: {key}", found[part])
    token = _variable(environ, "AUTH_TOKEN")
    has_key = bool(token or (found["access_key"] and found["secret_key"]))
    if has_key or (found["api"] and not needs_key):
        found |= {field: url for field, url in _implied(found["api"]).items() if not found[field]}
    needed = ("api", "web", "files") if token else ("api", "web", "files", "access_key", "secret_key")
    missing = [f"CLEARML_{VARIABLES[field][0]}" for field in needed if not found[field]]
    if missing and needs_key:
        # With only the API's address and keys, the SDK derives the other two.
        why = f"; they cannot be derived from {found['api']}, only from port 8008 or https://api.…" if has_key else ""
        raise NoCredentialsError(
            f"the ClearML server is not known: {', '.join(missing)} not set, and not in {path}{why}",
            hint=how_to_set(missing) if found["api"] else _how_to_configure(environ),
        )
    return Server(
        api=found["api"].rstrip("/"),
        web=found["web"].rstrip("/"),
        files=found["files"].rstrip("/"),
        access_key=Secret(found["access_key"]),
        secret_key=Secret(found["secret_key"]),
        source="the environment" if token or _variable(environ, VARIABLES["secret_key"][0]) else str(path),
        token=Secret(token),
        verify=found["verify"].lower() not in ("0", "false", "no", "n", "off", "f"),
    )


def how_to_set(variables: Sequence[str]) -> str:
    """Return the shell command that sets variables of `VARIABLES`."""
    return "export " + " ".join(f"{name}={'https://' if name.endswith('_HOST') else ''}…" for name in variables)


def _how_to_configure(environ: Mapping[str, str]) -> str:
    own = own_server.configuration(own_server.state_folder(environ))
    if own.is_file():
        return f"for this machine's own server: export CLEARML_CONFIG_FILE={shlex.quote(str(own))}"
    return "clearml-init; or export CLEARML_CONFIG_FILE=…/clearml.conf (./task server-up prints one)"


def is_loopback(url: str) -> bool:
    """Return whether an address means "this machine": in a pod it means the pod."""
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1", "0.0.0.0") or host.startswith("127.")  # noqa: S104  # compared, not bound


def _variable(environ: Mapping[str, str], name: str) -> str:
    return next((text for prefix in PREFIXES if (text := environ.get(prefix + name, "").strip())), "")


def _check_address(part: str, name: str, url: str) -> None:
    is_web = url.lower().startswith(("http://", "https://"))
    # The SDK takes the address of a bucket for that of the file server.
    if url and not is_web and not (part == "files" and "://" in url):
        raise ConfigurationError(f"{name}={url}: an address begins with http:// or https://", hint=f"https://{url}")
    try:
        _ = urlsplit(url).port
    except ValueError:
        raise ConfigurationError(f"{name} {url} is not an address", hint="http://server:8008, for example") from None


def _implied(api: str) -> dict[str, str]:
    """Return the addresses that the SDK takes where only the API's is given."""
    if not api:
        return HOSTED
    if "://api." in api:
        return {"web": api.replace("://api.", "://app.", 1), "files": api.replace("://api.", "://files.", 1)}
    if urlsplit(api).port == 8008:
        return {"web": api.replace(":8008", ":8080", 1), "files": api.replace(":8008", ":8081", 1)}
    return {}


def read_section(path: Path, name: str) -> dict[str, Any]:
    """Return a section of a `clearml.conf`, empty where it has none.

    Raises:
        ConfigurationError: The file cannot be read.
    """
    factory = config_factory()
    try:
        found = factory.parse_file(str(path)).get(name, {})
        return dict(found.as_plain_ordered_dict() if hasattr(found, "as_plain_ordered_dict") else found)
    except Exception as error:  # the parser's errors differ by the version of pyparsing
        raise ConfigurationError(
            f"{path} cannot be read: {parse_error(error)}", hint="correct that line, or run clearml-init"
        ) from None


def _text(section: Mapping[str, Any], key: str) -> str:
    found: Any = section
    for step in key.split("."):
        found = found.get(step) if hasattr(found, "get") else None
    return "" if found is None else str(found).strip()
