from __future__ import annotations

import csv
import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from pipeline.amazon_reviews.reviews import sample
from pipeline.amazon_reviews.reviews.sample import Source, write_sample
from pipeline.errors import SampleError

RATINGS = b'1_1\t-0.9\tno "picture", at all.\r\n1_2\t0.0\tneutral.\r\n2_1\t3.85\tgreat sound!\r\n'
ROWS = [["1", "1_1", 'no "picture", at all.'], ["2", "2_1", "great sound!"]]
CSV = b'"1","1_1","no ""picture"", at all."\n"2","2_1","great sound!"\n'


def tar(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def sdist(ratings: bytes = RATINGS) -> bytes:
    inner = tar({"hutto_ICWSM_2014/amazonReviewSnippets_GroundTruth.txt": ratings})
    return tar({"pkg-1/LICENSE.txt": b"MIT", "pkg-1/additional_resources/hutto_ICWSM_2014.tar.gz": inner})


SOURCE = Source("pkg==1", "0" * 64, hashlib.sha256(CSV).hexdigest())


def test_snippets_become_reviews(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "_fetch", lambda source: sdist())

    written = write_sample(tmp_path / "in" / "train.csv", SOURCE)

    assert list(csv.reader(written.csv.open(newline=""), strict=True)) == ROWS
    assert (written.rows, written.fetched) == (2, True)
    assert written.licence.read_text() == "MIT"
    assert "Hutto, C.J. & Gilbert, E.E. (2014)" in written.citation.read_text()
    assert {path.name for path in (tmp_path / "in").iterdir()} == {
        "train.csv",
        "train.csv.LICENSE.txt",
        "train.csv.CITATION.txt",
    }


@pytest.mark.parametrize("gone", ["", "train.csv", "train.csv.LICENSE.txt", "train.csv.CITATION.txt"])
def test_only_a_finished_sample_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: str) -> None:
    fetches = []

    def fetch(source: Source) -> bytes:
        fetches.append(source)
        return sdist()

    monkeypatch.setattr(sample, "_fetch", fetch)
    write_sample(tmp_path / "train.csv", SOURCE)
    if gone:
        (tmp_path / gone).unlink()

    again = write_sample(tmp_path / "train.csv", SOURCE)

    assert again.fetched == bool(gone)
    assert len(fetches) == 1 + bool(gone)


def test_a_changed_file_is_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "_fetch", lambda source: sdist())
    (tmp_path / "train.csv").write_text("1,t,x\n")

    write_sample(tmp_path / "train.csv", SOURCE)

    assert (tmp_path / "train.csv").read_bytes() == CSV


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        (b"no archive", "does not hold the expected files"),
        (tar({}), "does not hold the expected files"),
        (tar({"pkg-1/LICENSE.txt": b"MIT"}), "does not hold the expected files"),
        (sdist(b"1\tx\ty\n"), "does not hold the expected files"),
        (sdist(b"1_1\t1.0\tother\n"), "are not the expected ones"),
    ],
    # An archive holds the time at which it was made: as a test's name it would differ in every process.
    ids=["no archive", "empty", "licence only", "wrong fields", "other texts"],
)
def test_other_packages_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, archive: bytes, message: str
) -> None:
    monkeypatch.setattr(sample, "_fetch", lambda source: archive)

    with pytest.raises(SampleError, match=message):
        write_sample(tmp_path / "train.csv", SOURCE)
    assert list(tmp_path.iterdir()) == []
