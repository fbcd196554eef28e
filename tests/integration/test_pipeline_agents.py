"""The pipeline on real agents: three modes with one result, reruns from the web, and what a crash does to a run."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import time

import psutil
import pytest

from pipeline.machine import MachineSettings, status
from pipeline.machine.api import Access
from tests.api_client import ApiClient
from tests.integration.pipeline_cli import BATCH_ROWS, PipelineCli, review_file
from tests.ports import free_port_base

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

PATIENCE_S = 120


@pytest.fixture(scope="module")
def cli(tmp_path_factory):
    """The command line with a server and agents of its own, and a dataset in place of the sample."""
    folder = tmp_path_factory.mktemp("agents")
    foreign = ("CLEARML_", "TRAINS_")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(foreign)} | {
        "HOME": str(folder),
        "CLEARML_PODS_STATE": str(folder / "state"),
        "CLEARML_PODS_PORT_BASE": str(free_port_base()),
    }
    cli = PipelineCli(environ, folder)
    csv = review_file(folder / "train.csv")
    done = cli("dataset", "upload", str(csv), "--batch-size", str(BATCH_ROWS))
    assert done.code == 0, done.stderr
    yield cli
    cli("server", "down")


@pytest.fixture(scope="module")
def settings(cli):
    return MachineSettings.from_environ(cli.environ)


@pytest.fixture(scope="module")
def client(settings):
    access = Access.read(settings.configuration)
    client = ApiClient(access.api, (access.access_key, access.secret_key))
    yield client
    client.close()


@pytest.fixture(scope="module")
def queue_run(cli):
    done = cli("run", "--json")
    assert done.code == 0, done.stderr
    return done.document


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


def test_the_queue_takes_controller_and_steps(client, queue_run):
    assert (queue_run["status"], queue_run["mode"]) == ("completed", "queue")
    workers = {
        client("tasks.get_by_id", task=task)["task"]["last_worker"].rpartition(":")[2].partition("-")[0]
        for task in (queue_run["run_id"], *(step["task_id"] for step in queue_run["steps"]))
    }
    assert workers == {"controllers", "steps"}


@pytest.mark.parametrize("mode", ["controller", "in-process"])
def test_every_mode_gives_the_same_results(cli, client, queue_run, mode):
    done = cli("run", "--mode", mode, "--no-cache", "--json")
    assert done.code == 0, done.stderr
    expected = artifact_hashes(client, queue_run)
    assert len(expected) == 4
    assert artifact_hashes(client, done.document) == expected
    assert not any(step["cached"] for step in done.document["steps"])


def test_a_run_is_reused_across_modes(cli, queue_run):
    done = cli("run", "--mode", "in-process", "--json")
    assert done.code == 0, done.stderr
    assert all(step["cached"] for step in done.document["steps"])


def test_the_parameters_keep_their_types_and_descriptions(client, queue_run):
    arguments = client("tasks.get_by_id", task=queue_run["run_id"])["task"]["hyperparams"]["Args"]
    assert {name: item["type"] for name, item in arguments.items()} == {
        "dataset_name": "str",
        "dataset_project": "str",
        "dataset_version": "str",
        "test_size": "float",
        "random_state": "int",
        "stratify": "bool",
    }
    assert all(item["description"] for item in arguments.values())


def test_a_run_is_repeated_from_the_web_with_another_version(client, queue_run):
    """What the web page's "clone, edit, enqueue" calls: version 1.1 instead of 1.2."""
    run = client("tasks.clone", task=queue_run["run_id"])["id"]
    version = {"section": "Args", "name": "dataset_version", "value": "1.1"}
    client("tasks.edit_hyper_params", task=run, hyperparams=[version])
    client("tasks.enqueue", task=run, queue_name="services")
    ended = ("completed", "failed", "stopped")
    task = wait_for(
        lambda: next((t for t in [client("tasks.get_by_id", task=run)["task"]] if t["status"] in ended), None),
        "the end",
    )
    assert task["status"] == "completed", task.get("status_reason")
    split = steps_of(client, run)["train_test_split"]
    assert split["hyperparams"]["kwargs"]["dataset_version"]["value"] == "1.1"
    made = client("tasks.get_by_id", task=split["hyperparams"]["return"]["split_dataset_id"]["value"])["task"]
    assert made["runtime"]["version"] == "1.1.1"


def run_a_clone(client, run, **options):
    """Clone a run, edit its options, enqueue it and wait for its end; what the web page does, too."""
    clone = client("tasks.clone", task=run)["id"]
    items = [{"section": "Options", "name": name, "value": value} for name, value in options.items()]
    client("tasks.edit_hyper_params", task=clone, hyperparams=items)
    client("tasks.enqueue", task=clone, queue_name="services")
    ended = ("completed", "failed", "stopped")
    return wait_for(
        lambda: next((t for t in [client("tasks.get_by_id", task=clone)["task"]] if t["status"] in ended), None),
        "the end",
    )


def test_a_run_is_repeated_from_the_web_with_another_number_of_shards(client, queue_run):
    """The step that preprocesses becomes one that joins, though its stored definition says otherwise; and back."""
    run = run_a_clone(client, queue_run["run_id"], shards="2")
    assert run["status"] == "completed", run.get("status_reason")
    made = steps_of(client, run["id"])
    assert set(made) == {f"{part}_processing{suffix}" for part in ("train", "test") for suffix in ("", "_1", "_2")}
    document = {"steps": [{"name": name, "task_id": made[name]["id"]} for name in made if name[-1] not in "12"]}
    expected = artifact_hashes(client, queue_run)
    found = artifact_hashes(client, document)
    assert len(found) == 2
    assert found == {key: expected[key] for key in found}
    back = run_a_clone(client, run["id"], shards="1")
    assert back["status"] == "completed", back.get("status_reason")
    assert steps_of(client, back["id"]) == {}  # all as in the first run: found in the cache


def test_an_option_that_is_no_number_ends_the_run_with_its_reason(client, queue_run):
    run = run_a_clone(client, queue_run["run_id"], shards="many")
    assert run["status"] == "failed"
    console = "".join(event["msg"] for event in client("events.get_task_log", task=run["id"])["events"])
    assert "shards many: expected a whole number from 1 to 64" in console


def test_killing_the_server_in_the_middle_loses_nothing(cli, client, settings, queue_run):
    before = newest_run(client)
    process = cli.start("run", "--no-cache", "--json")
    run = wait_for(lambda: next((run for run in [newest_run(client)] if run != before), None), "the run")
    wait_for(lambda: "in_progress" in {t["status"] for t in steps_of(client, run).values()}, "the first step")
    os.kill(status(settings).server_pid, signal.SIGKILL)
    assert cli("server", "up").code == 0
    stdout, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, stderr
    assert '"status": "completed"' in stdout


def test_a_step_whose_agent_was_killed_is_run_again(cli, client, settings, queue_run):
    before = newest_run(client)
    process = cli.start("run", "--no-cache", "--json")
    run = wait_for(lambda: next((run for run in [newest_run(client)] if run != before), None), "the run")

    def worker():
        split = steps_of(client, run).get("train_test_split", {})
        return split.get("last_worker") if split.get("status") == "in_progress" else None

    name = wait_for(worker, "the first step")
    daemon = next(item for item in status(settings).workers if item.id == name)
    os.kill(daemon.pid, signal.SIGKILL)
    assert cli("server", "up").code == 0  # finds the dead worker, says so on its task, and starts it again
    stdout, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, stderr
    assert '"status": "completed"' in stdout
    console = client("events.get_task_log", task=run, batch_size=500)["events"]
    assert re.search("train_test_split' failed. Retrying", "".join(event["msg"] for event in console))


def test_steps_that_a_k8s_glue_moves_are_not_taken_for_aborted(cli, client, settings, queue_run):
    """It stops each task before it puts it into the queue for pods; a controller that looks just then sees that."""
    queues = {"glue": client("queues.create", name="glue")["id"]}
    queues |= {queue["name"]: queue["id"] for queue in client("queues.get_all")["queues"]}
    client("workers.register", worker="glue:0", queues=[queues["glue"]], timeout=600)
    process = cli.start("run", "--mode", "controller", "--queue", "glue", "--no-cache", "--json")
    moved = 0
    while process.poll() is None:
        if client("queues.get_by_id", queue=queues["glue"])["queue"]["entries"]:  # else the next call would wait
            entry = client("queues.get_next_task", queue=queues["glue"])["entry"]
            client("tasks.stop", task=entry["task"], force=True, status_reason="moving to k8s pending queue")
            time.sleep(2.5)
            client("tasks.enqueue", task=entry["task"], queue=queues[settings.steps_queue])
            moved += 1
        time.sleep(0.1)
    stdout, stderr = process.communicate()
    assert process.returncode == 0, stderr
    assert '"status": "completed"' in stdout
    assert moved == 3


def test_an_interrupted_run_goes_on_and_can_be_aborted(cli, client, queue_run):
    before = newest_run(client)
    process = cli.start("run", "--no-cache")
    run = wait_for(lambda: next((run for run in [newest_run(client)] if run != before), None), "the run")
    wait_for(lambda: client("tasks.get_by_id", task=run)["task"].get("last_worker"), "the controller's start")
    process.send_signal(signal.SIGTERM)
    stdout, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert f"python -m pipeline abort {run}" in stdout
    done = cli("abort", run)
    assert done.code == 0, done.stderr
    time.sleep(6)  # an agent that was starting a task would have brought it back by now
    tasks = [client("tasks.get_by_id", task=run)["task"], *steps_of(client, run).values()]
    assert {task["status"] for task in tasks} <= {"stopped", "completed"}
    unfinished = client("tasks.get_all", system_tags=["dataset"], status=["in_progress"], search_hidden=True)["tasks"]
    assert unfinished == []


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


def test_a_model_is_fitted_by_an_agent(cli, client, queue_run):
    done = cli("fit-model", "--json")
    assert done.code == 0, done.stderr
    task = client("tasks.get_by_id", task=done.document["task_id"])["task"]
    assert (task["status"], task["last_worker"].rpartition(":")[2].startswith("steps-")) == ("completed", True)
    model = client("models.get_by_id", model=done.document["model_id"])["model"]
    assert (model["ready"], model["task"]) == (True, task["id"])
    assert client("tasks.get_by_id", task=done.document["dataset_id"])["task"]["runtime"]["version"] == "1.2.4"


def test_a_full_run_by_agents_ends_with_a_model(cli, client, queue_run):
    done = cli("run-full", "--json")
    assert done.code == 0, done.stderr
    data_prepare, fit = done.document["steps"]
    assert [step["status"] for step in data_prepare["steps"]] == ["cached"] * 3
    assert done.document["models"][0]["published"]
    workers = {
        task: client("tasks.get_by_id", task=task)["task"]["last_worker"].rpartition(":")[2]
        for task in (done.document["run_id"], data_prepare["task_id"], fit["task_id"])
    }
    outer, inner, last = workers.values()
    assert {outer, inner} == {"controllers", "controllers-2"}
    assert last.startswith("steps-")


def test_more_full_runs_than_workers_for_controllers_get_through(cli, client, queue_run):
    """Both outer controllers take a worker; the inner ones run beside them."""
    processes = [cli.start("run-full", "--json", "--no-cache", "--set", f"alpha={alpha}") for alpha in (2, 3)]
    for process in processes:
        stdout, stderr = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, stderr
        assert '"status": "completed"' in stdout


@pytest.fixture
def busy_controllers_worker(client, settings):
    """One of the two workers for controllers has a task, so that a pipeline inside a run goes beside its controller."""
    script = {"diff": "import time\ntime.sleep(300)\n", "entry_point": "sleeper.py", "working_dir": "."}
    script["requirements"] = {"pip": ""}
    task = client("tasks.create", name="sleeper", type="training", script=script)["id"]
    client("tasks.enqueue", task=task, queue_name=settings.controllers_queue)
    wait_for(lambda: status_of(client, task) == "in_progress", "the sleeper's start")
    yield
    client("tasks.stop", task=task)
    wait_for(lambda: status_of(client, task) == "stopped", "the sleeper's end")


def status_of(client, task):
    return client("tasks.get_by_id", task=task)["task"]["status"]


def test_a_full_run_stopped_on_the_web_takes_the_inner_pipeline_with_it(
    cli, client, queue_run, busy_controllers_worker
):
    """The agent kills the controller's process tree, the inner pipeline included: nobody is left to tell of it."""
    before = newest_run(client)
    process = cli.start("run-full", "--no-cache", "--json")
    run = wait_for(lambda: next((run for run in [newest_run(client)] if run != before), None), "the run")
    inner = wait_for(lambda: inner_of(client, run), "the inner run")["id"]
    wait_for(lambda: "in_progress" in {t["status"] for t in steps_of(client, inner).values()}, "the first inner step")
    assert "last_worker" not in client("tasks.get_by_id", task=inner)["task"]
    client("tasks.stop", task=run)
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 40
    assert unfinished_of(client, run, inner) == []
    assert status_of(client, inner) == "stopped"


def kill_script(name, settings):
    """Kill the process in which an agent runs a script; return whether there was one."""
    for worker in status(settings).workers:
        for child in psutil.Process(worker.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if child.cmdline()[-1:] and child.cmdline()[-1].endswith(f"/code/{name}"):
                    child.kill()
                    return True
    return False


def test_a_full_run_goes_on_from_the_step_that_failed(cli, client, settings, queue_run):
    """Its inner pipeline finds its steps in the cache though the run was told to use none; only the model is made."""
    before = newest_run(client)
    process = cli.start("run-full", "--no-cache", "--json", "--set", "max_features=60")
    run = wait_for(lambda: next((run for run in [newest_run(client)] if run != before), None), "the run")
    wait_for(lambda: kill_script("fit_model.py", settings), "the last step")
    stdout, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 40, stderr
    failed = json.loads(stdout.splitlines()[-1])
    done = cli("run-full", "--from-failed", "--json")
    assert done.code == 0, done.stderr
    assert f"from run {run}" in done.stderr
    assert "run: fit_model\n" in done.stderr
    (prepared, fit), (again, fit_again) = failed["steps"], done.document["steps"]
    assert [step["status"] for step in again["steps"]] == ["cached"] * 3
    assert [step["task_id"] for step in again["steps"]] == [step["task_id"] for step in prepared["steps"]]
    assert (fit_again["status"], fit_again["task_id"] != fit["task_id"]) == ("completed", True)
    assert done.document["models"][0]["published"]
    once_more = cli("run-full", "--from-failed", "--dry-run")  # what was made good is no failure any more
    assert f"from run {run}" not in once_more.stdout


# Search and schedules


@pytest.fixture(scope="module")
def search(cli, queue_run):
    done = cli(
        "tune", "--jobs", "2", "--minutes", "2", "--set", "max_features=20,200", "--set", "ngram_max=1", "--json"
    )
    assert done.code == 0, done.stderr
    assert "Best model" in done.stderr
    return done.document


def test_a_search_tags_and_publishes_the_best_of_its_trials(client, search):
    found = search
    assert [trial["status"] for trial in found["trials"]] == ["completed"] * 2
    assert found["best"] == max(found["trials"], key=lambda trial: trial["metrics"]["accuracy"])
    models = {
        trial["model_id"]: client("models.get_by_id", model=trial["model_id"])["model"] for trial in found["trials"]
    }
    best = models.pop(found["best"]["model_id"])
    assert (best["tags"], best["ready"]) == (["best"], True)
    assert [(model["tags"], model["ready"]) for model in models.values()] == [([], False)]
    search = client("tasks.get_by_id", task=found["task_id"])["task"]
    assert (search["type"], search["status"]) == ("optimizer", "completed")
    plots = {plot["metric"] for plot in client("events.get_task_plots", task=found["task_id"])["plots"]}
    assert {"Parallel Coordinates", "Optimization Objective", "summary"} <= plots
    drafts = client("tasks.get_all", name="TF-IDF trial", status=["created"], search_hidden=True)["tasks"]
    assert drafts == []


def test_the_tag_goes_on_to_the_best_model_of_the_newest_search(cli, client, search):
    def best():
        return {model["id"]: model for model in client("models.get_all", tags=["best"])["models"]}

    before = search["best"]["model_id"]
    assert before in best()
    arguments = {"dataset_project": "Amazon reviews", "dataset_name": "another"}
    items = {name: {"section": "Args", "name": name, "value": value} for name, value in arguments.items()}
    maker = client("tasks.create", name="TF-IDF", type="training", hyperparams={"Args": items})["id"]
    others = client("models.create", name="another", uri="file:///x", tags=["best"], task=maker)["id"]
    done = cli("tune", "--jobs", "1", "--set", "max_features=40", "--set", "ngram_max=1", "--set", "alpha=1", "--json")
    assert done.code == 0, done.stderr
    assert set(best()) == {done.document["best"]["model_id"], others}
    loser = client("models.get_by_id", model=before)["model"]
    assert (loser["tags"], loser["ready"]) == ([], True)


def test_an_interrupted_search_stops_its_trials(cli, client, queue_run):
    process = cli.start("tune", "--jobs", "8", "--minutes", "2", "--set", "max_features=30,31,32,33,34,35,36,37")
    search = wait_for(
        lambda: next(iter(client("tasks.get_all", type=["optimizer"], status=["in_progress"])["tasks"]), None),
        "the search",
    )["id"]

    def trials():
        return client("tasks.get_all", parent=[search])["tasks"]

    wait_for(lambda: any(task["status"] in ("queued", "in_progress") for task in trials()), "the first trial")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert client("tasks.get_by_id", task=search)["task"]["status"] == "stopped"
    assert not {task["status"] for task in trials()} & {"queued", "in_progress"}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["tune", "--set", "metric=speed"], 10, "none of accuracy, f1, auc"),
        (["tune", "--set", "dataset_name=Nothing"], 26, "task run-full-pipeline"),
        (["tune", "--set", "train_dataset_version=9.9.2"], 26, "9.9.2"),
        (["tune", "--queue", "nowhere"], 33, "queue 'nowhere' does not exist"),
        (["schedule", "--cron", "0 3 31 2 *"], 10, "cannot be kept"),
        (["schedule", "--at", "3"], 10, "--at 03:00"),
        (["schedule", "--at", "25:00"], 10, "cannot be kept"),
        (["retrain", "--set", "max_feature=3"], 10, "did you mean max_features"),
        (["retrain", "--queue", "nowhere"], 33, "queue 'nowhere' does not exist"),
    ],
)
def test_what_cannot_be_searched_or_scheduled_is_refused(cli, client, arguments, code, words):
    done = cli(*arguments)
    assert done.code == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_new_version_starts_one_full_run_and_its_own_versions_none(cli, client, queue_run):
    name = "growing"
    whole = review_file(cli.folder / "growing.csv", rows=400)
    part = cli.folder / "part.csv"
    part.write_bytes(b"".join(whole.read_bytes().splitlines(keepends=True)[:200]))
    assert cli("dataset", "upload", str(part), "--name", name, "--batch-size", "100").code == 0
    process = cli.start("retrain", "--dataset-name", name, "--every", "1")
    lines = []

    def printed(text):
        while not any(text in line for line in lines):
            line = process.stdout.readline()
            assert line, process.stderr.read()
            lines.append(line)

    printed("Waiting for a new version")
    assert cli("dataset", "upload", str(whole), "--name", name, "--batch-size", "100").code == 0
    printed("completed")
    time.sleep(3)  # versions 1.4.1 to 1.4.4 have been seen by now
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=60)
    lines += rest.splitlines()
    assert process.returncode == 130
    started = [line for line in lines if line.startswith("Started run")]
    assert len(started) == len({re.search(r"new version (1\.[34])", line)[1] for line in started}) <= 2
    assert "new version 1.4" in started[-1]
    run = re.search(r"run ([0-9a-f]{32})", started[-1])[1]
    # Of two that were started only one is sure to have ended: the other goes on without its scheduler.
    wait_for(lambda: client("tasks.get_by_id", task=run)["task"]["models"]["output"], "its model")


def test_a_schedule_starts_a_run_on_the_newest_version(cli, client, queue_run):
    done = cli("schedule", "--now", "--runs", "1", "--at", "03:00", "--on", "monday", "--json")
    assert done.code == 0, done.stderr
    assert "Next run: now, then" in done.stderr
    run = re.search(r"Started run ([0-9a-f]{32})", done.stderr)[1]
    task = client("tasks.get_by_id", task=run)["task"]
    assert task["status"] == "completed"
    assert task["name"] == "FullPipeline (schedule 0 3 * * monday)"
    assert task["hyperparams"]["Args"]["dataset_version"]["value"] == "1.2"


def test_a_detached_scheduler_is_a_task_of_the_controllers_queue(cli, client, queue_run):
    done = cli("schedule", "--detach", "--json")
    assert done.code == 0, done.stderr
    task = done.document["task_id"]

    def console():
        events = client("events.get_task_log", task=task, batch_size=500)["events"]
        return "".join(event["msg"] for event in events)

    wait_for(lambda: "Next run: " in console(), "the schedule")
    client("tasks.stop", task=task)
    wait_for(lambda: client("tasks.get_by_id", task=task)["task"]["status"] == "stopped", "its end")
