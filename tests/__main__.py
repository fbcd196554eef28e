"""`./task test`: pytest, and what it leaves out on this machine.

Without arguments, or with `--slow` or `--thorough` alone, it runs the files in several processes. Most tests wait more
than they compute (an agent looks at its queue every 5 s), so there are more processes than cores. With arguments it is
pytest in one process, as one expects when a single test is looked at; the slow tests of a file that is named run too. A
marker expression of one's own (`./task test -- -m browser`) is left as it is.
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

SLOW = (
    "the slow tests (marker slow): more whole runs by agents, more pages in the browser, more faults of a deployed "
    "agent. CI runs them for each change. Run them: ./task test-slow"
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

WORDS = {"slow": ("mark.slow",), "thorough": ("mark.thorough", "KINDS_OF_SERVER")}
"""What a file with such a test has in its text: the marker, or the list in `tests.integration.pipeline_cli`."""

GROUPS = {"slow": ["slow", "not thorough"], "thorough": ["thorough"]}
"""What is asked of the markers of a group's tests."""

SLOWEST = 12
SUITES = ("tests/integration", "tests/browser", "tests/unit")


def in_parallel(cores: int, files: Sequence[str]) -> list[str]:
    """Return pytest's arguments for running files in several processes, each in one (its fixtures are the file's)."""
    processes = max(2, min(8, cores * 2))
    return ["-n", str(processes), "--dist", "loadfile", "--no-loadscope-reorder", *files]


def marked_files(root: Path, marker: str) -> list[str]:
    """Return the files that have a test with this marker, the longest first: each process reads all it is given."""
    files = {str(path.relative_to(root)) for suite in SUITES for path in (root / suite).rglob("test_*.py")}
    texts = {file: (root / file).read_text(encoding="utf-8") for file in files}
    marked = {file for file, text in texts.items() if any(word in text for word in WORDS[marker])}
    first = [file for start in LONGEST for file in sorted(marked) if file.startswith(start)]
    return [*first, *sorted(marked.difference(first))]


def selection(arguments: Sequence[str], *, chromium: bool, group: str = "named") -> tuple[list[str], list[str]]:
    """Return pytest's arguments, and a line for each group of tests that they leave out.

    Args:
        arguments: Those of the command line, or files.
        chromium: Whether there is a browser.
        group: `named` where the arguments name what to run; else `usual`, or one of `GROUPS`.
    """
    if any(argument.startswith("-m") for argument in arguments):
        return list(arguments), []
    left_out = {} if group in GROUPS else {"e2e": END_TO_END, "thorough": THOROUGH}
    if group == "usual":
        left_out["slow"] = SLOW
    if not chromium:
        left_out["browser"] = WITHOUT_CHROMIUM
    expression = " and ".join([*GROUPS.get(group, ()), *(f"not {marker}" for marker in left_out)])
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


def keep_compiled() -> None:
    """Let Python keep what it compiles, also where the machine says otherwise, as many containers do.

    Without it each process of the tests spends 18 s of processor time on the assertions of files that another process
    has read, and each command that a test starts compiles the modules that it imports.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False


def main(arguments: Sequence[str]) -> int:
    """Run the tests; return pytest's exit code."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        # A shell starts what is behind `&` so: the tests' processes would be deaf to the interrupts that are tested.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    cores = os.cpu_count() or 1
    group = "usual" if not arguments else " ".join(arguments).removeprefix("--")
    if group == "usual":
        arguments = in_parallel(cores, [*LONGEST, *SUITES])
    elif group in GROUPS:
        root = Path(__file__).resolve().parent.parent
        arguments = ["--durations=25", *in_parallel(cores, marked_files(root, group))]
    chosen, left_out = selection(arguments, chromium=CHROMIUM.is_file(), group=group)
    code = pytest.main(chosen, plugins=[SuiteTimes()])
    for line in left_out:
        print(f"LEFT OUT: {line}")
    return int(code)


if __name__ == "__main__":
    try:
        invocation.taken_from_environment()  # what the tests run is not the task that runs the tests
        keep_compiled()
        sys.exit(main(sys.argv[1:]))
    except BrokenPipeError:  # `./task test -- --help | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
