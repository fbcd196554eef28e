"""`clearml-localserver` as a package of its own: what it holds, and that it says nothing twice in two ways."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

from clearml_localserver.cli import main
from click.testing import CliRunner
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tests import sdk_schemas, server_package

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "localserver"


def toml(path: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / path).read_text())


def test_the_schemas_are_those_of_the_installed_sdk() -> None:
    stored = sdk_schemas.TARGET.read_text(encoding="utf-8")
    assert stored == sdk_schemas.text(), "python -m tests.sdk_schemas writes the file anew"


def test_the_version_is_the_package_s_own() -> None:
    result = CliRunner().invoke(main, ["--version"])
    assert result.output == f"clearml-localserver {version('clearml-localserver')}\n"


def test_the_wheel_s_plotly_is_that_of_the_lock() -> None:
    [locked] = [item["version"] for item in toml("uv.lock")["package"] if item["name"] == "plotly"]
    assert f"plotly=={locked}" in toml("localserver/pyproject.toml")["build-system"]["requires"]


def test_the_lock_of_the_fixtures_environment_has_the_server_s_requirements() -> None:
    """Tests install it with `--frozen`: a requirement that is missing there would be missing in that environment."""
    project = toml("localserver/pyproject.toml")["project"]
    declared = [Requirement(line) for line in project["dependencies"]]
    declared += [Requirement(line) for lines in project["optional-dependencies"].values() for line in lines]
    packages = toml("tests/clients/uv.lock")["package"]
    [entry] = [package for package in packages if package["name"] == project["name"]]
    locked = {(item["name"], SpecifierSet(item["specifier"])) for item in entry["metadata"]["requires-dist"]}
    assert locked == {(wanted.name, wanted.specifier) for wanted in declared}, "uv lock --project tests/clients"


def test_the_licence_is_the_repository_s() -> None:
    assert (PACKAGE / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_pins_that_only_a_step_needs_are_in_nobody_else_s_environment() -> None:
    """What is installed by name and version elsewhere keeps its own pip and setuptools."""
    project = toml("pyproject.toml")
    everybody = set(project["project"]["dependencies"])
    assert {"pip", "setuptools"} <= everybody
    assert project["dependency-groups"]["step"] == ["pip<22.3", "setuptools<81"]
    assert "step" in project["tool"]["uv"]["default-groups"]  # a clone's environment is what its workers copy
    assert "--group step" in (ROOT / "images/Dockerfile").read_text()


def test_the_readme_shows_what_ci_runs() -> None:
    """`.ci/run` installs, starts and runs what stands there: each of these is found, and once."""
    assert "Task.init(" in server_package.block("python", "first task")
    assert "(clearml_server)" in server_package.block("python", "def test_training")
    assert server_package.block("sh", "train.py") == "CLEARML_CONFIG_FILE=./data/clearml.conf python train.py\n"
    assert server_package.block("console", "uvx ").startswith("$ uvx clearml-localserver --data ./data\n")
    assert server_package.block("console", "pytest ").startswith(f"$ {' '.join(server_package.PYTEST)}\n")


def test_the_wheel_and_not_the_name_is_installed_by_the_readme_s_command() -> None:
    command = server_package.install_command(Path("python"), Path("dist/a.whl"))
    assert command == ["python", "-m", "pip", "install", "dist/a.whl[sdk]", "pytest", "--quiet"]


def test_the_readme_has_no_links_that_an_index_cannot_follow() -> None:
    text = server_package.README.read_text(encoding="utf-8")
    assert [link for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith("https://")] == []


def test_other_pythons_are_those_that_the_package_names() -> None:
    assert server_package.versions()[0] == "3.10"
    assert toml("localserver/pyproject.toml")["project"]["requires-python"] == f">={server_package.versions()[0]}"


def test_the_former_module_name_leads_to_the_new_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "localserver", "--data", "x"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Error: the server's module is now clearml_localserver\nHint: ")
    assert "clearml-localserver --data DIR" in done.stderr
