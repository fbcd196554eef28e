"""When cron lines make runs due, and which versions of a dataset start a retraining."""

import ast
from datetime import UTC, datetime, timedelta

import pytest

from clearml_access.errors import ServerUnreachableError
from pipeline.automation.scheduling import LOOK_EVERY_S, by_clock, keep, on_new_data
from pipeline.automation.search import TUNE
from pipeline.automation.triggers import SERVICES, Timetable, is_source, newest_source, read_cron
from pipeline.clearml_server import DatasetVersion
from pipeline.commands.automatic_runs import _cron
from pipeline.errors import SettingsError

NOW = datetime(2026, 11, 23, 10, 17, 30, tzinfo=UTC)  # a Monday


@pytest.mark.parametrize(
    ("line", "first", "second"),
    [
        ("0 3 * * *", "2026-11-24 03:00", "2026-11-25 03:00"),
        ("30 22 * * *", "2026-11-23 22:30", "2026-11-24 22:30"),
        ("0 0 * * *", "2026-11-24 00:00", "2026-11-25 00:00"),
        ("15 * * * *", "2026-11-23 11:15", "2026-11-23 12:15"),
        ("30 * * * *", "2026-11-23 10:30", "2026-11-23 11:30"),
        ("*/15 * * * *", "2026-11-23 10:30", "2026-11-23 10:45"),
        ("0 */6 * * *", "2026-11-23 12:00", "2026-11-23 18:00"),
        ("*/5 3 * * *", "2026-11-24 03:00", "2026-11-24 03:05"),
        ("1,2 3 * * *", "2026-11-24 03:01", "2026-11-24 03:02"),
        ("30 8 * * sat", "2026-11-28 08:30", "2026-12-05 08:30"),
        ("30 8 * * 0", "2026-11-29 08:30", "2026-12-06 08:30"),
        ("30 8 * * 7", "2026-11-29 08:30", "2026-12-06 08:30"),
        ("30 8 * * mon", "2026-11-30 08:30", "2026-12-07 08:30"),
        ("30 18 * * mon", "2026-11-23 18:30", "2026-11-30 18:30"),
        ("30 8 * * MON-FRI", "2026-11-24 08:30", "2026-11-25 08:30"),
        ("0 7 * * WED,friday", "2026-11-25 07:00", "2026-11-27 07:00"),
        ("0 7 * * mon,tue", "2026-11-24 07:00", "2026-11-30 07:00"),
        ("0 20 * * sun,mon", "2026-11-23 20:00", "2026-11-29 20:00"),
        ("0 4 5 * *", "2026-12-05 04:00", "2027-01-05 04:00"),
        ("0 3 31 * *", "2026-12-31 03:00", "2027-01-31 03:00"),
        ("0 4 L * *", "2026-11-30 04:00", "2026-12-31 04:00"),
        ("0 3 1 1 *", "2027-01-01 03:00", "2028-01-01 03:00"),
        ("0 3 29 2 *", "2028-02-29 03:00", "2032-02-29 03:00"),
    ],
)
def test_a_cron_line_says_when_runs_are_due(line, first, second):
    timetable = Timetable(line, NOW)
    for expected in (first, second):
        due = timetable.next
        assert f"{due:%Y-%m-%d %H:%M}" == expected
        assert not timetable.is_due(due - timedelta(seconds=1))
        assert timetable.is_due(due + timedelta(seconds=1))
        assert not timetable.is_due(due + timedelta(seconds=1))


def test_times_are_utc_through_a_change_to_summer_time():
    timetable = Timetable("30 2 * * *", datetime(2026, 3, 28, 12, tzinfo=UTC))
    days = []
    for _ in range(3):
        days.append(timetable.next.isoformat())
        assert timetable.is_due(timetable.next)
    assert days == [f"2026-03-{day}T02:30:00+00:00" for day in (29, 30, 31)]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "0 3 * *",
        "0 0 3 * * *",
        "@daily",
        "60 3 * * *",
        "0 24 * * *",
        "0 3 0 * *",
        "0 3 31 2 *",
        "0 3 */31 2 mon#5",
        "0 3 * * someday",
        "0 3 * * mon,",
        "0 3 * * 8",
        "*/0 * * * *",
        "a b c d e",
    ],
)
def test_a_line_that_cannot_be_kept_is_refused_with_examples_that_can(line):
    with pytest.raises(SettingsError) as error:
        read_cron(line)
    assert "'0 3 * * *' is daily" in error.value.hint


class FakeRuns:
    """A scheduler's runs, and a server that lists dataset versions."""

    project, name = "Amazon reviews", "reviews"

    def __init__(self, *versions):
        self.server = self
        self.versions = list(versions)
        self.started = []
        self.shown = {}
        self.going = False
        self.looks = 0
        self.aborted_after = 10_000
        self.answers = True

    def dataset_versions(self, project, name):
        if not self.answers:
            raise ServerUnreachableError("no answer")
        return self.versions

    def start(self, version, why):
        self.started.append((version, why))

    def show(self, **facts):
        self.shown = facts

    def look(self):
        self.looks += 1
        return self.looks <= self.aborted_after

    @property
    def over(self):
        return False


class Clock:
    """Time that passes in sleeps only; `pauses` are what a machine slept besides, look number → seconds."""

    def __init__(self, now=NOW, pauses=None):
        self.now = now
        self.pauses = pauses or {}
        self.sleeps = 0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.sleeps += 1
        self.now += timedelta(seconds=seconds + self.pauses.get(self.sleeps, 0))


def by_clock_for(runs, clock, looks, line="0 * * * *", now=False):
    runs.aborted_after = looks
    assert keep(by_clock(runs, {"cron": line, "now": now}, clock()), runs, clock=clock, sleep=clock.sleep) is False


def an_hour(hours=1):
    return round(hours * 3600 / LOOK_EVERY_S)


def test_each_hour_starts_a_run_on_the_newest_version():
    runs = FakeRuns(version("1.1", **SOURCE), version("1.2", **SOURCE))
    by_clock_for(runs, Clock(), an_hour(3))
    assert runs.started == [("1.2", "schedule 0 * * * *")] * 3
    assert runs.shown["next_run"] == "2026-11-23T14:00Z"
    assert runs.shown["time_zone"] == "UTC"


def test_runs_that_a_pause_of_the_machine_missed_count_as_one():
    runs = FakeRuns(version("1.1", **SOURCE))
    by_clock_for(runs, Clock(pauses={5: 10 * 3600}), 10)
    assert len(runs.started) == 1


def test_a_clock_that_is_set_back_starts_no_run_twice():
    runs = FakeRuns(version("1.1", **SOURCE))
    by_clock_for(runs, Clock(pauses={an_hour(1): -1800}), an_hour(1.2))
    assert len(runs.started) == 1


def test_a_run_is_left_out_while_the_one_before_goes_on(capsys):
    runs = FakeRuns(version("1.1", **SOURCE))
    runs.going = True
    by_clock_for(runs, Clock(), an_hour(1))
    assert runs.started == []
    assert "this one is left out" in capsys.readouterr().out


def test_a_run_starts_at_once_if_asked_and_then_by_the_clock():
    runs = FakeRuns(version("1.1", **SOURCE))
    by_clock_for(runs, Clock(), 10, now=True)
    assert len(runs.started) == 1


def test_a_run_stays_due_while_the_server_does_not_answer():
    runs = FakeRuns(version("1.1", **SOURCE))
    clock = Clock()
    look = by_clock(runs, {"cron": "18 10 * * *", "now": False}, clock())
    runs.answers = False
    runs.aborted_after = 100
    sleep = clock.sleep

    def answer_later(seconds):
        sleep(seconds)
        runs.answers = clock.sleeps > 50

    assert keep(look, runs, clock=clock, sleep=answer_later) is False
    assert len(runs.started) == 1


def test_of_several_new_versions_the_newest_starts_a_run_and_derived_ones_none():
    old = version("1.1", **SOURCE)
    runs = FakeRuns(old)
    look = on_new_data(runs, {"every_s": 10.0})
    look(NOW)
    assert runs.started == []
    runs.versions = [old, version("1.2", **SOURCE), version("1.3", **SOURCE), version("1.3.1", Preparation__step=1)]
    look(NOW + timedelta(seconds=5))
    assert runs.started == []  # not yet time for another look
    look(NOW + timedelta(seconds=10))
    look(NOW + timedelta(seconds=20))
    assert runs.started == [("1.3", "new version 1.3")]


@pytest.mark.parametrize(
    ("at", "days", "line"),
    [("03:05", (), "5 3 * * *"), ("22:00", ("monday", "friday"), "0 22 * * monday,friday")],
)
def test_a_time_of_day_is_a_cron_line(at, days, line):
    assert _cron(at, days) == line
    read_cron(line)


def version(number, status="completed", **facts):
    return DatasetVersion(number, number, status, "", "", {key.replace("__", "/"): "x" for key in facts})


SOURCE, DERIVED = {"Upload__rows": 1}, {"Preparation__step": 1, "Preparation__split_dataset": 1}


@pytest.mark.parametrize(
    ("found", "counts"),
    [
        (version("1.3", **SOURCE), True),
        (version("2.0"), True),  # somebody's own
        (version("1.3", "published"), True),
        (version("1.0"), False),  # the empty root
        (version("1.3", "in_progress", **SOURCE), False),
        (version("1.3.1", Preparation__step=1), False),
        (version("1.3.2", **DERIVED), False),
        (version("1.3.4", Training__model=1), False),
    ],
)
def test_only_finished_data_that_somebody_brought_starts_a_run(found, counts):
    assert is_source(found) is counts


def test_the_newest_of_it_is_taken():
    versions = [version("1.0"), version("1.1", **SOURCE), version("1.2", **SOURCE), version("1.2.1", **DERIVED)]
    assert newest_source(versions).version == "1.2"
    assert newest_source(versions[:1]) is None


@pytest.mark.parametrize("service", [*SERVICES.values(), TUNE], ids=lambda service: service.name)
def test_a_services_script_compiles_and_names_its_module(service):
    ast.parse(service.entry_script)
    assert f"from {service.module} import main" in service.entry_script
