"""The registry of endpoints, and the request object that endpoint functions receive.

An endpoint is a plain function `(call, tx) -> reply data`, run by the dispatcher (`clearml_localserver.wire`) inside
one store transaction. This module knows no endpoint; `clearml_localserver.endpoints` registers them all when it is
imported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from clearml_localserver.auth import Auth, Identity, Presented
from clearml_localserver.request_schemas import RequestSchemas, Schema
from clearml_localserver.rules import roles
from clearml_localserver.settings import Settings
from clearml_localserver.store import Tx

Data = dict[str, Any]


@dataclass(frozen=True)
class Context:
    """What belongs to the server, not to a request."""

    settings: Settings
    auth: Auth

    @property
    def files_root(self) -> Path:
        """Folder of the file server."""
        return self.settings.data / "files"


@dataclass(frozen=True)
class Call:
    """One request, authenticated and validated."""

    endpoint: str
    data: Data
    """The body, top-level nulls removed."""
    raw: Data
    """The body as sent."""
    version: tuple[int, int]
    identity: Identity
    worker: str
    now: datetime
    context: Context
    presented: Presented = field(default_factory=Presented)

    @property
    def client_host(self) -> str:
        """Address that the request came from."""
        return self.presented.address

    @property
    def user(self) -> str:
        """Id of the calling user."""
        return self.identity.user

    @property
    def company(self) -> str:
        """Id of the calling user's company."""
        return self.identity.company

    @property
    def role(self) -> str:
        """Role of the calling user."""
        return self.identity.role

    @property
    def user_name(self) -> str:
        """Name of the calling user."""
        return self.identity.user_name

    @property
    def company_name(self) -> str:
        """Name of the calling user's company."""
        return self.identity.company_name


@dataclass(frozen=True)
class Raw:
    """A reply that is not a JSON envelope, or that carries headers of its own."""

    body: bytes = b""
    media_type: str = "application/octet-stream"
    headers: dict[str, str] = field(default_factory=dict)
    rest: Part | None = None
    """Reads the next part of a long body."""


Part = Callable[[Tx], tuple[bytes, "Part | None"]]
"""Reads a part of a body in a transaction of its own; returns it and what reads the next one, if there is one."""


@dataclass(frozen=True)
class WithCookie:
    """Reply data that also sets (or with an empty token clears) the session cookie."""

    data: Data
    token: str


@dataclass(frozen=True)
class WaitFor:
    """Nothing to answer yet: run the endpoint again when one of `topics` is notified, else answer `otherwise`."""

    topics: frozenset[str]
    timeout_s: float
    otherwise: Data
    ends: frozenset[str] = frozenset()
    """Topics that end the wait: `otherwise` is answered at once."""


@dataclass(frozen=True)
class Unfinished:
    """There is more to do than one transaction should hold the writer for: `rest` runs in another, after other writes.

    What was done is committed and seen; the client is answered when all of it is done.
    """

    rest: Callable[[Tx], Reply]


Reply = Data | Raw | WithCookie | WaitFor | Unfinished
Function = Callable[[Call, Tx], Reply]


@dataclass(frozen=True)
class Endpoint:
    """A registered endpoint."""

    name: str
    function: Function
    writes: bool
    json_lines: bool
    needs_auth: bool
    role: str
    """The lowest role that may call it."""
    schema: Schema | None
    since: str
    """Oldest API version that has it; echoed as `meta.endpoint.actual_version`."""
    waits: bool = False
    """Whether it may answer `WaitFor` for longer than a client's read timeout."""
    fields: Schema | None = None
    """Schemas of single fields that the endpoint's schema lacks or leaves open."""
    differs: str = ""
    """How it differs from a genuine server's on purpose; docs/localserver-endpoints.md is made of these."""

    def require_role(self, role: str) -> None:
        """Refuse a caller who may not call this.

        Raises:
            ApiError: 403/20.
        """
        if self.needs_auth:
            roles.require(role, self.role)


ENDPOINTS: dict[str, Endpoint] = {}


def endpoint(
    name: str,
    *,
    writes: bool = False,
    json_lines: bool = False,
    needs_auth: bool = True,
    role: str | None = None,
    schema: Schema | None = None,
    since: str = "1.0",
    waits: bool = False,
    fields: Schema | None = None,
    differs: str = "",
) -> Callable[[Callable[[Call, Tx], Any]], Callable[[Call, Tx], Any]]:
    """Register a function as the endpoint `name` (`service.action`).

    A field that the function reads has a schema: in the SDK's, in `schema` instead of it, or in `fields` beside it.

    Args:
        name: The endpoint.
        writes: Whether it changes the store; one that does not say so cannot.
        json_lines: Whether its body may be many JSON objects, one a line.
        needs_auth: Whether a caller has to say who they are.
        role: Who may call it. By default readers may call what reads, and writers what writes.
        schema: Of the body, where the SDK has none or a wrong one.
        since: Oldest API version that has it.
        waits: Whether it may answer `WaitFor`.
        fields: Schemas of fields that the SDK's lacks.
        differs: How it differs from a genuine server's on purpose.
    """
    least = role or (roles.USER if writes else roles.GUEST)

    def register(function: Callable[[Call, Tx], Any]) -> Callable[[Call, Tx], Any]:
        if name in ENDPOINTS:
            raise ValueError(f"endpoint {name} is registered twice")
        ENDPOINTS[name] = Endpoint(
            name, function, writes, json_lines, needs_auth, least, schema, since, waits, fields, differs
        )
        return function

    return register


def add_endpoint_schemas(schemas: RequestSchemas) -> None:
    """Add the schemas and fields that endpoints declare."""
    for item in ENDPOINTS.values():
        if item.schema is not None:
            schemas.add(item.name, item.schema)
        if item.fields is not None:
            schemas.extend(item.name, item.fields)
