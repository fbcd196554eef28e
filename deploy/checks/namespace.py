"""Checks of the namespace's own rules: what it enforces, and whether it admits the agent's pod and a task's."""

from __future__ import annotations

from typing import Any

from deploy import planned_pods
from deploy.checks import environment
from deploy.checks.check import Check, Finding, fail, ok, warn
from deploy.errors import AdmissionError
from deploy.kubernetes.cluster import Right
from deploy.session import Session
from deploy.verification.admission import NEW_NAMESPACE_S, NO_ACCOUNT_YET, create_pod

RBAC_GROUP = "rbac.authorization.k8s.io"

POD_SECURITY = "pod-security.kubernetes.io/"

FIXES = (
    (
        "violates PodSecurity",
        "keep the security contexts of helm/values-agent.yaml (podSecurityContext, containerSecurityContext), or: "
        "kubectl label --overwrite namespace {namespace} pod-security.kubernetes.io/enforce=baseline",
    ),
    ("exceeded quota", "kubectl -n {namespace} describe resourcequota; wait, or ask for more"),
    (
        "must specify",
        "give agentk8sglue.resources, its initContainers and basePodTemplate.resources what the quota names",
    ),
    (
        NO_ACCOUNT_YET,
        f"Kubernetes gives each namespace this account, and has not within {NEW_NAMESPACE_S:.0f} s: see whether the "
        "cluster's kube-controller-manager works, then try again",
    ),
    (
        "error looking up service account",
        "name one that is there in agentk8sglue.serviceExistingAccountName (agent and tasks) or K8S_GLUE_TASK_ACCOUNT "
        "(tasks), or make it: kubectl -n {namespace} create serviceaccount NAME",
    ),
    ("usage per", "change agentk8sglue.resources or agentk8sglue.basePodTemplate.resources"),
)
"""Part of admission's words → what to do."""


def admission(session: Session) -> Finding:
    """Does the namespace admit the agent's pod and a task's. The API server judges them; none is made."""
    if not session.cluster.has_namespace():
        return ok(f"namespace {session.settings.namespace} will be made, and has no rules yet")
    for role in ("agent", "task"):
        try:
            _require_admission(session, role)
        except AdmissionError as error:
            fix = next((text for mark, text in FIXES if mark in error.message), error.hint or "./task doctor")
            fix = fix.format(namespace=session.settings.namespace)
            if "exceeded quota" in error.message:  # it has room again later, and tasks wait for that
                return warn(f"{role} pod: {error.message}", fix)
            return fail(f"{role} pod: {error.message}", fix, AdmissionError.exit_code)
    return ok("a pod of the agent and one of a task are admitted")


def _require_admission(session: Session, role: str) -> None:
    """Ask the API server for a pod that it does not make.

    Raises:
        AdmissionError: The namespace does not admit it.
    """
    name = f"{session.settings.fullname}-admission-{role}"
    coming = planned_pods.made(session.objects, session.plan.makes)
    spec = planned_pods.spec(session.objects, role, session.plan.task_account)
    create_pod(session, name, planned_pods.full(spec, coming, session.plan.task_image), dry_run=True)


def grants(session: Session) -> Finding:
    """May we give the agent's Role what it holds: Kubernetes lets nobody give more than they have themselves."""
    if not session.cluster.allowed((Right("escalate", "roles", RBAC_GROUP),)):
        return ok("we may give the agent's Role what the chart lets it hold")
    held = [rule for item in session.objects if item["kind"] == "Role" for rule in item.get("rules") or []]
    rights = dict.fromkeys(
        Right(verb, *_resource(resource, group))
        for rule in held
        for group in rule.get("apiGroups") or []
        for resource in rule.get("resources") or []
        for verb in rule.get("verbs") or []
    )
    missing = session.cluster.allowed(tuple(rights))
    if not missing:
        return ok("we have what the agent's Role is given")
    names = ", ".join(map(str, missing))
    return environment.lacks(session, f"may not give the agent's Role what they do not have themselves: {names}")


def _resource(name: str, group: str) -> tuple[str, str, str]:
    resource, _, part = name.partition("/")
    return resource, group, part


def account(session: Session) -> Finding:
    """Which accounts have agent and tasks, and does that give others the agent's rights."""
    plan, where = session.plan, session.settings.namespace
    agents = str(planned_pods.agent_spec(session.objects).get("serviceAccountName") or "default")
    if agents == "default":
        return warn(
            f"the agent's account is `default`, that of all pods of namespace {where} that name none: they may do "
            "what the agent may",
            f"kubectl -n {where} create serviceaccount NAME, for agentk8sglue.serviceExistingAccountName",
        )
    return ok(f"the agent runs as {agents}, tasks as {plan.task_account or agents}")


def rules(session: Session) -> Finding:
    """What does the namespace enforce, as far as this user may see it."""
    cluster = session.cluster
    labels = cluster.namespace_labels()
    modes = [
        f"{name.removeprefix(POD_SECURITY)} {labels[name]}" for name in sorted(labels) if name.startswith(POD_SECURITY)
    ]
    found = [f"Pod Security: {', '.join(modes)}"] if modes else []
    unseen = []
    for kind, group, describe in (
        ("resourcequotas", "", _quota),
        ("limitranges", "", _limits),
        ("networkpolicies", "networking.k8s.io/v1", _policy),
    ):
        items = cluster.rules(kind, group)
        found += [describe(item) for item in items or []]
        unseen += [kind] if items is None else []
    text = "; ".join(found) or "no rules of its own"
    if unseen:
        who = session.settings.namespace
        return warn(
            f"{text}; not visible to this user: {', '.join(unseen)}", f"kubectl auth can-i list {unseen[0]} -n {who}"
        )
    return ok(text)


def _quota(item: dict[str, Any]) -> str:
    hard = (item.get("status") or {}).get("hard") or item["spec"].get("hard") or {}
    used = (item.get("status") or {}).get("used") or {}
    counts = ", ".join(f"{name} {used.get(name, '?')} of {most}" for name, most in hard.items())
    return f"ResourceQuota {item['metadata']['name']}: {counts}"


def _limits(item: dict[str, Any]) -> str:
    parts = [
        f"{limit.get('type')} {name} {bound} {value}"
        for limit in item["spec"].get("limits") or []
        for bound in ("min", "max", "defaultRequest", "default")
        for name, value in (limit.get(bound) or {}).items()
    ]
    return f"LimitRange {item['metadata']['name']}: {', '.join(parts)}"


def _policy(item: dict[str, Any]) -> str:
    spec = item["spec"]
    pods = "all pods" if not (spec.get("podSelector") or {}) else "some pods"
    kinds = spec.get("policyTypes") or ["Ingress"]
    closed = [kind.lower() for kind in kinds if not spec.get(kind.lower())]
    opened = [kind.lower() for kind in kinds if spec.get(kind.lower())]
    parts = [f"denies {pods} {' and '.join(closed)}"] if closed else []
    parts += [f"allows {pods} some {' and '.join(opened)}"] if opened else []
    return f"NetworkPolicy {item['metadata']['name']} {', '.join(parts)}"


def preflight(session: Session) -> list[Check]:
    """Return what is asked before an install."""
    needs = ("rights", "namespace", "values", "server-known")
    return [
        Check("grants", "rights of the agent's Role", lambda: grants(session), needs),
        Check("account", "accounts of agent and tasks", lambda: account(session), needs),
        Check("admission", "namespace admits the pods", lambda: admission(session), needs),
    ]


def more(session: Session) -> list[Check]:
    """Return what `doctor` asks beside that."""
    return [Check("namespace-rules", "what the namespace enforces", lambda: rules(session), ("namespace",))]
