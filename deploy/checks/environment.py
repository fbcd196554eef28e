"""Checks of what must be right before an agent can be installed: cluster, rights, helm, chart, versions, server."""

from __future__ import annotations

import importlib.metadata
import shlex
import shutil
import sys
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from functools import partial

from clearml_access.agent_values import AGENT_POD_PIN, TASK_POD_PIN
from clearml_access.credentials import is_loopback
from deploy import releases, versions
from deploy.checks.check import Check, Finding, fail, ok, warn
from deploy.clearml.api import is_open_source
from deploy.errors import ChartVersionError, ReleaseExistsError, RightsError, SettingsError, VersionError
from deploy.kubernetes.cluster import KINDS, Right
from deploy.session import Session

Ask = Callable[[Session], Finding]

RIGHTS = (
    Right("get", "namespaces"),
    # helm's uninstall waits for the end of what it removes.
    *(Right(verb, kind, group.partition("/")[0]) for kind, group in KINDS for verb in ("list", "watch")),
    *(Right(verb, "secrets") for verb in ("get", "create", "update", "delete")),
    *(Right(verb, "pods") for verb in ("get", "create", "delete")),
    Right("get", "pods", subresource="log"),
    *(
        Right(verb, kind)
        for kind in ("configmaps", "serviceaccounts")
        for verb in ("get", "create", "update", "delete")
    ),
    *(Right(verb, "deployments", "apps") for verb in ("get", "create", "patch", "delete")),
    *(
        Right(verb, kind, "rbac.authorization.k8s.io")
        for kind in ("roles", "rolebindings")
        for verb in ("get", "create", "patch", "delete")
    ),
    *(Right(verb, "leases", "coordination.k8s.io") for verb in ("get", "create", "update", "patch", "delete")),
    Right("list", "events"),
)
"""What an install and its removal do to the namespace: their own objects, helm's Secrets, and what the chart makes.
The ClusterRole `admin` has all of them. What the agent's Role holds is needed too (`namespace.grants`)."""

SECRET_KEYS = ("agentk8sglue_key", "agentk8sglue_secret")
"""Keys in the Secret, by the chart's contract."""

CLOCK_SKEW_S = 30.0


def kubeconfig(session: Session) -> Finding:
    """Which cluster is it."""
    access = session.cluster.access
    return ok(f"context {access.context} of {access.source}: {access.server} as {access.user or 'service account'}")


def kubernetes(session: Session) -> Finding:
    """Does the API server answer, and is it new enough."""
    text = session.cluster.version()
    version = versions.parse(text)
    if version is None or version < versions.OLDEST_KUBERNETES:
        return fail(f"Kubernetes {text} is older than 1.21", "upgrade the cluster", VersionError.exit_code)
    return ok(f"Kubernetes {text} answers")


def rights(session: Session) -> Finding:
    """Has this user the permissions that an install needs."""
    missing = session.cluster.allowed(RIGHTS)
    if not missing:
        return ok(f"{len(RIGHTS)} rights in namespace {session.settings.namespace}")
    names = ", ".join(map(str, missing))
    return lacks(session, f"lacks permissions in namespace {session.settings.namespace}: {names}")


def lacks(session: Session, what: str) -> Finding:
    """Return what is found where the person lacks rights, and who may give them."""
    user = session.cluster.user()
    account = user.removeprefix("system:serviceaccount:")
    subject = f"--user={shlex.quote(user or 'NAME')}" if account == user else f"--serviceaccount={account}"
    return fail(
        f"{user or 'this user'} {what}",
        f"an administrator: kubectl create rolebinding deployer --clusterrole=admin {subject} "
        f"-n {session.settings.namespace}",
        RightsError.exit_code,
    )


def namespace(session: Session) -> Finding:
    """Does the namespace exist, or may this user create it."""
    name = session.settings.namespace
    if session.cluster.has_namespace():
        return ok(f"namespace {name} is there")
    if session.cluster.allowed((Right("create", "namespaces"),)):
        return fail(
            f"namespace {name} does not exist, and you are not allowed to create it",
            f"kubectl create namespace {name}",
            RightsError.exit_code,
        )
    return ok(f"namespace {name} will be made")


def helm(session: Session) -> Finding:
    """Is there a helm that works."""
    return ok(f"helm {session.helm.version} at {session.helm.path}")


def kubectl(session: Session) -> Finding:
    """Is there a kubectl, which the hints use."""
    found = shutil.which("kubectl", path=session.environ.get("PATH"))
    return (
        ok(found)
        if found
        else warn("kubectl is not on PATH", "ln -s $(.venv/bin/python -m deploy.tools kubectl) ~/bin/kubectl")
    )


def chart(session: Session) -> Finding:
    """Can the chart be had."""
    found = session.chart
    return ok(f"{found.name} {found.version} from {found.source} (sha256 {found.digest[:12]})")


def values(session: Session) -> Finding:
    """Do this project and the chart know all keys of the values."""
    plan = session.plan_without_server
    return ok(f"queue {', '.join(plan.queues)}, agent {plan.agent_image}, tasks {plan.task_image}")


def kube_version(session: Session) -> Finding:
    """Does the chart allow this cluster."""
    text, wanted = session.cluster.version(), session.chart.kube_version
    if not wanted or versions.satisfies(text, wanted):
        return ok(f"chart allows Kubernetes {text} ({wanted or 'any'})")
    return fail(
        f"chart {session.chart.name} {session.chart.version} requires Kubernetes {wanted}, this is {text}",
        "--chart-version 5.3.3 (no upper bound), or --chart with a copy whose kubeVersion is widened",
        ChartVersionError.exit_code,
    )


def pins(session: Session) -> Finding:
    """Do agent pod and task pods get an agent that works with this server."""
    found = session.plan.pins
    agent, task = found[AGENT_POD_PIN], found[TASK_POD_PIN]
    if agent.specifier != task.specifier:
        return fail(
            f"agent pod gets clearml-agent{agent.specifier or ' (newest)'}, "
            f"task pods get {task.specifier or 'the newest'}",
            f"give {AGENT_POD_PIN} and {TASK_POD_PIN} in agentk8sglue.extraEnvs the same value",
            VersionError.exit_code,
        )
    if not agent.specifier:
        return warn("no agent version is pinned: each pod installs the newest", f'set {AGENT_POD_PIN}: "==1.9.2"')
    open_source = is_open_source(session.api.login())
    refused = agent.refused(open_source_server=open_source)
    if refused:
        return fail(refused, "pin ==1.9.2, or 2.0.7 and later", VersionError.exit_code)
    return ok(
        f"clearml-agent{agent.specifier} in agent and task pods, {'open-source' if open_source else 'paid'} server"
    )


def release_name(session: Session) -> Finding:
    """Is the name of a queue file's release taken by one that no install made from it."""
    settings = session.settings
    if session.revision is None:
        return ok(f"release {settings.release} will be made from {settings.queue_file}")
    if releases.is_made_from_file(session):
        return ok(f"release {settings.release} is made from {settings.queue_file}")
    return fail(
        f"release {settings.release} in namespace {settings.namespace} is there already, and was not made from "
        f"{settings.queue_file}",
        f"give the file another name, or: helm -n {settings.namespace} uninstall {settings.release}",
        ReleaseExistsError.exit_code,
    )


def python(session: Session) -> Finding:
    """Are Python and SDK here the ones that steps are written for."""
    here = sys.version_info[:2]
    sdk = versions.parse(importlib.metadata.version("clearml"))
    if here != versions.TASK_PYTHON:
        wanted = ".".join(map(str, versions.TASK_PYTHON))
        return warn(f"this is Python {here[0]}.{here[1]}, task pods run {wanted}", f"use Python {wanted}: ./task setup")
    if sdk is None or sdk < versions.OLDEST_SDK:
        return fail(f"clearml SDK {sdk} is too old", "./task setup", VersionError.exit_code)
    return ok(f"Python {here[0]}.{here[1]}, clearml SDK {'.'.join(map(str, sdk))}")


def server_address(session: Session) -> Finding:
    """Are the server's addresses ones that a pod can use."""
    bad = [f"{kind} {url}" for kind, url in session.plan.urls.items() if is_loopback(url)]
    if bad:
        return fail(
            f"a pod cannot reach a loopback address: {', '.join(bad)}",
            "run the server on an address that pods reach (./task server-up -- --host ADDRESS --no-workers; "
            "./task cluster-status shows the address), or set agentk8sglue.{api,file,web}ServerUrlReference",
            SettingsError.exit_code,
        )
    return ok(", ".join(session.plan.urls.values()))


def server_known(session: Session) -> Finding:
    """Are a server and keys configured."""
    found = session.server
    return ok(f"{found.api}, by {found.source}")


def server(session: Session) -> Finding:
    """Does the ClearML server answer from here."""
    session.api.ping()
    return ok(f"{session.api.api_url} answers from here")


def keys(session: Session) -> Finding:
    """Does the server accept the configured keys."""
    claims = session.api.login()
    who = (claims.get("identity") or {}).get("user") or session.server.access_key[:4] + "…"
    return ok(f"{session.api.api_url} accepts the keys of {session.server.source} (user {who})")


def server_version(session: Session) -> Finding:
    """Which server is it."""
    version = session.api.server_version()
    return ok(f"ClearML server {version}") if version else warn("the server does not say its version", "none needed")


def clock(session: Session) -> Finding:
    """Do this machine and the cluster agree on the time: tokens and leases live by it."""
    date = session.cluster.date()
    skew = abs((session.now() - parsedate_to_datetime(date)).total_seconds()) if date else 0.0
    if skew > CLOCK_SKEW_S:
        return warn(f"this machine and the cluster are {skew:.0f} s apart", "timedatectl set-ntp true, on both")
    return ok(f"this machine and the cluster are {skew:.0f} s apart")


def given_secret(session: Session) -> Finding:
    """Is the Secret there that a person named; ours is made."""
    plan = session.plan
    if plan.makes_keys_secret:
        return ok(f"Secret {plan.keys_secret} is made from {session.server.source}")
    content = session.cluster.secret(plan.keys_secret) or {}
    missing = [key for key in SECRET_KEYS if not content.get(key)]
    if missing:
        return fail(
            f"Secret {plan.keys_secret} (clearml.existingAgentk8sglueSecret) lacks {', '.join(missing)}",
            f"kubectl -n {session.settings.namespace} create secret generic {plan.keys_secret} "
            "--from-file=agentk8sglue_key=… --from-file=agentk8sglue_secret=…, or leave the value out",
            SettingsError.exit_code,
        )
    return ok(f"Secret {plan.keys_secret} is there")


def queues(session: Session) -> Finding:
    """Is the queue there; it is made if not."""
    missing = [name for name in session.plan.queues if session.api.queue(name) is None]
    return ok(f"{', '.join(missing)} will be made" if missing else f"{', '.join(session.plan.queues)} is there")


def preflight(session: Session) -> list[Check]:
    """Return what is asked before an install, in order."""

    def check(id_: str, title: str, function: Ask, *needs: str, shared: bool = False) -> Check:
        return Check(id_, title, partial(function, session), needs, shared)

    once = partial(check, shared=True)
    of_file = [check("release-name", "release's name is free", release_name, "helm", "namespace")]
    return [
        once("kubeconfig", "kubeconfig and context", kubeconfig),
        once("kubernetes", "Kubernetes API answers", kubernetes, "kubeconfig"),
        once("rights", "rights in the namespace", rights, "kubernetes"),
        once("namespace", "namespace", namespace, "kubernetes"),
        once("helm", "helm", helm),
        once("chart", "chart", chart, "helm"),
        check("values", "values are known to the chart", values, "chart"),
        *(of_file if session.settings.queue_file else ()),
        once("chart-kubernetes", "chart allows this Kubernetes", kube_version, "chart", "kubernetes"),
        once("python", "Python and SDK", python),
        once("server-known", "ClearML server is known", server_known),
        check("server-address", "server has an address for pods", server_address, "values", "server-known"),
        once("server", "ClearML server answers from here", server, "server-known"),
        once("keys", "ClearML server takes the keys", keys, "server"),
        check("agent-version", "agent works with this server", pins, "values", "keys"),
        check("secret", "Secret with the keys", given_secret, "values", "server-known", "namespace"),
        check("queue", "queue", queues, "values", "keys"),
    ]


def more(session: Session) -> list[Check]:
    """Return what `doctor` asks beside the preflight."""
    once = partial(Check, shared=True)
    return [
        once("clock", "clocks agree", lambda: clock(session), ("kubernetes",)),
        once("server-version", "ClearML server's version", lambda: server_version(session), ("keys",)),
        once("kubectl", "kubectl for the printed commands", lambda: kubectl(session)),
    ]
