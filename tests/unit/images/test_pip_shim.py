"""What the task image answers in pip's place, and what it leaves to pip."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.specifiers import SpecifierSet

from clearml_access import kept_packages
from images.task import pip_shim

UPGRADE = "install pip<20.2;python_version<'3.10' pip<22.3;python_version>='3.10' --upgrade"
ANSWERED = [
    UPGRADE,
    "--disable-pip-version-check install click",
    "install Cython --use-deprecated=legacy-resolver",
    "install click",
    "install click>=8 --extra-index-url https://example.org/simple",
    "install --extra-index-url=https://example.org/simple click",
    "install nothing-of-that-name;python_version<'3'",
    "install Click!=1.0",
]
LEFT_TO_PIP = [
    "install click==1.0",
    "install nothing-of-that-name",
    "install click --target /tmp/elsewhere",
    "install ./folder",
    "install clearml[s3]",
    "install git+https://example.org/x.git",
    "install click@https://example.org/click.whl",
    "uninstall -y click",
    "download click",
    "freeze --local",
    "",
]


@pytest.mark.parametrize("line", ANSWERED)
def test_what_is_satisfied_is_answered(line):
    assert pip_shim.answer(line.split())


@pytest.mark.parametrize("line", LEFT_TO_PIP)
def test_everything_else_is_left_to_pip(line):
    with pytest.raises(pip_shim.AskPip):
        pip_shim.answer(line.split())


FILES = [
    ("click\n", True),
    ("# a comment\n\nclick >= 8  # as of 2021\n", True),
    ("--extra-index-url https://example.org/simple\nclick\n", True),
    ("click>=8,\\\n<99\n", True),
    ("click==1.0\n", False),
    ("click\n-e .\n", False),
    ("-r other.txt\n", False),
    ("click --hash=sha256:00\n", False),
    # On the agent's command line it is a habit; a step that lists it means it.
    ("Cython\n", False),
]


@pytest.mark.parametrize(("content", "satisfied"), FILES)
def test_a_requirements_file_is_read_as_pip_does(tmp_path, content, satisfied):
    file = tmp_path / "requirements.txt"
    file.write_text(content)
    if satisfied:
        assert pip_shim.answer(["install", "-r", str(file)])
    else:
        with pytest.raises(pip_shim.AskPip):
            pip_shim.answer(["install", "-r", str(file)])


def test_a_missing_requirements_file_is_left_to_pip(tmp_path):
    with pytest.raises(pip_shim.AskPip):
        pip_shim.answer(["install", "-r", str(tmp_path / "none.txt")])


@pytest.fixture
def packages(tmp_path):
    for name, version in (("Zeta", "1.0"), ("alpha", "2.0"), ("pip", "22.2")):
        record = tmp_path / f"{name}-{version}.dist-info"
        record.mkdir()
        (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    return tmp_path


@pytest.mark.parametrize(
    ("everything", "expected"),
    [(False, "alpha==2.0\nZeta==1.0\n"), (True, "alpha==2.0\npip==22.2\nZeta==1.0\n")],
)
def test_the_list_is_as_pip_prints_it(packages, everything, expected):
    assert pip_shim.freeze(everything=everything, path=[str(packages)]) == expected


def test_a_package_that_came_from_an_address_is_listed_by_pip(packages):
    (packages / "alpha-2.0.dist-info/direct_url.json").write_text('{"url": "https://example.org/alpha.whl"}')
    with pytest.raises(pip_shim.AskPip):
        pip_shim.freeze(everything=False, path=[str(packages)])


@pytest.mark.parametrize("left_behind", ["alpha-1.0.dist-info", "old.egg-info", "linked.egg-link"])
def test_a_folder_that_is_no_plain_one_is_listed_by_pip(packages, left_behind):
    (packages / left_behind).mkdir()
    with pytest.raises(pip_shim.AskPip):
        pip_shim.packages([str(packages)])


def test_the_first_folder_on_the_path_wins(packages, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    (other / "alpha-9.dist-info").mkdir()
    assert pip_shim.packages([str(packages), str(other)])["alpha"].endswith("alpha-2.0.dist-info")


RELEASES = ("1", "1.0", "1.0.1", "1.2", "1.10", "2", "22.3.1")
CLAUSES = [
    *(f"{sign}{bound}" for sign in pip_shim.COMPARISONS for bound in RELEASES),
    *(f">={low},<{high}" for low, high in itertools.product(RELEASES, RELEASES)),
]


@pytest.mark.parametrize("version", RELEASES)
def test_plain_versions_compare_as_in_packaging(version):
    expected = {text: SpecifierSet(text).contains(version) for text in CLAUSES}
    assert {text: pip_shim.is_within(version, text) for text in CLAUSES} == expected


@pytest.mark.parametrize(
    "clauses", ["~=1.0", "!=1.0", "===1.0", "==1.*", ">=1.0rc1", "==1.0+cpu", "@ https://x.org", "1"]
)
def test_other_comparisons_are_left_to_packaging(clauses):
    assert pip_shim.is_within("1.0", clauses) is None


def test_a_version_with_letters_is_left_to_packaging():
    assert pip_shim.is_within("1.0rc1", "==1.0") is None


MARKERS = [
    "python_version < '3.10'",
    "python_version >= '3.10' and python_version <= \"3.11\"",
    "python_version=='3.11'",
]


@pytest.mark.parametrize("marker", MARKERS)
def test_python_version_markers_are_read_as_in_packaging(marker):
    assert pip_shim.this_python_fits(marker) == Marker(marker).evaluate()


@pytest.mark.parametrize(
    "marker", ["sys_platform=='linux'", "python_version<'3' or python_version>'3'", "'3'<python_version"]
)
def test_other_markers_are_left_to_packaging(marker):
    assert pip_shim.this_python_fits(marker) is None


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("install -r reqs.txt", "-r reqs.txt"),
        ("--disable-pip-version-check install -r reqs.txt --use-deprecated=legacy-resolver", "-r reqs.txt"),
        ("install --requirement=reqs.txt --upgrade", "--requirement reqs.txt --upgrade"),
        ("install pandas==2.2.3 Cython --no-cache-dir", "pandas==2.2.3"),
        (
            "install --extra-index-url=https://a/simple --trusted-host b pandas",
            "--extra-index-url https://a/simple --allow-insecure-host b pandas",
        ),
    ],
)
def test_an_install_is_said_to_uv_in_its_words(line, words):
    assert pip_shim.for_uv(line.split()) == words.split()


@pytest.mark.parametrize(
    "line", ["install pandas --target /tmp/elsewhere", "uninstall -y pandas", "freeze --local", "install -e .", ""]
)
def test_what_uv_does_not_know_is_for_pip(line):
    with pytest.raises(pip_shim.AskPip):
        pip_shim.for_uv(line.split())


@pytest.fixture
def no_pip_files(monkeypatch):
    monkeypatch.setattr(pip_shim, "PIP_FILES", ())


def test_uv_keeps_what_it_has_fetched_where_a_folder_is_named(no_pip_files, tmp_path, capsys):
    found = pip_shim.uv_environment({"CLEARML_PODS_PACKAGES": str(tmp_path), "PIP_INDEX_URL": "https://a/simple"})
    assert found["UV_CACHE_DIR"].startswith(f"{tmp_path}/uv-2") and found["UV_DEFAULT_INDEX"] == "https://a/simple"
    assert "UV_NO_CACHE" not in found and found["UV_INDEX_STRATEGY"] == "unsafe-best-match"
    assert pip_shim.uv_environment({})["UV_NO_CACHE"] == "1"
    found = pip_shim.uv_environment({"CLEARML_PODS_PACKAGES": f"{tmp_path}/none"})
    assert found["UV_NO_CACHE"] == "1" and f"{tmp_path}/none: no folder that this pod may" in capsys.readouterr().out


def test_uv_gets_a_new_cache_each_month_and_the_last_two_stay(tmp_path):
    now = Path(pip_shim.fetched_folder(str(tmp_path))).name
    for name in (now, "uv-2001-01", "environments"):
        (tmp_path / name).mkdir()
    assert pip_shim.fetched_folder(str(tmp_path)) == str(tmp_path / now)
    assert {path.name for path in tmp_path.iterdir()} == {now, "environments"}


def test_a_volume_that_fails_is_said_and_packages_are_installed(no_pip_files, monkeypatch, tmp_path, capsys):
    uv = tmp_path / "uv"
    uv.write_text("#!/bin/sh\nexit 0\n")
    uv.chmod(0o755)
    monkeypatch.setattr(pip_shim, "UV", str(uv))
    monkeypatch.setitem(sys.modules, "kept_packages", kept_packages)  # beside the shim in an image
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "none"))  # as a container whose environment is read-only
    assert pip_shim.install_or_use_kept(["install", "pandas==2.2.3"], str(tmp_path)) == 0
    said = capsys.readouterr().out
    assert f"CLEARML_PODS_PACKAGES={tmp_path}: " in said and "nothing is taken from there" in said


def test_a_configuration_file_of_pips_is_for_pip(monkeypatch, tmp_path):
    file = tmp_path / "pip.conf"
    file.touch()
    with pytest.raises(pip_shim.AskPip):
        pip_shim.uv_environment({"PIP_CONFIG_FILE": str(file)})
    monkeypatch.setattr(pip_shim, "PIP_FILES", (str(file),))
    with pytest.raises(pip_shim.AskPip):
        pip_shim.uv_environment({})


@pytest.mark.parametrize(("code", "installed"), [(0, True), (2, False)])
def test_pip_is_asked_where_uv_fails(no_pip_files, monkeypatch, tmp_path, code, installed):
    uv = tmp_path / "uv"
    uv.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\nexit {code}\n')
    uv.chmod(0o755)
    monkeypatch.setattr(pip_shim, "UV", str(uv))
    assert pip_shim.install(["install", "pandas==2.2.3"]) is installed
    assert (tmp_path / "asked").read_text() == f"pip install --python {sys.executable} pandas==2.2.3\n"
    monkeypatch.setattr(pip_shim, "UV", str(tmp_path / "none"))
    assert not pip_shim.install(["install", "pandas==2.2.3"])


def test_what_most_calls_need_is_imported_only():
    """Each import costs every step of every run six times its time."""
    code = "import sys; before = set(sys.modules); import pip_shim; print(*set(sys.modules) - before)"
    folder = Path(pip_shim.__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True, timeout=60
    )
    assert set(done.stdout.split()) <= {"pip_shim", "__future__", "operator", "_operator"}
