"""Lets agents clone a project's repository from its checkout on this machine, whatever the address of its remote is.

The SDK records the remote and the commit of a script. In CI that remote may want a token, and the commit may not have
been pushed, or be a merge that only the checkout has. Outside system: git, by variables of its environment alone.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

GIT_DEADLINE_S = 30
COUNT = "GIT_CONFIG_COUNT"


def url_rewrites(folder: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Return variables by which git reads the checkout that `folder` is in, in place of its remotes.

    There are none where the folder is in no checkout, or where git is not installed.

    Args:
        folder: A folder of the project.
        environ: The variables that they are added to; settings of git that are there stay.
    """
    top = _top(folder)
    urls = {address for url in _remotes(folder) for address in _spellings(url)} if top else set()
    return _settings([(f"url.file://{top}.insteadOf", url) for url in sorted(urls)], environ)


def remote_in_place_of_none(folder: Path, file: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Return variables by which a checkout without a remote has itself as one: the SDK records the remote of a script.

    Args:
        folder: A folder of the project.
        file: Where the setting is written. It holds for this checkout alone.
        environ: The variables that they are added to; settings of git that are there stay.
    """
    top = _top(folder)
    if not top or _remotes(folder):
        return {}
    file.write_text(f'[remote "origin"]\n\turl = file://{top}\n', encoding="utf-8")
    git_folder = _git(folder, "rev-parse", "--absolute-git-dir").strip()
    return _settings([(f"includeIf.gitdir:{git_folder}.path", str(file))], environ)


def _top(folder: Path) -> str:
    return _git(folder, "rev-parse", "--show-toplevel").strip()


def _remotes(folder: Path) -> list[str]:
    lines = _git(folder, "config", "--get-regexp", r"^remote\..*\.url$").splitlines()
    return [line.partition(" ")[2].strip() for line in lines]


def _settings(pairs: Iterable[tuple[str, str]], environ: Mapping[str, str]) -> dict[str, str]:
    """Return settings of git as variables, after those that `environ` has."""
    count = int(environ.get(COUNT) or 0)
    found: dict[str, str] = {}
    for key, value in pairs:
        found |= {f"GIT_CONFIG_KEY_{count}": key, f"GIT_CONFIG_VALUE_{count}": value}
        count += 1
    return found | {COUNT: str(count)} if found else {}


def _spellings(url: str) -> set[str]:
    """Return an address as the SDK and the agent may write it: with and without a user, with and without `.git`.

    git replaces the longest beginning that fits, so the form with `.git` wins where both fit.
    """
    found = {url}
    parts = urlsplit(url)
    if parts.scheme in ("http", "https") and "@" in parts.netloc:  # a token, as in GitLab's jobs
        found.add(urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])))
    bare = {address.rstrip("/").removesuffix(".git") for address in found}
    return bare | {f"{address}.git" for address in bare}


def _git(folder: Path, *arguments: str) -> str:
    """Return what git prints; nothing where it fails, or is not installed."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=GIT_DEADLINE_S, check=False
        )
    except OSError:
        return ""
    return done.stdout if done.returncode == 0 else ""
