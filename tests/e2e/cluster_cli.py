"""A cluster as a person drives it: by its command line and kubectl. Every stage's time is logged."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clearml_access import processes
from cluster import clusters
from cluster.layout import STATE_VARIABLE, Layout
from deploy import tools

LOG = logging.getLogger("e2e")

UP_TIMEOUT_S = 2_400  # the first one builds Kubernetes
POD_TIMEOUT_S = 300.0  # a deadline, for a machine with much other work
ENDED = ("Succeeded", "Failed")


class ClusterCli:
    """One cluster, its state below `states`, or else where a person's are."""

    def __init__(self, name: str, states: Path | None = None) -> None:
        self.name = name
        self.env = os.environ | ({STATE_VARIABLE: str(states)} if states else {})
        self.layout = Layout.of(name, self.env, Path.home())

    def run(self, command: str, *words: object, code: int = 0) -> dict[str, Any]:
        argv = [sys.executable, "-m", "cluster", command, "--name", self.name, "--json", *map(str, words)]
        done = subprocess.run(
            argv,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=UP_TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == code, f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        print(done.stderr, end="")
        return json.loads(done.stdout) if done.stdout else {}

    def up(self) -> dict[str, Any]:
        with stage("cluster up"):
            return self.run("up")

    def down(self) -> dict[str, Any]:
        with stage("cluster down"):
            return self.run("down")

    def state(self) -> str:
        return clusters.status(self.layout).state

    def kubectl(self, *words: str, stdin: str = "") -> str:
        return self._tool(tools.kubectl_path(), *words, stdin=stdin)

    def helm(self, *words: str, stdin: str = "") -> str:
        return self._tool(tools.helm_path(), *words, stdin=stdin)

    def phase(self, pod: str) -> str:
        return self.kubectl("get", "pod", pod, "--output=jsonpath={.status.phase}")

    def run_pod(self, pod: str, image: str, *words: str, command: bool = False) -> tuple[str, str]:
        """Run a pod to its end; return its phase and what it printed."""
        flag = ["--command"] if command else []
        self.kubectl("run", pod, f"--image={image}", "--restart=Never", *flag, "--", *words)
        until(f"pod {pod} ended", lambda: self.phase(pod) in ENDED)
        return self.phase(pod), self.kubectl("logs", pod)

    def _tool(self, tool: Path, *words: str, stdin: str) -> str:
        env = self.env | {"KUBECONFIG": str(self.layout.kubeconfig)}
        done = subprocess.run(
            [str(tool), *words], env=env, input=stdin, capture_output=True, text=True, timeout=180, check=False
        )
        assert done.returncode == 0, f"{tool.name} {' '.join(words)}: {done.stderr}"
        return done.stdout


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Log how long a part took: the suite's time is watched by stage, live where pytest shows the log (`.ci/run`)."""
    begun = time.monotonic()
    yield
    LOG.info("%7.1f s  %s", time.monotonic() - begun, name)


def go_task() -> str:
    """Return the command `task`."""
    found = shutil.which("task")
    assert found, "go-task is missing: pip install go-task-bin"
    return found


def until(what: str, holds: Callable[[], bool], timeout_s: float = POD_TIMEOUT_S) -> None:
    assert processes.wait_until(holds, timeout_s, poll_s=0.2), f"not so after {timeout_s:.0f} s: {what}"
