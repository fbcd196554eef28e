import jsonschema
import pytest
from clearml.backend_api.services import tasks
from clearml.backend_api.session import datamodel

from pipeline.sdk import check_schemas_once


@pytest.fixture
def checks(monkeypatch):
    """Counts how often a schema itself is checked."""
    counted = []
    validator = datamodel._CustomValidator
    original = validator.check_schema.__func__
    monkeypatch.setattr(
        validator,
        "check_schema",
        classmethod(lambda cls, schema, *a, **k: (counted.append(1), original(cls, schema))[1]),
    )
    check_schemas_once()
    return counted


def test_a_schema_is_checked_once_and_every_request_is(checks):
    for _ in range(3):
        tasks.GetByIdRequest(task="id").validate()
    assert len(checks) == 1
    request = tasks.GetByIdRequest(task="id")
    request._property_task = 7
    with pytest.raises(jsonschema.ValidationError):
        request.validate()


def test_asking_twice_changes_nothing(checks):
    check_schemas_once()
    tasks.PingRequest(task="id").validate()
    assert len(checks) == 1


def test_another_sdk_is_left_alone(monkeypatch):
    monkeypatch.setattr(datamodel, "_CustomValidator", None)
    check_schemas_once()
