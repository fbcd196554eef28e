"""Sampled stacks to seconds by process, phase and cause. Pure: its input is what `py-spy record --format raw` writes.

A line is one stack, its outermost frame first: the processes from the first to the one sampled, the thread, the
frames, and how often it was seen. Threads that wait are not sampled, so the seconds are those of work.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

CAUSES = ("imports", "validation", "HTTP", "hashing", "compression", "work")
"""In the order of the table. `work` is what no pattern below takes."""

_WAITING = re.compile(
    r"^(worker|Pool\._handle_\w+) \(multiprocessing/pool\.py|^(Condition|Event|Barrier|Semaphore)\.\w*(wait|acquire) "
    r"|_wait_for_tstate_lock|^\w*Selector\.select |^_worker \(concurrent/futures/|^Popen\.(_wait|_try_wait|poll|wait) "
    r"|^Lane\._work |^Store\._write_loop |^Runner\.run |^_watch \(pipeline/controllers/abandoned\.py|^\w*[sS]leep"
)
"""Innermost frames of threads that wait, where the kernel does not say so: py-spy leaves the others out itself."""

_CAUSES = (
    ("imports", re.compile(r"^_find_and_load |<frozen importlib|^compile_|importlib/metadata")),
    ("validation", re.compile(r"jsonschema/|fastjsonschema|backend_api/session/datamodel\.py")),
    ("hashing", re.compile(r"sha256|sha2sum|hashlib|calc_file_hash|get_file_hash|file_digest", re.IGNORECASE)),
    ("compression", re.compile(r"zipfile|zlib|gzip\.py|\(lzma\.py")),
    (
        "HTTP",
        re.compile(
            r"\(requests/|\(urllib3/|\(http/client\.py|\(ssl\.py|backend_api/session/session\.py|access/http\.py"
        ),
    ),
)

OTHER = "start, end and between"
_PHASES = (
    ("end of the step", re.compile(r"^complete \(.*timeline\.py|^_at_exit|^_shutdown|^_exithandlers")),
    ("task opened", re.compile(r"^(Task\.)?init \(clearml/task\.py")),
    ("version begun", re.compile(r"^(FastDataset|Dataset)\.create |^_take_number ")),
    ("files sent", re.compile(r"^DatasetDraft\.(upload|add) |\(clearml/utilities/parallel\.py")),
    ("version finished", re.compile(r"^(FastDataset|Dataset)\.finalize |^_is_stored ")),
    ("plots and tables", re.compile(r"^DatasetDraft\.report_|^class_distribution |^preview ")),
    ("dataset read", re.compile(r"^read_reviews |^DatasetSource\.|^open_version |^require_version ")),
    ("file read", re.compile(r"^ReviewFile\.")),
    ("split", re.compile(r"^split_rows |^_write_part ")),
    ("text step", re.compile(r"^preprocess_file |^_process \(.*processing\.py")),
    ("training", re.compile(r"\(pipeline/amazon_reviews/(training|model)/")),
    ("artifacts sent", re.compile(r"^Task\.upload_artifact |^Artifacts\.")),
    ("reports sent", re.compile(r"\(clearml/backend_interface/metrics/|\(clearml/utilities/resource_monitor\.py")),
)

STEPS = ("train_test_split", "train_processing", "test_processing", "fit_model", "shard_processing", "shard_joining")
_LINE = re.compile(r'^(?:.*;)?process (\d+):"(.*?)";thread \([^;]*;(.*) (\d+)$')
"""The last process is the one sampled; a command line may hold any character."""
_COMMANDS = (
    (re.compile(r"-m clearml_localserver"), "server"),
    (re.compile(r"-m pipeline dataset upload"), "upload-dataset"),
    (re.compile(r"-m pipeline run"), "run's command"),
    (re.compile(r"clearml_agent .*(daemon|execute)"), "agent"),
)
_TRAINING = re.compile(r"\(pipeline/amazon_reviews/(fit_run|model/|training/)")
_CONTROLLER = re.compile(r"\(pipeline/controllers/")
_STEP = re.compile(rf"^({'|'.join(STEPS)}) \((?!pipeline/)")


@dataclass(frozen=True)
class Sample:
    """A stack of one thread, and how often it was seen."""

    pid: int
    command: str
    frames: tuple[str, ...]
    count: int


Table = dict[str, dict[str, dict[str, float]]]
"""Process → phase → cause → seconds."""


def parse(lines: Iterable[str]) -> list[Sample]:
    """Return the stacks that py-spy has written, without those of threads that wait; other lines are left out."""
    found = []
    for line in lines:
        match = _LINE.match(line.strip())
        if match and not _WAITING.search(match[3].rsplit(";", 1)[-1]):
            found.append(Sample(int(match[1]), match[2], tuple(match[3].split(";")), int(match[4])))
    return found


def roles(samples: Sequence[Sample]) -> dict[int, str]:
    """Return what each process is: by its command line, else by the step or the controller among its frames."""
    found: dict[int, str] = {}
    for sample in samples:
        known = next((role for pattern, role in _COMMANDS if pattern.search(sample.command)), None)
        step = next((match[1] for frame in sample.frames if (match := _STEP.match(frame))), None)
        if known:
            found.setdefault(sample.pid, known)
        elif step:
            found[sample.pid] = f"step {step}"
        elif any(_TRAINING.search(frame) for frame in sample.frames):
            found[sample.pid] = "step fit_model"
        elif any(_CONTROLLER.search(frame) for frame in sample.frames):
            found.setdefault(sample.pid, "controller")
    return {sample.pid: found.get(sample.pid, "other processes") for sample in samples}


def cause_of(frames: Sequence[str]) -> str:
    """Return why a stack is busy: the innermost frame that a pattern knows decides."""
    for frame in reversed(frames):
        for cause, pattern in _CAUSES:
            if pattern.search(frame):
                return cause
    return "work"


def phase_of(frames: Sequence[str]) -> str:
    """Return the part of the work that a stack belongs to: the outermost frame that a pattern knows decides."""
    for frame in frames:
        for phase, pattern in _PHASES:
            if pattern.search(frame):
                return phase
    return OTHER


def add_up(samples: Sequence[Sample], rate: int) -> Table:
    """Return the seconds of work by process, phase and cause.

    Args:
        samples: The stacks.
        rate: How many were taken in a second.
    """
    names = roles(samples)
    table: defaultdict[str, defaultdict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for sample in samples:
        table[names[sample.pid]][phase_of(sample.frames)][cause_of(sample.frames)] += sample.count
    return {
        role: {
            phase: {cause: round(counts[cause] / rate, 3) for cause in CAUSES if counts[cause]}
            for phase, counts in phases.items()
        }
        for role, phases in table.items()
    }
