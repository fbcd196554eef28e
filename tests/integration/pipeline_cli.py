"""What the pipeline's suites share: the command line as a process, and review files to feed it."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from clearml_localserver.pytest_plugin import ClearmlServer

from pipeline.amazon_reviews.reviews.generate import generate

COMMAND_TIMEOUT_S = 300
ROWS = 500
BATCH_ROWS = 250
"""Two batches: versions 1.0, 1.1 and 1.2."""

LIKE_GENUINE = pytest.param({"LOCALSERVER_LIKE_GENUINE": "1"}, id="like-genuine", marks=pytest.mark.thorough)
"""Variables of a server with the waits and connections of a genuine one."""

KINDS_OF_SERVER = (pytest.param({}, id="usual"), LIKE_GENUINE)

PROJECT, NAME = "Amazon reviews", "Amazon reviews dataset"


@dataclass
class Done:
    """A command that has ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> dict[str, Any]:
        """The JSON object on the last line of stdout."""
        assert self.stdout, self.stderr
        found: dict[str, Any] = json.loads(self.stdout.splitlines()[-1])
        return found


class PipelineCli:
    """Runs `python -m pipeline …` in a folder of its own, against one server; by this interpreter, or by another."""

    def __init__(self, environ: Mapping[str, str], folder: Path, python: str | Path = sys.executable) -> None:
        self.environ = {name: value for name, value in environ.items() if name != "CLEARML_TASK_ID"}
        self.folder = folder
        self.python = python

    def __call__(self, *arguments: str, **changes: str) -> Done:
        done = subprocess.run(
            [self.python, "-m", "pipeline", *arguments],
            env=self.environ | changes,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command without waiting for it."""
        return subprocess.Popen(
            [self.python, "-m", "pipeline", *arguments],
            env=self.environ,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def enter(environ: Mapping[str, str]) -> None:
    """Give a process a server's environment, and no other."""
    for name in [name for name in os.environ if name.startswith(("CLEARML_", "TRAINS_"))]:
        del os.environ[name]
    os.environ.update(environ)


def command(*words: str) -> Done:
    """Run the command line in this process, without a start of its own."""
    from pipeline.cli import main

    with contextlib.redirect_stdout(io.StringIO()) as stdout, contextlib.redirect_stderr(io.StringIO()) as stderr:
        code = main(words)
    return Done(code, stdout.getvalue(), stderr.getvalue())


def review_file(path: Path, rows: int = ROWS, seed: int = 7) -> Path:
    """Write a review file in the shape of the Kaggle set."""
    path.write_bytes(b"".join(generate(rows, seed)))
    return path


def upload(cli: PipelineCli) -> None:
    """Make the dataset that runs use by default."""
    csv = review_file(cli.folder / "train.csv")
    done = cli("dataset", "upload", str(csv), "--batch-size", str(BATCH_ROWS))
    assert done.code == 0, done.stderr


def versions(client, name=NAME, only_final=True):
    """Return the dataset's versions as the server has them."""
    projects = client("projects.get_all", name=f"^{re.escape(f'{PROJECT}/.datasets/{name}')}$", search_hidden=True)
    tasks = client(
        "tasks.get_all",
        project=[project["id"] for project in projects["projects"]] or ["none"],
        search_hidden=True,
        system_tags=["dataset"],
        order_by=["created"],
    )["tasks"]
    return {task["runtime"].get("version"): task for task in tasks if task["status"] == "completed" or not only_final}


def artifacts(client, task_id):
    task = client("tasks.get_by_id", task=task_id)["task"]
    return {item["key"]: item for item in task["execution"]["artifacts"]}


def download(client, artifact):
    reply = client.http.get(artifact["uri"])
    reply.raise_for_status()
    return pl.read_parquet(io.BytesIO(reply.content))


def made_by(client, step_id):
    """Return the dataset version that a step has made, and its parquet files in order."""
    version = client("tasks.get_by_id", task=step_id)["task"]["hyperparams"]["return"]["dataset_id"]["value"]
    found = artifacts(client, version)
    return version, {name: download(client, found[name]) for name in sorted(found) if name.endswith(".parquet")}


def rows_digest(frames):
    """Return a digest over rows, whatever the files that they are in."""
    digest = hashlib.sha256()
    for frame in frames:
        digest.update(frame.write_ndjson().encode())
    return digest.hexdigest()


def calls(server: ClearmlServer) -> Counter[str]:
    """Return how often each endpoint of the API was called so far."""
    lines = re.findall(
        r'^localserver_requests_total\{endpoint="([^"]+)",service="api".*\} ([0-9.]+)$',
        httpx.get(f"{server.api_url}/metrics").text,
        re.MULTILINE,
    )
    found: Counter[str] = Counter()
    for endpoint, count in lines:
        found[endpoint] += int(float(count))
    return found
