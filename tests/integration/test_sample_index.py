"""The sample behind a company's package index: real pip, an index on this machine, the environment that pip reads."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipeline.amazon_reviews.reviews.sample import Source, write_sample
from pipeline.errors import SampleError
from tests.unit.pipeline.test_sample import CSV, sdist, tar

pytestmark = pytest.mark.integration

SETUP = b"from setuptools import setup\nsetup(name='review-snippets', version='1.0')\n"


def distribution() -> bytes:
    """A source distribution that pip accepts, with what `sdist` holds inside."""
    files = {}
    with tarfile.open(fileobj=io.BytesIO(sdist())) as archive:
        for member in archive:
            content = archive.extractfile(member)
            assert content
            files[member.name.replace("pkg-1", "review-snippets-1.0")] = content.read()
    metadata = b"Metadata-Version: 2.1\nName: review-snippets\nVersion: 1.0\n"
    return tar(files | {"review-snippets-1.0/setup.py": SETUP, "review-snippets-1.0/PKG-INFO": metadata})


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[bytes]:
    """The distribution, served by an index that the environment names; no other index, no cache."""
    root = tmp_path / "index"
    content = distribution()
    (root / "simple" / "review-snippets").mkdir(parents=True)
    (root / "files").mkdir()
    (root / "files" / "review-snippets-1.0.tar.gz").write_bytes(content)
    page = '<a href="/files/review-snippets-1.0.tar.gz">review-snippets-1.0.tar.gz</a>'
    (root / "simple" / "review-snippets" / "index.html").write_text(page)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(root)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    yield content
    server.shutdown()
    thread.join()
    server.server_close()


def source(archive: bytes) -> Source:
    return Source("review-snippets==1.0", hashlib.sha256(archive).hexdigest(), hashlib.sha256(CSV).hexdigest())


def test_the_index_of_the_environment_is_used(archive: bytes, tmp_path: Path) -> None:
    written = write_sample(tmp_path / "train.csv", source(archive))

    assert written.csv.read_bytes() == CSV
    assert written.licence.read_text() == "MIT"


def test_another_archive_than_the_pinned_one(archive: bytes, tmp_path: Path) -> None:
    with pytest.raises(SampleError, match="DO NOT MATCH THE HASHES"):
        write_sample(tmp_path / "train.csv", source(archive + b"x"))


def test_package_that_the_index_lacks(archive: bytes, tmp_path: Path) -> None:
    with pytest.raises(SampleError, match=r"fetch other-snippets==1\.0: No matching distribution"):
        write_sample(tmp_path / "train.csv", Source("other-snippets==1.0", "0" * 64, ""))


def test_no_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")

    with pytest.raises(SampleError, match="Connection refused") as caught:
        write_sample(tmp_path / "train.csv", Source("review-snippets==1.0", "0" * 64, ""))
    assert "PIP_INDEX_URL" in str(caught.value.hint)
