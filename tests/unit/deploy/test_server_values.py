"""`helm/values-server.yaml`: nothing in it is open, and `docs/scale.md` makes what it names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
VALUES: dict[str, Any] = yaml.safe_load((ROOT / "helm/values-server.yaml").read_text(encoding="utf-8"))
GUIDE = (ROOT / "docs/scale.md").read_text(encoding="utf-8")
SERVICES = ("apiserver", "fileserver", "webserver")


@pytest.mark.parametrize("service", SERVICES)
def test_each_service_is_reached_by_tls_under_the_one_domain_and_not_by_a_node_port(service):
    values = VALUES[service]
    assert values["service"]["type"] == "ClusterIP"
    assert values["ingress"]["enabled"] is True
    assert values["ingress"]["hostName"].endswith("." + VALUES["clearml"]["cookieDomain"])
    assert values["ingress"]["tlsSecretName"] in GUIDE


def test_clients_are_told_the_addresses_of_the_ingresses():
    for name, service in (("clientConfigurationApiUrl", "apiserver"), ("clientConfigurationFilesUrl", "fileserver")):
        assert VALUES["clearml"][name] == "https://" + VALUES[service]["ingress"]["hostName"]


def test_the_guide_makes_both_secrets_with_the_keys_that_the_pods_read():
    assert f"secret generic {VALUES['clearml']['existingSecret']} " in GUIDE
    assert f"secret generic {VALUES['apiserver']['existingAdditionalConfigsSecret']} " in GUIDE
    made = re.search(r"for key in ([\w\s\\]+); do", GUIDE)
    assert made
    # As seen in the rendered chart 7.14.4 (secretKeyRef).
    assert set(made[1].replace("\\", " ").split()) == {
        *("apiserver_key", "apiserver_secret", "fileserver_key", "fileserver_secret"),
        *("test_user_key", "test_user_secret", "secure_auth_token_secret"),
    }


def test_the_file_holds_no_key():
    given = set(VALUES["clearml"])
    assert given == {"existingSecret", "cookieDomain", "clientConfigurationApiUrl", "clientConfigurationFilesUrl"}
