"""A kubeconfig that cannot be used: the message names the file and the place, and shows nothing of it."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest

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
