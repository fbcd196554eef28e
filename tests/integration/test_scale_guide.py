"""docs/scale.md as its reader walks it, by the commands on the page: a team's server, and the move to another one.

The second server stands for a genuine one: it answers with the waits and connections of one. Not walked: Caddy, the
chart, and a genuine server, which cannot be had here.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from clearml_localserver.pytest_plugin import ClearmlServer

from clearml_access.processes import wait_until
from deploy import tools
from tests.api_client import ApiClient
from tests.integration.pipeline_cli import BATCH_ROWS, COMMAND_TIMEOUT_S, PipelineCli, review_file
from tests.ports import free_port_base

pytestmark = [pytest.mark.integration, pytest.mark.thorough, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/scale.md").read_text(encoding="utf-8")
PROGRAMS = Path(sys.executable).parent
OURS = re.compile(r"\{\{\.PIPELINE\}\} ([a-z -]+) \{\{\.CLI_ARGS\}\}")
"""What a task of the pipeline runs."""


def block(containing: str) -> str:
    """Return the one block of commands on the page that contains a text, without its indentation."""
    blocks = re.findall(r"^( *)```\n(.*?)^ *```$", GUIDE, re.MULTILINE | re.DOTALL)
    [(indent, text)] = [found for found in blocks if containing in found[1]]
    return re.sub(rf"^{indent}", "", text, flags=re.MULTILINE)


class Reader:
    """Types the page's commands into a shell, in a home of its own, where this clone's programs are."""

    def __init__(self, home: Path) -> None:
        self.home, self.places = home, {"/srv/clearml": f"{home}/clearml", "/backup": f"{home}/backup"}
        tasks = yaml.safe_load((ROOT / "Taskfile.yml").read_text())["tasks"]
        ours = {name: OURS.fullmatch(str(task.get("cmd"))) for name, task in tasks.items()}
        cases = "\n".join(
            f'{name}) exec {sys.executable} -m pipeline {found[1]} "$@" ;;' for name, found in ours.items() if found
        )
        # The task runner itself would make the environments first: here what it runs.
        self._program(home / "task", f'name=$1; shift; [ "$1" = -- ] && shift\ncase "$name" in\n{cases}\nesac\nexit 64')
        # `uvx --with clearml clearml-localserver`, as it is once the package is on an index.
        self._program(home / "bin/uvx", f'[ "$1 $2" = "--with clearml" ] && shift 2\nexec {PROGRAMS}/"$@"')
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("CLEARML_", "TRAINS_"))}
        self.environ = environ | {"HOME": str(home), "PATH": f"{home}/bin:{PROGRAMS}:{os.environ['PATH']}"}
        self.environ |= {"CLEARML_PODS_STATE": str(home / "state"), "CLEARML_CACHE_DIR": str(home / "cache")}

    def _program(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def words(self, commands: str) -> str:
        """Return commands with the places of this machine."""
        for there, here in self.places.items():
            commands = commands.replace(there, here)
        return commands

    def __call__(self, commands: str) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self.words(commands)], cwd=self.home, env=self.environ,
            capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{commands}\n{done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    return Reader(tmp_path_factory.mktemp("reader"))


@pytest.fixture(scope="module")
def team(reader):
    """The team's server, started by the page's command, and its configuration on Ann's machine."""
    base = free_port_base()
    command = reader.words(block("clearml-localserver --data")).replace("192.0.2.2", f"127.0.0.1 --port-base {base}")
    log = reader.home / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(["bash", "-c", f"exec {command}"], env=reader.environ, stdout=output, stderr=output)
    try:
        assert wait_until(lambda: "ready" in log.read_text() or process.poll() is not None, 60)
        assert process.poll() is None, log.read_text()
        key, secret = re.findall(r'"(\w+)"', reader(block("keys create")))
        reader.places |= {
            "https://api.clearml.example.com": f"http://127.0.0.1:{base + 8}",
            "https://app.clearml.example.com": f"http://127.0.0.1:{base + 80}",
            "https://files.clearml.example.com": f"http://127.0.0.1:{base + 81}",
            "CLEARML_API_ACCESS_KEY=…": f"CLEARML_API_ACCESS_KEY={key} CLEARML_API_SECRET_KEY={secret}",
            "--sample": f"train.csv --batch-size {BATCH_ROWS}",  # no index is asked
        }
        yield
    finally:
        process.terminate()
        process.wait(60)


def test_a_team_runs_on_its_server_and_moves_its_work_to_another(reader, team, clearml_server_factory, monkeypatch):
    review_file(reader.home / "train.csv")
    (reader.home / "backup").mkdir()
    commands = block("export CLEARML_API_HOST")
    configured = "\n".join(line for line in commands.splitlines() if line.startswith("export "))
    try:
        said = reader(commands)
    finally:
        reader(f"{configured}\n./task workers-down -- --all")
    assert "Dataset versions: 1.2, 1.2.1, 1.2.2, 1.2.3" in said
    assert "verified" in reader(block("clearml-localserver backup"))

    monkeypatch.setenv("LOCALSERVER_LIKE_GENUINE", "1")
    genuine: ClearmlServer = clearml_server_factory()
    (reader.home / "clearml.conf").write_text((genuine.data / "clearml.conf").read_text())
    moved = reader(block("clearml-localserver export"))
    assert f"imported into {genuine.api_url}" in moved
    there = PipelineCli(reader.environ | {"CLEARML_CONFIG_FILE": str(reader.home / "clearml.conf")}, reader.home)
    fitted = there("fit-model", "--mode", "in-process", "--json")
    assert fitted.code == 0, fitted.stdout + fitted.stderr
    with closing(ApiClient(genuine.api_url, genuine.credentials)) as client:
        [controller] = client("tasks.get_all", search_hidden=True, type=["controller"])["tasks"]
        assert controller["status"] == "completed"


def test_kubectl_takes_the_commands_that_make_the_secrets(reader, tmp_path):
    """Without a cluster: what they would send to it."""
    reader._program(reader.home / "bin/kubectl", f'exec {tools.kubectl_path()} "$@" --dry-run=client --output=json')
    (reader.home / "apiserver.conf").write_text(block("fixed_users"))
    said = reader(block("for key in") + block("--from-file=apiserver.conf"))
    namespace, keys, people = (json.loads(text) for text in re.split(r"(?<=^\})\n", said, flags=re.MULTILINE) if text)
    assert namespace["metadata"]["name"] == "clearml"
    assert {item["metadata"]["namespace"] for item in (keys, people)} == {"clearml"}
    assert len(keys["data"]) == 7 and len(set(keys["data"].values())) == 7
    assert list(people["data"]) == ["apiserver.conf"]
