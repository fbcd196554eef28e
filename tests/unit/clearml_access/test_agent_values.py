"""The reader of helm/values-agent.yaml."""

from __future__ import annotations

import traceback

import pytest

from clearml_access.agent_values import AgentValues, python_of, queue_names
from clearml_access.errors import ConfigurationError

GOOD = {
    "agentk8sglue": {
        "queue": "pods",
        "defaultContainerImage": "image:1",
        "image": {"registry": "docker.io", "repository": "library/agent", "tag": "2"},
        "extraEnvs": [
            {"name": "CLEARML_AGENT_UPDATE_VERSION", "value": "==1.9.2"},
            {"name": "K8S_GLUE_POD_AGENT_INSTALL_ARGS", "value": "==1.9.2"},
        ],
    }
}


def changed(**changes):
    return {"agentk8sglue": {**GOOD["agentk8sglue"], **changes}}


def test_the_values_are_read():
    assert AgentValues.from_document(GOOD, "x") == AgentValues(
        ("pods",), "==1.9.2", "image:1", "docker.io/library/agent:2"
    )


BAD = [
    (None, "no section agentk8sglue"),
    ({"queue": "pods"}, "no section agentk8sglue"),
    (changed(queue=""), "agentk8sglue.queue is ''"),
    (changed(queue=7), "agentk8sglue.queue is 7"),
    (changed(defaultContainerImage=None), "defaultContainerImage is None"),
    (changed(image=None), "agentk8sglue.image.registry is None"),
    (changed(extraEnvs=None), "extraEnvs CLEARML_AGENT_UPDATE_VERSION is None"),
    (changed(extraEnvs=GOOD["agentk8sglue"]["extraEnvs"][:1]), "pins two agents"),
]


@pytest.mark.parametrize(("document", "message"), BAD)
def test_a_missing_or_wrong_value_is_named(document, message):
    with pytest.raises(ConfigurationError, match=message):
        AgentValues.from_document(document, "values.yaml")


def test_a_file_that_is_missing_or_no_yaml_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"v\.yaml cannot be read"):
        AgentValues.load(tmp_path / "v.yaml")
    (tmp_path / "v.yaml").write_text("a: [")
    with pytest.raises(ConfigurationError, match=r"v\.yaml is not YAML"):
        AgentValues.load(tmp_path / "v.yaml")


def test_a_malformed_file_does_not_show_its_values(tmp_path):
    (tmp_path / "v.yaml").write_text('clearml:\n  agentk8sglueSecret: "MYSECRET" MYSECRET\n')
    with pytest.raises(ConfigurationError, match=r"in line 2, column 34") as refused:
        AgentValues.load(tmp_path / "v.yaml")
    assert "MYSECRET" not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize(
    ("text", "names"),
    [("pods", ("pods",)), ("pods, gpu", ("pods", "gpu")), (" a,b ,c d,", ("a", "b", "c d")), (" , ", ())],
)
def test_a_value_names_queues_as_the_glue_splits_it(text, names):
    assert queue_names(text) == names


def test_where_one_queue_is_needed_several_are_refused_by_name():
    values = AgentValues.from_document(changed(queue="pods, gpu"), "values.yaml")
    assert values.queues == ("pods", "gpu")
    with pytest.raises(ConfigurationError, match=r"agentk8sglue\.queue is 'pods, gpu'") as caught:
        _ = values.queue
    assert caught.value.hint == "name one: --queue pods"


def test_a_value_without_a_name_is_refused():
    with pytest.raises(ConfigurationError, match=r"queue is ' , ' and names no queue"):
        AgentValues.from_document(changed(queue=" , "), "values.yaml")


@pytest.mark.parametrize(
    ("image", "python"),
    [
        ("task:0.1.0-py3.11", "3.11"),
        ("registry:5000/me/task:2-py3.9", "3.9"),
        ("task:0.1.0", None),
        ("me-py3.11/task:0.1.0", None),
        ("registry-py3:5000/task-py3.11", None),
    ],
)
def test_a_tag_says_which_python_is_in_the_image(image, python):
    assert python_of(image) == python
