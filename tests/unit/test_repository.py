"""Facts that have one home, and the habits that keep the repository usable: checked, not remembered."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from clearml_access import serving_values
from clearml_access.agent_values import IN_CLONE, AgentValues, python_of
from pipeline.local_stack.settings import MachineSettings

ROOT = Path(__file__).resolve().parents[2]
TASKS: dict[str, Any] = yaml.safe_load((ROOT / "Taskfile.yml").read_text())["tasks"]
PUBLIC = {name: task for name, task in TASKS.items() if not task.get("internal")}
PROMISED = {
    *("default", "setup", "run-pipeline", "test", "lint", "clean"),
    *("server-up", "server-down", "server-status", "upload-dataset"),
    *("workers-up", "workers-down", "workers-status"),
    *("bench", "bench-startup", "bench-server", "bench-text", "bench-full-size"),
    *("deploy-agent", "agent-status", "doctor", "logs", "undeploy-agent", "build-image"),
    *("cluster-up", "cluster-down", "cluster-status"),
}


def tracked(*patterns: str) -> list[Path]:
    """Files under version control, and new ones that are not ignored."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).is_file()]


def toml(path: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / path).read_text())


def test_what_the_server_and_the_command_lines_both_need_is_the_same_file():
    """Two distributions that do not import each other; a third one for fifty lines would have to be published, too."""
    copies = [ROOT / "command_line/streams.py", ROOT / "localserver/src/clearml_localserver/streams.py"]
    assert copies[0].read_bytes() == copies[1].read_bytes()


NEWER_THAN_DEBIAN = {"extractall", "extract", "unpack_archive"}
"""Methods that got the argument `filter` with Python 3.11.4."""


def test_nothing_is_called_that_debians_python_lacks():
    """Debian 12, where CI runs, has Python 3.11.2; every test passes on a newer one."""
    found = []
    for path in tracked("*.py"):
        text = path.read_text(encoding="utf-8")
        if not any(f"{name}(" in text for name in NEWER_THAN_DEBIAN):
            continue
        calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
        found += [
            f"{path.relative_to(ROOT)}:{call.lineno}"
            for call in calls
            if getattr(call.func, "attr", None) in NEWER_THAN_DEBIAN
            if any(keyword.arg == "filter" for keyword in call.keywords)
        ]
    assert found == []


LARGEST_FILE = 600_000
"""Bytes: the nouns of WordNet have 533,000. A downloaded wheel of 3 MB was once committed with everything else."""


def test_hypothesis_limits_no_time():
    """An example of 200 ms or a slow draw would fail a test on a busy machine."""
    from hypothesis import HealthCheck, settings

    profile = settings.get_profile("repeatable")
    assert profile.deadline is None
    assert HealthCheck.too_slow in profile.suppress_health_check
    pattern = re.compile(r"suppress_health_check=\[(?![^\]]*too_slow)")
    assert [str(path.relative_to(ROOT)) for path in tracked("tests/*.py") if pattern.search(path.read_text())] == []


def test_nothing_large_is_committed_by_accident():
    assert [str(path.relative_to(ROOT)) for path in tracked() if path.stat().st_size > LARGEST_FILE] == []


def test_the_agents_lock_file_has_the_pinned_agent():
    pin = AgentValues.load().agent_pin
    assert f"clearml-agent{pin}" in toml("images/agent/pyproject.toml")["project"]["dependencies"]
    locked = {package["name"]: package["version"] for package in toml("images/agent/uv.lock")["package"]}
    assert f"=={locked['clearml-agent']}" == pin


def test_the_images_are_tagged_with_the_version_and_the_python_of_the_project():
    project, values = toml("pyproject.toml")["project"], AgentValues.load()
    for image in (values.default_image, values.agent_image, serving_values.image()):
        assert image.rpartition(":")[2] == f"{project['version']}-py{python_of(image)}"
        assert f"=={python_of(image)}.*" == project["requires-python"]


def test_steps_run_on_the_queue_of_the_values_file():
    assert MachineSettings.from_environ({}).steps_queue == AgentValues.load().queue


def test_the_wheel_carries_the_values_files():
    included = toml("pyproject.toml")["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    names = ("values-agent.yaml", "values-serving.yaml")
    assert included == {f"helm/{name}": f"clearml_access/data/{name}" for name in names}


def test_no_page_or_style_of_the_server_has_a_name_that_git_ignores():
    # It would be missing in a clean clone, and hatch leaves it out of the wheel whatever exceptions there are.
    folder = ROOT / "localserver/src/clearml_localserver/web"
    names = "\n".join(str(path.name) for path in folder.glob("[ts]*/*") if path.is_file())
    command = ["git", "check-ignore", "--no-index", "--stdin"]
    assert subprocess.run(command, input=names, capture_output=True, text=True, cwd=ROOT).stdout == ""


def test_no_secret_stands_in_the_values_file():
    assert not re.search(r"(?i)(secret|access|api)_?key\w*\s*:", IN_CLONE.read_text())


def test_the_image_name_and_the_agents_version_are_spelled_nowhere_else():
    """Prose may name them (README, docs, comments of lock files); code and settings may not."""
    image = AgentValues.load().default_image
    home = {IN_CLONE, ROOT / "images/agent/pyproject.toml"}
    code = [path for path in tracked("*.py", "*.yml", "*.yaml", "*.toml", "*Dockerfile*") if path not in home]
    for path in code:
        if ROOT / "tests" in path.parents:
            continue
        text = path.read_text(encoding="utf-8")
        assert image not in text, path
        assert not re.search(r"clearml[-_]agent\s*==", re.sub(r'(?m)#.*$|""".*?"""|hint=.*$', "", text, flags=re.S)), (
            path
        )


def test_the_taskfile_has_the_promised_tasks():
    assert PUBLIC.keys() >= PROMISED


@pytest.mark.parametrize("name", sorted(PUBLIC.keys() - {"default"}))
def test_a_task_stands_in_the_readme(name):
    assert f"`{name}" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("name", PUBLIC)
def test_a_task_has_a_plain_name_and_a_description(name):
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", name)
    assert 10 <= len(PUBLIC[name]["desc"]) <= 120


@pytest.mark.parametrize("name", sorted(PUBLIC.keys() - {"default", "setup", "clean"}))
def test_a_task_makes_its_own_set_up(name):
    assert "setup" in PUBLIC[name]["deps"]


@pytest.mark.parametrize("name", sorted(PUBLIC.keys() - {"default", "setup", "clean", "lint"}))
def test_a_task_hands_its_arguments_on(name):
    assert "{{.CLI_ARGS}}" in PUBLIC[name]["cmd"]


def test_a_task_is_one_line_a_command():
    """Longer work belongs into a script that can be tested."""
    for name, task in TASKS.items():
        commands = task.get("cmds", []) + ([task["cmd"]] if "cmd" in task else [])
        for command in commands:
            text = command if isinstance(command, str) else command["cmd"]
            assert "\n" not in text.strip(), name


def test_environments_are_locked_and_compiled():
    for name in ("environment", "agent-environment"):
        task = TASKS[name]
        commands = [*task.get("cmds", []), task.get("cmd", "")]
        sync = next(command for command in commands if isinstance(command, str) and "uv sync" in command)
        assert "--frozen" in sync, name
        assert "--compile-bytecode" in sync, name
        assert any(source.endswith("uv.lock") for source in task["sources"]), name


def test_the_ci_script_is_strict_and_runs_the_readmes_commands():
    script = ROOT / ".ci/run"
    text = script.read_text()
    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in text
    for command in ("./task setup", "./task test", "./task lint", "./task run-pipeline", "./task server-down"):
        assert command in text, command
    subprocess.run(["bash", "-n", str(script)], check=True, timeout=30)


def test_nothing_built_or_local_is_under_version_control():
    built = {".venv", ".local", "__pycache__", "dist"}
    bad = [path for path in tracked() if built & set(path.relative_to(ROOT).parts)]
    assert bad == []


def test_every_variable_of_ours_is_in_the_docs():
    # Set by us, for what we start.
    passed_on = {f"CLEARML_PODS_{name}" for name in ("SERVER", "WORKER", "SERVING", "CLUSTER")}
    sources = [path.read_text() for path in tracked("pipeline/*.py", "deploy/*.py", "cluster/*.py")]
    found = {name for text in sources for name in re.findall(r"CLEARML_PODS_[A-Z_]*[A-Z]", text)} - passed_on
    assert len(found) > 3
    documented = (ROOT / "docs/settings.md").read_text()
    assert sorted(name for name in found if f"`{name}`" not in documented) == []


def test_no_access_key_is_under_version_control():
    """Keys that look like the ones our server makes, outside made-up ones in tests."""
    pattern = re.compile(r"""secret_key["']?\s*[:=]\s*["'][A-Za-z0-9]{40,}""")
    assert [path for path in tracked() if path.suffix != ".lock" and _matches(pattern, path)] == []


def _matches(pattern: re.Pattern[str], path: Path) -> bool:
    try:
        return bool(pattern.search(path.read_text(encoding="utf-8")))
    except UnicodeDecodeError:
        return False


def test_the_hosted_ci_runs_every_stage_of_the_ci_script():
    listed = subprocess.run([ROOT / ".ci/run", "--list"], capture_output=True, text=True, check=True, timeout=30)
    stages = {line.split()[0] for line in listed.stdout.splitlines()}
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    job = workflow["jobs"]["stages"]
    assert job["steps"][-1]["run"] == ".ci/run ${{ matrix.stages }}"
    asked = {stage for include in job["strategy"]["matrix"]["include"] for stage in include["stages"].split()}
    # These three are what others need: they run with them.
    assert asked | {"chromium", "debian", "setup", "builders", "kubernetes"} == stages
    assert asked <= stages


def test_only_stages_that_repeat_another_one_at_length_are_left_out_of_every_change():
    listed = subprocess.run([ROOT / ".ci/run", "--list"], capture_output=True, text=True, check=True, timeout=30)
    long = {line.split()[0] for line in listed.stdout.splitlines() if "(long: only by name or with --all)" in line}
    assert long == {"thorough", "sdk", "pythons"}


def test_a_stage_that_does_not_exist_is_named():
    for name in ("tets", "tes.", ".*", "", "test|unit"):
        done = subprocess.run([ROOT / ".ci/run", name], capture_output=True, text=True, check=False, timeout=30)
        assert (done.returncode, done.stderr) == (2, f"Error: there is no stage {name}\nHint: .ci/run --list\n")


def test_hooks_before_a_commit_use_the_locked_tools():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repository["repo"] for repository in hooks] == ["local"]
    assert all(hook["entry"].startswith(".venv/bin/") for hook in hooks[0]["hooks"])


def test_tasks_are_named_as_people_type_them_and_exist():
    """`./task NAME`: that works without go-task on PATH; what a hint names must be there."""
    bare = re.compile(rf"(?<![./\w-])task (?:{'|'.join(sorted(TASKS))})(?![\w-])")
    typed = re.compile(r"\./task ([a-z][a-z-]*[a-z])\b")
    paths = tracked("*.py", "*.md", "*.html", "*.yaml", "*.yml", ":!CHANGELOG.md", ":!tests/unit/test_repository.py")
    for path in paths:
        text = path.read_text(encoding="utf-8")
        assert bare.findall(text) == [], path
        unknown = [name for name in typed.findall(text) if name not in TASKS]
        assert unknown == [], path


def test_messages_name_commands_as_they_can_be_pasted():
    """`./task NAME`, or the clone's own Python where there is no such task: the `python` on PATH lacks the packages.

    Docstrings and examples name a program as its usage line does.
    """
    bare = re.compile(r"(?<!\.venv/bin/)\bpython -m (?:pipeline|deploy|cluster|images)\b")
    found = []
    for path in tracked("pipeline/*.py", "deploy/*.py", "cluster/*.py", "clearml_access/*.py", "command_line/*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {id(word.value) for word in ast.walk(tree) if isinstance(word, ast.keyword) and word.arg in PROGRAM}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "examples":
                names |= {id(word) for word in node.args}
            if isinstance(node, ast.Expr):  # a docstring
                names.add(id(node.value))
        found += [
            f"{path.relative_to(ROOT)}:{node.lineno}: {node.value}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
            if id(node) not in names and bare.search(node.value)
        ]
    assert found == []


PROGRAM = {"program", "prog"}
"""Arguments that name a program in its usage line."""
