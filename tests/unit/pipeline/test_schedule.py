"""Cron lines as the SDK's clock keeps them, and which versions of a dataset start a retraining."""

import ast
from datetime import UTC, datetime, timedelta

import pytest
from clearml.automation.scheduler import ScheduleJob

from pipeline.automation.schedule import SERVICES, is_source, newest_source, read_cron
from pipeline.automation.tune import TUNE
from pipeline.clearml_server import DatasetVersion
from pipeline.commands.schedule import _cron
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
        ("0 */6 * * *", "2026-11-23 16:00", "2026-11-23 22:00"),
        ("30 8 * * sat", "2026-11-28 08:30", "2026-12-05 08:30"),
        ("30 8 * * 0", "2026-11-29 08:30", "2026-12-06 08:30"),
        ("30 8 * * 7", "2026-11-29 08:30", "2026-12-06 08:30"),
        ("30 8 * * mon", "2026-11-30 08:30", "2026-12-07 08:30"),
        ("30 18 * * mon", "2026-11-23 18:30", "2026-11-30 18:30"),
        ("0 7 * * WED,friday", "2026-11-25 07:00", "2026-11-27 07:00"),
        ("0 7 * * mon,tue", "2026-11-24 07:00", "2026-11-30 07:00"),
        ("0 20 * * sun,mon", "2026-11-23 20:00", "2026-11-29 20:00"),
        ("0 4 5 * *", "2026-12-05 04:00", "2027-01-05 04:00"),
    ],
)
def test_the_sdks_clock_keeps_a_cron_line(line, first, second):
    times = read_cron(line).beginning(NOW)
    job = ScheduleJob(name="run", base_function=print, starting_time=NOW, **times.arguments())
    job.verify()
    for expected in (first, second):
        assert f"{job.next():%Y-%m-%d %H:%M}" == expected
        job._last_executed, job._schedule_counter = job.next() + timedelta(seconds=1), job._schedule_counter + 1


def test_every_few_minutes_counts_from_the_start():
    job = ScheduleJob(name="run", base_function=print, starting_time=NOW, **read_cron("*/15 * * * *").arguments())
    assert (job.next() - NOW).total_seconds() == 15 * 60


@pytest.mark.parametrize(
    "line",
    [
        "",
        "0 3 * *",
        "60 3 * * *",
        "0 24 * * *",
        "0 3 31 * *",
        "0 3 0 * *",
        "0 3 1 1 *",
        "0 3 1 * mon",
        "0 3 * * someday",
        "0 3 * * mon,",
        "0 3 * * 8",
        "1,2 3 * * *",
        "*/0 * * * *",
        "*/5 3 * * *",
        "a b c d e",
    ],
)
def test_a_line_that_cannot_be_kept_is_refused_with_those_that_can(line):
    with pytest.raises(SettingsError) as error:
        read_cron(line)
    assert "'M H * * *' daily" in error.value.hint


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
