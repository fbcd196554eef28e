"""A script in a private git repository, run by this machine's workers: their token or ssh key is in no log."""

from __future__ import annotations

import base64
import functools
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading

import pytest

from clearml_access.processes import wait_until
from tests.git_by_ssh import git_server
from tests.integration.pipeline_cli import COMMAND_TIMEOUT_S, PipelineCli
from tests.integration.test_agent_tasks import console
from tests.ports import free_port_base

pytestmark = [pytest.mark.integration, pytest.mark.thorough, pytest.mark.timeout(600)]

USER, TOKEN = "me", "t0ken-of-a-test"
SCRIPT = """
from clearml import Task
from beside import double
task = Task.init(project_name="private", task_name="train", reuse_last_task_id=False)
print("task", task.id, flush=True)
task.execute_remotely(queue_name="default")
print("doubled", double(21))
"""


@pytest.fixture(scope="module")
def cli(tmp_path_factory):
    """The command line with a server and agents of its own."""
    folder = tmp_path_factory.mktemp("git")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("CLEARML_", "TRAINS_"))}
    own = {"HOME": str(folder), "CLEARML_PODS_STATE": str(folder / "state")}
    cli = PipelineCli(environ | own | {"CLEARML_PODS_PORT_BASE": str(free_port_base())}, folder)
    yield cli
    cli("server", "down")


class Private(http.server.SimpleHTTPRequestHandler):
    """A git repository as files, for who has the token."""

    def do_GET(self) -> None:
        wanted = "Basic " + base64.b64encode(f"{USER}:{TOKEN}".encode()).decode()
        if self.headers.get("Authorization") == wanted:
            super().do_GET()
            return
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="git"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def checkout(cli):
    """A checkout whose remote wants the token."""
    bare, checkout = cli.folder / "house.git", cli.folder / "checkout"

    def git(*words: str) -> None:
        author = ("-c", "user.name=A. Author", "-c", "user.email=author@example.org")
        subprocess.run(["git", *author, *words], check=True, capture_output=True, timeout=60)

    git("init", "--quiet", "--bare", "--initial-branch=main", str(bare))
    git("clone", "--quiet", str(bare), str(checkout))
    (checkout / "train.py").write_text(SCRIPT)
    (checkout / "beside.py").write_text("def double(x):\n    return 2 * x\n")
    git("-C", str(checkout), "add", "--all")
    git("-C", str(checkout), "commit", "--quiet", "--message", "Begin")
    git("-C", str(checkout), "push", "--quiet", "origin", "HEAD:main")
    git("-C", str(bare), "update-server-info")
    handler = functools.partial(Private, directory=str(cli.folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://{USER}:{TOKEN}@127.0.0.1:{server.server_port}/house.git"
        git("-C", str(checkout), "remote", "set-url", "origin", address)
        yield checkout
        server.shutdown()


def run_remotely(cli, checkout, settings, client) -> tuple[str, dict]:
    """Run the script by the workers; return its console and its record."""
    started = subprocess.run(
        [sys.executable, "train.py"], cwd=checkout, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S,
        env=cli.environ | {"CLEARML_CONFIG_FILE": str(settings.configuration)}, check=False,
    )  # fmt: skip
    assert started.returncode == 0, started.stderr
    [task] = re.findall(r"task (\w{32})", started.stdout)
    ended = ("completed", "failed", "stopped")
    assert wait_until(lambda: client("tasks.get_by_id", task=task)["task"]["status"] in ended, 240, poll_s=0.5)
    said, record = console(client, task), client("tasks.get_by_id", task=task)["task"]
    assert record["status"] == "completed", said
    assert "doubled 42" in said
    return said, record


def test_workers_clone_it_with_their_token_which_no_log_has(cli, checkout, settings, request):
    done = cli("server", "up", CLEARML_AGENT_GIT_USER=USER, CLEARML_AGENT_GIT_PASS=TOKEN)
    assert done.code == 0, done.stderr
    # A later command, in a shell that says nothing of git.
    assert cli("server", "up").stdout.startswith("Everything is already running")
    said, record = run_remotely(cli, checkout, settings, request.getfixturevalue("client"))
    logs = [file.read_text(errors="replace") for file in settings.state.rglob("*.log")]
    assert logs and TOKEN not in "".join([said, str(record), *logs])
    holders = [file for file in settings.state.rglob("clearml.conf") if TOKEN in file.read_text()]
    assert holders and {file.stat().st_mode & 0o077 for file in holders} == {0}


@pytest.fixture
def ssh(cli, checkout, tmp_path):
    """A server that wants a key, which this machine's ssh agent has; the environment of a shell that uses both."""
    keys, sockets = tmp_path / "key", tmp_path / "agent"
    # ssh looks for its files in the account's home, whatever HOME says: here as if they were there.
    (tmp_path / "ssh").write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {tmp_path}/config "$@"\n')
    (tmp_path / "ssh").chmod(0o755)
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(sockets)], stdout=subprocess.DEVNULL)
    env = {"SSH_AUTH_SOCK": str(sockets), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    try:
        with git_server(cli.folder) as server:
            keys.touch(mode=0o600)
            keys.write_text(server.private_key)
            (tmp_path / "known_hosts").write_text(server.known_hosts)
            (tmp_path / "config").write_text(f"UserKnownHostsFile {tmp_path}/known_hosts\nIdentityFile none\n")
            assert wait_until(sockets.exists, 30)
            subprocess.run(["ssh-add", "-q", str(keys)], env=os.environ | env, check=True, timeout=60)
            keys.unlink()
            address = server.address("house.git")
            subprocess.run(["git", "-C", str(checkout), "remote", "set-url", "origin", address], check=True, timeout=60)
            yield env, server.private_key
    finally:
        agent.terminate()
        agent.wait(30)


def test_workers_clone_it_with_the_key_of_the_ssh_agent(cli, checkout, ssh, settings, request):
    environ, key = ssh
    cli("server", "down")
    done = cli("server", "up", **environ)
    assert done.code == 0, done.stderr
    said, record = run_remotely(cli, checkout, settings, request.getfixturevalue("client"))
    assert record["script"]["repository"].startswith("ssh://")
    logs = [file.read_text(errors="replace") for file in settings.state.rglob("*.log")]
    assert key.splitlines()[1] not in "".join([said, str(record), *logs])
