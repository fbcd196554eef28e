"""What must hold before a release, on small clones made for it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from maintenance import release
from maintenance.update_pins import Lock

VALUES = "agentk8sglue:\n  defaultContainerImage: registry.test/clearml-pods-task:1.2.0-py3.11\n"
READY = {
    "pyproject.toml": '[project]\nversion = "1.2.0"\nrequires-python = "==3.11.*"\n',
    "CHANGELOG.md": "# Changelog\n\n## Unreleased\n\n## 1.2.0 (2026-11-27)\n\n- New.\n",
    "localserver/pyproject.toml": '[project]\nversion = "0.3.0"\n',
    "localserver/CHANGELOG.md": "# Changelog\n\n## 0.3.0 (2026-11-20)\n\n- New.\n",
    "helm/values-agent.yaml": VALUES,
    "helm/values-serving.yaml": "image: clearml-pods-serving:1.2.0-py3.11\n",
}


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(release, "PINS", ())
    monkeypatch.setattr(release, "LOCKS", ())
    for name, text in READY.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    git(tmp_path, "init", "--quiet")
    commit(tmp_path)
    return tmp_path


def git(folder: Path, *arguments: str) -> None:
    who = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, timeout=60)


def commit(folder: Path) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "All")


def problems(folder: Path) -> list[str]:
    return [finding.problem for finding in release.check(folder) if finding.problem]


def test_a_clone_that_is_ready(clone: Path) -> None:
    assert problems(clone) == []


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("CHANGELOG.md", "## 1.2.0 (2026-11-27)", "## 1.2.0", "no line `## 1.2.0 (YYYY-MM-DD)`"),
        ("CHANGELOG.md", "## Unreleased\n", "## Unreleased\n\n- More.\n", "still has entries under Unreleased"),
        ("localserver/CHANGELOG.md", "0.3.0", "0.2.0", "no line `## 0.3.0 (YYYY-MM-DD)`"),
        ("helm/values-agent.yaml", "1.2.0", "1.1.0", "it is tagged 1.1.0-py3.11"),
        ("helm/values-agent.yaml", "py3.11", "py3.12", "it is tagged 1.2.0-py3.12"),
        ("helm/values-serving.yaml", "1.2.0", "1.1.0", "in values-serving.yaml it is tagged 1.1.0-py3.11"),
    ],
)
def test_what_is_missing_is_named(clone: Path, name: str, old: str, new: str, said: str) -> None:
    (clone / name).write_text((clone / name).read_text().replace(old, new))
    commit(clone)
    (problem,) = problems(clone)
    assert said in problem


def test_uncommitted_files_and_an_existing_tag_are_named(clone: Path) -> None:
    git(clone, "tag", "v1.2.0")
    (clone / "stray").write_text("")
    assert problems(clone) == ["?? stray", "v1.2.0"]


def test_a_lock_file_that_does_not_match_its_project_is_named(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = Lock("lock", "uv.lock", ("uv", "lock", "--upgrade"), "")
    monkeypatch.setattr(release, "LOCKS", (lock,))
    fail = subprocess.CompletedProcess([], 1)
    original = subprocess.run
    monkeypatch.setattr(release.subprocess, "run", lambda cmd, **kw: fail if cmd[0] == "uv" else original(cmd, **kw))
    assert problems(clone) == ["uv.lock is not up to date: uv lock"]
