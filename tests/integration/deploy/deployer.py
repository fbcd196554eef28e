"""`python -m deploy` as the tests type it, and tasks to try an agent on."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from deploy.cli import main
from tests.api_client import ApiClient
from tests.fakes.clock import FakeClock
from tests.fakes.helm import fake_chart
from tests.fakes.kubernetes.cluster import FakeCluster

NAMESPACE = "clearml"
QUEUE = "fake-pods"
HELD = ["hold"]
"""Tags of a task that runs until the test ends it."""


@dataclass
class Deployer:
    """The command line against one fake cluster and one server."""

    cluster: FakeCluster
    clock: FakeClock
    api: ApiClient
    values: Path
    server_url: str
    """Of the server's web pages."""

    def __call__(self, command: str, *words: str, code: int = 0, **env: str) -> str:
        """Run a command; return all it printed."""
        out, err = self.run(command, *words, code=code, **env)
        return err + out

    def run(self, command: str, *words: str, code: int = 0, **env: str) -> tuple[str, str]:
        """Run a command; return its stdout and its stderr."""
        out, err = io.StringIO(), io.StringIO()
        without = ("status", "logs", "rollback", "serve", "unserve")
        values = () if command in without else ("--values", str(self.values))
        argv = [command, *values, *words]
        with _environ(env), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            got = main(argv)
        print(f"$ deploy {command} {' '.join(words)}: {got}\n{err.getvalue()}{out.getvalue()}")
        assert got == code, err.getvalue() + out.getvalue()
        assert "Traceback" not in err.getvalue()
        return out.getvalue(), err.getvalue()

    def json(self, command: str, *words: str, code: int = 0, **env: str) -> dict[str, Any]:
        """Run a command with `--json`; return what it printed on stdout, which is nothing else."""
        return dict(json.loads(self.run(command, *words, "--json", code=code, **env)[0]))

    def results(self, command: str, *words: str, code: int = 0) -> dict[str, dict[str, Any]]:
        """Run `check` or `doctor`; return its results by their ids."""
        return {check["id"]: check for check in self.json(command, *words, code=code)["checks"]}

    def make_queue(self) -> str:
        return str(self.api("queues.create", name=QUEUE)["id"])

    def enqueue(self, code: str = "print('done')", queue: str = QUEUE, **fields: Any) -> str:
        """Make a task that runs `code` and put it into a queue, by default the agent's."""
        script = {"entry_point": "main.py", "working_dir": ".", "diff": code, "requirements": {"pip": ""}}
        project = self.api("projects.get_all", name="^deploy tests$")["projects"]
        made = project or [self.api("projects.create", name="deploy tests", description="")]
        body = {"name": "task", "type": "testing", **fields}
        task = str(self.api("tasks.create", script=script, project=made[0]["id"], **body)["id"])
        wanted = self.api("queues.get_all", name=f"^{re.escape(queue)}$")["queues"][0]["id"]
        self.api("tasks.enqueue", task=task, queue=wanted)
        self.cluster.settle()
        return task

    def copy_chart(self, folder: Path, **about: str) -> Path:
        """Copy the chart, with other entries in its `Chart.yaml`."""
        shutil.copytree(fake_chart.CHART, folder)
        known = yaml.safe_load((folder / "Chart.yaml").read_text())
        (folder / "Chart.yaml").write_text(yaml.safe_dump(known | about))
        return folder

    def task(self, task: str) -> dict[str, Any]:
        return dict(self.api("tasks.get_by_id", task=task)["task"])


@contextlib.contextmanager
def _environ(changes: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(changes)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
