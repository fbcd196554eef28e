"""Two tasks of one machine that read the same dataset version at the same moment: they share the SDK's cache."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from clearml_localserver.pytest_plugin import ClearmlServer

pytestmark = pytest.mark.integration

MAKE = """
import sys
from pathlib import Path
from clearml import Dataset
parent = []
for name in ("old.csv", "new.csv"):
    Path(name).write_text(name)
    dataset = Dataset.create(dataset_name="shared", dataset_project="cache", parent_datasets=parent)
    dataset.add_files(name)
    dataset.finalize(auto_upload=True)
    parent = [dataset.id]
print("made", dataset.id)
"""

READ = """
import sys
from pathlib import Path
from clearml.storage.manager import StorageManager
from pipeline.datasets.datasets import open_version
from pipeline.sdk.steps import prepare

version, what, stops = sys.argv[1:]
prepare()
source = open_version(dataset_id=version, alias="shared")
if stops == "stops":
    unpack = StorageManager._extract_to_cache
    def stopped(*arguments, **options):
        print("downloaded", flush=True)
        sys.stdin.readline()
        return unpack(*arguments, **options)
    StorageManager._extract_to_cache = stopped
own = what == "own_files"
files = source.own_files(Path.cwd() / stops) if own else source.local_folder().iterdir()
print("read", *sorted(f"{file.name}={file.read_text()}" for file in files))
"""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture(scope="module")
def version(clearml_server: ClearmlServer, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The id of a dataset version with one file of its own and one of its parent."""
    command = [sys.executable, "-c", MAKE]
    folder = tmp_path_factory.mktemp("make")
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=100)
    return done.stdout.rpartition("made ")[2].strip()


@pytest.fixture
def start(clearml_server: ClearmlServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts a script; all of a test share one cache folder."""
    monkeypatch.setenv("CLEARML_CACHE_DIR", str(tmp_path / "cache"))
    with contextlib.ExitStack() as running:

        def start(source: str, *arguments: str) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, "-u", "-c", source, *arguments],
                cwd=tmp_path,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            running.enter_context(process)
            running.callback(process.kill)
            return process

        yield start


def line(process: subprocess.Popen[str], *beginnings: str) -> str:
    """Return its next line that begins so."""
    assert process.stdout is not None
    seen = []
    for text in process.stdout:
        seen.append(text)
        if text.startswith(beginnings):
            return text.strip()
    raise AssertionError(f"no line that begins with one of {beginnings}:\n{''.join(seen)}")


@pytest.mark.parametrize(
    ("what", "files"), [("own_files", "read new.csv=new.csv"), ("local_folder", "read new.csv=new.csv old.csv=old.csv")]
)
def test_a_second_reader_waits_for_the_first_and_both_get_all_files(
    start: Start, version: str, what: str, files: str
) -> None:
    first = start(READ, version, what, "stops")
    line(first, "downloaded")
    second = start(READ, version, what, "runs")
    answer = line(second, "Waiting", "read ")
    print("\n" * 3, file=first.stdin, flush=True)
    assert line(first, "read ") == files
    assert answer.startswith("Waiting"), answer
    assert line(second, "read ") == files
