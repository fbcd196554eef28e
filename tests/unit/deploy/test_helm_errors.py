"""What helm says on stderr, as helm 3.17, 3.21 and 4.1 said it, and what we make of it."""

from __future__ import annotations

import pytest

from clearml_access import errors as access
from deploy import errors
from deploy.helm.release import classify


@pytest.mark.parametrize(
    ("stderr", "kind"),
    [
        ("Error: UPGRADE FAILED: another operation (install/upgrade/rollback) is in progress", errors.ReleaseBusyError),
        ("Error: release: not found", errors.ReleaseNotFoundError),
        ('Error: UPGRADE FAILED: "x" has no deployed releases', errors.ReleaseNotFoundError),
        (
            'Error: Kubernetes cluster unreachable: Get "https://10.0.0.1:6443/version": dial tcp 10.0.0.1:6443: '
            "connect: connection refused",
            errors.ClusterUnreachableError,
        ),
        ("Error: INSTALLATION FAILED: dial tcp: lookup k8s.invalid: no such host", errors.ClusterUnreachableError),
        (
            'Error: secrets is forbidden: User "dev" cannot list resource "secrets" in the namespace "x"',
            errors.RightsError,
        ),
        (
            "Error: INSTALLATION FAILED: chart requires kubeVersion: >= 1.21.0-0 < 1.33.0-0 which is incompatible with "
            "Kubernetes v1.34.2",
            errors.ChartError,
        ),
        ('Error: chart "nope" version "1" not found in https://example.org repository', errors.ChartError),
        ("Error: repo nope not found", errors.HelmError),
        ("Error: Chart.yaml file is missing", errors.ChartError),
        (
            "Error: UPGRADE FAILED: execution error at (clearml-agent/templates/x.yaml:3:4): queue is required",
            errors.ChartError,
        ),
        (
            "Error: YAML parse error on x/templates/a.yaml: error converting YAML to JSON: yaml: line 3",
            errors.ChartError,
        ),
        ("", errors.HelmError),
        ("Error: something new", errors.HelmError),
    ],
)
def test_an_error_of_helm_gets_its_class(stderr, kind):
    found = classify(stderr)
    assert type(found) is kind
    assert found.hint


def test_warnings_are_not_the_error():
    text = "WARNING: Kubernetes configuration file is group-readable\nlevel=WARN msg=x\nError: release: not found"
    assert classify(text).message == "helm: release: not found"


def test_every_error_class_has_an_exit_code_of_its_band():
    bands = {errors.SettingsError: 10, errors.HelmError: 20, errors.ClusterError: 30, access.ServerError: 40}
    seen: dict[int, type] = {}
    for base, low in bands.items():
        for kind in [base, *base.__subclasses__(), *(k for b in base.__subclasses__() for k in b.__subclasses__())]:
            code = errors.exit_code_of(kind)
            if kind.__module__ not in (errors.__name__, access.__name__) or kind is access.CallRefusedError:
                continue
            assert low <= code < low + 10, kind
            assert seen.setdefault(code, kind) is kind
    assert errors.exit_code_of(access.CallRefusedError) == 40
    assert errors.exit_code_of(access.NoCredentialsError) == 10
