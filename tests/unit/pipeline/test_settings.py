from dataclasses import FrozenInstanceError

import pytest

from clearml_access.agent_values import AgentValues
from clearml_access.credentials import is_configured
from clearml_access.errors import ConfigurationError
from pipeline.amazon_reviews.definitions import DATA_PREPARE
from pipeline.errors import PipelineError, SettingsError, UsageError
from pipeline.graph.parameters import parse_assignments
from pipeline.settings import Settings, step_requirements


def test_the_parameters_are_the_documented_ones():
    assert {name: value for name, value in DATA_PREPARE.defaults.items() if name != "stratify"} == {
        "dataset_name": "Amazon reviews dataset",
        "dataset_project": "Amazon reviews",
        "dataset_version": "1.2",
        "test_size": 0.2,
        "random_state": 42,
    }
    assert all(parameter.description for parameter in DATA_PREPARE.parameters)
    assert {parameter.name: parameter.type for parameter in DATA_PREPARE.parameters} == {
        "dataset_name": str,
        "dataset_project": str,
        "dataset_version": str,
        "test_size": float,
        "random_state": int,
        "stratify": bool,
    }


@pytest.mark.parametrize(
    ("assignment", "name", "value"),
    [
        ("dataset_version=1.1", "dataset_version", "1.1"),
        ("dataset_name=a = b", "dataset_name", "a = b"),
        (" test_size =0.25", "test_size", 0.25),
        ("test_size=1e-3", "test_size", 0.001),
        ("random_state=0", "random_state", 0),
        ("random_state=4294967295", "random_state", 4294967295),
        ("stratify=no", "stratify", False),
        ("stratify=True", "stratify", True),
    ],
)
def test_assignments_are_typed(assignment, name, value):
    assert parse_assignments(DATA_PREPARE.parameters, [assignment]) == {**DATA_PREPARE.defaults, name: value}


@pytest.mark.parametrize(
    ("assignment", "error", "message"),
    [
        ("test_size", UsageError, "expected name=value"),
        ("tset_size=0.2", SettingsError, "unknown parameter 'tset_size'"),
        ("test_size=lots", SettingsError, "'lots' is not a number"),
        ("test_size=0", SettingsError, "not between 0 and 1"),
        ("test_size=1", SettingsError, "not between 0 and 1"),
        ("test_size=1.5", SettingsError, "not between 0 and 1"),
        ("test_size=-0.1", SettingsError, "not between 0 and 1"),
        ("test_size=nan", SettingsError, "not between 0 and 1"),
        ("random_state=4.2", SettingsError, "'4.2' is not a whole number"),
        ("random_state=-1", SettingsError, "not between 0 and"),
        ("random_state=4294967296", SettingsError, "not between 0 and"),
        ("stratify=maybe", SettingsError, "'maybe' is not a true or false"),
        ("dataset_version=", SettingsError, "is not of the form 1.2"),
        ("dataset_version=latest", SettingsError, "is not of the form 1.2"),
        ("dataset_name= ", SettingsError, "is empty"),
    ],
)
def test_wrong_assignments_are_refused_by_name(assignment, error, message):
    with pytest.raises(error) as refused:
        parse_assignments(DATA_PREPARE.parameters, [assignment])
    assert message in refused.value.message
    assert refused.value.hint


def test_an_unknown_parameter_gets_the_nearest_name():
    with pytest.raises(SettingsError) as refused:
        parse_assignments(DATA_PREPARE.parameters, ["tset_size=0.2"])
    assert "did you mean test_size?" in str(refused.value.hint)


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "remote"},
        {"timeout_s": 0},
        {"step_queues": ["train_processing"]},
        {"step_queues": ["training=fast"]},
        {"step_images": ["test_processing="]},
    ],
)
def test_impossible_runs_are_refused(options):
    with pytest.raises(PipelineError):
        Settings.of(definition=DATA_PREPARE, **options)


def test_settings_are_frozen_and_take_the_queue_of_the_values_file():
    settings = Settings.of(definition=DATA_PREPARE, step_queues=["train_processing=fast"])
    assert settings.options.queue == "pods"
    assert settings.options.step_queues == {"train_processing": "fast"}
    with pytest.raises(FrozenInstanceError):
        settings.options.queue = "other"


def test_a_server_is_configured_by_the_sdks_own_names_and_places(tmp_path):
    assert not is_configured({"HOME": str(tmp_path)})
    assert is_configured({"HOME": str(tmp_path), "CLEARML_API_HOST": "http://api:8008"})
    assert is_configured({"HOME": str(tmp_path), "CLEARML_API_ACCESS_KEY": "key"})
    configuration = tmp_path / "clearml.conf"
    assert is_configured({"HOME": "/nowhere", "CLEARML_CONFIG_FILE": str(configuration)}), "a misspelt name is an error"
    configuration.touch()
    assert is_configured({"HOME": str(tmp_path)})
    assert is_configured({"HOME": "/nowhere", "CLEARML_CONFIG_FILE": str(configuration)})


def test_every_requirement_of_a_step_is_pinned():
    assert all("==" in requirement for requirement in step_requirements())


def test_of_several_queues_in_the_values_file_a_run_must_name_one(monkeypatch):
    monkeypatch.setattr(AgentValues, "load", lambda: AgentValues(("pods", "gpu"), "==1", "task", "agent"))
    with pytest.raises(ConfigurationError, match="'pods, gpu'"):
        Settings.of(definition=DATA_PREPARE)
    assert Settings.of(definition=DATA_PREPARE, queue="gpu").options.queue == "gpu"
