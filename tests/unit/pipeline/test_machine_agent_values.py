"""The reader of helm/values-agent.yaml."""

from __future__ import annotations

import pytest

from pipeline.agent_values import AgentValues
from pipeline.errors import SettingsError

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
        "pods", "==1.9.2", "image:1", "docker.io/library/agent:2"
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
    with pytest.raises(SettingsError, match=message):
        AgentValues.from_document(document, "values.yaml")


def test_a_file_that_is_missing_or_no_yaml_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"v\.yaml cannot be read"):
        AgentValues.load(tmp_path / "v.yaml")
    (tmp_path / "v.yaml").write_text("a: [")
    with pytest.raises(SettingsError, match=r"v\.yaml is not YAML"):
        AgentValues.load(tmp_path / "v.yaml")
