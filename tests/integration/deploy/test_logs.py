"""`logs`: from the pod while it lives, from the server afterwards; one line once, in order, without secrets."""

from __future__ import annotations

import json

import pytest

from tests.integration.deploy.deployer import HELD, NAMESPACE

pytestmark = pytest.mark.integration

COUNT = "import sys\nfor i in range(5): print('number', i)"
NUMBERS = [f"number {i}" for i in range(5)]


def numbers(text):
    return [line for line in text.splitlines() if line.startswith("number ")]


def test_logs_follow_a_task_to_its_end_without_a_gap(installed):
    installed.cluster.faults.cordoned = True  # it waits until somebody follows it
    task = installed.enqueue(COUNT)
    installed.clock.on_sleep = lambda _: setattr(installed.cluster.faults, "cordoned", False)
    out, _ = installed.run("logs", task, "--follow")
    assert numbers(out) == NUMBERS
    assert "-- task is queued, its pod is Unschedulable" in out
    assert out.split("\n-- ")[-1].strip() == "task is completed"
    installed.cluster.settle()
    assert installed.cluster.pods(NAMESPACE) == [installed.cluster.agent_pod(NAMESPACE)["metadata"]["name"]]
    assert numbers(installed("logs", task)) == NUMBERS  # from the server
    assert not installed.task(task).get("runtime", {}).get("pod")


def test_earlier_attempts_and_the_phases_of_the_last_pod_are_told(installed):
    task = installed.enqueue(COUNT)
    noted = {"section": "properties", "name": "earlier_attempts", "value": '["pod: Evicted; low on memory"]'}
    installed("logs", task, "--follow")
    installed.api("tasks.edit_hyper_params", task=task, force=True, hyperparams=[noted])
    installed.api("tasks.edit", task=task, force=True, runtime={"pod_phases": "pull 12 s, run 3 s"})
    said = installed("logs", task)
    assert "-- attempt 1 ended: pod: Evicted; low on memory\n-- its pod: pull 12 s, run 3 s" in said


def test_a_pod_that_is_gone_right_after_its_task_completed_was_not_deleted_by_anybody(installed):
    """The agent deletes ended pods within seconds: `logs -f` may come too late to see it end."""
    task = installed.enqueue(tags=HELD)
    container = installed.cluster.container(NAMESPACE, f"clearml-id-{task}")
    container.say("number 0")

    def end_and_clean(method, path):
        if path.endswith("/log"):
            installed.cluster.faults.before = None
            installed.api("tasks.completed", task=task, force=True)
            installed.cluster.vanish(NAMESPACE, f"clearml-id-{task}")

    installed.cluster.faults.before = end_and_clean
    out, _ = installed.run("logs", task, "--follow")
    assert "Deleted" not in out
    assert installed.task(task)["status"] == "completed"
    assert not installed.task(task).get("runtime", {}).get("pod")


def test_the_last_words_of_a_task_that_has_just_ended_are_waited_for(installed):
    """A step completes itself; the agent in its pod copies its output each 5 s, also to the pod's log."""
    task = installed.enqueue(tags=HELD)
    container = installed.cluster.container(NAMESPACE, f"clearml-id-{task}")
    container.say("number 0")
    installed.api("tasks.completed", task=task, force=True)

    def the_rest(_seconds):
        installed.clock.on_sleep = lambda _: None
        container.say("number 1", "number 2", "number 3", "number 4")
        installed.cluster.end_task_pod(NAMESPACE, task, "Completed")

    installed.clock.on_sleep = the_rest
    assert numbers(installed("logs", task)) == NUMBERS


def test_a_pod_that_outlives_its_task_is_not_waited_for_without_end(installed):
    task = installed.enqueue(tags=HELD)
    installed.cluster.container(NAMESPACE, f"clearml-id-{task}").say("number 0")
    installed.api("tasks.completed", task=task, force=True)
    assert numbers(installed("logs", task)) == ["number 0"]


def test_a_task_that_stays_queued_is_told_of_until_the_deadline(installed):
    queue = installed.api("queues.create", name="fake-pods-unserved")["id"]
    project = installed.api("projects.create", name="unserved", description="")["id"]
    task = installed.api("tasks.create", name="waits", type="testing", project=project)["id"]
    installed.api("tasks.enqueue", task=task, queue=queue)
    said = installed("logs", task, "-f", "--timeout", "150", code=35)
    word = "task is number 1 of 1 in queue fake-pods-unserved; no live worker serves queue fake-pods-unserved"
    assert said.count(f"-- {word}") == 1
    assert f"s: {word}" in said, "it is said again each minute"
    assert f"task {task} has not started after 15" in said and f"./task doctor -- --task {task}" in said


def test_a_draft_is_said_to_be_in_no_queue(installed):
    task = installed.enqueue()
    installed.api("tasks.reset", task=task, force=True)
    said = installed("logs", task, "-f", "--timeout", "10", code=35)
    assert "task is created: it waits in no queue (enqueue it" in said


def test_lines_of_the_agent_are_shown_with_raw_only(installed):
    task = installed.enqueue("print('Starting Task Execution:'); print('number 0'); print('Launching step: x')")
    out, _ = installed.run("logs", task)
    assert "Starting Task Execution:" not in out and "number 0" in out
    assert "-- 3 lines of the agent and of libraries are not shown; --raw shows all" in out
    raw, _ = installed.run("logs", task, "--raw")
    assert {"Starting Task Execution:", "number 0", "Launching step: x"} <= set(raw.splitlines())
    assert "not shown" not in raw


def test_logs_of_a_failed_task_end_with_one(installed):
    task = installed.enqueue("print('number 0'); raise SystemExit(3)")
    out, _ = installed.run("logs", task, "--follow", code=1)
    assert "-- task is failed: exit code 3" in out
    assert installed.json("logs", task)["status"] == "failed"


def test_a_connection_that_breaks_is_taken_up_where_it_broke(installed):
    task = installed.enqueue(tags=HELD)
    container = installed.cluster.container(NAMESPACE, f"clearml-id-{task}")
    container.say("number 0", "number 1")
    installed.cluster.faults.break_logs_after = 2

    def the_rest(_seconds):
        installed.clock.on_sleep = lambda _: None
        container.say("number 2", "number 3", "number 4")
        installed.api("tasks.completed", task=task, force=True)
        installed.cluster.end_task_pod(NAMESPACE, task, "Completed")

    installed.clock.on_sleep = the_rest
    out, _ = installed.run("logs", task, "-f")
    assert numbers(out) == NUMBERS
    assert "waiting: " in out


def test_a_server_that_does_not_come_back_ends_the_wait(installed):
    task = installed.enqueue(tags=HELD)
    installed.cluster.end_task_pod(NAMESPACE, task, "Completed")
    installed.cluster.fail("GET", "/pods/clearml-id", status=503)
    assert "answered 503" in installed("logs", task, "-f", code=32)


def test_logs_without_rights_on_pods_come_from_the_server(installed):
    task = installed.enqueue(COUNT)
    installed.cluster.faults.forbidden = {("get", "pods")}
    assert numbers(installed("logs", task)) == NUMBERS


def test_logs_of_a_pipeline_name_the_step_of_each_line(installed):
    controller = installed.enqueue("print('number 0')", name="my pipeline", type="controller")
    step = installed.enqueue("print('number 1')", name="step one", parent=controller)
    out, _ = installed.run("logs", "my pipeline", "--follow")
    assert "[controller] number 0" in out.splitlines()
    assert "[step one] number 1" in out.splitlines()
    assert installed.task(step)["status"] == "completed"
    assert "[step one] number 1" in installed.json("logs", controller)["lines"]


def test_logs_of_a_pipeline_leave_out_its_copies_and_end_without_them(installed):
    """*New run* and the SDK's clones make the run that they copy the parent of the new one."""
    inner = installed.enqueue("print('number 1')", name="inner", type="controller")
    graph = {"name": "Pipeline", "value": json.dumps({"inner": {"job_id": inner, "parents": []}})}
    controller = installed.enqueue(
        "print('number 0')", name="my pipeline", type="controller", configuration={"Pipeline": graph}
    )
    installed.api("tasks.edit", task=inner, parent=controller, force=True)
    copy = installed.enqueue(
        "print('number 2')", name="my pipeline #2", type="controller", parent=controller, tags=HELD
    )
    installed.cluster.container(NAMESPACE, f"clearml-id-{copy}").say("number 2")
    lines = installed.json("logs", controller, "--follow")["lines"]
    assert "[controller] number 0" in lines
    assert "[inner] number 1" in lines
    assert [line for line in lines if "my pipeline #2" in line] == []


def test_the_newest_task_of_a_name_is_shown(installed):
    installed.enqueue("print('number 0')", name="twice")
    installed.enqueue("print('number 1')", name="twice")
    assert numbers(installed("logs", "twice")) == ["number 1"]


@pytest.mark.parametrize("name", ["no such task", "0" * 32])
def test_a_task_that_does_not_exist_is_said_so(deploy, name):
    assert "no task or pipeline is called" in deploy("logs", name, code=45)


def test_a_task_that_is_deleted_while_it_is_followed_ends_the_wait(installed):
    task = installed.enqueue(tags=HELD)
    installed.cluster.vanish(NAMESPACE, f"clearml-id-{task}")

    def delete(_seconds):
        installed.clock.on_sleep = lambda _: None
        installed.api("tasks.delete", task=task, force=True)

    installed.clock.on_sleep = delete
    assert f"task {task} is gone" in installed("logs", task, "-f", code=45)


def test_the_secret_key_is_not_shown(installed):
    secret = installed.api.credentials[1]
    task = installed.enqueue(f"print('number', {secret!r})")
    assert numbers(installed("logs", task)) == ["number ***"]
    assert secret not in installed("logs", task, "--follow")
