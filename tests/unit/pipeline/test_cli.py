from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import click
import polars as pl
import pytest

from clearml_access import errors as access
from clearml_access.errors import UserFacingError
from pipeline import errors
from pipeline.cli import COMMANDS, cli, main


def run(*words: str | Path) -> int:
    return main([str(word) for word in words])


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    path = tmp_path / "train.csv"
    path.write_text('"2","t","Great books"\n' * 199 + '"3","t","odd one"\n"1","t","Two feet"\n')
    return path


def test_every_command_of_the_table_exists_and_is_described() -> None:
    for name, (_, line) in COMMANDS.items():
        command = cli.get_command(click.Context(cli), name)
        assert isinstance(command, click.Command), name
        assert line.endswith("."), name
        assert command.help, name


def test_help_imports_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    code = (
        "import sys; from pipeline.cli import main; code = main(['--help']);"
        "assert not {'polars', 'clearml', 'rich', 'numpy'} & set(sys.modules); sys.exit(code)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in COMMANDS)


def test_a_run_is_checked_and_followed_without_importing_the_sdk() -> None:
    """It takes half a second, and only the processes of controller and steps need it."""
    code = (
        "import sys, pipeline.commands.run, pipeline.commands.outcome, pipeline.preflight, pipeline.runs.follow;"
        "import pipeline.runs.progress, pipeline.runs.run;"
        "sys.exit(str({'clearml', 'numpy', 'polars'} & set(sys.modules) or ''))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)

    assert done.stderr.strip() == ""


def test_preprocess(reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.parquet"

    assert run("preprocess", reviews, out, "--json") == 0

    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    frame = pl.read_parquet(out)
    assert frame.columns == ["Polarity", "Title", "Review", "corpus"]
    assert frame.row(-1) == (1, "t", "Two feet", ["two", "foot"])
    assert result["output"] == str(out)
    assert (result["status"], result["rows"], result["bad_rows"]) == ("completed", 200, 1)
    assert result["causes"] == {"wrong polarity": 1}
    assert json.loads(Path(result["quarantine"]).read_text())["line"] == 200


def test_preprocess_says_what_it_left_out(reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("preprocess", reviews, tmp_path / "out.parquet") == 0

    output = capsys.readouterr()
    assert output.out.startswith("200 texts in ")
    assert "1 bad rows left out (1 wrong polarity)" in output.err


def test_preprocess_of_its_own_output_and_of_another_column(reviews: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.parquet", tmp_path / "second.parquet"

    assert run("preprocess", reviews, first) == 0
    assert run("preprocess", first, second, "--column", "Title") == 0

    assert pl.read_parquet(second).drop("corpus").equals(pl.read_parquet(first).drop("corpus"))
    assert pl.read_parquet(second)["corpus"].to_list() == [[""]] * 200  # "t" is a stop word


def test_preprocess_in_place(reviews: Path, tmp_path: Path) -> None:
    assert run("preprocess", reviews, reviews) == 0

    assert len(pl.read_parquet(reviews)) == 200


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["preprocess", "none.csv", "out.parquet"], 22, "Error: cannot read none.csv: No such file or directory"),
        (["preprocess", "in.csv", "out.parquet", "--max-bad", "0"], 23, "Error: 1 of 201 rows of in.csv are bad"),
        (["preprocess", "in.csv", "."], 24, "Error: cannot write .: it is a folder"),
        (["preprocess", "in.csv", "in.csv/out"], 24, "Error: cannot "),
        (["preprocess", "in.csv", "out.parquet", "--column", "Text"], 20, "Error: column 'Text' is not in the data"),
        (["preprocess", "in.csv"], 2, "Error: Missing argument 'OUTPUT'"),
        (["preprocess", "in.csv", "out", "--max-bad", "2"], 2, "Error: Invalid value for '--max-bad'"),
        (["generate", "out.csv", "--rows", "0"], 2, "Error: Invalid value for '--rows'"),
        (["generate", "out.csv"], 2, "Error: Missing option '--rows'"),
        (["generate", "/proc/none/out.csv", "--rows", "1"], 24, "Error: cannot write /proc/none/out.csv"),
        (["sample", "."], 2, "Error: Invalid value for 'OUT'"),
        (["unknown"], 2, "Error: No such command 'unknown'"),
    ],
)
def test_failures(
    reviews: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(reviews.parent)
    reviews.rename("in.csv")

    assert run(*words) == code

    output = capsys.readouterr()
    assert message in output.err
    assert "Traceback" not in output.err
    assert output.out == ""
    assert {path.name for path in Path().iterdir()} <= {"in.csv", "out.parquet.quarantine.jsonl"}


def test_hint_and_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("preprocess", "none.csv", "out.parquet", "--verbose") == 22
    assert "Traceback" in capsys.readouterr().err

    assert run("preprocess", Path(__file__), "out.parquet") == 22
    assert "Hint: " in capsys.readouterr().err


def test_generate_then_preprocess(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = tmp_path / "made.csv", tmp_path / "made.parquet"

    assert run("generate", source, "--rows", "120", "--seed", "5", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "output": str(source),
        "rows": 120,
        "seed": 5,
        "bytes": source.stat().st_size,
    }
    assert run("preprocess", source, target) == 0
    assert len(pl.read_parquet(target)) == 120


def test_nltk_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("nltk-data", tmp_path / "data") == 0

    assert capsys.readouterr().out == f"NLTK data: export NLTK_DATA={tmp_path}/data\n"
    assert (tmp_path / "data" / "corpora" / "stopwords" / "english").read_text().count("\n") == 198


def test_exit_codes_stay_in_their_bands() -> None:
    bands: dict[type[UserFacingError], range] = {
        errors.UsageError: range(2, 3),
        errors.SettingsError: range(10, 20),
        errors.DataError: range(20, 30),
        access.ServerError: range(30, 40),
        errors.RunError: range(40, 50),
    }
    for base, band in bands.items():
        for kind in (base, *base.__subclasses__()):
            if kind.__module__.startswith(("pipeline.", "clearml_access.")):
                assert errors.exit_code_of(kind) in band, kind
    kinds = (access.NoCredentialsError, access.ServerUnreachableError, access.CallRefusedError)
    assert [errors.exit_code_of(kind) for kind in kinds] == [30, 31, 32]
    assert errors.exit_code_of(access.ConfigurationError) == 10


@pytest.mark.parametrize(
    ("words", "code", "message", "hint"),
    [
        (["schedule", "--at", "25:00"], 10, "--at 25:00: expected", "--at 03:00"),
        (["schedule", "--at", "3"], 10, "--at 3: expected", "--at 03:00"),
        (["schedule", "--cron", "0 3 * *"], 10, "--cron: cron line '0 3 * *' has 4", "--cron '0 3 * * *'"),
        (["retrain", "--every", "0"], 10, "--every: 0.0 is less than 1", "--every 10.0"),
        (["retrain", "--every", "nan"], 10, "--every: nan is less than 1", "--every 10.0"),
        (["tune", "--jobs", "0"], 10, "--jobs: 0 is less than 1", "--jobs 6"),
        (
            ["tune", "--set", "max_features=x"],
            10,
            "parameter max_features",
            "'max_features=250, 500, 1000, 2000, 4000'",
        ),
        (["run", "--dry-run", "--timeout", "0"], 10, "--timeout 0", "--timeout 3600"),
    ],
)
def test_a_hint_is_what_can_be_typed(
    words: list[str], code: int, message: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*words) == code
    said = capsys.readouterr().err
    assert message in said.splitlines()[0]
    assert said.splitlines()[1].startswith("Hint: ")
    assert hint in said.splitlines()[1]


@pytest.mark.parametrize(
    "words", [["run", "--dry-run", "--timeout"], ["fit-model", "--timeout"], ["preprocess", "a", "b", "--max-bad"]]
)
def test_not_a_number_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*words, "nan") == 2
    assert "'nan' is not a number" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["schedule", "--json"], ["tune", "--json"], ["fit-model", "--json"]])
def test_an_interrupted_command_prints_one_object(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline import preflight
    from pipeline.amazon_reviews import fit_run
    from pipeline.amazon_reviews.model import registry
    from pipeline.automation import search
    from pipeline.datasets import lookup
    from pipeline.module_tasks import drafts, execution

    def interrupted(*_: object, **options: object) -> None:
        raise KeyboardInterrupt

    server = SimpleNamespace(task_page=lambda *_: "", workers=list, tasks=lambda *_, **query: [])
    for module in ("automatic_runs", "model_search", "fit_model"):
        monkeypatch.setattr(f"pipeline.commands.{module}.connect", lambda say: SimpleNamespace(server=server))
    monkeypatch.setattr("pipeline.commands.automatic_runs.workers_for_runs", lambda *_: 2)
    monkeypatch.setattr(preflight, "require_queue", lambda *_: None)
    monkeypatch.setattr(preflight, "queue_for_controllers", lambda *_: "services")
    monkeypatch.setattr(search, "with_versions", lambda server, values: {**values})
    monkeypatch.setattr(lookup, "require_version", lambda *_, **options: None)
    monkeypatch.setattr(drafts, "create", lambda *_: "task-1")
    monkeypatch.setattr(drafts, "clone", lambda *_: "task-1")
    monkeypatch.setattr(fit_run, "check", lambda *_: None)
    monkeypatch.setattr(registry, "unpublished_of", lambda *_: [])
    monkeypatch.setattr(execution, "run", interrupted)
    assert run(*words) == 130
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {"status": "interrupted", "task_id": "task-1", "exit_code": 130}


@pytest.mark.parametrize(("goes_on", "said"), [(True, "has ended: ./task serve-model"), (False, "served\n")])
def test_a_run_that_was_to_be_served_says_after_ctrl_c_that_its_model_is_not(
    goes_on: bool, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.runs import run as use_case

    def interrupted(*_: object, **options: object) -> None:
        raise use_case.RunInterrupted("run-1", goes_on=goes_on)

    server = SimpleNamespace(task_page=lambda *_: "page")
    monkeypatch.setattr("pipeline.commands.run_full.make_environment", lambda say: None)
    monkeypatch.setattr("pipeline.commands.run.connect", lambda say: SimpleNamespace(server=server))
    monkeypatch.setattr("pipeline.preflight.preflight", lambda *_, **options: SimpleNamespace(warnings=()))
    monkeypatch.setattr(use_case, "run", interrupted)
    assert run("run-full", "--serve") == 130
    shown = capsys.readouterr().out
    assert "The model of this run is not served" in shown and said in shown
    assert run("run-full") == 130
    assert "served" not in capsys.readouterr().out


@pytest.mark.parametrize("words", [["watch", "Mine"], ["logs", "Mine", "-f"]])
def test_ctrl_c_ends_the_watching_and_says_that_the_run_goes_on(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.runs import states

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    server = SimpleNamespace(tasks_in_hand=set)
    monkeypatch.setattr("pipeline.commands.existing_runs.connect", lambda say: SimpleNamespace(server=server))
    monkeypatch.setattr(states, "find", lambda *_: "run-1")
    monkeypatch.setattr(states, "watched", interrupted)
    assert run(*words) == 130
    said = capsys.readouterr().out
    assert "Interrupted. Run run-1 continues; abort it: .venv/bin/python -m pipeline abort run-1" in said


@pytest.mark.parametrize(
    "words",
    [
        ["report", "Mine", "none/run.html"],
        ["watch", "Mine", "--report", "none/run.html"],
        ["rerun", "Mine", "--report", "none/run.html"],
        ["run", "--report", "none/run.html"],
    ],
)
def test_a_report_without_a_folder_is_refused_before_any_server_is_asked(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("USER_WORKING_DIR", raising=False)
    assert run(*words) == 24
    error = capsys.readouterr().err
    assert f"the folder {tmp_path}/none does not exist" in error and f"mkdir -p {tmp_path}/none" in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["watch", "logs", "rerun"])
@pytest.mark.parametrize("seconds", ["-3", "0"])
def test_a_run_is_watched_for_some_time(command: str, seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command, "Mine", "--timeout", seconds) == 2
    assert "'--timeout'" in capsys.readouterr().err


@pytest.mark.parametrize("run_id", ["run-1", None])
def test_an_interrupted_run_prints_one_object(
    run_id: str | None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.runs import run as use_case

    def interrupted(*_: object, **options: object) -> None:
        raise use_case.RunInterrupted(run_id, goes_on=False)

    monkeypatch.setattr("pipeline.commands.run.connect", lambda say: SimpleNamespace(server=None))
    monkeypatch.setattr("pipeline.preflight.preflight", lambda *_, **options: SimpleNamespace(warnings=()))
    monkeypatch.setattr(use_case, "run", interrupted)
    assert run("run", "--json") == 130
    assert json.loads(capsys.readouterr().out) == {"status": "interrupted", "run_id": run_id, "exit_code": 130}
