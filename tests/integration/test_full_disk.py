"""A disk that fills up while the server runs: whoever writes hears it in words, and nothing that was stored is lost."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from clearml_localserver.pytest_plugin import ClearmlServer

from tests.api_client import ApiClient

pytestmark = pytest.mark.integration

MIB = 2**20

STORE = """
import sys
from pathlib import Path
from clearml_access.errors import UserFacingError
from pipeline.clearml_server import ClearmlServer
from pipeline.datasets.datasets import new_version

try:
    with new_version(ClearmlServer.connect(), project="full", name="disk", version="1.0.0") as draft:
        draft.add(Path(sys.argv[1]))
except UserFacingError as error:
    print("SAID", str(error).replace("\\n", " "))
"""


def limit(server: ClearmlServer, size: int) -> None:
    """Let the server write no file beyond a size: the same writes fail as on a full disk, and it needs no root."""
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@pytest.mark.server_fault("the disk is full: 507")
def test_a_step_that_stores_a_dataset_says_that_the_disk_is_full(
    clearml_server_factory: Callable[[], ClearmlServer], tmp_path: Path
) -> None:
    server = clearml_server_factory()
    limit(server, 4 * MIB)
    (tmp_path / "reviews.parquet").write_bytes(os.urandom(6 * MIB))
    (tmp_path / "store.py").write_text(STORE)
    command = [sys.executable, "store.py", "reviews.parquet"]
    environment = os.environ | server.environment
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=150, check=False
    )
    said = [line for line in done.stdout.splitlines() if line.startswith("SAID")]
    assert len(said) == 1 and "disk is full" in said[0], done.stdout + done.stderr
    server.stop()


@pytest.mark.server_fault("the database cannot be written")
def test_a_call_that_cannot_be_stored_says_why_and_the_next_that_fits_is_stored(
    clearml_server_factory: Callable[[], ClearmlServer],
) -> None:
    server = clearml_server_factory()
    with closing(ApiClient(server.api_url, server.credentials)) as api:
        kept = api("tasks.create", name="kept", type="testing")["id"]
        limit(server, 1 * MIB)
        reply = api.send("tasks.edit", task=kept, comment="x" * 4 * MIB)
        assert reply.status == 500, "above 500 the SDK repeats for ever"
        assert "server.sqlite cannot be read or written" in reply.meta["result_msg"]
        assert "file size limit" in reply.meta["result_msg"]
        limit(server, resource.RLIM_INFINITY)
        api("tasks.edit", task=kept, comment="fits")
        assert api("tasks.get_by_id", task=kept)["task"]["comment"] == "fits"
    server.stop()
