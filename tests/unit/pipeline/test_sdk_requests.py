"""Requests of the SDK are judged as the SDK judges them, by validators that are made once."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest
from clearml.backend_api import services
from clearml.backend_api.services.v2_23 import events, models, tasks
from clearml.backend_api.session import datamodel
from jsonschema import ValidationError

from pipeline.sdk.steps import keep_request_validators

KINDS = [module.name for module in pkgutil.iter_modules(services.__path__) if module.name.startswith("v")]
ID = "a" * 32


def request_kinds() -> Iterator[type]:
    for version in KINDS:
        package = importlib.import_module(f"{services.__name__}.{version}")
        for module in pkgutil.iter_modules(package.__path__):
            found = vars(importlib.import_module(f"{package.__name__}.{module.name}")).values()
            yield from (kind for kind in found if isinstance(kind, type) and issubclass(kind, datamodel.DataModel))


@pytest.fixture
def kept_validators(monkeypatch: pytest.MonkeyPatch) -> Any:
    plain = inspect.unwrap(datamodel.DataModel.validate)  # another test of this process may have patched it
    monkeypatch.setattr(datamodel.DataModel, "validate", plain)  # put back afterwards
    keep_request_validators()
    assert datamodel.DataModel.validate is not plain
    return plain


def test_every_schema_of_the_sdk_is_valid():
    kinds = {kind for kind in request_kinds() if kind._schema is not None}
    assert len(kinds) > 1000
    for kind in kinds:
        datamodel._CustomValidator.check_schema(kind._schema)


@pytest.mark.parametrize(
    "request_",
    [
        tasks.GetByIdRequest(task=ID),
        tasks.GetAllRequest(id=[ID], only_fields=["status"], page=0, page_size=10),
        tasks.EditRequest(task=ID, hyperparams={"Args": {"a": {"section": "Args", "name": "a", "value": "1"}}}),
        tasks.AddOrUpdateArtifactsRequest(task=ID, artifacts=[tasks.Artifact(key="x", type="custom", uri="u")]),
        models.EditRequest(model=ID, labels={"positive": 1}),
        events.GetTaskLogRequest(task=ID, batch_size=5),
    ],
    ids=lambda request_: type(request_).__name__,
)
def test_a_request_gets_the_verdict_of_the_sdk(kept_validators: Any, request_: Any):
    request_.validate()
    kept_validators(request_)
    for key in request_.to_dict().keys() & request_._schema["properties"].keys():
        spoilt = request_.to_dict() | {key: object}
        request_.to_dict = lambda body=spoilt: body
        verdicts = []
        for validate in (kept_validators, type(request_).validate, type(request_).validate):
            with pytest.raises(ValidationError) as raised:
                validate(request_)
            verdicts.append((raised.value.message, list(raised.value.path)))
        assert verdicts[0] == verdicts[1] == verdicts[2]
        del request_.to_dict


def test_a_schema_that_is_handed_over_is_used(kept_validators: Any):
    with pytest.raises(ValidationError, match="'queue' is a required property"):
        tasks.GetByIdRequest(task=ID).validate({"type": "object", "required": ["queue"]})


def test_a_second_call_changes_nothing(kept_validators: Any):
    once = datamodel.DataModel.validate
    keep_request_validators()
    assert datamodel.DataModel.validate is once
