"""Real review snippets for a machine that has nothing but a package index.

The source distribution of `vaderSentiment` 3.3.2 (MIT) carries 3,708 sentences of Amazon reviews, each with the mean
rating that people gave it, from -4 to 4 (Hutto and Gilbert 2014). Fetched by name and pinned hash through pip, so
that pip's own settings apply (`PIP_INDEX_URL`, `PIP_CERT`, …), they become a file in the shape of the Kaggle set; the
neutral ones are left out. The texts are never part of this repository; licence and citation lie beside every copy.

Outside system: the package index, through `python -m pip`. Nothing is fetched where the file is already there.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import SampleError
from pipeline.files import replacing


@dataclass(frozen=True)
class Source:
    """A pinned source distribution with snippets."""

    requirement: str
    """Name and version, as pip takes it."""
    sdist_sha256: str
    csv_sha256: str
    """Of the file made from it: tells a finished copy from any other."""


SOURCE = Source(
    requirement="vaderSentiment==3.3.2",
    sdist_sha256="5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
    csv_sha256="0804a67715e314deaae3bca4e4c9cf6d60f2fe022877e31126ca5069d30066a1",
)

TIMEOUT_SECONDS = 300

_INNER_ARCHIVE = "additional_resources/hutto_ICWSM_2014.tar.gz"
_RATINGS = "hutto_ICWSM_2014/amazonReviewSnippets_GroundTruth.txt"
_CITATION = """\
Amazon review snippets with ratings, part of vaderSentiment 3.3.2 (https://pypi.org/project/vaderSentiment/3.3.2/),
file additional_resources/hutto_ICWSM_2014.tar.gz: hutto_ICWSM_2014/amazonReviewSnippets_GroundTruth.txt.
Changed here: neutral snippets left out, the mean rating reduced to its sign, written as CSV.

Hutto, C.J. & Gilbert, E.E. (2014). VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media Text.
Eighth International Conference on Weblogs and Social Media (ICWSM-14). Ann Arbor, MI, June 2014.
"""


@dataclass(frozen=True)
class Sample:
    """The sample as it lies on disk."""

    csv: Path
    licence: Path
    citation: Path
    rows: int
    fetched: bool
    """Whether it had to be fetched."""


def write_sample(target: Path, source: Source = SOURCE) -> Sample:
    """Write the sample as a CSV file without header: polarity (1 negative, 2 positive), snippet id as title, text.

    Args:
        target: The CSV file; `<name>.LICENSE.txt` and `<name>.CITATION.txt` are written beside it.
        source: What to fetch; another one in tests only.

    Raises:
        SampleError: The package could not be fetched, or is not the pinned one.
        OutputFileError: The file cannot be written.
    """
    licence = target.with_name(target.name + ".LICENSE.txt")
    citation = target.with_name(target.name + ".CITATION.txt")
    fetched = not (licence.exists() and citation.exists() and target.exists() and _is(source, target.read_bytes()))
    if fetched:
        text, licence_text = _snippets(_fetch(source))
        if not _is(source, text):
            raise SampleError(f"the snippets in {source.requirement} are not the expected ones")
        # The texts come last: their presence says that all is there.
        for path, content in ((licence, licence_text), (citation, _CITATION.encode()), (target, text)):
            with replacing(path) as temporary:
                temporary.write_bytes(content)
    return Sample(target, licence, citation, target.read_bytes().count(b"\n"), fetched)


def _is(source: Source, content: bytes) -> bool:
    return hashlib.sha256(content).hexdigest() == source.csv_sha256


def _fetch(source: Source) -> bytes:
    """Return the source distribution, its hash checked by pip."""
    requirement = source.requirement
    with tempfile.TemporaryDirectory(prefix="sample-") as folder:
        pinned = Path(folder, "requirements.txt")
        pinned.write_text(f"{requirement} --hash=sha256:{source.sdist_sha256}\n", encoding="utf-8")
        # pip asks a source distribution for its metadata; without isolation that needs nothing else from the index.
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--requirement",
            str(pinned),
            "--require-hashes",
            "--no-deps",
        ]
        command += ["--no-binary", requirement.partition("==")[0], "--no-build-isolation", "--dest", folder]
        command += ["--quiet", "--no-input", "--disable-pip-version-check", "--retries", "2"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)
        except subprocess.TimeoutExpired as error:
            raise SampleError(f"fetching {requirement} took more than {TIMEOUT_SECONDS} s", hint=_HINT) from error
        archives = list(Path(folder).glob("*.tar.gz"))
        if done.returncode or not archives:
            raise SampleError(f"pip could not fetch {requirement}: {_cause(done.stderr)}", hint=_HINT)
        return archives[0].read_bytes()


def _cause(stderr: str) -> str:
    """Return the line that says most: what broke the connection, else pip's last error."""
    broken = re.findall(r"connection broken by (.+)", stderr)
    errors = re.findall(r"ERROR: (.+)", stderr)
    return (broken or errors or stderr.splitlines() or ["no output"])[-1]


_HINT = (
    "pip needs a package index: PIP_INDEX_URL names one, PIP_CERT its certificate authority; "
    "without one, `.venv/bin/python -m pipeline generate` makes reviews"
)


def _snippets(sdist: bytes) -> tuple[bytes, bytes]:
    """Return the CSV file and the licence."""
    try:
        with tarfile.open(fileobj=io.BytesIO(sdist)) as outer:
            top = outer.getnames()[0].partition("/")[0]
            licence = _member(outer, f"{top}/LICENSE.txt")
            with tarfile.open(fileobj=io.BytesIO(_member(outer, f"{top}/{_INNER_ARCHIVE}"))) as inner:
                ratings = _member(inner, _RATINGS).decode()
        rows = [line.split("\t", 2) for line in ratings.splitlines()]
        kept = [("2" if float(rating) > 0 else "1", number, text) for number, rating, text in rows if float(rating)]
    except (tarfile.TarError, KeyError, IndexError, ValueError) as error:
        raise SampleError(f"the source distribution does not hold the expected files: {error}") from error
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(kept)
    return out.getvalue().encode(), licence


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    stream = archive.extractfile(name)
    if stream is None:
        raise KeyError(f"{name} is not a file")
    return stream.read()
