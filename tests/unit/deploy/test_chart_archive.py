"""Chart archives, well made, hostile and damaged."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from deploy.errors import ChartError
from deploy.helm import charts
from deploy.helm.chart_archive import unpack
from deploy.helm.release import Helm
from deploy.settings import Settings

CHART = {"a/Chart.yaml": b"name: a\nversion: 1.2.3\n", "a/templates/b.yaml": b"kind: Pod\n"}


def packed(path: Path, *members: tarfile.TarInfo) -> Path:
    """Write a chart archive with further members of the given kinds."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in CHART.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        for member in members:
            archive.addfile(member, io.BytesIO(b"x" * member.size))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, link
    entry.size = 3 if kind == tarfile.REGTYPE else 0
    return entry


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_chart_is_unpacked(tmp_path):
    folder = tmp_path / "into"
    folder.mkdir()
    unpack(packed(tmp_path / "a.tgz", member("a", tarfile.DIRTYPE), member("./a/LICENSE")), folder)
    assert files(folder) == {**CHART, "a/LICENSE": b"xxx"}


def test_a_packaged_chart_is_read(tmp_path):
    helm = tmp_path / "helm"
    helm.write_text("#!/bin/sh\necho v3.17.0\n")
    helm.chmod(0o700)
    archive = packed(tmp_path / "a.tgz")
    chart = Helm(Settings(helm=str(helm), chart=str(archive), cache=tmp_path / "cache"), {}).chart()
    assert (chart.name, chart.version) == ("a", "1.2.3")
    assert files(chart.folder) == {name.removeprefix("a/"): content for name, content in CHART.items()}


@pytest.mark.parametrize(
    ("hostile", "words"),
    [
        ([member("../out")], "'../out' is outside"),
        ([member("a/../../out")], "'a/../../out' is outside"),
        ([member("../dir", tarfile.DIRTYPE)], "'../dir' is outside"),
        ([member("/tmp/out")], "'/tmp/out' is outside"),
        ([member("a/l", tarfile.SYMTYPE, "/etc/passwd")], "'a/l' is neither a file nor a folder"),
        ([member("a/l", tarfile.SYMTYPE, "../.."), member("a/l/out")], "'a/l' is neither"),
        ([member("a/l", tarfile.LNKTYPE, "../../out")], "'a/l' is neither"),
        ([member("a/l", tarfile.LNKTYPE, "a/Chart.yaml")], "'a/l' is neither"),
        ([member("a/d", tarfile.CHRTYPE)], "'a/d' is neither"),
        ([member("a/d", tarfile.BLKTYPE)], "'a/d' is neither"),
        ([member("a/p", tarfile.FIFOTYPE)], "'a/p' is neither"),
    ],
)
def test_a_hostile_member_is_refused_and_nothing_is_written_outside(tmp_path, hostile, words):
    folder = tmp_path / "deep" / "into"
    folder.mkdir(parents=True)
    archive = packed(tmp_path / "a.tgz", *hostile)
    before = archive.read_bytes()
    with pytest.raises(ChartError, match="is not unpacked") as refused:
        unpack(archive, folder)
    assert words in refused.value.message
    assert refused.value.hint
    assert files(folder) == CHART
    assert files(tmp_path) == {"a.tgz": before} | {f"deep/into/{name}": content for name, content in CHART.items()}


def _cut(archive: bytes) -> bytes:
    return archive[: len(archive) // 2]


def _damaged(archive: bytes) -> bytes:
    middle = len(archive) // 2
    return archive[:middle] + bytes(255 - byte for byte in archive[middle : middle + 40]) + archive[middle + 40 :]


@pytest.mark.parametrize("change", [_cut, _damaged, lambda _: b"", lambda _: b"no archive"])
def test_a_damaged_archive_is_named(tmp_path, change):
    archive = packed(tmp_path / "a.tgz", *(member(f"a/{number}") for number in range(200)))
    archive.write_bytes(change(archive.read_bytes()))
    folder = tmp_path / "into"
    folder.mkdir()
    with pytest.raises(ChartError, match="is not a chart archive"):
        unpack(archive, folder)


def test_a_name_with_a_null_character_is_refused(tmp_path):
    entry = member("a/b")
    entry.pax_headers = {"path": "a/\0b"}
    with pytest.raises(ChartError, match="is not a chart archive"):
        unpack(packed(tmp_path / "a.tgz", entry), tmp_path / "into")


def test_a_cache_that_cannot_be_written_is_said_so(tmp_path):
    archive = packed(tmp_path / "a.tgz")
    for keep in (lambda: charts.unpacked(archive, "a", archive), lambda: charts.Index(archive / "x").put("a", archive)):
        with pytest.raises(ChartError, match="Not a directory") as caught:
            keep()
        assert "XDG_CACHE_HOME" in str(caught.value.hint)
