"""What a run can be told: read from the command line, from a task, from a run that failed; all by one declaration."""

from __future__ import annotations

from dataclasses import dataclass

import click
import pytest

from pipeline.amazon_reviews.definitions import DATA_PREPARE
from pipeline.amazon_reviews.pipelines import FULL_PIPELINE
from pipeline.commands.run_options import refuse_changes, run_options
from pipeline.controllers.options import Launch, connect
from pipeline.errors import PipelineError, SettingsError, UsageError
from pipeline.run_options import IN_PROCESS, QUEUE, RunOptions, option

OPTIONS = {item.name: item for item in RunOptions.declared()}


def test_a_launch_survives_the_command_line():
    launch = Launch(
        RunOptions(mode="in-process", cache=False, step_queues={"train_processing": "fast"}),
        parameters={"test_size": 0.25, "random_state": 7, "stratify": False, "dataset_name": 'a "name" with ünïcode'},
    )
    assert Launch.from_json(launch.to_json()) == launch


class Task:
    """The controller's task, as far as it is asked: by an agent's process, the SDK answers with what is stored."""

    def __init__(self, stored=(), *, local=False):
        self.stored, self.local = dict(stored), local

    def running_locally(self):
        return self.local

    def get_parameters(self):
        return dict(self.stored)

    def connect(self, entries, name):
        told = {f"{name}/{key}": value for key, value in entries.items()}
        self.stored = told | self.stored if not self.local else self.stored | told
        return {key: self.stored[f"{name}/{key}"] for key in entries}


TOLD = RunOptions(
    mode=IN_PROCESS,
    cache=False,
    shards=3,
    max_parallel=2,
    retries=0,
    from_run="0" * 32,
    queue="steps",
    controllers_queue="controllers",
    step_queues={"train_processing_2": "big"},
    step_images={"train_test_split": "image:1"},
    step_retries={"train_processing": "lost:10,memory-cap:32Gi"},
)


def test_an_agent_reads_what_the_command_line_has_put_on_the_task():
    here = Task(local=True)
    assert connect(here, TOLD, DATA_PREPARE.all_steps) == TOLD
    assert {type(value) for value in here.stored.values()} == {str}, "the SDK would cast others as it likes"
    assert here.stored["Options/queues/train_processing"] == "", "to be filled in on the page"
    found = connect(Task(here.stored), RunOptions(queue="other"), DATA_PREPARE.all_steps)
    assert found == RunOptions.read(TOLD.texts() | {"mode": QUEUE})
    assert (found.mode, found.cache, found.step_queues) == (QUEUE, False, {"train_processing_2": "big"})


def test_an_agent_that_is_told_nothing_puts_the_defaults_on_the_task():
    task = Task()
    found = connect(task, Launch().options, DATA_PREPARE.all_steps)
    assert (found.mode, found.queue, found.controllers_queue) == (QUEUE, "pods", "services")
    assert task.stored["Options/cache"] == "True"
    assert task.stored["Options/images/test_processing"] == ""


@pytest.mark.parametrize(
    "stored",
    [
        {},
        {"shards": "2", "colour": "blue"},
        {"shards": " 2 ", "cache": "true", "retries": "", "queue": " ", "queues/train_processing_9": "big"},
        {"cache": "True", "mode": "queue", "images/gone": "image:1"},
    ],
)
def test_tasks_of_other_versions_are_read(stored):
    found = RunOptions.read(stored)
    assert (found.cache, found.retries, found.told({}, DATA_PREPARE).queue) == (True, 1, "pods")
    assert found.shards == int(stored.get("shards", 1))
    assert found.told({}, DATA_PREPARE).step_queues == {}, "it has no such steps"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("shards", "many"),
        ("shards", "0"),
        ("shards", "65"),
        ("max_parallel", "-1"),
        ("retries", "1.5"),
        ("retries", "1e1"),
        ("retries", "٣"),
        ("cache", "flase"),
        ("mode", "qeue"),
        ("step_retries/train_processing", "lsot:1"),
        ("step_retries/train_processing", "lost:many"),
    ],
)
def test_a_misspelt_value_is_one_error_that_names_the_option(name, text):
    with pytest.raises(SettingsError, match=name) as refused:
        RunOptions.read({name: text})
    assert text in refused.value.message
    assert refused.value.hint


@pytest.mark.parametrize("text", ["0", "-1", "65", "1.5", "", "many", "1e1", "٣"])
def test_a_number_that_is_none_or_out_of_range_is_refused(text):
    with pytest.raises(SettingsError, match=r"--shards .*: expected a whole number from 1 to 64"):
        OPTIONS["shards"].parse(text, "--shards")


def test_a_number_may_be_a_text_from_the_web_page():
    assert [OPTIONS["shards"].parse(value) for value in ("1", " 64 ", 7)] == [1, 64, 7]


def test_what_is_set_for_the_steps_of_a_part_reaches_it():
    told = RunOptions(
        mode="controller", retries=3, step_queues={"data_prepare.train_processing_2": "big", "fit_model": "gpu"}
    )
    part = told.of_part("data_prepare")
    assert (part.mode, part.retries, part.step_queues) == (QUEUE, 3, {"train_processing_2": "big"})
    assert RunOptions(mode=IN_PROCESS).of_part("data_prepare").mode == IN_PROCESS


def test_a_rerun_changes_single_steps_and_keeps_the_others():
    told = TOLD.told({"step_queues": ["test_processing=other"], "retries": 2, "max_parallel": None}, DATA_PREPARE)
    assert told.step_queues == {"train_processing_2": "big", "test_processing": "other"}
    assert (told.retries, told.max_parallel, told.shards) == (2, 2, 3)


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"step_queues": ["train_processing"]}, UsageError, "--step-queue train_processing: expected STEP=VALUE"),
        ({"step_images": ["test_processing="]}, UsageError, "--step-image test_processing=: expected STEP=VALUE"),
        ({"step_queues": ["training=fast"]}, SettingsError, "unknown step 'training'"),
        ({"step_queues": ["data_prepare.train_processing_2=fast"]}, SettingsError, "unknown step"),
        ({"mode": "remote"}, SettingsError, "unknown mode 'remote'"),
        ({"retries": 11}, SettingsError, "--retries 11: expected a whole number from 0 to 10"),
        ({"step_retries": ["fit_model"]}, UsageError, "--step-retries fit_model: expected STEP=VALUE"),
        ({"step_retries": ["fit=lost:1"]}, SettingsError, "unknown step 'fit'"),
        ({"step_retries": ["fit_model=2"]}, SettingsError, "--step-retries fit_model=2: unknown cause '2'"),
        ({"step_retries": ["fit_model=lsot:1"]}, SettingsError, "fit_model=lsot:1: unknown cause 'lsot'"),
        (
            {"step_retries": ["fit_model=code:1, lost:21"]},
            SettingsError,
            "--step-retries fit_model=code:1, lost:21: lost 21: expected a whole number from 0 to 20",
        ),
        ({"step_retries": ["fit_model=code"]}, SettingsError, "code : expected a whole number from 0 to 10"),
        ({"step_retries": ["fit_model=memory-cap:big"]}, SettingsError, "memory-cap big: expected memory"),
        ({"step_retries": ["fit_model=lost:1,lost:2"]}, SettingsError, "lost comes twice"),
    ],
)
def test_an_impossible_option_of_the_command_line_is_refused_by_its_name(given, error, words):
    with pytest.raises(error) as refused:
        RunOptions().told(given, FULL_PIPELINE)
    assert words in refused.value.message


def test_a_rerun_refuses_what_would_make_it_another_run():
    refuse_changes((), {"mode": "queue", "retries": 3, "cache": None, "shards": None, "step_images": ()})
    for told, flag in (({"cache": False}, "--no-cache"), ({"shards": 2}, "--shards")):
        with pytest.raises(UsageError, match=flag):
            refuse_changes((), told)
    with pytest.raises(UsageError, match="--set"):
        refuse_changes(("test_size=0.3",), {})


def test_a_step_has_its_own_numbers_and_its_shards_have_them_too():
    told = RunOptions().told(
        {"shards": 2, "step_retries": ["train_processing=code:2, memory-cap:8Gi", "train_processing_2=lost:0"]},
        DATA_PREPARE,
    )
    assert told.own_numbers_of("train_processing_1") == {"retries": 2, "memory_cap": "8Gi"}
    assert told.own_numbers_of("train_processing_2") == {"lost_retries": 0}, "its own are all that it has"
    assert told.own_numbers_of("test_processing_1") == {}


@dataclass(frozen=True)
class More(RunOptions):
    """The options with one more: that is one field."""

    loud: bool = option(False, flag="--loud", help="Say more.")
    pace: int = option(3, flag="--pace", least=1, most=9, help="How fast.")


def test_a_new_option_is_one_field(monkeypatch):
    monkeypatch.setattr("pipeline.commands.run_options.RunOptions", More)
    monkeypatch.setattr("pipeline.controllers.options.RunOptions", More)
    told = {}
    command = click.command()(run_options(lambda **given: told.update(given)))
    assert "--loud" in command.get_help(click.Context(command))
    assert "How fast.  [default: 3; 1 to 9]" in command.get_help(click.Context(command))
    command.main(["--loud", "--pace", "4"], standalone_mode=False)
    options = More().told({name: told[name] for name in ("loud", "pace")}, DATA_PREPARE)
    task = Task(local=True)
    assert connect(task, options, ()) == options == More(loud=True, pace=4, queue="pods")
    assert (task.stored["Options/loud"], task.stored["Options/pace"]) == ("True", "4")
    assert Launch.from_json(Launch(options).to_json()).options == options
    with pytest.raises(PipelineError, match="pace"):
        connect(Task({"Options/pace": "10"}), More(), ())


def test_a_run_from_a_step_on_runs_that_step_and_all_that_follow_it():
    assert DATA_PREPARE.from_step("") == frozenset()
    assert DATA_PREPARE.from_step("train_processing") == {"train_processing"}
    assert DATA_PREPARE.from_step("train_test_split") == set(DATA_PREPARE.graph)
    assert DATA_PREPARE.with_shards(2).from_step("train_processing_2") == {"train_processing_2", "train_processing"}
    assert FULL_PIPELINE.from_step("data_prepare.train_processing") == set(FULL_PIPELINE.graph)
    with pytest.raises(SettingsError, match="unknown step 'nowhere'"):
        FULL_PIPELINE.from_step("nowhere")


def test_the_first_step_that_runs_again_may_lie_in_a_part():
    told = RunOptions(from_step="data_prepare.train_processing")
    assert told.of_part("data_prepare").from_step == "train_processing"
    assert told.of_part("fit_model").from_step == ""
    assert RunOptions.read(told.texts()) == told
    with pytest.raises(SettingsError, match="unknown step 'train'"):
        RunOptions().told({"from_step": "train"}, DATA_PREPARE)
