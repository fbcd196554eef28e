"""Installs or upgrades the agent: plan, do, prove; and undoes what does not prove itself.

Order matters. Nothing is changed before the preflight has passed; Secret and queue are there before the agent that
needs them; the old agent pod has ended before the new one starts; an install that fails leaves what was there before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from clearml_access.errors import UserFacingError
from deploy import applied
from deploy.checks import preflight
from deploy.errors import HelmError, ReleaseBusyError, ReleaseNotFoundError
from deploy.helm.release import Revision
from deploy.helm.values import digest
from deploy.plan import Plan
from deploy.session import Session
from deploy.verification import prove, rollout

WORKER_AGAIN_S = 30.0
"""How long an agent that was gone back to may take to register: its pod is ready some seconds before."""

WATCHED = ("ConfigMap", "Role", "RoleBinding", "ServiceAccount")
"""What somebody may have removed beside helm, which believes it to be there."""

UNCHANGED, INSTALLED, UPGRADED, PLANNED = "unchanged", "installed", "upgraded", "planned"


@dataclass
class Outcome:
    """What an install did."""

    result: str
    release: str
    namespace: str
    revision: int | None = None
    queues: tuple[str, ...] = ()
    worker: str = ""
    """What the agent that was proved calls itself on the server."""
    seconds: dict[str, float] = field(default_factory=dict)
    canary: dict[str, Any] | None = None
    changes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return asdict(self)


@dataclass(frozen=True)
class _Before:
    """What was there, to go back to."""

    revision: Revision | None
    secrets: dict[str, dict[str, str] | None]


def install(session: Session, on_result: preflight.OnResult, *, must_exist: bool = False) -> Outcome:
    """Make one release what its plan says, and prove that it works; the preflight has passed.

    Args:
        session: The run.
        on_result: Called with every check's result as it comes.
        must_exist: Refuse to make a release that is not there.

    Raises:
        DeployError: A check failed, or the new agent did not prove itself; then what was there before is back.
    """
    settings = session.settings
    _require_not_applied(session)
    outcome = Outcome(PLANNED, settings.release, settings.namespace, queues=session.plan.queues)
    if settings.dry_run:
        outcome.changes = changes(session)
        return outcome
    if must_exist and not (session.cluster.has_namespace() and session.revision):
        raise no_release(session)
    if not session.cluster.has_namespace():
        session.say(f"namespace {settings.namespace} is made")
        session.cluster.create_namespace()
    with session.cluster.exclusive(settings.fullname):
        before = _Before(_mended(session), _secrets(session))
        must = needs_revision(session, before.revision)
        if must:
            preflight.require_from_pods(session, on_result)
        with _undone_on_failure(session, before, must):
            _do(session, outcome, before, must)
            prove_agent(session, outcome, session.plan)
    return outcome


def no_release(session: Session) -> ReleaseNotFoundError:
    """Return the error of a command that needs a release of helm's."""
    settings = session.settings
    deployment = session.cluster.deployment(settings.fullname)
    by = f": {applied.applied_by(deployment)} applied Deployment {settings.fullname}" if deployment else ""
    return ReleaseNotFoundError(
        f"there is no release {settings.release} in namespace {settings.namespace}{by}",
        hint="change it in git (docs/gitops.md)" if deployment else "./task deploy-agent",
    )


def _require_not_applied(session: Session) -> None:
    """Refuse an agent that something else applies: helm does not take it over, and both would undo each other."""
    name = session.settings.fullname
    if session.cluster.has_namespace() and session.applied:
        raise ReleaseBusyError(
            f"Deployment {name} belongs to no release of helm: {applied.applied_by(session.applied)} applied it",
            hint="change it in git (docs/gitops.md), or install beside it with --release NAME",
        )


def needs_revision(session: Session, current: Revision | None) -> bool:
    """Return whether helm has anything to do."""
    if current is None or current.status != "deployed" or session.cluster.deployment(session.settings.fullname) is None:
        return True
    if gone := lost_objects(session):
        session.say(f"gone from the cluster: {', '.join(gone)}")
        return True
    same = digest(current.values) == digest(session.plan.values)
    return not same or current.chart != session.plan.chart_version


def lost_objects(session: Session) -> list[str]:
    """Return what the chart makes for the release and the cluster does not have, as kind/name."""
    there = set(session.cluster.leftovers())
    made = [f"{item['kind'].lower()}/{item['metadata']['name']}" for item in session.objects if item["kind"] in WATCHED]
    return [name for name in made if name not in there]


def install_of(revision: Revision) -> str | None:
    """Return which install made a revision, by its time; None if none did."""
    found = re.fullmatch(r"deploy \w+ \((\S+)\)", revision.description)
    return found[1] if found else None


def changes(session: Session) -> list[str]:
    """Return what an install would do."""
    settings, plan = session.settings, session.plan
    is_new = not session.cluster.has_namespace()
    found = [f"make namespace {settings.namespace}"] if is_new else []
    kept = {} if is_new else _secrets(session)
    found += [f"write Secret {name}" for name, content in _wanted(session).items() if kept.get(name) != content]
    if plan.makes_task_account and (is_new or session.cluster.service_account(plan.task_account) is None):
        found.append(f"make ServiceAccount {plan.task_account}")
    found += [f"make queue {name}" for name in plan.queues if session.api.queue(name) is None]
    current = None if is_new else session.revision
    if needs_revision(session, current):
        verb = "upgrade" if current else "install"
        found.append(f"{verb} release {settings.release} to {plan.chart_version}")
    return found


def _wanted(session: Session) -> dict[str, dict[str, str]]:
    """Return the Secrets that are ours to write; a person may have named their own in the values."""
    server, plan, settings = session.server, session.plan, session.settings
    keys = {"agentk8sglue_key": str(server.access_key), "agentk8sglue_secret": str(server.secret_key)}
    wanted = {settings.keys_secret: keys} if plan.makes_keys_secret else {}
    return wanted | ({settings.config_secret: {"clearml.conf": plan.configuration}} if plan.makes_config_secret else {})


def _secrets(session: Session) -> dict[str, dict[str, str] | None]:
    return {name: session.cluster.secret(name) for name in _wanted(session)}


def _do(session: Session, outcome: Outcome, before: _Before, must: bool) -> None:
    settings, plan = session.settings, session.plan
    outcome.result = (UPGRADED if before.revision else INSTALLED) if must else UNCHANGED
    stale = False  # the running agent knows keys and queues only as they were when it started
    for name, content in _wanted(session).items():
        if session.cluster.put_secret(name, content):
            session.say(f"Secret {name} is written")
            stale = stale or before.secrets[name] is not None
    for name in plan.queues:
        if session.api.ensure_queue(name):
            session.say(f"queue {name} is made")
            stale = True
    ensure_account(session, plan)
    if must:
        # Before: the old pod of a release that was made without us. After: the chart's own default on a first install.
        session.cluster.recreate_on_change(settings.fullname)
        wait = session.wait(settings.deadlines.helm)
        outcome.revision = session.helm.upgrade(
            session.chart, plan.values, f"deploy {outcome.result} ({session.began})"
        )
        outcome.seconds["helm"] = round(wait.seconds, 1)
        adjust(session, plan)
        session.say(f"release {settings.release} has revision {outcome.revision} after {wait.seconds:.1f} s")
    else:
        outcome.revision = before.revision.number if before.revision else None
        session.say(f"release {settings.release} is up to date: revision {outcome.revision} stays")
        adjust(session, plan)
        if stale or _is_dead(session):
            session.say("the agent pod is restarted")
            session.cluster.restart(settings.fullname, session.now().isoformat())


def ensure_account(session: Session, plan: Plan) -> None:
    """Make the ServiceAccount that task pods run as, if it is ours to make."""
    if plan.makes_task_account and session.cluster.ensure_service_account(plan.task_account):
        session.say(f"ServiceAccount {plan.task_account} is made: task pods run as it, without a token")


def adjust(session: Session, plan: Plan) -> None:
    """Give the chart's objects what none of its values can: helm has brought them back to what the chart says."""
    session.cluster.recreate_on_change(session.settings.fullname)
    if session.cluster.narrow_role(session.settings.role, plan.agent_role):
        session.say(f"Role {session.settings.role} is narrowed to what the agent uses")


def _is_dead(session: Session) -> bool:
    """Return whether the agent is Ready and works for nobody, as after its queue was deleted under it."""
    pods = rollout.agent_pods(session.cluster, session.settings.fullname)
    lines = session.cluster.log(pods[0]["metadata"]["name"], "k8s-glue", tail=20) if pods else []
    return prove.log_cause(lines) is not None


def prove_agent(session: Session, outcome: Outcome, plan: Plan) -> None:
    """Wait for a plan's pod and worker, until it serves the queues; send a canary; note the seconds of each."""
    seconds, agent = outcome.seconds, session.agent_of(plan)
    outcome.worker = plan.worker
    seconds["pod ready"] = round(rollout.wait_until_ready(session), 1)
    session.say(f"agent pod is ready after {seconds['pod ready']} s")
    pods = rollout.agent_pods(session.cluster, session.settings.fullname)
    since = max(prove.parse_start(pod) for pod in pods)
    registered, serves = prove.wait_for_worker(session, since, outcome.queues, agent)
    seconds["worker registered"], seconds["serves the queue"] = round(registered, 1), round(serves, 1)
    queues = ", ".join(outcome.queues)
    session.say(f"worker {plan.worker} is registered after {registered:.1f} s and serves {queues} after {serves:.1f} s")
    if session.settings.canary:
        seen = prove.canary(session, outcome.queues[0])
        outcome.canary = {"python": seen.python, "task": seen.task}
        seconds["canary pod"], seconds["canary"] = round(seen.pod_s, 1), round(seen.completed_s, 1)
        session.say(
            f"canary task went through: pod after {seen.pod_s:.1f} s, running after {seen.started_s:.1f} s, "
            f"completed after {seen.completed_s:.1f} s on Python {seen.python}"
        )


def _mended(session: Session) -> Revision | None:
    """Return the current revision; if its operation was interrupted, make the release one that helm works on."""
    history = session.helm.history()
    current = history[-1] if history else None
    if current is None or not current.pending:
        return current
    good = [revision.number for revision in history if revision.status in ("deployed", "superseded")]
    session.say(f"release {current.number} is {current.status}: an earlier operation was interrupted")
    if current.status == "pending-install" or not good:
        session.say("its remains are removed")
        session.helm.uninstall()
    else:
        session.say(f"rolled back to revision {good[-1]}")
        session.helm.rollback(good[-1])
    return session.helm.revision()


@contextmanager
def _undone_on_failure(session: Session, before: _Before, must: bool) -> Iterator[None]:
    try:
        yield
    except UserFacingError as error:
        if must:
            error.evidence = (*error.evidence, *_undo(session, before))
        raise


def _worker_again(session: Session) -> str:
    """Wait until the agent that was there before has registered; return what was seen."""
    wait = session.wait(WORKER_AGAIN_S)
    try:
        while prove.find_worker(session) is None:
            if not wait.again():
                return f"its worker has not registered within {WORKER_AGAIN_S:.0f} s"
    except UserFacingError as error:
        return f"whether its worker is registered is not known: {error.message}"
    return f"its worker is registered after {wait.seconds:.1f} s"


def _undo(session: Session, before: _Before) -> tuple[str, ...]:
    """Restore what was there; return what was done, as evidence for the error that made it necessary."""
    done: list[str] = []
    try:
        for name, content in before.secrets.items():
            if content is not None:
                session.cluster.put_secret(name, content)
        if before.revision and before.revision.status in ("deployed", "superseded"):
            session.helm.rollback(before.revision.number)
            adjust(session, session.plan)
            done.append(f"rolled back to revision {before.revision.number}")
            seconds = rollout.wait_until_ready(session)
            done.append(f"its agent pod is ready after {seconds:.1f} s")
            done.append(_worker_again(session))
        elif before.revision is None:
            try:
                session.helm.uninstall()
            except HelmError as error:  # the rest is ours to remove
                done.append(f"helm has not removed all of it: {error.message}")
            for name, content in before.secrets.items():
                if content is None:
                    session.cluster.delete("secrets", name)
            session.cluster.delete("serviceaccounts", session.settings.task_account)
            if worker := prove.find_worker(session, session.agent_of(session.plan)):
                session.api.call("workers.unregister", worker=worker.id)  # or its name would be in use for a minute
            done.append("nothing was installed before: release and Secrets are removed again")
        else:
            done.append(f"the revision before was {before.revision.status}: nothing to go back to")
    except UserFacingError as error:
        done.append(f"going back failed too: {error.message}")
        with suppress(HelmError):
            done.append(f"release is at {session.helm.revision()}")
    return tuple(f"undo: {line}" for line in done)
