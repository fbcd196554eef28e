"""The ssh configuration of the task image, with this machine's ssh and a real server: who is trusted, and what is said.

`tests/e2e/test_private_git.py` has the same in pods.
"""

from __future__ import annotations

import gc
import os
import subprocess
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncssh
import pytest

from images.build import PROJECT
from tests.git_by_ssh import GitServer, git_server, make_repository

Ask = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    folder = tmp_path_factory.mktemp("repositories")
    make_repository(folder / "house.git", {"rooms.py": "ROOMS = 4\n"})
    with git_server(folder) as server:
        yield server


@pytest.fixture
def secret(tmp_path: Path, server: GitServer) -> Path:
    """The Secret as it is mounted."""
    folder = tmp_path / "secret"
    folder.mkdir()
    (folder / "ssh-privatekey").write_text(server.private_key)
    (folder / "ssh-privatekey").chmod(0o400)
    (folder / "known_hosts").write_text(server.known_hosts)
    return folder


@pytest.fixture
def ask(tmp_path: Path, server: GitServer, secret: Path) -> Ask:
    text = (PROJECT / "images/task/ssh.conf").read_text()
    home = tmp_path / "home"
    home.mkdir()
    own = tmp_path / "ssh.conf"
    own.write_text(text.replace("/etc/clearml-ssh", str(secret)).replace("~/.ssh", str(home)))

    def ask(**environ: str) -> subprocess.CompletedProcess[str]:
        env = {name: value for name, value in os.environ.items() if name != "SSH_AUTH_SOCK"}
        env |= {"GIT_SSH_COMMAND": f"ssh -F {own} -oBatchMode=yes", **environ}
        command = ["git", "ls-remote", server.address("house.git")]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)

    return ask


def test_the_key_and_the_host_keys_of_the_secret_are_enough(ask):
    done = ask()
    assert done.returncode == 0, done.stderr
    assert "refs/heads/main" in done.stdout and done.stderr == ""


def another_key(server: GitServer) -> str:
    key = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    return f"[{server.host}]:{server.port} {key}"


def test_a_server_that_is_not_known_is_not_trusted(ask, secret):
    (secret / "known_hosts").write_text("")
    done = ask()
    assert done.returncode != 0 and "Host key verification failed" in done.stderr


def test_a_new_server_is_trusted_where_the_values_say_so_and_a_changed_one_is_not(ask, secret, server, tmp_path):
    (secret / "known_hosts").write_text("")
    assert ask(CLEARML_PODS_GIT_NEW_HOSTS="yes").returncode != 0
    done = ask(CLEARML_PODS_GIT_NEW_HOSTS="accept")
    assert done.returncode == 0, done.stderr
    known = tmp_path / "home/known_hosts"
    assert server.host_key in known.read_text()
    known.unlink()
    (secret / "known_hosts").write_text(another_key(server))
    done = ask(CLEARML_PODS_GIT_NEW_HOSTS="accept")
    assert done.returncode != 0 and "Host key verification failed" in done.stderr


def test_a_pod_without_a_key_says_what_to_do(ask, secret):
    (secret / "ssh-privatekey").unlink()
    done = ask()
    assert done.returncode != 0
    assert "This pod has no ssh key: mount a Secret at" in done.stderr and "Permission denied" in done.stderr


def test_the_server_of_these_tests_leaves_nothing_unfinished(tmp_path, secret):
    make_repository(tmp_path / "house.git", {"rooms.py": "ROOMS = 4\n"})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with git_server(tmp_path) as server:
            (secret / "key").touch(mode=0o600)
            (secret / "key").write_text(server.private_key)
            ssh = f"ssh -F none -i {secret}/key -oBatchMode=yes -oStrictHostKeyChecking=no"
            ssh += " -oUserKnownHostsFile=/dev/null"
            command = ["git", "ls-remote", server.address("house.git")]
            env = {name: value for name, value in os.environ.items() if name != "SSH_AUTH_SOCK"}
            subprocess.run(command, env=env | {"GIT_SSH_COMMAND": ssh}, check=True, capture_output=True, timeout=60)
        gc.collect()
    assert [str(item.message) for item in caught if "await" in str(item.message)] == []
