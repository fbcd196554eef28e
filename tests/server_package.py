"""`clearml-localserver` as its users get it: built, installed on its own, used as its README says.

    python -m tests.server_package bare     installs the wheel with pip; its size; the README's test; old SDKs beside it
    python -m tests.server_package uvx      `uvx clearml-localserver --data DIR` and the README's script
    python -m tests.server_package pythons  a start, the README's test and the unit tests on every other Python here
    python -m tests.server_package project  `examples/ci-project` with the wheel, as its CI files run it; without root

`.ci/run` runs these four. Commands and programs are taken from `localserver/README.md`, so that what it shows works.
Outside systems: uv, pip and the package index.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.ports import free_port_base

PROJECT = Path(__file__).parents[1]
README = PROJECT / "localserver/README.md"
EXAMPLE = PROJECT / "examples/ci-project"
NAME = "clearml-localserver"

MOST_MB = 120
"""What the server's environment may take on disk, pip and compiled bytecode included."""

UNWANTED = {"clearml", "numpy", "pandas", "polars", "pyarrow", "scikit-learn", "nltk"}
"""Packages that a server does without, and that tests of other projects have in versions of their own."""

CONTENTS = {
    ".whl": {"licenses/LICENSE", "licenses/NOTICE", "py.typed", "schemas.json", "web/static/plotly.min.js"},
    ".gz": {"LICENSE", "NOTICE", "README.md", "CHANGELOG.md", "src/clearml_localserver/py.typed"},
}
"""Files that the two archives must have, below their top folders."""

TEST_PACKAGES = ("clearml>=2.1.12,<2.2", "hypothesis", "pytest", "pytest-timeout", "pytest-xdist", "tinyhtml5")
"""What the unit tests of the server import beside it."""

OLD_SDKS = {"clearml-localserver @ {wheel}": "clearml==1.16.5", "clearml-pods[server] @ {project}": "clearml==1.18.0"}
"""What must be installable together: the server and this project, each with the oldest SDK that it says it allows."""

PYTEST = ("pytest", "-q", "--disable-warnings", "test_training.py")
"""The README's command, which a test compares."""

NOBODY = 12345
"""A user that the machine does not know."""

COMMAND_TIMEOUT_S = 600
READY_TIMEOUT_S = 120


def block(language: str, containing: str) -> str:
    """Return the one block of code in the README that contains a text.

    Raises:
        ValueError: There is none, or more than one.
    """
    found = re.findall(rf"^```{language}\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    [text] = [text for text in found if containing in text]
    return str(text)


def install_command(python: Path, wheel: Path) -> list[str]:
    """Return the README's command that installs what the fixture needs, with the wheel in place of the name."""
    words = shlex.split(block("sh", "pip install"))
    return [str(python), "-m", *(word.replace(NAME, str(wheel)) for word in words), "--quiet"]


def build(folder: Path) -> Path:
    """Build the source distribution, and the wheel from that; return the wheel.

    Raises:
        SystemExit: One of them lacks a file, or the wheel has one beside the package.
    """
    run("uv", "build", "--quiet", "--package", NAME, "--out-dir", folder)
    [wheel], [source] = folder.glob("*.whl"), folder.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        packed = [name.partition("/") for name in archive.namelist()]
    for where, names in {
        wheel: {rest for _, _, rest in packed},
        source: {name.partition("/")[2] for name in run("tar", "--list", "--file", source).splitlines()},
    }.items():
        if missing := CONTENTS[where.suffix] - names:
            sys.exit(f"{where.name} lacks {', '.join(sorted(missing))}")
    if others := {top for top, _, _ in packed} - {"clearml_localserver", f"{wheel.name.rsplit('-', 3)[0]}.dist-info"}:
        sys.exit(f"{wheel.name} has {', '.join(sorted(others))} beside the package")
    print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB")
    return wheel


def run(*command: str | Path, cwd: Path = PROJECT) -> str:
    """Run a command and return what it prints.

    Raises:
        SystemExit: It fails; the message has its output.
    """
    words = [str(word) for word in command]
    done = subprocess.run(
        words, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=COMMAND_TIMEOUT_S
    )
    if done.returncode:
        sys.exit(f"{shlex.join(words)} ended with exit code {done.returncode}:\n{done.stdout}")
    return done.stdout


def size_mb(folder: Path) -> float:
    """Return what a folder takes on disk, as `du` counts."""
    return int(run("du", "--summarize", "--block-size=1", folder).split()[0]) / 1e6


def run_readme_test(python: Path, folder: Path) -> None:
    """Run the README's test in a folder that has nothing else."""
    folder.mkdir()
    (folder / "test_training.py").write_text(block("python", "def test_training"), encoding="utf-8")
    print(run(python, "-m", "pytest", *PYTEST[1:], "-p", "no:cacheprovider", cwd=folder), end="")


def resolve_with_old_sdks(wheel: Path, folder: Path) -> None:
    """Resolve the server and this project beside their oldest SDKs; install nothing.

    Raises:
        SystemExit: There is no set of versions that all accept.
    """
    for package, sdk in OLD_SDKS.items():
        wanted = folder / "requirements.in"
        line = package.format(wheel=wheel.as_uri(), project=PROJECT.as_uri())
        wanted.write_text(f"{line}\n{sdk}\n", encoding="utf-8")
        # In the folder, because users do not have this project's uv settings.
        resolved = run("uv", "pip", "compile", "--quiet", "--python", sys.executable, wanted, cwd=folder)
        if sdk not in resolved.splitlines():
            sys.exit(f"{sdk} is not in what was resolved:\n{resolved}")
        print(f"{package.partition(' ')[0]} and {sdk}: resolved")


def check_bare(folder: Path) -> None:
    """Install the wheel alone with pip, then what the README's test needs; run that."""
    wheel = build(folder / "dist")
    resolve_with_old_sdks(wheel, folder)
    python = folder / "bare/bin/python"
    run(sys.executable, "-m", "venv", folder / "bare")
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel)
    installed = {line.partition("==")[0].lower() for line in run(python, "-m", "pip", "freeze", "--all").splitlines()}
    if installed & UNWANTED:
        sys.exit(f"the server's environment has {', '.join(sorted(installed & UNWANTED))}")
    size = size_mb(folder / "bare")
    print(f"environment of the bare wheel: {size:.0f} MB (at most {MOST_MB}), {len(installed)} packages")
    if size > MOST_MB:
        sys.exit(1)
    print(run(folder / "bare/bin" / NAME, "--version", cwd=folder), end="")
    run(*install_command(python, wheel))
    run_readme_test(python, folder / "test")
    print(f"with the SDK and pytest: {size_mb(folder / 'bare'):.0f} MB")


@contextlib.contextmanager
def started(command: Sequence[str | Path], folder: Path) -> Iterator[str]:
    """Run a server until the block ends; give the line that it prints when it is ready.

    Raises:
        SystemExit: It does not get ready, or does not end cleanly.
    """
    words = [str(word) for word in command]
    with subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        stop = signal.SIGTERM
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line.startswith("localserver ready:"):
                stop = signal.SIGKILL
                sys.exit(f"{shlex.join(words)} did not start: {line}")
            yield line
        finally:
            os.killpg(process.pid, stop)  # uvx stays the parent of what it runs
            code = process.wait(READY_TIMEOUT_S)
    if code not in (0, -signal.SIGTERM):
        sys.exit(f"{shlex.join(words)} ended with exit code {code}")


def check_uvx(folder: Path) -> None:
    """Start the server as the README does, and run its script against it."""
    wheel = build(folder / "dist")
    first = next(line for line in block("console", "uvx ").splitlines() if line.startswith("$ "))
    words = shlex.split(first.removeprefix("$ "))
    command = [words[0], "--from", str(wheel), *words[1:], "--port-base", str(free_port_base())]
    python = folder / "user/bin/python"
    run("uv", "venv", "--quiet", folder / "user")
    run("uv", "pip", "install", "--quiet", "--python", python, f"{wheel}[sdk]")
    (folder / "train.py").write_text(block("python", "first task"), encoding="utf-8")
    with started(command, folder) as line:
        print(f"$ {shlex.join(words)}\n{line}", end="")
        run_it = shlex.split(block("sh", "train.py"))
        environ = dict(word.split("=", 1) for word in run_it if "=" in word)
        print(
            run("env", *(f"{name}={value}" for name, value in environ.items()), python, "train.py", cwd=folder), end=""
        )


def versions() -> list[str]:
    """Return the versions of Python that the package says it runs on."""
    classifiers = tomllib.loads((PROJECT / "localserver/pyproject.toml").read_text())["project"]["classifiers"]
    found = (re.fullmatch(r"Programming Language :: Python :: (3\.[0-9]+)", line) for line in classifiers)
    return [match[1] for match in found if match]


def interpreter(version: str) -> Path | None:
    """Return an interpreter of a version that this machine has: on PATH, of pyenv or of uv."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    uv = Path.home() / ".local/share/uv/python"
    on_path = shutil.which(f"python{version}")
    candidates = [*root.glob(f"versions/{version}.*/bin/python"), *uv.glob(f"cpython-{version}.*/bin/python")]
    for path in [Path(on_path), *candidates] if on_path else candidates:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=60, check=False).stdout
        if said.startswith(f"Python {version}."):
            return path
    return None


def check_pythons(folder: Path) -> None:
    """Use the wheel on every other Python of this machine; name those that are absent."""
    wheel = build(folder / "dist")
    own = "{}.{}".format(*sys.version_info)
    others = {version: interpreter(version) for version in versions() if version != own}
    for version, path in others.items():
        if path is None:
            print(f"Python {version}: ABSENT on this machine, not tested", flush=True)
            continue
        print(f"Python {version}: {path}", flush=True)
        environment = folder / version
        python = environment / "bin/python"
        run("uv", "venv", "--quiet", "--python", path, environment)
        run("uv", "pip", "install", "--quiet", "--python", python, "--compile-bytecode", wheel)
        ports = ("--api-port", "0", "--web-port", "0", "--files-port", "0")
        with started([environment / "bin" / NAME, "--data", folder / f"data-{version}", *ports], folder) as line:
            print(line, end="")
        run("uv", "pip", "install", "--quiet", "--python", python, *TEST_PACKAGES, "plotly")
        run_readme_test(python, folder / f"test-{version}")
        tests = (python, "-m", "pytest", "-q", "-n", "auto", "-p", "no:cacheprovider", "tests/unit/localserver")
        print(run(*tests).strip().splitlines()[-1], flush=True)


def ci_checkout(folder: Path) -> Path:
    """Make a checkout of the example project as CI services make them, and return it.

    It has the newest commit alone, is on no branch, and its remote wants a token.
    """
    source, checkout = folder / "source", folder / "checkout"
    shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns("__pycache__"))
    author = ("-c", "user.name=A. Author", "-c", "user.email=author@example.org")
    run("git", "init", "--quiet", cwd=source)
    for message in ("Begin", "Go on"):
        (source / "NOTES").write_text(message, encoding="utf-8")
        run("git", "add", "--all", cwd=source)
        run("git", *author, "commit", "--quiet", "--message", message, cwd=source)
    run("git", "clone", "--quiet", "--depth", "1", source.as_uri(), checkout)
    run("git", "checkout", "--quiet", "--detach", cwd=checkout)
    run("git", "remote", "set-url", "origin", "https://ci-token:none@git.invalid/org/house-prices.git", cwd=checkout)
    return checkout


def check_project(folder: Path) -> None:
    """Run the example project's tests with the wheel: by plain pytest, then by two pytest workers and without root."""
    build(folder / "dist")
    checkout, python = ci_checkout(folder), folder / "project/bin/python"
    run("uv", "venv", "--quiet", "--python", sys.executable, folder / "project")
    environment = ("--python", python, "--find-links", folder / "dist", "--compile-bytecode")
    run("uv", "pip", "install", "--quiet", *environment, "--editable", f"{checkout}[test]", cwd=folder)
    tests = (python, "-m", "pytest", "-p", "no:cacheprovider", "--durations=3")
    print(run(*tests, cwd=checkout), flush=True)
    as_nobody: tuple[str, ...] = ()
    if os.geteuid() == 0:  # a user without a name and a home, as containers have
        folder.chmod(0o755)
        run("chown", "--recursive", f"{NOBODY}:{NOBODY}", checkout)
        as_nobody = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    plain = ("env", "--ignore-environment", "PATH=/usr/bin:/bin", "HOME=/nonexistent")
    print(run(*as_nobody, *plain, *tests, "-n", "2", cwd=checkout), flush=True)


CHECKS = {"bare": check_bare, "uvx": check_uvx, "pythons": check_pythons, "project": check_project}


def main() -> None:
    """Run what is asked for, in a folder that goes afterwards."""
    parser = argparse.ArgumentParser(prog="python -m tests.server_package", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checks", nargs="+", choices=CHECKS)
    for name in parser.parse_args().checks:
        with tempfile.TemporaryDirectory(prefix="server-package-") as folder:
            CHECKS[name](Path(folder))


if __name__ == "__main__":
    main()
