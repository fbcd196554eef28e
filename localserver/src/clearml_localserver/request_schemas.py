"""Request schemas: the JSON schemas of ClearML's endpoints, stored in `schemas.json`.

That file is read from the SDK's source by `tests/sdk_schemas.py`, so that a server needs no SDK beside it. Validators
are compiled when an endpoint is first called. Endpoints that the SDK does not know bring their own schema
(`clearml_localserver.registry`).
"""

from __future__ import annotations

from importlib import resources
from typing import Any

import jsonschema_rs
import orjson

from clearml_localserver.errors import ApiError, validation_error

Schema = dict[str, Any]


class RequestSchemas:
    """Request schemas by endpoint name, with validators made on first use."""

    def __init__(self, schemas: dict[str, Schema]) -> None:
        self._schemas = dict(schemas)
        self._fields: dict[str, Schema] = {}
        self._validators: dict[str, tuple[Any, frozenset[str]]] = {}

    @classmethod
    def load(cls) -> RequestSchemas:
        """Return the schemas of the SDK that `schemas.json` was read from."""
        return cls(_stored()["schemas"])

    def add(self, endpoint: str, schema: Schema) -> None:
        """Register the schema of an endpoint that the SDK has none for."""
        self._schemas[endpoint] = schema

    def extend(self, endpoint: str, fields: Schema) -> None:
        """Register schemas of fields that an endpoint's schema lacks or leaves open."""
        self._fields[endpoint] = fields

    def known_schema(self, endpoint: str) -> Schema:
        """Return all that is known of an endpoint's request: the SDK's own schema with the fields that it lacks."""
        schema = self._schemas.get(endpoint, {"type": "object"})
        return {**schema, "properties": schema.get("properties", {}) | self._fields.get(endpoint, {})}

    def __contains__(self, endpoint: str) -> bool:
        return endpoint in self._schemas

    def validate(self, endpoint: str, body: dict[str, Any]) -> None:
        """Check a request body; a whole number that came as `2.0` becomes 2.

        Raises:
            ApiError: 400/12, naming the field and what is wrong with it.
        """
        if endpoint not in self._validators:
            schema = self.enforced_schema(endpoint)
            self._validators[endpoint] = jsonschema_rs.validator_for(schema), _whole_numbers(schema)
        validator, whole = self._validators[endpoint]
        if not validator.is_valid(body):
            raise _named(next(iter(validator.iter_errors(body))))
        for name in whole & body.keys():
            if body[name] is not None:
                body[name] = _int64(name, body[name])

    def enforced_schema(self, endpoint: str) -> Schema:
        """Return what a request is held to; what is open in it is the endpoint's to check."""
        schema = self._schemas.get(endpoint, {"type": "object"})
        # Unknown fields pass, as on a genuine server: the SDK sends a stray "method", newer clients more.
        schema = {name: value for name, value in schema.items() if name != "additionalProperties"}
        if endpoint.rpartition(".")[2] in ("get_all", "get_all_ex"):
            schema = _relaxed(schema)
        return {**schema, "properties": schema.get("properties", {}) | self._fields.get(endpoint, {})}


def _whole_numbers(schema: Schema) -> frozenset[str]:
    """Return the fields of a schema that hold an integer."""
    properties: dict[str, Any] = schema["properties"]
    return frozenset(
        name
        for name, spec in properties.items()
        if spec.get("type") == "integer" or spec.get("type") in (["integer", "null"], ["null", "integer"])
    )


def _int64(name: str, value: float) -> int:
    if not -(2**63) <= value < 2**63:
        raise validation_error(f"field={name}: {value} does not fit into 64 bits")
    return int(value)


def _named(error: jsonschema_rs.ValidationError) -> ApiError:
    field = ".".join(str(part) for part in error.instance_path)
    text = error.message if len(error.message) < 300 else error.message[:297] + "..."
    if "is a required property" in text:
        return validation_error(f"{f'field={field}: ' if field else ''}{text}: field is required!")
    return validation_error(f"field={field or '<body>'}: {text}")


def endpoints_of_clients() -> set[str]:
    """Return the name of every request that the SDK can make, those to an enterprise server included."""
    return {*_stored()["schemas"], *enterprise_endpoints()}


def enterprise_endpoints() -> frozenset[str]:
    """Return the requests of the enterprise server's services: no client of the open-source one makes them."""
    return frozenset(_stored()["enterprise"])


def _stored() -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads((resources.files("clearml_localserver") / "schemas.json").read_bytes())
    return found


PAGING = {"page", "page_size", "size", "search_hidden", "include_subprojects", "scroll_id", "refresh_scroll"}


def _relaxed(schema: Schema) -> Schema:
    """Open a query's filter fields: their language (bare values, nulls, operators) is wider than the schema says."""
    properties = {name: spec if name in PAGING else {} for name, spec in schema.get("properties", {}).items()}
    return {**schema, "properties": properties}
