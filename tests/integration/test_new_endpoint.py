"""Adding an endpoint touches one file: a copy of the package gets a module, and nothing else knows of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import clearml_localserver
import pytest
from clearml_localserver.pytest_plugin import running_server

from tests.api_client import ApiClient

pytestmark = pytest.mark.integration

MODULE = '''
"""Service `shelves`: what lies where."""

from clearml_localserver.query import by_id
from clearml_localserver.registry import Call, Data, endpoint
from clearml_localserver.store import Tx

QUEUE = {"type": "object", "required": ["queue"], "properties": {"queue": {"type": "string"}}}


@endpoint("shelves.count", schema=QUEUE, differs="no other server has it")
def count(call: Call, tx: Tx) -> Data:
    """Count the tasks in a queue."""
    return {"count": len(by_id(tx, "queue", call.data["queue"], call.company)["entries"])}


@endpoint("shelves.clear", writes=True, schema=QUEUE)
def clear(call: Call, tx: Tx) -> Data:
    """Take all tasks out of a queue."""
    queue = by_id(tx, "queue", call.data["queue"], call.company)
    tx.put("queue", queue | {"entries": []})
    return {"cleared": len(queue["entries"])}
'''


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the package with one more module, which Python finds first."""
    folder = tmp_path_factory.mktemp("copy")
    package = folder / "clearml_localserver"
    shutil.copytree(Path(clearml_localserver.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "endpoints" / "shelves.py").write_text(MODULE)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PYTHONPATH", str(folder))
        yield folder


def test_a_module_among_the_endpoints_is_served(copy: Path, tmp_path: Path) -> None:
    with running_server(tmp_path / "data") as server, closing(ApiClient(server.api_url, server.credentials)) as admin:
        queue = admin("queues.create", name="a queue")["id"]
        task = admin("tasks.create", name="a task", type="training")["id"]
        admin("tasks.enqueue", task=task, queue=queue)
        assert admin("shelves.count", queue=queue) == {"count": 1}
        assert admin.send("shelves.count").error[:2] == (400, 12)
        assert admin.send("shelves.count", queue="x").error[:2] == (400, 701)

        key = admin("auth.create_credentials", role="guest")["credentials"]
        with closing(ApiClient(server.api_url, (key["access_key"], key["secret_key"]))) as guest:
            assert guest("shelves.count", queue=queue) == {"count": 1}
            assert guest.send("shelves.clear", queue=queue).error[:2] == (403, 20)
        assert admin("shelves.clear", queue=queue) == {"cleared": 1}
        assert admin("shelves.count", queue=queue) == {"count": 0}
        assert "shelves.count" in admin("server.endpoints")["endpoints"]


def test_the_page_of_endpoints_names_it(copy: Path) -> None:
    command = [sys.executable, "-P", "-m", "clearml_localserver", "endpoints"]
    page = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=True, timeout=60).stdout
    assert "`shelves.count`" in page
    assert "no other server has it" in page
