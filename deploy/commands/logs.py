"""The console of a task or of a whole pipeline: from the pod while it lives, from ClearML afterwards, without a gap."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from clearml_access import console
from clearml_access.errors import ServerUnreachableError, UserFacingError
from clearml_access.own_lines import OwnLines
from clearml_access.pod_records import phases_as_text, phases_of
from clearml_access.tasks import earlier_attempts, has_ended, is_pipeline, moment, reason_of
from command_line.options import TASK_ID
from deploy.checks.task import waits_for
from deploy.errors import ClusterError, ClusterUnreachableError, DeadlineError, TaskNotFoundError
from deploy.kubernetes.pods import TASK_POD_PREFIX, State, classify_pod
from deploy.session import Session
from deploy.verification import records

FIELDS = ("name", "status", "type", "runtime", "system_tags", "hyperparams.properties")
PATIENCE_S = 120.0
"""How long server or cluster may be away while a task is followed."""

LOOK_EVERY_S = 5.0
"""How often a task that has not started is asked about."""

SAY_EVERY_S = 60.0
"""How often it is said again what such a task waits for."""

Emit = Callable[[str], None]


@dataclass(frozen=True)
class Show:
    """What to show of a console, and how long to wait for it."""

    follow: bool = False
    raw: bool = False
    """Show all lines, also those of the agent, the SDK and other libraries."""

    start_s: float = float("inf")
    """How long a task that is followed may take to start."""


def resolve(session: Session, text: str) -> dict[str, Any]:
    """Return the task of an id or a name; the newest of several.

    Raises:
        TaskNotFoundError: There is none.
    """
    if TASK_ID.fullmatch(text):
        found = session.api.task(text, FIELDS)
        if found:
            return found
    else:
        named = session.api.find_tasks(text)
        if named:
            return session.api.task(str(named[0]["id"]), FIELDS) or named[0]
    raise TaskNotFoundError(f"no task or pipeline is called {text!r}", hint="use the id in the task's page")


def show(session: Session, task: dict[str, Any], emit: Emit, how: Show) -> str:
    """Emit the console of a task, or of a pipeline and its steps; return the final (or present) status.

    Raises:
        DeadlineError: It was to be followed and has not started in time.
    """
    if not is_pipeline(task):
        return _Console(session, task["id"], emit, how).run()
    return _pipeline(session, task, emit, how)


def _pipeline(session: Session, controller: dict[str, Any], emit: Emit, how: Show) -> str:
    """Emit several consoles at once, each line after its step's name."""
    lines: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
    threads: dict[str, threading.Thread] = {}
    results: dict[str, str] = {}
    errors: dict[str, UserFacingError] = {}

    def begin(task: str, label: str) -> None:
        def work() -> None:
            try:
                results[task] = _Console(session, task, lambda line: lines.put((label, line)), how).run()
            except UserFacingError as error:
                lines.put((label, f"({error.message})"))
                errors[task] = error

        threads[task] = threading.Thread(target=work, daemon=True)
        threads[task].start()

    begin(str(controller["id"]), "controller")
    looked = session.wait(float("inf"))
    next_look = 0.0
    while True:
        with suppress(queue.Empty):
            while True:
                label, line = lines.get(timeout=0.2)
                emit(f"[{label}] {line}")
        if looked.seconds >= next_look:
            next_look = looked.seconds + 1.5
            with suppress(ServerUnreachableError):
                for child in session.api.steps(str(controller["id"])):
                    if child["id"] not in threads:
                        begin(str(child["id"]), str(child.get("name") or child["id"]))
        if not any(thread.is_alive() for thread in threads.values()) and lines.empty():
            if error := errors.get(str(controller["id"])):
                raise error
            return results[str(controller["id"])]


class _Console:
    """One task's console, remembered as far as it was emitted."""

    def __init__(self, session: Session, task: str, emit: Emit, how: Show) -> None:
        self._session = session
        self._task = task
        self._emit_line = emit
        self._how = how
        self._own = OwnLines()
        self._since = session.wait(how.start_s, poll_s=0.5)
        self._next_look = self._next_word = 0.0
        self._waits_for = ""
        self._printed: deque[str] = deque(maxlen=console.WINDOW)
        self._streamed: set[str] = set()
        """Pods (by uid) whose log was taken to its end."""

    def run(self) -> str:
        status = self._follow() if self._how.follow else self._show()
        if self._own.left_out:
            self._note(f"{self._own.left_out} lines of the agent and of libraries are not shown; --raw shows all")
        return status

    def _note_pods(self, record: dict[str, Any]) -> None:
        """Say how the earlier attempts of a step ended, and where the time of its last pod went."""
        for number, end in enumerate(earlier_attempts(record), 1):
            self._note(f"attempt {number} ended: {end}")
        if phases := phases_of(record):
            self._note(f"its pod: {phases_as_text(phases)}")

    def _show(self) -> str:
        self._wait_for_last_words(self._record())
        pod = self._pod()
        if pod is not None and self._has_started(pod):
            self._emit_all(self._session.cluster.log(pod["metadata"]["name"], tail=None))
        self._rest()
        record = self._record()
        self._note_pods(record)
        return str(record.get("status"))

    def _follow(self) -> str:
        silence = self._session.wait(PATIENCE_S, poll_s=0.5)
        while True:
            try:
                status = self._turn()
                silence = self._session.wait(PATIENCE_S, poll_s=0.5)
                if status:
                    return status
            except (ClusterUnreachableError, ServerUnreachableError) as error:
                if not silence.again():
                    raise
                self._note(f"waiting: {error.message}")
            silence.sleep()

    def _turn(self) -> str:
        """Take what there is; return the status once it is final and everything was emitted, until then nothing."""
        record = self._record()
        status = str(record.get("status"))
        pod = self._pod()
        if pod is not None and self._has_started(pod) and pod["metadata"]["uid"] not in self._streamed:
            self._stream(pod)
            return ""
        if pod is not None and pod["metadata"]["uid"] not in self._streamed:
            records.record_end(self._session, pod)
        if has_ended(record):
            self._wait_for_last_words(record)
            self._rest()
            self._note_pods(record)
            reason = "" if status == "completed" else reason_of(record)
            self._note(f"task is {status}" + (f": {reason}" if reason else ""))
            return status
        if self._printed:
            if pod is None:
                self._rest()
        else:
            self._wait_for_start(status, pod)
        return ""

    def _wait_for_last_words(self, record: dict[str, Any]) -> None:
        """Wait until whoever ran a task that has just ended has handed on the last of its output."""
        ended = moment(record.get("status_changed"))
        if not has_ended(record) or ended is None or self._session.now().timestamp() - ended > console.LAST_WORDS_S:
            return
        patience = self._session.wait(console.LAST_WORDS_S, poll_s=0.5)
        while self._is_in_hand() and patience.again():
            pass

    def _is_in_hand(self) -> bool:
        pod = self._pod()
        if pod is None:
            return self._task in self._session.api.tasks_in_hand()
        return pod["status"].get("phase") not in ("Succeeded", "Failed")

    def _wait_for_start(self, status: str, pod: dict[str, Any] | None) -> None:
        """Say what the task waits for: at first, when that changes, and once a minute.

        Raises:
            DeadlineError: It has not started in time.
        """
        seconds = self._since.seconds
        if seconds >= self._how.start_s and status != "in_progress":
            raise DeadlineError(
                f"task {self._task} has not started after {seconds:.0f} s: {self._waits_for}",
                hint=f"./task doctor -- --task {self._task}",
            )
        if seconds < self._next_look:
            return
        self._next_look = seconds + LOOK_EVERY_S
        reason = self._reason_to_wait(status, pod)
        if reason != self._waits_for:
            self._waits_for, self._next_word = reason, seconds + SAY_EVERY_S
            self._note(reason)
        elif seconds >= self._next_word:
            self._next_word = seconds + SAY_EVERY_S
            self._note(f"after {seconds:.0f} s: {reason}")

    def _reason_to_wait(self, status: str, pod: dict[str, Any] | None) -> str:
        if pod is not None:
            verdict = classify_pod(pod, self._session.now())
            if verdict.state in (State.WAITING, State.FAILED):
                return f"task is {status}, its pod is {verdict.reason} {verdict.message}".rstrip()
        return f"task is {status}" if pod is not None else waits_for(self._session, self._task)

    def _stream(self, pod: dict[str, Any]) -> None:
        name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
        if self._printed:
            # The connection broke before, or the agent took the task again: a pod begins at its first line.
            self._emit_all(console.after(list(self._printed), self._session.cluster.log(name, tail=None)))
        else:
            for line in self._session.cluster.follow_log(name):
                self._emit(line)
        last = self._session.cluster.pod(name)
        deleted = last is None or last["metadata"]["uid"] != uid
        ended = pod if deleted or last is None else last
        if deleted or ended["status"].get("phase") in ("Succeeded", "Failed"):
            self._streamed.add(uid)
            # A pod that only its task's agent outlived is recorded by that agent, with more to say.
            found = records.record_end(self._session, ended, deleted=deleted)
            if found:
                self._note(found.text())
                self._printed.append(found.text())  # the console holds the same line

    def _rest(self) -> None:
        self._emit_all(console.after(list(self._printed), self._session.api.console(self._task)))

    def _emit_all(self, lines: list[str]) -> None:
        for line in lines:
            self._emit(line)

    def _emit(self, line: str) -> None:
        self._printed.append(line)
        if self._how.raw or self._own.is_own(line):
            self._emit_line(self._session.redact(console.plain(line)))
        else:
            self._own.left_out += 1

    def _note(self, text: str) -> None:
        self._emit_line(f"-- {self._session.redact(text)}")

    def _record(self) -> dict[str, Any]:
        found = self._session.api.task(self._task, FIELDS)
        if found is None:
            raise TaskNotFoundError(f"task {self._task} is gone", hint="it was deleted while it was followed")
        return found

    def _pod(self) -> dict[str, Any] | None:
        try:
            return self._session.cluster.pod(TASK_POD_PREFIX + self._task)
        except ClusterUnreachableError:
            raise
        except ClusterError:
            return None  # no rights, no namespace: the server's console is all there is

    @staticmethod
    def _has_started(pod: dict[str, Any]) -> bool:
        states = [item.get("state") or {} for item in pod["status"].get("containerStatuses") or []]
        return any("running" in state or "terminated" in state for state in states)
