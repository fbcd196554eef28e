"""A kubeconfig that cannot be used: the message names the file and the place, and shows nothing of it."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest
import yaml
from kubernetes.config import kube_config

from deploy.errors import KubeconfigError
from deploy.kubernetes.api import KubernetesApi
from deploy.settings import Settings


@pytest.mark.parametrize("content", ["users:\n- token: *MYSECRET\n", "users:\n- token: 'MYSECRET' MYSECRET\n"])
def test_a_malformed_kubeconfig_does_not_show_its_token(tmp_path: Path, content: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(KubeconfigError, match=r"kubeconfig cannot be read: \w+ in line 2, column") as refused:
        KubernetesApi(Settings(kubeconfig=str(path)))
    assert "MYSECRET" not in "".join(traceback.format_exception(refused.value))


def test_a_kubeconfig_that_is_named_and_missing_is_said_to_be_missing(tmp_path: Path) -> None:
    path = tmp_path / "nowhere"
    with pytest.raises(KubeconfigError) as refused:
        KubernetesApi(Settings(kubeconfig=str(path)))
    assert refused.value.message == f"kubeconfig {path} does not exist"


def test_an_empty_kubeconfig_is_not_said_to_be_missing(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text("")
    with pytest.raises(KubeconfigError) as refused:
        KubernetesApi(Settings(kubeconfig=str(path)))
    assert refused.value.message.startswith(f"kubeconfig {path} cannot be used: ")


@pytest.mark.parametrize("content", ["MYSECRET", "[MYSECRET]", "3"])
def test_a_file_of_another_form_is_said_to_be_no_kubeconfig(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config"
    path.write_text(content)
    with pytest.raises(KubeconfigError) as refused:
        KubernetesApi(Settings(kubeconfig=str(path)))
    assert refused.value.message == f"{path} is not a kubeconfig: it has no clusters, users and contexts"


def kubeconfig(path: Path, **user: object) -> str:
    cluster = {"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}
    context = {"name": "x", "context": {"cluster": "c", "user": "u"}}
    document = {"clusters": [cluster], "contexts": [context], "current-context": "x"}
    path.write_text(yaml.safe_dump(document | {"users": [{"name": "u", "user": user}]}), encoding="utf-8")
    return str(path)


def test_data_that_is_not_base64_is_an_error_of_the_kubeconfig(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "config", **{"client-certificate-data": "MYSECRETx", "client-key-data": "MYSECRETx"})
    with pytest.raises(KubeconfigError, match=r"context x cannot be used: .* is not base64") as refused:
        KubernetesApi(Settings(kubeconfig=path))
    assert "config view" in str(refused.value.hint)
    assert "MYSECRET" not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize(
    "user",
    [
        {"client-certificate-data": 7, "client-key-data": 7},
        {"client-certificate-data": "QUJD", "client-key-data": "QUJD"},
        {"client-certificate": "/nowhere/client.crt", "client-key": "/nowhere/client.key"},
    ],
    ids=str,
)
def test_a_user_of_another_form_is_an_error_of_the_kubeconfig(tmp_path: Path, user: dict[str, object]) -> None:
    path = kubeconfig(tmp_path / "config", **user)
    with pytest.raises(KubeconfigError, match="context x cannot be used"):
        KubernetesApi(Settings(kubeconfig=path))


def test_without_any_kubeconfig_the_message_names_both_ways_to_have_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / ".kube/config"))
    with pytest.raises(KubeconfigError) as refused:
        KubernetesApi(Settings())
    assert refused.value.message == "there is no kubeconfig: KUBECONFIG is not set, and ~/.kube/config does not exist"
