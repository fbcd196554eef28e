"""The request schemas that the package brings."""

from __future__ import annotations

from clearml_localserver.request_schemas import RequestSchemas, endpoints_of_clients, enterprise_endpoints


def test_calls_of_the_enterprise_server_are_known_by_name_only() -> None:
    schemas = RequestSchemas.load()
    assert "tasks.create" in schemas
    assert "frames.get_next" in enterprise_endpoints()
    assert not [name for name in enterprise_endpoints() if name in schemas]
    assert enterprise_endpoints() < endpoints_of_clients()
