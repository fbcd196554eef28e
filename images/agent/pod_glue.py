"""Takes tasks from their queues and makes pods of them: the stock glue, with its faults corrected.

It ends at SIGTERM, and then neither drops a task just taken nor takes another. A task that cannot become a pod now
waits at the front of its queue; one that never can ends as failed, with the reason. reconciler.py watches the pods.

Outside systems: the ClearML server through the glue's session; the cluster through pod_api.py.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import threading
import time
import uuid
from typing import Any

from clearml_agent.glue.k8s import K8sIntegration  # type: ignore[import-not-found]
from known_pods import KnownPods  # type: ignore[import-not-found]
from outcomes import CannotStartError, NoRoomYetError, TryLaterError  # type: ignore[import-not-found]
from pod_api import (  # type: ignore[import-not-found]
    AwayError,
    ExistsError,
    NoRoomError,
    NotThereError,
    PodApi,
    RefusedError,
    UnclearError,
)
from pod_arguments import (  # type: ignore[import-not-found]
    HOST_ACCESS,
    ArgumentError,
    ascii_script,
    guarded,
    label_value,
    parse,
)
from quick_client import QueueNames, QuickClient  # type: ignore[import-not-found]
from quotas import Waits, beyond  # type: ignore[import-not-found]
from reconciler import LOST_S, Reconciler  # type: ignore[import-not-found]
from recorder import Recorder  # type: ignore[import-not-found]
from task_records import ServerError, TaskRecords, identity  # type: ignore[import-not-found]

from clearml_access import pod_records
from clearml_access.queue_policy import QueuePolicy

TAKEN = "k8s pending scheduler, from queue "
"""Begins the reason of a task that was taken; the queue and the agent follow."""

ATTEMPT = "clearml-pods/attempt"
"""Annotation of a pod: which call made it."""

IDLE_S = 2.0
"""The loop rests for this time where it has nothing to do; the stock agent rests for 5 s."""

BUSY_S = 0.5
"""The same while tasks come: a pipeline's steps follow one another, and each would wait for half of the rest."""

BUSY_FOR_S = 300.0
"""Tasks count as coming for this time after the last one. Some servers count calls, so a quiet agent makes fewer."""

PATIENCE_S = 20
"""The termination grace of the agent's own pod is 30 s."""

AGAIN_S = 5.0
"""A queue whose first task has to wait is left alone for this time, or until a pod has gone."""

OLD_POD_GRACE_S = 3


class Glue(K8sIntegration):  # type: ignore[misc]
    """The stock glue, which ends between two tasks, loses none, and says why one does not start.

    Every method below that has the name of one of the stock glue's takes its place; overridden.py lists them with the
    reason, and a test compares them with the pinned agent.
    """

    KUBECTL_APPLY_CMD = "true"  # the stock glue would apply the manifest by it; here it is finished and sent

    def __init__(self, policy: QueuePolicy, **options: Any) -> None:
        self._policy = policy
        self._in_hand = False
        self._stopping = False
        self._current: str | None = None
        self._made: str | None = None
        self._unanswered: dict[str, str] = {}
        self._quota_waits = Waits()
        self._queue_names = QueueNames()
        self._held: dict[str, tuple[float, int]] = {}
        self._last_task = time.monotonic()
        self._told: set[tuple[str, str]] = set()
        self._missing: dict[str, tuple[str, float]] = {}
        self._explained = False
        self._host_access = os.environ.get(HOST_ACCESS, "").lower() in ("1", "true", "yes")
        super().__init__(**options)

    def _create_daemon_instance(self, cls_: Any, **options: Any) -> Any:
        self._records = TaskRecords(self._session, self.worker_id or "agent")
        self._identity = identity(self.worker_id or "agent", self.namespace)
        self._cluster = PodApi(self.namespace, self._get_agent_label())
        self._pods = KnownPods()
        self._recorder = recorder = Recorder(self._records, self._pods, lambda: self.k8s_pending_queue_id)
        threading.Thread(target=recorder.watch, args=[self._cluster], daemon=True, name="recorder").start()
        reconciler = Reconciler(self._cluster, self._records, self._pods, recorder, self._find_lost, self._policy)
        reconciler.look()
        return reconciler

    def stop(self, *_: object) -> None:
        """End now, or once the task in hand has become a pod."""
        self._stopping = True
        if not self._in_hand:
            raise SystemExit(0)
        # A server that lets workers wait for a task (localserver does) answers one that is gone. To hang up instead
        # could lose a task that is on its way here.
        threading.Thread(target=self._say_goodbye, daemon=True).start()

    def _say_goodbye(self) -> None:
        with contextlib.suppress(Exception):  # only a head start: the glue waits for its answer in any case
            self._session.send_request("workers", "unregister", json={"worker": self.worker_id}, method="post")

    # -- the loop: which tasks are taken

    def _get_used_pods(self) -> tuple[int, set[str]]:
        pods = self._pods.all()
        return len(pods), {self.namespace} if pods else set()

    def _get_pod_count(self, extra_labels: list[str] | None = None, msg: str | None = None) -> int:
        return len(self._pods.all())

    def _cleanup_old_pods(self, namespaces: Any, extra_msg: str | None = None) -> dict[str, list[str]]:
        return {}

    def _get_next_task(self, queue: str, get_task_info: bool) -> Any:
        if self._stopping:  # the stock loop may have swallowed the first attempt to end
            raise SystemExit(0)
        self._polling_interval = BUSY_S if time.monotonic() - self._last_task < BUSY_FOR_S else IDLE_S
        if not self._pods.is_current or self._is_held(queue):
            return {}
        self._in_hand = True
        begun = time.monotonic()
        answer = super()._get_next_task(queue=queue, get_task_info=get_task_info)
        task = ((answer or {}).get("entry") or {}).get("task")
        if task:
            self._last_task = time.monotonic()
        elif time.monotonic() - begun >= IDLE_S:
            # A server that keeps the question open until there is a task (localserver does) is asked again at once.
            self._polling_interval = 0.1
        if task and self._stopping:
            self._hand_over(task, queue)
            self._put_back(task, queue, "put back by an agent that is to end")
        if not task:
            self._quota_waits.end(queue)
        if not task or self._stopping:
            self._done()
        return answer

    def _is_held(self, queue: str) -> bool:
        """Return whether the first task of a queue has been tried lately, and no pod has gone since."""
        until, gone = self._held.get(queue, (0.0, 0))
        return time.monotonic() < until and self._pods.gone == gone

    def _done(self) -> None:
        self._in_hand = False
        if self._stopping:
            raise SystemExit(0)

    @staticmethod
    def _safe_k8s_label_value(value: str) -> str:
        return str(label_value(value))

    # -- one task: from its queue to its pod, or back, or to its end

    def run_one_task(
        self, queue: str, task_id: str, worker_args: Any = None, task_session: Any = None, **options: Any
    ) -> None:
        """Make the task a pod; or put it back, or end it as failed, and say why."""
        self._current, gone = task_id, self._pods.gone
        try:
            self._make_pod(queue, task_id, worker_args, task_session, options)
            self._quota_waits.end(queue)
        except TryLaterError as error:
            waited = self._quota_waits.seconds(queue, task_id) if isinstance(error, NoRoomYetError) else 0.0
            if self._policy.is_over(waited):
                self._give_up(task_id, f"its pod was not made within {self._policy.pending_limit}: {error}")
            else:
                self._put_back(task_id, queue, str(error))
                self._held[queue] = time.monotonic() + AGAIN_S, gone
        except Exception as error:  # whatever it is, this task must not wait for ever, and the next one not at all
            reason = str(error) if isinstance(error, CannotStartError) else f"{type(error).__name__}: {error}"
            self._give_up(task_id, reason)
        finally:
            self._current = None
            self._done()

    def _make_pod(self, queue: str, task: str, worker_args: Any, task_session: Any, options: dict[str, Any]) -> None:
        self._made = None
        self._hand_over(task, queue)
        self._sign(task)
        client = self._session.api_client
        self._session.api_client = QuickClient(client, self._queue_names)
        try:
            super().run_one_task(queue, task, worker_args, task_session, **options)
        finally:
            self._session.api_client = client
        if self._made != task:
            raise CannotStartError("the agent made no pod of it; the agent's log says why")

    def _hand_over(self, task: str, queue: str) -> None:
        """Move the task to the queue of those that wait for their pod, where it is seen, and found again if we die."""
        words = {
            "task": task,
            "queue": self.k8s_pending_queue_id,
            "status_reason": f"{TAKEN}{queue} by {self.worker_id}",
        }
        with contextlib.suppress(ServerError):  # an entry that an agent which died has left
            self._records.call("queues", "remove_task", {"task": task, "queue": self.k8s_pending_queue_id})
        try:
            self._records.call("tasks", "enqueue", words)
        except ServerError:  # old servers move no task that counts as queued
            self._records.call("tasks", "stop", {"task": task, "force": True, "status_reason": "k8s pending scheduler"})
            self._records.call("tasks", "enqueue", words)

    def _is_same_tenant(self, task_session: Any) -> bool:
        return False

    def _sign(self, task: str) -> None:
        """Write this agent into the task, and the default image where it has container settings and no image.

        What is there of its last pod goes: the reason of an earlier attempt is not that of this one.
        """
        query = {"id": [task], "only_fields": ["container", "runtime"], "search_hidden": True}
        record = (self._records.call("tasks", "get_all", query).get("tasks") or [{}])[0]
        found = record.get("container") or {}
        last = pod_records.runtime_of(record)
        kept = {key: value for key, value in last.items() if key not in pod_records.OF_ONE_RUN}
        edit: dict[str, Any] = {"runtime": {**kept, **self._policy.notes(), pod_records.AGENT: self._identity}}
        try:
            shlex.split(found.get("arguments") or "")
        except ValueError as error:
            raise CannotStartError(f"docker arguments {found['arguments']!r} cannot be read: {error}") from error
        default = os.environ.get("CLEARML_DOCKER_IMAGE") or self._session.config.get("agent.default_docker.image", None)
        others = found.get("arguments") or found.get("setup_shell_script")
        if default and others and not (found.get("image") or "").strip():
            edit["container"] = {**found, "image": default}
        self._records.call("tasks", "edit", {"task": task, "force": True, **edit})

    def _create_template_container(
        self,
        pod_name: str,
        task_id: str,
        docker_image: str,
        docker_args: list[str],
        docker_bash: str,
        clearml_conf_create_script: list[str],
        task_worker_id: str,
        task_token: str | None = None,
    ) -> dict[str, Any]:
        spec = (self.template_dict or {}).get("spec") or {}
        volumes = frozenset(str(volume.get("name")) for volume in spec.get("volumes") or [])
        env = frozenset(str(entry.get("name")) for entry in (spec.get("containers") or [{}])[0].get("env") or [])
        try:
            self._asked = parse(list(docker_args or []), volumes, host_access=self._host_access, template_env=env)
        except ArgumentError as error:
            raise CannotStartError(f"docker arguments {shlex.join(docker_args)!r}: {error}") from error
        if refusal := self._policy.refusal(self._asked.memory):
            raise CannotStartError(f"docker arguments {shlex.join(docker_args)!r}: {refusal}")
        container: dict[str, Any] = super()._create_template_container(
            pod_name=pod_name,
            task_id=task_id,
            docker_image=docker_image,
            docker_args=[word for name, value in self._asked.env for word in ("-e", f"{name}={value}")],
            docker_bash=ascii_script(docker_bash),
            clearml_conf_create_script=clearml_conf_create_script,
            task_worker_id=task_worker_id,
            task_token=task_token,
        )
        guarded(container)
        return container

    def _kubectl_apply(self, **options: Any) -> tuple[str, str, str]:
        _, error, name = super()._kubectl_apply(**options)
        if error or not name:
            raise CannotStartError(error or "the agent made no manifest for its pod")
        task = options["task_id"]
        pod = options["template"]  # this task's own copy, in which the stock glue has written the manifest
        self._asked.apply_to(pod)
        pod["spec"]["restartPolicy"] = "Never"  # a second start would find its task taken (clearml-agent#56)
        if self._asked.dropped:
            self._say_once(task, "dropped", f"docker arguments with no effect here: {', '.join(self._asked.dropped)}")
        attempt = self._unanswered.setdefault(task, uuid.uuid4().hex)
        pod["metadata"].setdefault("annotations", {})[ATTEMPT] = attempt
        for warning in self._create(task, pod):
            self._say_once(task, warning, warning)
        self._unanswered.pop(task)
        self._made = task
        return f"pod {name} is made", "", name

    def _create(self, task: str, pod: dict[str, Any]) -> list[str]:
        """Create the pod, with patience for what passes; return the API server's warnings."""
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                made, warnings = self._cluster.create(pod)
                self._pods.see(made)
                return list(warnings)
            except (RefusedError, NotThereError) as error:
                self._unanswered.pop(task)
                raise CannotStartError(f"the cluster refuses its pod: {error}") from error
            except NoRoomError as error:
                self._unanswered.pop(task)
                if never := beyond(str(error)):
                    raise CannotStartError(f"{never} ({error})") from error
                raise NoRoomYetError(f"waits for room: {error}") from error
            except ExistsError as error:
                waits_for = f"waits for the pod of its last run to end: {error}"
                if self._is_made(pod):
                    return []
            except UnclearError as error:
                if time.monotonic() > until:
                    self._unanswered.pop(task)
                    raise CannotStartError(f"the cluster makes no pod of it: {error}") from error
                waits_for = f"waits for the cluster: {error}"
            except AwayError as error:
                waits_for = f"waits for the cluster: {error}"
            if self._stopping or time.monotonic() > until:
                raise TryLaterError(waits_for)
            time.sleep(1)

    def _is_made(self, pod: dict[str, Any]) -> bool:
        """Return whether the pod that is in the way is this one, made by a call that got no answer; else end it."""
        with contextlib.suppress(AwayError):
            other = self._cluster.pod(pod["metadata"]["name"])
            if other and _attempt(other) == _attempt(pod):
                self._pods.see(other)
                return True
            if other:
                self._pods.will_end(other)
                self._cluster.delete(other, OLD_POD_GRACE_S)
        return False

    def _put_back(self, task: str, queue: str, reason: str) -> None:
        """Leave the task to the next round, or to the next agent: it is the first in its queue."""
        print(f"Putting task {task} back into queue {queue}: {reason}", flush=True)
        with contextlib.suppress(ServerError):  # it was aborted meanwhile: then there is nothing to put back
            self._records.call("tasks", "enqueue", {"task": task, "queue": queue, "status_reason": reason})
            self._records.call("queues", "move_task_to_front", {"task": task, "queue": queue})
            self._say_once(task, reason.partition(":")[0], reason)

    def _give_up(self, task: str, reason: str) -> None:
        """End the task as failed."""
        with contextlib.suppress(ServerError):
            self._records.call("queues", "remove_task", {"task": task, "queue": self.k8s_pending_queue_id})
        with contextlib.suppress(ServerError):  # it was aborted or deleted meanwhile
            self._records.give_up(task, "cannot start", f"the task cannot start: {reason}")

    def _say_once(self, task: str, kind: str, text: str) -> None:
        if (task, kind) not in self._told:
            self._told.add((task, kind))
            self._records.say(task, text, "warning")

    # -- tasks that an agent had in hand when it died

    def _find_lost(self, with_pods: set[str]) -> None:
        """Find this agent's tasks that have no pod: put those that wait back, end those that ran."""
        if self.k8s_pending_queue_id is None:
            return
        for task, state in self._records.running_under(self._identity).items():
            if task not in with_pods and self._is_gone(task):
                self._recorder.fail(state, "Deleted", self._gone(task))
        if not self._explained:  # those that the server gave up while no agent was there
            for task, state in self._records.given_up_under(self._identity).items():
                if task not in with_pods and self._is_gone(task):
                    self._recorder.explain(state, self._gone(task))
            self._explained = True
        self._put_waiting_back(with_pods)

    def _is_gone(self, task: str) -> bool:
        """Return whether a task has no pod now: it may have got one since the pods were listed."""
        return self._cluster.pod(self.pod_name_prefix + task) is None

    def _gone(self, task: str) -> str:
        return f"pod {self.pod_name_prefix}{task} is gone, and its agent saw no end: Deleted, or its node was lost"

    def _put_waiting_back(self, with_pods: set[str]) -> None:
        """Put tasks that this agent took, and that have had no pod for a time, back into their queues."""
        now, missing = time.monotonic(), {}
        queue = self._records.call("queues", "get_by_id", {"queue": self.k8s_pending_queue_id})["queue"]
        waiting = self._records.states({entry["task"] for entry in queue.get("entries") or []} - with_pods)
        for task, state in waiting.items():
            if not self._waits(state):
                continue
            mark, since = self._missing.get(task, ("", now))
            changed = f"{state.get('status')} {state.get('status_changed')}"
            missing[task] = (changed, since if mark == changed else now)
            if now - missing[task][1] >= LOST_S:
                self._put_back(task, _taken_by(state)[0], "had no pod: its agent ended meanwhile")
        self._missing = missing

    def _waits(self, state: dict[str, Any]) -> bool:
        return (
            state.get("status") == "queued" and _taken_by(state)[1] == self.worker_id and state["id"] != self._current
        )


def _taken_by(state: dict[str, Any]) -> tuple[str, str]:
    """Return the queue that a task was taken from, and by which agent."""
    queue, _, worker = str(state.get("status_reason") or "").removeprefix(TAKEN).partition(" by ")
    return queue, worker


def _attempt(pod: dict[str, Any]) -> str | None:
    return (pod["metadata"].get("annotations") or {}).get(ATTEMPT)
