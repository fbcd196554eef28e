"""`./task test`: pytest, and what it leaves out on this machine.

Without arguments, or with `--thorough` alone, it runs the files in several processes. Most tests wait more than they
compute (an agent looks at its queue every 5 s), so there are more processes than cores. With arguments it is pytest in
one process, as one expects when a single test is looked at. A marker expression of one's own
(`./task test -- -m browser`) is left as it is.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import pytest

from command_line import invocation
from tests import chromium

CHROMIUM = chromium.program()

WITHOUT_CHROMIUM = (
    f"the browser tests (tests/browser): there is no {CHROMIUM}. With it: apt-get install chromium (or "
    "CHROMIUM=/path/to/chromium) and ./task test -- -m browser"
)
END_TO_END = (
    "the end-to-end tests (marker e2e), which take many minutes and root on Linux, or Docker. "
    "Run them: ./task test -- -m e2e"
)

THOROUGH = (
    "the thorough tests (marker thorough): more whole runs by agents, the whole vocabulary, every benchmark, more SDK "
    "versions, more hostile requests. The hosted CI runs them. Run them: ./task test-thorough"
)

LONGEST = (
    "tests/integration/agents",
    "tests/browser/test_pages.py",
    "tests/integration/test_pipeline.py",
    "tests/integration/test_pod_glue.py",
    "tests/integration/test_machine.py",
    "tests/integration/deploy",
    "tests/integration/test_full_pipeline.py",
    "tests/integration/test_serve_model.py",
    "tests/integration/test_shards.py",
    "tests/integration/test_clients.py",
    "tests/integration/test_fit_model.py",
    "tests/integration/test_transfer.py",
)
"""Started first: a long file that began last would keep one process busy while the others have nothing to do."""

THOROUGH_WORDS = "mark.thorough", "KINDS_OF_SERVER"
"""What a file with a thorough test has in its text: the marker, or the list in `tests.integration.pipeline_cli`."""

SLOWEST = 12
SUITES = ("tests/integration", "tests/browser", "tests/unit")


def in_parallel(cores: int, files: Sequence[str]) -> list[str]:
    """Return pytest's arguments for running files in several processes, each in one (its fixtures are the file's)."""
    processes = max(2, min(8, cores * 2))
    return ["-n", str(processes), "--dist", "loadfile", "--no-loadscope-reorder", *files]


def thorough_files(root: Path) -> list[str]:
    """Return the files that have a thorough test, the longest first: each process reads all that it is given."""
    files = {str(path.relative_to(root)) for suite in SUITES for path in (root / suite).rglob("test_*.py")}
    texts = {file: (root / file).read_text(encoding="utf-8") for file in files}
    thorough = {file for file, text in texts.items() if any(word in text for word in THOROUGH_WORDS)}
    first = [file for start in LONGEST for file in sorted(thorough) if file.startswith(start)]
    return [*first, *sorted(thorough.difference(first))]


def selection(arguments: Sequence[str], *, chromium: bool) -> tuple[list[str], list[str]]:
    """Return pytest's arguments, and a line for each group of tests that they leave out."""
    if any(argument.startswith("-m") for argument in arguments):
        return list(arguments), []
    left_out = {"e2e": END_TO_END, "thorough": THOROUGH}
    if not chromium:
        left_out["browser"] = WITHOUT_CHROMIUM
    expression = " and ".join(f"not {marker}" for marker in left_out)
    return ["-m", expression, *arguments], list(left_out.values())


class SuiteTimes:
    """Says how long the tests of each suite and of the slowest files took, all processes together."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add the time of a test's set-up, call or tear-down to its file's."""
        self._seconds[report.nodeid.partition("::")[0]] += report.duration

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print two lines."""
        suites: dict[str, float] = defaultdict(float)
        for file, seconds in self._seconds.items():
            suites["/".join(file.split("/")[:2])] += seconds
        for title, times in (("suites", suites), ("slowest files", self._seconds)):
            slowest = sorted(times.items(), key=lambda item: item[1], reverse=True)[:SLOWEST]
            listed = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in slowest)
            terminalreporter.write_line(f"Time of the {title}, all processes together: {listed}")


def main(arguments: Sequence[str]) -> int:
    """Run the tests; return pytest's exit code."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        # A shell starts what is behind `&` so: the tests' processes would be deaf to the interrupts that are tested.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    cores = os.cpu_count() or 1
    if list(arguments) == ["--thorough"]:
        root = Path(__file__).resolve().parent.parent
        arguments = ["-m", "thorough", "--durations=25", *in_parallel(cores, thorough_files(root))]
    chosen, left_out = selection(arguments or in_parallel(cores, [*LONGEST, *SUITES]), chromium=CHROMIUM.is_file())
    code = pytest.main(chosen, plugins=[SuiteTimes()])
    for line in left_out:
        print(f"LEFT OUT: {line}")
    return int(code)


if __name__ == "__main__":
    try:
        invocation.taken_from_environment()  # what the tests run is not the task that runs the tests
        sys.exit(main(sys.argv[1:]))
    except BrokenPipeError:  # `./task test -- --help | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
