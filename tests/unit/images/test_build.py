"""Names, builders and pins of the image build."""

from __future__ import annotations

import ast
import os
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from clearml_access import processes, serving_values
from clearml_access.agent_values import AgentValues
from command_line import interrupts
from images import build

DOCKERFILE = (build.PROJECT / "images/Dockerfile").read_text()


@pytest.mark.parametrize(
    ("image", "full"),
    [
        ("task:1", "docker.io/library/task:1"),
        ("me/task:1", "docker.io/me/task:1"),
        ("registry.example.org/task:1", "registry.example.org/task:1"),
        ("localhost:5000/task:1", "localhost:5000/task:1"),
        ("localhost/task:1", "localhost/task:1"),
    ],
)
def test_a_name_is_spelled_as_a_node_looks_it_up(image, full):
    assert build.full_name(image) == full


def test_images_are_the_ones_that_the_values_name():
    values = AgentValues.load()
    assert build.images() == {
        "task": build.full_name(values.default_image),
        "agent": build.full_name(values.agent_image),
        "serving": build.full_name(serving_values.image()),
    }


def test_every_target_is_in_the_dockerfile():
    assert set(build.images()) <= set(re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE, re.MULTILINE))


def test_the_default_base_is_pinned_by_digest():
    assert re.search(r"^ARG BASE=\S+@sha256:[0-9a-f]{64}$", DOCKERFILE, re.MULTILINE)


@pytest.mark.parametrize(("works", "found"), [(("docker", "buildah"), "docker"), (("buildah",), "buildah")])
def test_the_first_builder_that_works_is_taken(tmp_path, monkeypatch, works, found):
    for builder in build.BUILDERS:
        program = tmp_path / builder.name
        program.write_text(f"#!/bin/sh\nexit {0 if builder.name in works else 1}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert build.find_builder().name == found


def test_no_builder_is_an_error_that_names_one(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(build.ImageError, match=r"missing .*: a working docker, podman or buildah$") as caught:
        build.find_builder()
    assert caught.value.hint == "apt-get install buildah"


def test_all_that_is_missing_is_named_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(build.ImageError, match=r"a working docker, podman or buildah, mmdebstrap$") as caught:
        build.find_builder(debian_base=True)
    assert caught.value.hint == "apt-get install buildah mmdebstrap"


def test_an_archive_that_cannot_be_written_leaves_the_one_before(tmp_path):
    archive = tmp_path / "task.tar"
    archive.write_text("before")
    script = "echo part > {archive}; exit 1"
    broken = build.Builder("it", (), ("sh", "-c", script), (), ())
    with pytest.raises(build.ImageError):
        build.save(broken, "task:1", archive)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"task.tar": "before"}
    build.save(build.Builder("it", (), ("sh", "-c", "echo whole > {archive}"), (), ()), "task:1", archive)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"task.tar": "whole\n"}


def test_the_build_may_read_all_that_the_dockerfile_copies():
    rules = (build.PROJECT / ".dockerignore").read_text().splitlines()
    allowed = [rule.removeprefix("!") for rule in rules if rule.startswith("!")]
    copied = [
        source
        for line in DOCKERFILE.splitlines()
        if line.startswith("COPY ") and "--from=" not in line
        for source in [word for word in line.split()[1:] if not word.startswith("--")][:-1]
    ]
    assert len(copied) > 10
    left_out = [name for name in copied if not any(f"{name}/".startswith(f"{rule}/") for rule in allowed)]
    assert left_out == []
    assert [name for name in copied if not (build.PROJECT / name).exists()] == []


BUILDAH = """#!/bin/sh
cd {folder}/containers
case "$1" in
  build)
    while [ "$1" != --cni-config-dir ]; do shift; done
    echo "$2" > ours
    sleep 600 &
    echo $! > {folder}/child
    wait ;;
  containers) ls ;;
  inspect) echo "{{\\"CNIConfigDir\\": \\"$(cat $2)\\"}}" ;;
  rm) rm $2 ;;
esac
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_build_that_is_interrupted_ends_its_builder_and_leaves_no_container(tmp_path, number):
    """buildah leaves the container of the step it was at, and what runs in it."""
    (tmp_path / "containers").mkdir()
    (tmp_path / "containers/anothers").write_text("/tmp/another")
    (tmp_path / "buildah").write_text(BUILDAH.format(folder=tmp_path))
    (tmp_path / "buildah").chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    argv = [sys.executable, "-m", "images.build", "--builder", "buildah", "--no-ca", "agent"]
    process = subprocess.Popen(argv, env=os.environ | {"PATH": path}, stderr=subprocess.PIPE, text=True)
    child = tmp_path / "child"
    assert processes.wait_until(lambda: child.exists() and bool(child.read_text()), 90)
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 128 + number, said
    assert [path.name for path in (tmp_path / "containers").iterdir()] == ["anothers"]
    assert processes.wait_until(lambda: not processes.is_alive(int(child.read_text())), 10)


def test_a_signal_that_comes_while_a_builder_is_started_ends_the_builder(monkeypatch):
    """Python delivers it in `Popen`, where nobody knows of the process yet."""
    started = []

    class Interrupted(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            started.append(self.pid)
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    with interrupts.listening(), pytest.raises(KeyboardInterrupt):
        build.run_command(["sleep", "600"])
    assert processes.wait_until(lambda: not processes.is_alive(started[0]), 30)


@pytest.mark.parametrize(("image", "told"), [("task:1-py3.12", ["PYTHON=3.12"]), ("task:1", [])])
def test_the_build_is_told_which_python_the_tag_promises(tmp_path, image, told):
    program, seen = tmp_path / "builder", tmp_path / "argv"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {seen}\n')
    program.chmod(0o755)
    build.build("task", image, build.Builder("fake", (str(program),), (), (), ()), base=None, index=None, ca=b"")
    assert [word for word in seen.read_text().splitlines() if word.startswith("PYTHON=")] == told


def test_the_task_image_has_every_package_that_a_step_loads():
    """`deploy` is in the wheel's list, but a step does not load it."""
    wheel = tomllib.loads((build.PROJECT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    for package in set(wheel["packages"]) - {"deploy"}:
        assert f"COPY {package} {package}\n" in DOCKERFILE


def imported(file: Path) -> set[str]:
    """Return the files of this repository that a module of the agent's image imports."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
    places = (f"{folder}{name.replace('.', '/')}.py" for name in names for folder in ("", "images/agent/"))
    return {place for place in places if (build.PROJECT / place).is_file()}


def test_the_agent_image_has_every_module_that_its_glue_imports():
    text = DOCKERFILE.replace("\\\n", " ").partition("FROM base AS agent\n")[2]
    copied = {word for line in text.splitlines() if line.startswith("COPY ") for word in line.split() if ".py" in word}
    needed, found = {"images/agent/glue.py"}, set[str]()
    while needed:
        file = needed.pop()
        found.add(file)
        needed |= imported(build.PROJECT / file) - found
    assert "clearml_access/url_credentials.py" in found and len(found) > 10
    assert sorted(found - copied) == []


REGISTRY_SAID = "Error: initializing docker://python: pinging container registry registry-1.docker.io: no such host"


def failing(said: str) -> build.Builder:
    command = ("sh", "-c", f"echo '{said}' >&2; exit 125")
    return build.Builder("it", command, (), (), (), push=command)


def test_a_base_that_cannot_be_pulled_has_a_hint_and_another_failure_has_none():
    with pytest.raises(build.ImageError, match="no such host") as failed:
        build.build("task", "task:1", failing(REGISTRY_SAID), base=None, index=None, ca=b"")
    assert "--debian-base" in str(failed.value.hint)
    with pytest.raises(build.ImageError) as failed:
        build.build("task", "task:1", failing("no version of pandas==9"), base=None, index=None, ca=b"")
    assert failed.value.hint is None


def test_a_registry_that_takes_no_image_has_a_hint():
    with pytest.raises(build.ImageError) as failed:
        build.push(failing("unauthorized: authentication required"), "registry.example.com/team/task:1")
    assert failed.value.hint == "it login registry.example.com"
    with pytest.raises(build.ImageError) as failed:
        build.push(failing("dial tcp: lookup registry.example.com: no such host"), "registry.example.com/team/task:1")
    assert failed.value.hint == "is registry.example.com reached from here?"


@pytest.mark.parametrize("name", ["Bad Name", "team/House", "house:1.0", "-x", "house/", "a@b"])
def test_a_name_that_no_image_can_have_is_refused_before_anything_is_built(tmp_path, monkeypatch, capsys, name):
    (tmp_path / "requirements.txt").write_text("six\n")
    monkeypatch.setattr(build, "find_builder", lambda *_, **__: pytest.fail("too late"))
    assert build.main(["--project", str(tmp_path), f"--image={name}"]) == 2
    assert "registry.example.com/team/house-prices" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["house", "localhost:5000/house_prices", "registry.example.com/team/a.b/house-prices"])
def test_a_name_that_an_image_can_have_is_taken(name):
    assert build.IMAGE_NAME.fullmatch(name)


def test_each_archive_is_named_for_the_command_that_loads_it(tmp_path, monkeypatch, capsys):
    (tmp_path / "requirements.txt").write_text("six\n")
    program = build.Builder("it", ("true",), ("touch", "{archive}"), ("echo", "1"), ())
    monkeypatch.setattr(build, "find_builder", lambda *_, **__: program)
    words = ["--project", str(tmp_path), "--no-ca", "--archives", str(tmp_path / "out")]
    assert build.main(words) == 0
    archive = tmp_path / "out/project.tar"
    assert archive.exists() and f"archive: {archive}\n" in capsys.readouterr().out
