"""What the namespace's rules refuse is told from what a user may not do: Kubernetes answers 403 to both."""

import pytest

from deploy.errors import AdmissionError, RightsError
from deploy.helm.release import classify
from deploy.kubernetes.api import _is_admission

RBAC = 'pods is forbidden: User "me" cannot create resource "pods" in API group "" in the namespace "x"'
GRANT = 'roles.rbac.authorization.k8s.io "a" is forbidden: user "me" (groups=["g"]) is attempting to grant RBAC rights'
RESTRICTED = (
    'pods "a" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "b")'
)


@pytest.mark.parametrize(
    ("status", "message", "expected"),
    [
        (403, RBAC, False),
        (403, GRANT, False),
        (403, RESTRICTED, True),
        (403, 'pods "a" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1', True),
        (403, 'pods "a" is forbidden: failed quota: q: must specify limits.cpu for: main', True),
        (403, 'pods "a" is forbidden: minimum memory usage per Container is 64Mi, but request is 32Mi', True),
        (403, 'admission webhook "policy.example.com" denied the request: no latest tags', True),
        (400, 'admission webhook "policy.example.com" denied the request: no latest tags', True),
        (500, 'failed calling webhook: admission webhook "policy.example.com" timed out', False),
        (401, "Unauthorized", False),
        (404, 'pods "a" not found', False),
    ],
)
def test_answers(status, message, expected):
    assert _is_admission(status, message) is expected


@pytest.mark.parametrize(
    ("stderr", "kind"),
    [(f"Error: UPGRADE FAILED: {RESTRICTED}", AdmissionError), (f"Error: UPGRADE FAILED: {RBAC}", RightsError)],
)
def test_what_helm_passes_on(stderr, kind):
    assert type(classify(stderr)) is kind
