"""Somebody's own project as a task image: where packages are read, what the tag stands for, what is refused."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from images import build
from images.project import KINDS, ProjectError, from_conda, read_project

PYPROJECT = '[project]\nname = "House Prices"\nversion = "1"\ndependencies = ["six"]\n'
PACKAGE = PYPROJECT + '[build-system]\nrequires = ["hatchling"]\n'


def project(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("files", "kind", "read"),
    [
        (
            {"uv.lock": "version = 1", "pyproject.toml": PYPROJECT, "requirements.txt": "six"},
            "uv.lock",
            ["pyproject.toml", "uv.lock"],
        ),
        (
            {"requirements.txt": "-r more/base.txt\nsix\n", "more/base.txt": "-c pins.txt\n", "more/pins.txt": "six<2"},
            "requirements.txt",
            ["more/base.txt", "more/pins.txt", "requirements.txt"],
        ),
        ({"pyproject.toml": PYPROJECT, "environment.yml": "dependencies: []"}, "pyproject.toml", ["pyproject.toml"]),
        ({"environment.yaml": "dependencies: [six]"}, "environment.yaml", ["requirements.txt"]),
    ],
)
def test_packages_come_from_the_first_file_that_is_there(tmp_path, files, kind, read):
    found = read_project(project(tmp_path, files))
    assert (found.kind, sorted(found.files), found.locked) == (kind, read, kind == "uv.lock")


def test_the_name_of_the_image_is_that_of_the_project_or_of_its_folder(tmp_path):
    assert read_project(project(tmp_path / "a", {"pyproject.toml": PYPROJECT})).name == "house-prices"
    assert read_project(project(tmp_path / "My Houses_2", {"requirements.txt": ""})).name == "my-houses-2"


def test_the_tag_stands_for_what_is_installed_and_names_the_python(tmp_path):
    one = read_project(project(tmp_path / "one", {"requirements.txt": "six==1.16.0", "train.py": "a = 1"}))
    same = read_project(project(tmp_path / "same", {"requirements.txt": "six==1.16.0", "train.py": "a = 2"}))
    other = read_project(project(tmp_path / "other", {"requirements.txt": "six==1.17.0"}))
    assert one.tag == same.tag != other.tag
    assert build.python_of(f"house-prices:{one.tag}") == "3.11"


def test_the_projects_package_is_a_part_of_the_tag_only_where_it_is_in_the_image(tmp_path):
    folder = project(
        tmp_path, {"pyproject.toml": PACKAGE, "houses.py": "a = 1", ".env": "KEY=1", "x/__pycache__/y": ""}
    )
    without, with_it = read_project(folder), read_project(folder, package=True)
    assert sorted(with_it.files) == ["pyproject.toml", "source/houses.py", "source/pyproject.toml"]
    (folder / "houses.py").write_text("a = 2")
    assert read_project(folder).tag == without.tag
    assert read_project(folder, package=True).tag != with_it.tag
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True, timeout=30)
    (folder / ".gitignore").write_text(".env\nx\n")
    assert ".env" not in "".join(read_project(folder, package=True).files)


@pytest.mark.parametrize(
    ("files", "package", "why"),
    [
        ({"train.py": ""}, False, "has no file that says which packages it needs"),
        ({"pyproject.toml": "[project"}, False, "pyproject.toml cannot be read"),
        (
            {"pyproject.toml": PYPROJECT + 'requires-python = "<3.9"\n'},
            False,
            "wants Python <3.9, and task images have",
        ),
        ({"requirements.txt": "", ".python-version": "pypy3.10"}, False, "'pypy3.10' is not a version of Python"),
        (
            {"pyproject.toml": PYPROJECT + 'requires-python = ">=3.12"\n', ".python-version": "3.10"},
            False,
            "wants Python >=3.12, .*python-version wants Python ==3.10",
        ),
        ({"requirements.txt": "-r gone.txt"}, False, "gone.txt cannot be read: No such file"),
        ({"requirements.txt": "-r ../../etc/x.txt"}, False, "is outside of"),
        ({"environment.yml": "a: ["}, False, "is not YAML"),
        ({"environment.yml": "name: x"}, False, "has no list `dependencies`"),
        ({"environment.yml": "dependencies: [python=3.8]"}, False, r"wants Python ==3.8.\*"),
        ({"pyproject.toml": PYPROJECT}, True, r"is not a package: its pyproject.toml has no \[build-system\]"),
    ],
)
def test_what_no_image_can_be_made_of_is_refused(tmp_path, files, package, why):
    with pytest.raises(ProjectError, match=why):
        read_project(project(tmp_path / "p", files), package=package)


@pytest.mark.parametrize(
    ("files", "python"),
    [
        ({"requirements.txt": ""}, "3.11"),
        ({"pyproject.toml": PYPROJECT + 'requires-python = ">=3.8"\n'}, "3.11"),
        ({"pyproject.toml": PYPROJECT + 'requires-python = ">=3.12"\n'}, "3.12"),
        ({"pyproject.toml": PYPROJECT + 'requires-python = ">=3.9,<3.11"\n'}, "3.10"),
        ({"pyproject.toml": PYPROJECT + 'requires-python = ">=3.10"\n', ".python-version": "3.13.1\n"}, "3.13"),
        ({"requirements.txt": "", ".python-version": "cpython-3.12"}, "3.12"),
        ({"environment.yml": "dependencies: [python=3.10]"}, "3.10"),
    ],
)
def test_the_steps_have_the_python_that_the_project_wants(tmp_path, files, python):
    found = read_project(project(tmp_path, files))
    assert found.python == python == build.python_of(f"houses:{found.tag}")


def test_a_conda_environment_is_read_as_requirements(tmp_path):
    file = tmp_path / "environment.yml"
    file.write_text(
        "name: houses\nchannels: [conda-forge]\ndependencies:\n"
        "  - python=3.11\n  - pip\n  - numpy=1.26\n  - conda-forge::scipy=1.11.4=py311_0\n  - pandas >=2,<3\n"
        "  - requests==2.32.5\n  - PyYAML\n  - scikit-learn=1.4.*\n  - pip:\n    - clearml==2.1.12\n"
    )
    packages = [
        "numpy==1.26.*",
        "scipy==1.11.4",
        "pandas>=2,<3",
        "requests==2.32.5",
        "pyyaml",
        "scikit-learn==1.4.*",
        "clearml==2.1.12",
    ]
    assert from_conda(file) == (packages, "==3.11.*")


def test_the_build_reads_what_the_project_has(tmp_path):
    found = read_project(project(tmp_path / "p", {"pyproject.toml": PACKAGE, "houses.py": "a = 1"}), package=True)
    found.write(tmp_path)
    assert (tmp_path / "source/houses.py").read_text() == "a = 1"


PROGRAM = """#!/bin/sh
[ "$1" = --version ] && exit
echo "$@" >> {seen}
[ "$1" = images ] && echo '[{{"size": "1.5 MB"}}]'
exit 0
"""


@pytest.fixture
def builder(tmp_path, monkeypatch):
    """A buildah that notes what it is asked for."""
    seen = tmp_path / "seen"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/buildah").write_text(PROGRAM.format(seen=seen))
    (tmp_path / "bin/buildah").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    return seen


def test_the_image_is_built_on_the_task_images_base_and_pushed(tmp_path, builder, capsys):
    folder = project(tmp_path / "p", {"uv.lock": "version = 1", "pyproject.toml": PYPROJECT})
    words = ("--builder=buildah", "--no-ca", f"--project={folder}", "--image=registry.example.com/houses", "--push")
    assert build.main(words) == 0, capsys.readouterr()
    image = f"registry.example.com/houses:{read_project(folder).tag}"
    assert capsys.readouterr().out.splitlines()[-1] == f"{image}: pushed"
    base, ours, *_, pushed = builder.read_text().splitlines()
    assert "--target task-base --tag localhost/clearml-pods-task-base:" in base
    assert f"--file images/project.Dockerfile --target project --tag {image}" in ours
    assert "--build-arg TASK_BASE=localhost/clearml-pods-task-base:" in ours and "--build-context project=" in ours
    assert pushed == f"push --quiet {image}"


def test_what_s3_needs_is_asked_of_the_build_and_is_a_part_of_the_tag(tmp_path, builder, capsys):
    folder = project(tmp_path / "p", {"requirements.txt": "six\n"})
    assert build.main(("--builder=buildah", "--no-ca", f"--project={folder}", "--s3")) == 0, capsys.readouterr()
    _, ours, *_ = builder.read_text().splitlines()
    assert "--build-arg S3=s3" in ours
    assert read_project(folder, s3=True).tag != read_project(folder).tag


def test_another_python_is_told_to_the_build_and_the_agent_keeps_its_own(tmp_path, builder, capsys):
    folder = project(tmp_path / "p", {"requirements.txt": "six\n", ".python-version": "3.12\n"})
    words = ("--builder=buildah", "--no-ca", f"--project={folder}", "--python-mirror=https://mirror.example.com/python")
    assert build.main(words) == 0, capsys.readouterr()
    base, ours, *_ = builder.read_text().splitlines()
    assert "--build-arg PYTHON=3.11" in base
    assert "--build-arg PYTHON=3.12" in ours
    assert "--build-arg PYTHON_MIRROR=https://mirror.example.com/python" in ours


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--package"], "--package and --image go with --project"),
        (["--image", "x"], "--package and --image go with --project"),
        (["task", "--project", "."], "--project builds one image: name no other"),
    ],
)
def test_options_that_do_not_go_together_are_refused(words, why, builder, capsys):
    assert build.main(words) == 2
    assert why in capsys.readouterr().err
    assert not builder.exists()


def test_the_dockerfile_knows_every_kind_and_copies_what_the_build_may_read():
    text = (build.PROJECT / build.PROJECT_DOCKERFILE).read_text()
    assert all(kind in text for kind in KINDS[:3])  # a conda file is handed over as requirements.txt
    copied = [line.split()[-2] for line in text.splitlines() if line.startswith("COPY ") and "--from=" not in line]
    ignored = (build.PROJECT / ".dockerignore").read_text().splitlines()
    folders = tuple(f"{line[1:]}/" for line in ignored if line.startswith("!"))
    assert copied and all(name.startswith(folders) and (build.PROJECT / name).exists() for name in copied)
