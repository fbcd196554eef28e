"""A script in a private git repository, run by this machine's workers: the token is theirs, and in no log."""

from __future__ import annotations

import base64
import functools
import http.server
import os
import re
import subprocess
import sys
import threading

import pytest

from clearml_access.processes import wait_until
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


def test_workers_clone_it_with_their_token_which_no_log_has(cli, checkout, settings, request):
    done = cli("server", "up", CLEARML_AGENT_GIT_USER=USER, CLEARML_AGENT_GIT_PASS=TOKEN)
    assert done.code == 0, done.stderr
    # A later command, in a shell that says nothing of git.
    assert cli("server", "up").stdout.startswith("Everything is already running")
    started = subprocess.run(
        [sys.executable, "train.py"], cwd=checkout, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S,
        env=cli.environ | {"CLEARML_CONFIG_FILE": str(settings.configuration)}, check=False,
    )  # fmt: skip
    assert started.returncode == 0, started.stderr
    [task] = re.findall(r"task (\w{32})", started.stdout)
    client = request.getfixturevalue("client")
    ended = ("completed", "failed", "stopped")
    assert wait_until(lambda: client("tasks.get_by_id", task=task)["task"]["status"] in ended, 240, poll_s=0.5)
    said, record = console(client, task), client("tasks.get_by_id", task=task)["task"]
    assert record["status"] == "completed", said
    assert "doubled 42" in said
    logs = [file.read_text(errors="replace") for file in settings.state.rglob("*.log")]
    assert logs and TOKEN not in "".join([said, str(record), *logs])
    holders = [file for file in settings.state.rglob("clearml.conf") if TOKEN in file.read_text()]
    assert holders and {file.stat().st_mode & 0o077 for file in holders} == {0}
