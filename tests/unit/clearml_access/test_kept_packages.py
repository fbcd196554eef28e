"""What steps pin beyond their image is kept once for all pods that share a volume: by its pins, whole, and bounded."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clearml_access import kept_packages
from clearml_access.kept_packages import KeptPackages, comes_from_an_index, remove_old, remove_tree, wanted


class Pod:
    """The environment of a pod's container, and what an installer does to it."""

    def __init__(self, folder: Path, volume: Path) -> None:
        self.prefix, self.volume = folder, volume
        self.site = folder / "lib/site-packages"
        self.install("image", "1.0", script=False)
        (folder / "bin").mkdir()

    def install(self, name: str, version: str, *, script: bool = True) -> None:
        for old in self.site.glob(f"{name}-*.dist-info"):
            remove_tree(old)
        record = self.site / f"{name}-{version}.dist-info"
        record.mkdir(parents=True)
        (self.site / f"{name}.py").write_text(f"VERSION = {version!r}\n")
        (record / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
        rows = [f"{name}.py", f"{record.name}/METADATA", f"{record.name}/RECORD", f"__pycache__/{name}.pyc"]
        if script:
            (self.prefix / "bin" / name).write_text("#!/bin/sh\n")
            rows.append(f"../../bin/{name}")
        (record / "RECORD").write_text("".join(f"{row},,\n" for row in rows))

    def asks(self, *lines: str) -> KeptPackages:
        """As a call of pip: a process of its own, which knows of earlier calls by what they left in the pod."""
        return KeptPackages(self.volume, lines, prefix=self.prefix, site=self.site)

    def needs(self, *lines: str) -> bool:
        """Install what is asked for, unless it is kept; return whether it was."""
        kept = self.asks(*lines)
        if kept.use():
            return True
        for line in kept.begin(["install", *lines])[1:]:
            self.install(*line.split("=="))
        kept.keep()
        return False

    def sees(self, name: str) -> str:
        """Return the version of a package that this pod's Python finds."""
        code = f"import site, sys; site.addsitedir({str(self.site)!r}); import {name}; print({name}.VERSION)"
        command = [sys.executable, "-I", "-S", "-c", code]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


@pytest.fixture
def pods(tmp_path: Path) -> type:
    (tmp_path / "volume").mkdir()
    template = tmp_path / "image"
    Pod(template, tmp_path / "volume")

    def start(name: str) -> Pod:
        pod = Pod.__new__(Pod)
        subprocess.run(["cp", "-a", str(template), str(tmp_path / name)], check=True, timeout=60)
        # Every container has its image's environment at the same place.
        (tmp_path / "step").unlink(missing_ok=True)
        (tmp_path / "step").symlink_to(tmp_path / name)
        pod.prefix, pod.volume, pod.site = tmp_path / "step", tmp_path / "volume", tmp_path / "step/lib/site-packages"
        return pod

    yield start  # type: ignore[misc]
    remove_tree(tmp_path / "volume")


def environments(pod: Pod) -> list[str]:
    return sorted(path.name for path in (pod.volume / "environments").glob("*"))


def test_a_second_pod_with_the_same_pins_installs_nothing(pods):
    first = pods("first")
    assert not first.needs("lib==1.0", "image==2.0")
    second = pods("second")
    assert second.sees("image") == "1.0"
    assert second.needs("image==2.0", "lib==1.0")  # in any order
    assert (second.sees("image"), second.sees("lib")) == ("2.0", "1.0")
    assert (second.prefix / "bin/lib").read_text() == "#!/bin/sh\n"
    assert (second.prefix / "kept/used").exists(), "what the step holds a lock on"
    assert not (second.site / "lib.py").exists()


def test_other_pins_other_indexes_and_other_images_get_their_own(pods, monkeypatch):
    assert not pods("first").needs("lib==1.0")
    assert not pods("second").needs("lib==2.0")
    monkeypatch.setenv("PIP_INDEX_URL", "https://ann:secret@packages.example.com/simple")
    third = pods("third")
    assert not third.needs("lib==1.0")
    monkeypatch.setenv("PIP_INDEX_URL", "https://bob:other@packages.example.com/simple")
    assert pods("fourth").needs("lib==1.0"), "a password changes nothing"
    other = pods("other image")
    other.install("image", "1.1", script=False)
    assert not other.needs("lib==1.0")
    assert len(environments(third)) == 4


def test_a_later_call_of_the_same_step_adds_to_the_earlier(pods):
    """The agent installs NumPy before all others."""
    first = pods("first")
    assert not first.needs("numpy==1.0")
    assert not first.needs("numpy==1.0", "lib==1.0")
    second = pods("second")
    assert second.needs("numpy==1.0") and second.needs("numpy==1.0", "lib==1.0")
    assert (second.sees("numpy"), second.sees("lib")) == ("1.0", "1.0")
    third = pods("third")
    assert third.needs("numpy==1.0")
    assert not third.needs("more==1.0"), "both are installed here now"
    assert (third.sees("numpy"), third.sees("more")) == ("1.0", "1.0")
    assert not (third.prefix / "kept").exists() and not (third.prefix / "bin/numpy").is_symlink()


def test_what_comes_from_an_address_is_installed_each_time(pods):
    first = pods("first")
    assert first.asks("lib@https://example.org/lib.whl").use() is False
    kept = first.asks("lib @ https://example.org/lib.whl")
    kept.begin(["install", "lib @ https://example.org/lib.whl"])
    first.install("lib", "1.0")
    assert kept.keep() == "" and not (first.volume / "environments").exists()
    assert not first.needs("more==1.0")
    assert not (first.volume / "environments").exists(), "no environment of more has lib"


@pytest.mark.parametrize(
    "line", ["six", "six==1.16.0", "six >= 1 ; python_version > '3'", "a.b[c]~=1", "-i https://a/simple"]
)
def test_lines_that_come_from_an_index(line):
    assert comes_from_an_index(line)


@pytest.mark.parametrize(
    "line", ["./six", "-e .", "six.whl", "git+https://a/b.git", "six @ file:///six", "--pre", "a/b"]
)
def test_lines_that_do_not(line):
    assert not comes_from_an_index(line)


def test_an_option_that_is_not_known_makes_another_environment_that_is_not_kept():
    lines = wanted(["--pre", "--upgrade", "six==1.0"], {}, {"--upgrade"})
    assert lines == ["--pre", "six==1.0"] and not all(map(comes_from_an_index, lines))


def test_two_pods_at_once_keep_one(pods, monkeypatch):
    first = pods("first")
    kept = first.asks("lib==1.0")
    kept.begin(["install", "lib==1.0"])
    first.install("lib", "1.0")
    copy = KeptPackages._copy

    def meanwhile(*arguments: object) -> None:
        copy(*arguments)  # type: ignore[arg-type]
        monkeypatch.setattr(KeptPackages, "_copy", copy)
        assert "1 package(s) kept" in first.asks().keep()

    monkeypatch.setattr(KeptPackages, "_copy", meanwhile)
    kept.keep()
    assert environments(first) == [kept.folder.name]
    assert pods("second").needs("lib==1.0")


def test_a_full_volume_leaves_nothing_half_made(pods, monkeypatch):
    pod = pods("first")
    monkeypatch.setattr(kept_packages.shutil, "copy2", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(OSError, match="No space left"):
        pod.needs("lib==1.0")
    assert environments(pod) == [] and pod.sees("lib") == "1.0"


def test_what_a_killed_pod_has_left_is_not_used_and_goes(pods):
    pod = pods("first")
    folder = pod.asks("lib==1.0").folder
    half = folder.with_name(f"{folder.name}.pod-1")
    (half / "site").mkdir(parents=True)
    assert not pod.asks("lib==1.0").use()
    remove_old(half.parent)
    assert half.exists(), "its pod may be at work"
    past = time.time() - kept_packages.LEFT_BEHIND_S - 1
    os.utime(half, (past, past))
    remove_old(half.parent)
    assert not half.exists()


def unused_for(environment: Path, seconds: float) -> None:
    past = time.time() - seconds
    os.utime(environment / "used", (past, past))


def test_old_environments_go_and_those_in_use_stay(pods):
    pod = pods("first")
    folders = {}
    for name in ("old", "held", "new"):
        other = pods(name)
        other.needs(f"{name}==1.0")
        folders[name] = other.asks().folder
    for name in ("old", "held"):
        unused_for(folders[name], kept_packages.UNUSED_S + 1)
    with (folders["held"] / "used").open() as used:
        fcntl.flock(used, fcntl.LOCK_SH)
        remove_old(pod.volume / "environments")
    assert environments(pod) == sorted(folders[name].name for name in ("held", "new"))


def test_the_number_of_environments_is_bounded(pods, monkeypatch):
    monkeypatch.setattr(kept_packages, "KEPT", 2)
    made = []
    for number in range(3):
        pod = pods(str(number))
        pod.needs(f"lib=={number}")
        made.append(pod.asks().folder)
        unused_for(made[-1], kept_packages.SURELY_UNUSED_S * (10 - number))
    last = pods("last")
    assert not last.needs("more==1.0")
    assert environments(last) == sorted(path.name for path in (made[2], last.asks().folder))


def test_a_volume_that_is_only_read_is_used(pods, monkeypatch):
    assert not pods("first").needs("lib==1.0")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(kept_packages.os, "utime", refuse)
    monkeypatch.setattr(kept_packages.fcntl, "flock", refuse)
    second = pods("second")
    assert second.needs("lib==1.0") and second.sees("lib") == "1.0"


def test_no_step_changes_what_others_use(pods):
    pod = pods("first")
    pod.needs("lib==1.0")
    folder = pod.asks().folder
    modes = {path.stat().st_mode & 0o222 for path in folder.rglob("*") if path.name != "used"}
    assert modes == {0} and any(folder.rglob("lib.*.pyc"))


def emptied(environment: Path) -> None:
    remove_tree(environment / "site")


def without_a_package(environment: Path) -> None:
    (environment / "site/lib.py").unlink()
    remove_tree(environment / "site/lib-1.0.dist-info")


def without_a_file(environment: Path) -> None:
    (environment / "site/lib.py").unlink()


def with_a_shorter_file(environment: Path) -> None:
    os.truncate(environment / "site/lib.py", 3)


def without_a_script(environment: Path) -> None:
    (environment / "prefix/bin/lib").unlink()


def without_its_mark(environment: Path) -> None:
    (environment / "used").unlink()


def without_its_list(environment: Path) -> None:
    os.truncate(environment / "files.json", 10)


@pytest.mark.parametrize(
    "damage",
    [emptied, without_a_package, without_a_file, with_a_shorter_file, without_a_script, without_its_mark,
     without_its_list],
)  # fmt: skip
def test_what_has_lost_files_is_installed_and_kept_again(pods, damage):
    first = pods("first")
    first.needs("lib==1.0", "more==1.0")
    folder = first.asks().folder
    for path, _, names in os.walk(folder):
        for each in (path, *(os.path.join(path, name) for name in names)):
            os.chmod(each, 0o755)
    damage(folder)
    second = pods("second")
    kept = second.asks("lib==1.0", "more==1.0")
    assert not kept.use() and kept.damage
    assert not second.needs("lib==1.0", "more==1.0")
    assert (second.sees("lib"), second.sees("more")) == ("1.0", "1.0")
    assert environments(second) == [folder.name], "nothing of the damaged one is left"
    third = pods("third")
    assert third.needs("lib==1.0", "more==1.0") and third.sees("lib") == "1.0"


def test_what_has_lost_its_compiled_modules_alone_is_used(pods):
    first = pods("first")
    first.needs("lib==1.0")
    folder = first.asks().folder
    remove_tree(folder / "site/__pycache__")
    assert pods("second").needs("lib==1.0")


def test_a_damaged_one_that_a_step_uses_stays_until_that_ends(pods):
    first = pods("first")
    first.needs("lib==1.0")
    folder = first.asks().folder
    folder.joinpath("site").chmod(0o755)
    without_a_file(folder)
    with (folder / "used").open() as used:
        fcntl.flock(used, fcntl.LOCK_SH)
        second = pods("second")
        assert not second.needs("lib==1.0") and second.sees("lib") == "1.0"
        assert folder.exists()
    assert not pods("third").needs("lib==1.0") and pods("fourth").needs("lib==1.0")


def test_packages_that_were_installed_without_some_of_their_files_are_named(pods):
    """A volume that somebody has made room on has lost files of the installer's cache, too."""
    pod = pods("first")
    kept = pod.asks("lib==1.0", "more==1.0")
    kept.begin([])
    for name, size in (("lib", 3), ("more", len("VERSION = '1.0'\n"))):
        pod.install(name, "1.0")
        (pod.site / f"{name}-1.0.dist-info/RECORD").write_text(f"{name}.py,sha256=abc,{size}\n{name}.pyc,,\n")
    assert kept.incomplete() == ["lib"]
    (pod.site / "more.py").unlink()
    assert kept.incomplete() == ["lib", "more"]
