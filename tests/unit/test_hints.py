"""What hints tell people to run: commands that work with the server that is configured."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OWN_SERVER = "./task" + " server-"
PACKAGES = ("clearml_access", "command_line", "pipeline", "deploy", "cluster", "images")

ABOUT_THIS_MACHINES_SERVER = {
    "clearml_access/credentials.py": "no server is configured",
    "clearml_access/http.py": "asked for only where that server is the configured one",
    "cluster/__main__.py": "offers a server for a new cluster",
    "deploy/checks/environment.py": "the configured address is a loopback one",
    "pipeline/commands/machine.py": "the command itself",
    "pipeline/commands/outcome.py": "only where the command has started that server",
    "pipeline/local_stack/configuration.py": "reads that server's configuration",
    "pipeline/local_stack/configured.py": "no server is configured",
    "pipeline/local_stack/server.py": "starts that server",
    "pipeline/local_stack/workers.py": "its workers",
}
"""Files whose texts may name a command for this machine's own server, and why."""


def texts() -> Iterator[tuple[str, str]]:
    """Yield the file and the words of each text in the packages; docstrings and comments are not shown to users."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if ".venv" in path.parts:
                continue
            tree = ast.parse(path.read_text(encoding="utf-8"))
            docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
            for node in ast.walk(tree):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                    yield str(path.relative_to(ROOT)), node.value


def test_no_text_names_a_plain_agent():
    """It installs what a task requires from an index, where this package is not, and fails after minutes."""
    assert [path for path, text in texts() if "clearml-agent daemon" in text] == []


def test_only_where_it_is_known_to_be_ours_is_this_machines_server_named():
    found = {path for path, text in texts() if OWN_SERVER in text}
    assert found == ABOUT_THIS_MACHINES_SERVER.keys()
