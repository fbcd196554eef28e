"""Checks of an agent that is installed: does it live, and does it work for anybody.

Running and Ready say little: an agent whose queue was deleted, whose keys were revoked or whose server is gone stays
Ready for ever. So server, keys, queue, worker and the agent's own log are asked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial

from clearml_access.agent_values import AgentValues
from clearml_access.credentials import Secret
from clearml_access.errors import CredentialsError
from clearml_access.queue_policy import WORKER
from clearml_access.tasks import PODS_QUEUE
from deploy import applied, worker_names
from deploy.checks import environment
from deploy.checks.check import Check, Finding, Level, fail, ok, warn
from deploy.checks.task import taken_elsewhere
from deploy.clearml.api import ClearmlApi
from deploy.errors import (
    ClusterError,
    PodError,
    ReleaseNotFoundError,
    RightsError,
    SettingsError,
    WorkerError,
    exit_code_of,
)
from deploy.kubernetes.ownership import Owner
from deploy.kubernetes.pods import State, classify_pod, task_id
from deploy.session import Session
from deploy.verification import prove, rollout
from deploy.worker_names import ALIVE_S

AGAIN = "./task deploy-agent"
SAME_NAME = "./task undeploy-agent, then ./task deploy-agent: a new release gets a name that is free on the server"
LOG_FRESH_S = 90

once = partial(Check, shared=True)


def release(session: Session) -> Finding:
    """Is there a release, and did its last operation end well."""
    revision = session.revision
    name = session.settings.release
    deployment = session.cluster.deployment(session.settings.fullname) if revision is None else None
    if deployment:
        return ok(f"{applied.applied_by(deployment)} applied {applied.chart_of(deployment)}; helm knows no release")
    if revision is None:
        where = f"namespace {session.settings.namespace}"
        return fail(f"there is no release {name} in {where}", AGAIN, ReleaseNotFoundError.exit_code)
    text = f"revision {revision.number} of {revision.chart} is {revision.status} since {revision.updated}"
    if revision.pending:
        return fail(f"{text}: an operation was interrupted", AGAIN, ReleaseNotFoundError.exit_code)
    if revision.status != "deployed":
        return fail(f"{text}: {revision.description}", AGAIN, ReleaseNotFoundError.exit_code)
    if not session.settings.is_wanted:
        return warn(f"{text}; its queue file is gone, so the next install removes it", AGAIN)
    return ok(text)


def strategy(session: Session) -> Finding:
    """Does an upgrade end the old agent before it starts the new one."""
    deployment = session.cluster.deployment(session.settings.fullname)
    if deployment is None:
        return fail(f"Deployment {session.settings.fullname} is not there", AGAIN, PodError.exit_code)
    kind = (deployment["spec"].get("strategy") or {}).get("type")
    if kind != "Recreate":
        return warn(f"strategy {kind}: during an upgrade two agents take tasks, with old and new settings", AGAIN)
    return ok("strategy Recreate: never two agents at once")


def pod(session: Session) -> Finding:
    """Is there exactly one agent pod, and is it ready."""
    pods = rollout.agent_pods(session.cluster, session.settings.fullname)
    if not pods:
        return fail("there is no agent pod", AGAIN, PodError.exit_code)
    for found in pods:
        verdict = classify_pod(found, session.now())
        name = found["metadata"]["name"]
        if verdict.state != State.READY:
            error = rollout.pod_error(session, found, verdict)
            words = "; ".join((f"pod {name} is {verdict.reason} {verdict.message}".strip(), *error.evidence[-3:]))
            return fail(words, verdict.hint(found), PodError.exit_code)
    if len(pods) > 1:
        names = ", ".join(found["metadata"]["name"] for found in pods)
        return fail(f"{len(pods)} agents take tasks at once: {names}", AGAIN, PodError.exit_code)
    restarts = sum(int(item.get("restartCount") or 0) for item in pods[0]["status"].get("containerStatuses") or [])
    text = f"pod {pods[0]['metadata']['name']} is ready on node {pods[0]['spec'].get('nodeName')}"
    if restarts:
        return warn(f"{text}, restarted {restarts} times", f"kubectl logs --previous {pods[0]['metadata']['name']}")
    return ok(text)


def secret(session: Session) -> Finding:
    """Are the keys that the agent was given still good."""
    plan = session.installed
    content = session.cluster.secret(plan.keys_secret)
    if content is None:
        return fail(f"Secret {plan.keys_secret} is not there", AGAIN, SettingsError.exit_code)
    missing = [key for key in ("agentk8sglue_key", "agentk8sglue_secret") if not content.get(key)]
    if missing:
        return fail(f"Secret {plan.keys_secret} lacks {', '.join(missing)}", AGAIN, SettingsError.exit_code)
    own = replace(
        session.server,
        access_key=Secret(content["agentk8sglue_key"]),
        secret_key=Secret(content["agentk8sglue_secret"]),
        source=f"Secret {plan.keys_secret}",
    )
    try:
        ClearmlApi(own).login()
    except CredentialsError as error:
        fix = f"put good keys into clearml.conf, then: {AGAIN}"
        return fail(error.message, fix, exit_code_of(type(error)))
    if own.secret_key != session.server.secret_key:
        return warn(f"Secret {plan.keys_secret} holds other keys than {session.server.source}", AGAIN)
    return ok(f"the server accepts the keys in Secret {plan.keys_secret}")


def _queues(session: Session) -> tuple[str, ...]:
    """Return the release's queues; where the cluster cannot be asked, those of the values file."""
    try:
        return session.installed.queues
    except ClusterError:
        return AgentValues.load().queues


def queue(session: Session) -> Finding:
    """Are the agent's queues there."""
    queues = _queues(session)
    missing = [name for name in queues if session.api.queue(name) is None]
    if missing:
        return fail(
            f"queue {', '.join(missing)} does not exist: an agent that served it gets no tasks",
            f"{AGAIN} (makes it and restarts the agent)",
            WorkerError.exit_code,
        )
    waiting = {item.name: len(item.tasks) for item in session.api.queues() if item.name in queues}
    return ok(", ".join(f"queue {name}: {count} waiting" for name, count in waiting.items()))


def worker(session: Session) -> Finding:
    """Is the agent known to the server, and alive."""
    found = prove.find_worker(session)
    if found is None:
        name = session.agent.worker or session.settings.fullname
        return fail(f"no worker {name} is registered", AGAIN, WorkerError.exit_code)
    age = found.age_s(session.now())
    if age > ALIVE_S:
        return fail(f"worker {found.id} has been silent for {age:.0f} s", AGAIN, WorkerError.exit_code)
    return ok(f"worker {found.id} was last seen {max(age, 0):.0f} s ago")


def serves(session: Session) -> Finding:
    """Does the agent ask for tasks of the wanted queues."""
    found = prove.find_worker(session)
    wanted, served = _queues(session), found.queues if found else ()
    missing = [name for name in wanted if name not in served]
    if missing:
        words = f"worker serves {', '.join(filter(None, served)) or 'nothing'}, not {', '.join(missing)}"
        if found and set(served) - set(wanted) and _works(session):
            return fail(
                f"{words}: the agent here works, so another one called {found.id}, in another namespace or cluster, "
                "reports to this server too, and the server takes both for one worker",
                SAME_NAME,
                WorkerError.exit_code,
            )
        return fail(words, AGAIN, WorkerError.exit_code)
    return ok(f"worker serves {', '.join(served)}")


def _works(session: Session) -> bool:
    """Return whether the agent here is ready, and its log has nothing to say against it."""
    try:
        return all(ask(session).level == Level.OK for ask in (pod, log))
    except ClusterError:
        return False


def log(session: Session) -> Finding:
    """Does the agent's log say that it works."""
    pods = rollout.agent_pods(session.cluster, session.settings.fullname)
    if not pods:
        return fail("there is no agent pod", AGAIN, PodError.exit_code)
    name = pods[0]["metadata"]["name"]
    lines = session.cluster.log(name, "k8s-glue", tail=40)
    cause = prove.log_cause(lines)
    if cause:
        return fail(f"agent {name}: {cause[1]} ({session.redact(cause[0])[:160]})", cause[2], WorkerError.exit_code)
    recent = session.cluster.log(name, "k8s-glue", tail=5, since_s=LOG_FRESH_S)
    if not recent:
        return fail(f"agent {name} has written nothing for {LOG_FRESH_S} s", AGAIN, WorkerError.exit_code)
    last = next((line for line in reversed(recent) if line.strip()), "")
    return ok(f"agent {name} writes: {session.redact(last)[:80]}")


def alone(session: Session) -> Finding:
    """Does anybody else take tasks from the same queues."""
    return _alone(session, session.installed.queues, session.agent)


def will_be_alone(session: Session) -> Finding:
    """Does anybody else take tasks from the queues that it is to serve."""
    return _alone(session, session.plan.queues, session.agent_of(session.plan))


def name_is_free(session: Session) -> Finding:
    """Is the agent's name on the server in use by an agent elsewhere; a first install takes one that is not."""
    plan, settings = session.plan, session.settings
    agent = session.agent_of(plan)
    others = worker_names.live(agent, session.api.workers(), session.now()) if session.is_new else []
    if others:
        queues = ", ".join(others[0].queues) or "nothing"
        by_values = plan.worker != settings.fullname
        return fail(
            f"worker {plan.worker} is on {session.api.api_url} already and serves {queues}: an agent of this name runs "
            "in another namespace or cluster, and the server would take both for one worker",
            f"another {WORKER} in agentk8sglue.extraEnvs" if by_values else "--release NAME, for another name",
            WorkerError.exit_code,
        )
    return ok(f"worker {plan.worker}")


def _alone(session: Session, queues: Iterable[str], agent: Owner) -> Finding:
    others = prove.other_workers(session, queues, agent)
    if others:
        names = ", ".join(others)
        return warn(f"also served by {names}: tasks may go there instead", "stop it, or use a queue of your own")
    return ok("no other worker serves these queues")


def task_pods(session: Session) -> Finding:
    """Does any task pod wait for something that will not come."""
    bad, count = [], 0
    for found in session.cluster.task_pods():
        count += 1
        verdict = classify_pod(found, session.now())
        if verdict.state == State.FAILED:
            bad.append(f"{found['metadata']['name']}: {verdict.reason} {verdict.message}"[:200])
    if bad:
        return fail("; ".join(bad), "./task doctor -- --task ID for each", PodError.exit_code)
    return ok(f"{count} task pods, none in trouble")


def lost_tasks(session: Session) -> Finding:
    """Was a task taken from its queue by an agent that died before it made the pod."""
    pending = session.api.queue(PODS_QUEUE)
    pods = {task_id(found) for found in session.cluster.pods()}
    lost = [
        task for task in (pending.tasks if pending else ()) if task not in pods and not taken_elsewhere(session, task)
    ]
    if lost:
        return warn(
            f"taken by the agent, but without a pod here: {', '.join(lost)}",
            f"./task doctor -- --task {lost[0]}",
        )
    return ok("every task that the agent took has a pod")


def access(session: Session) -> Finding:
    """May the agent do what it does and no more, and task pods nothing."""
    plan, settings = session.installed, session.settings
    role = session.cluster.role(settings.role)
    gone = [
        f"{kind} {settings.role}"
        for kind, found in (("Role", role), ("RoleBinding", session.cluster.role_binding(settings.role)))
        if found is None
    ]
    if gone:
        words = f"{' and '.join(gone)} is gone: the cluster refuses the agent everything, and its tasks wait"
        return fail(words, AGAIN, RightsError.exit_code)
    if role is not None and role.get("rules") != plan.agent_role:
        kinds = {kind for rule in role.get("rules") or [] for kind in rule.get("resources") or []}
        more = sorted(kinds - {kind for rule in plan.agent_role for kind in rule["resources"]})
        what = f"gives the agent {', '.join(more)} too" if more else "is not what the agent needs"
        return warn(f"Role {settings.role} {what}", AGAIN)
    if not plan.makes_task_account:
        return ok(f"task pods run as {plan.task_account or 'the account of the values'}")
    if session.cluster.service_account(plan.task_account) is None:
        return fail(
            f"ServiceAccount {plan.task_account} is not there: no task pod can be made", AGAIN, PodError.exit_code
        )
    return ok(f"the agent may handle pods; task pods run as {plan.task_account}, without a token")


def node(session: Session) -> Finding:
    """Can the nodes take pods."""
    nodes = session.cluster.nodes()
    if nodes is None:
        return warn("you are not allowed to list nodes", "kubectl auth can-i list nodes")
    bad = []
    for item in nodes:
        for condition in item["status"].get("conditions") or []:
            wanted = "True" if condition["type"] == "Ready" else "False"
            if condition["status"] != wanted:
                bad.append(f"node {item['metadata']['name']}: {condition['type']}={condition['status']}")
        if item["spec"].get("unschedulable"):
            bad.append(f"node {item['metadata']['name']} is cordoned")
    if bad:
        return warn("; ".join(bad), "kubectl describe nodes")
    return ok(f"{len(nodes)} nodes are ready, without pressure")


def live(session: Session) -> list[Check]:
    """Return what `check` asks: a live agent answers all of it."""
    return [
        once("kubeconfig", "kubeconfig and context", lambda: environment.kubeconfig(session)),
        once("kubernetes", "Kubernetes API answers", lambda: environment.kubernetes(session), ("kubeconfig",)),
        Check("release", "release", lambda: release(session), ("kubernetes",)),
        Check("agent-pod", "agent pod is ready", lambda: pod(session), ("release",)),
        once("server-known", "ClearML server is known", lambda: environment.server_known(session)),
        once("server", "ClearML server answers from here", lambda: environment.server(session), ("server-known",)),
        Check("agent-keys", "agent's keys are good", lambda: secret(session), ("kubernetes", "server")),
        Check("queue", "queue exists", lambda: queue(session), ("server",)),
        Check("agent-log", "agent's log", lambda: log(session), ("agent-pod",)),
        Check("worker", "worker is registered and alive", lambda: worker(session), ("server",)),
        Check("serves", "worker serves the queue", lambda: serves(session), ("worker", "queue")),
    ]


def more(session: Session) -> list[Check]:
    """Return what `doctor` asks beside these."""
    return [
        Check("strategy", "upgrades end the old agent first", lambda: strategy(session), ("release",)),
        Check("access", "rights of agent and tasks", lambda: access(session), ("release",)),
        Check("alone", "no other worker on the queue", lambda: alone(session), ("kubernetes", "server")),
        Check("task-pods", "task pods", lambda: task_pods(session), ("kubernetes",)),
        Check("lost-tasks", "no task is lost on its way", lambda: lost_tasks(session), ("kubernetes", "server")),
        once("nodes", "nodes", lambda: node(session), ("kubernetes",)),
    ]
