"""Agents clone from the checkout on this machine: the settings of git that say so, asked of git itself."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from clearml_localserver.checkout import remote_in_place_of_none, url_rewrites


def git(folder: Path, *arguments: str, environ: dict[str, str] | None = None) -> str:
    variables = {"PATH": "/usr/bin:/bin", "HOME": str(folder), **(environ or {})}
    done = subprocess.run(["git", *arguments], cwd=folder, env=variables, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init", "--quiet")
    return folder


@pytest.mark.parametrize(
    ("remote", "asked"),
    [
        ("https://github.com/org/house", "https://github.com/org/house.git"),
        ("https://github.com/org/house.git", "https://github.com/org/house"),
        ("https://gitlab-ci-token:t@gitlab.com/org/house.git", "https://gitlab.com/org/house.git"),
        ("git@github.com:org/house.git", "git@github.com:org/house.git"),
    ],
)
def test_the_remote_of_a_checkout_is_read_from_the_checkout(checkout: Path, remote: str, asked: str) -> None:
    git(checkout, "remote", "add", "origin", remote)
    environ = url_rewrites(checkout, {})
    assert git(checkout, "ls-remote", "--get-url", asked, environ=environ) == f"file://{checkout}"
    other = "https://github.com/org/other.git"
    assert git(checkout, "ls-remote", "--get-url", other, environ=environ) == other


def test_settings_of_git_that_are_there_stay(checkout: Path) -> None:
    git(checkout, "remote", "add", "origin", "https://github.com/org/house")
    before = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "/somewhere"}
    environ = before | url_rewrites(checkout, before)
    assert git(checkout, "config", "safe.directory", environ=environ) == "/somewhere"
    assert git(checkout, "ls-remote", "--get-url", environ=environ) == f"file://{checkout}"


def test_a_checkout_without_a_remote_has_itself_as_one_and_no_other_has(checkout: Path, tmp_path: Path) -> None:
    environ = remote_in_place_of_none(checkout, tmp_path / "gitconfig", {})
    assert git(checkout, "ls-remote", "--get-url", environ=environ) == f"file://{checkout}"
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "--quiet")
    assert git(other, "remote", environ=environ) == ""
    git(checkout, "remote", "add", "origin", "https://github.com/org/house")
    assert remote_in_place_of_none(checkout, tmp_path / "gitconfig", {}) == {}


def test_a_folder_outside_of_checkouts_needs_nothing(tmp_path: Path) -> None:
    assert url_rewrites(tmp_path, {}) == remote_in_place_of_none(tmp_path, tmp_path / "gitconfig", {}) == {}
