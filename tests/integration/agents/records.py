"""What these tests read of runs on the server, and how they wait for it."""

from __future__ import annotations

import time

PATIENCE_S = 120


def artifact_hashes(client, run):
    return {
        f"{step['name']}/{artifact['key']}": artifact["hash"]
        for step in run["steps"]
        for artifact in client("tasks.get_by_id", task=step["task_id"])["task"]["execution"]["artifacts"]
    }


def wait_for(question, what):
    deadline = time.monotonic() + PATIENCE_S
    while not (answer := question()):
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.1)
    return answer


def steps_of(client, run_id):
    tasks = client("tasks.get_all", parent=[run_id], search_hidden=True)["tasks"]
    return {task["name"]: task for task in tasks if task["type"] == "data_processing" and "script" in task}


def newest_run(client):
    tasks = client("tasks.get_all", type=["controller"], search_hidden=True, order_by=["-created"])["tasks"]
    return tasks[0]["id"] if tasks else None


def inner_of(client, run_id):
    """Return the inner controller of a full run, once there is one."""
    tasks = client("tasks.get_all", parent=[run_id], search_hidden=True)["tasks"]
    return next((task for task in tasks if task["name"] == "data_prepare"), None)


def unfinished_of(client, run_id, inner_id):
    """Return the tasks of a full run that are still under way or will be."""
    tasks = [client("tasks.get_by_id", task=task)["task"] for task in (run_id, inner_id)]
    return [
        task["id"]
        for task in [*tasks, *steps_of(client, inner_id).values()]
        if task["status"] in ("in_progress", "queued", "created")
    ]


def failed_tasks(client, newest=5, characters=2_000):
    """Return the newest failed tasks with their reasons and the ends of their consoles, as text to read."""
    query = {"status": ["failed"], "search_hidden": True, "order_by": ["-last_update"], "page": 0, "page_size": newest}
    parts = []
    for task in client("tasks.get_all", **query)["tasks"]:
        log = client("events.get_task_log", task=task["id"], batch_size=500)["events"]
        console = "".join(event["msg"] for event in log)[-characters:]
        reasons = f"{task.get('status_reason')!r}, {task.get('status_message')!r}"
        parts.append(f"{task['name']} {task['id']}: {reasons}\n{console}")
    return "\n\n".join(parts) or "none"
